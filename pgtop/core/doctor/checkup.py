"""The facts of a checkup: the server and the role that pgtop uses there, not yet judged."""

from functools import cached_property
from typing import Final

import msgspec

from pgtop.core.activity import Backend, Name, Server, Snapshot, Whole
from pgtop.core.doctor.remedies import Identifier

SETTINGS: Final = (
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "client_connection_check_interval",
    "authentication_timeout",
    "superuser_reserved_connections",
    "reserved_connections",
)
"""The server settings that are read: integers only. A checkup's own session must set none of them."""

OVERRIDES: Final = (
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "transaction_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
    "client_connection_check_interval",
)
"""The settings that are read from what ALTER ROLE and ALTER DATABASE have set."""


class Setting(msgspec.Struct, frozen=True, array_like=True):
    """A server setting, as a session gets it at its login."""

    name: Name
    value: Whole
    """The value in `unit`: milliseconds, seconds, or none. 0 leaves a keepalive to the operating system."""
    effective: Whole
    """The same, except for a keepalive left to the operating system: its value on the socket.

    It is 0 over a Unix socket.
    """
    unit: Name
    source: Name
    """The source in PostgreSQL's words: `default`, `configuration file`, `database`, `user` …"""

    @property
    def seconds(self) -> float:
        """The value in seconds."""
        return self.value / 1000 if self.unit == "ms" else float(self.value)

    @property
    def is_own(self) -> bool:
        """True if it comes from this session's role or client, which hides the value that other roles get."""
        return self.source in ("user", "database user", "client")


class Role(msgspec.Struct, frozen=True, array_like=True):
    """A role that has sessions."""

    identifier: Identifier
    connection_limit: Whole | None
    """The role's CONNECTION LIMIT; -1 for none, None if this role may not read it."""
    is_superuser: bool
    may_use_reserved: bool
    """True if it has the privileges of pg_use_reserved_connections (from PostgreSQL 16 on)."""
    own_idle_session_timeout: Name | None = None
    """The value set by ALTER ROLE, such as `10min`; None if the role has none of its own."""

    @property
    def ends_idle_sessions(self) -> bool:
        """True if the role has an idle_session_timeout of its own that is not 0.

        >>> role = Role(Identifier("app", "app"), -1, False, False, "0min")
        >>> role.ends_idle_sessions
        False
        """
        return (self.own_idle_session_timeout or "").strip(" abcdefghijklmnopqrstuvwxyz") not in ("", "0")


class Database(msgspec.Struct, frozen=True, array_like=True):
    """A database that has sessions and a CONNECTION LIMIT."""

    identifier: Identifier
    connection_limit: Whole


class Override(msgspec.Struct, frozen=True, array_like=True):
    """A setting that ALTER ROLE or ALTER DATABASE set for a role, a database, or a role in a database."""

    role: str | None
    database: str | None
    setting: str
    """The setting as `name=value`."""


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """The membership of a role in a group."""

    has_privileges: bool
    """True if the role has the group's privileges, which the server asks for. A NOINHERIT member has none."""
    is_member: bool
    """True if the role is a member, perhaps without the privileges."""


class Right(msgspec.Struct, frozen=True):
    """A right on a relation or a function, as GRANT names them."""

    privilege: Name
    name: Name
    is_needed: bool
    """True if pgtop can neither see nor terminate sessions without it."""

    @property
    def short(self) -> str:
        """The name without schema and arguments.

        >>> Right("EXECUTE", "FUNCTION pg_catalog.pg_lock_status()", True).short
        'pg_lock_status'
        """
        return self.name.partition("(")[0].rpartition(".")[2]


class Account(msgspec.Struct, frozen=True):
    """The role that logged in, the role it acts as, and the database, as the server sees them."""

    login: Identifier
    """The role that logged in. Login limits apply to it."""
    acting: Identifier
    """The role whose privileges apply. It is another one if ALTER ROLE … SET role says so."""
    database: Identifier
    is_superuser: bool
    """True if the role that logged in is a superuser."""
    acts_as_superuser: bool
    login_inherits: bool | None
    """False if the role that logged in is NOINHERIT; None if it may not be read."""
    acting_inherits: bool | None
    login_limit: Whole | None
    """The CONNECTION LIMIT of the role that logged in; -1 for none. It does not apply to superusers.

    None if it may not be read, as of all limits here.
    """
    database_limit: Whole | None
    reserved: Membership | None
    """The membership of the login role in pg_use_reserved_connections; None before PostgreSQL 16."""
    provider: Membership | None
    """The membership of the login role in rds_superuser; None if there is no such role."""
    is_managed: bool
    """True on a managed service, known by the roles that such services create. They refuse ALTER SYSTEM."""
    sight: Membership
    """The membership of the acting role in pg_read_all_stats."""
    signal: Membership
    """The membership of the acting role in pg_signal_backend."""
    over_socket: bool
    settings: tuple[Setting, ...]
    limited_roles: Whole | None
    """The number of roles that have a CONNECTION LIMIT, with or without sessions."""
    roles: tuple[Role, ...]
    """The roles that have sessions, as far as they were asked for."""
    limited_databases: Whole | None
    """The number of databases that have a CONNECTION LIMIT, with or without sessions."""
    databases: tuple[Database, ...]
    """Those of them that have sessions, as far as they were asked for."""
    overrides: tuple[Override, ...]
    """The first overrides, by role and database. Those of roles without sessions come last."""
    overrides_in_all: Whole
    missing: tuple["Right", ...] = ()
    """The rights that pgtop uses and the acting role lacks."""

    @property
    def withdrawn(self) -> frozenset[str]:
        """The relations and functions that the acting role may not use, without schema and arguments."""
        return frozenset(each.short for each in self.missing)


class Use(msgspec.Struct, frozen=True):
    """A number of sessions.

    Only client backends count against a CONNECTION LIMIT, not walsenders or parallel workers.
    Source: CountUserBackends and CountDBConnections; some releases before 2025 counted more.
    """

    number: int
    is_bound: bool
    """True if the number is an upper bound: this role cannot see whether all of them are client backends."""

    def __str__(self) -> str:
        return f"≤ {self.number}" if self.is_bound else str(self.number)


class Checkup(msgspec.Struct, frozen=True, dict=True):
    """All facts of one target."""

    server: Server
    account: Account
    snapshot: Snapshot | None
    """The sessions; None if the role may not see them at all."""
    pooled: bool
    own: frozenset[int] = frozenset()
    """The sessions of pgtop other than the checkup's own, by pid, as in `core.plan.HeldLocks.own`.

    A client cannot get in here by its name alone.
    """

    def is_own(self, backend: Backend) -> bool:
        """Return whether a session is pgtop's."""
        looking = self.snapshot is not None and backend.pid == self.snapshot.own_pid
        return looking or backend.pid in self.own

    @cached_property
    def setting(self) -> dict[str, Setting]:
        """The settings by name."""
        return {setting.name: setting for setting in self.account.settings}

    @cached_property
    def role(self) -> dict[str, Role]:
        """The roles that have sessions, by name."""
        return {role.identifier.name: role for role in self.account.roles}

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The client backends that this role can see."""
        return self.snapshot.backends if self.snapshot is not None else ()

    @property
    def use(self) -> "Use":
        """The number of sessions."""
        return Use(len(self.backends), any(backend.is_hidden for backend in self.backends))

    @property
    def of_superusers(self) -> int:
        """The number of superusers' sessions, without those of pgtop."""
        return sum(backend.is_superuser and not self.is_own(backend) for backend in self.backends)

    @property
    def of_reserved(self) -> int:
        """The number of other roles' sessions that may use the connections of pg_use_reserved_connections."""
        own = self.account.login.name
        names = {name for name, role in self.role.items() if role.may_use_reserved and not role.is_superuser}
        return sum(
            backend.usename in names and backend.usename != own and not self.is_own(backend)
            for backend in self.backends
        )
