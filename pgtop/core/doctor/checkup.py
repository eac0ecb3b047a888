"""What a checkup of a server and of the role that looks at it finds out: facts, not yet judged."""

from collections import Counter
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
"""The server settings that are read: a checkup's own session must set none of them."""

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
"""What is read of the settings that roles and databases have of their own."""


class Setting(msgspec.Struct, frozen=True, array_like=True):
    """A server setting as a session gets it at its login."""

    name: Name
    value: Whole
    """In its own unit: milliseconds, seconds, or none. 0 leaves a keepalive to the server's system."""
    effective: Whole
    """The same, but a keepalive that is left to the system as the socket has it; 0 over a Unix socket."""
    unit: Name
    source: Name
    """PostgreSQL's word: `default`, `configuration file`, `database`, `user`, …"""

    @property
    def seconds(self) -> float:
        """The value in seconds."""
        return self.value / 1000 if self.unit == "ms" else float(self.value)

    @property
    def is_own(self) -> bool:
        """True where the session has it from ALTER ROLE: what other roles get is hidden behind it."""
        return self.source in ("user", "database user", "client")


class Role(msgspec.Struct, frozen=True, array_like=True):
    """A role that has sessions."""

    identifier: Identifier
    connection_limit: Whole
    """-1 for none."""
    is_superuser: bool
    may_use_reserved: bool
    """Has the privileges of pg_use_reserved_connections (from PostgreSQL 16 on)."""
    own_idle_session_timeout: Name | None = None
    """As ALTER ROLE has it, such as `10min`; None where the role has none of its own."""

    @property
    def ends_idle_sessions(self) -> bool:
        """True where the role has an idle_session_timeout of its own that is not nought.

        >>> role = Role(Identifier("app", "app"), -1, False, False, "0min")
        >>> role.ends_idle_sessions
        False
        """
        return (self.own_idle_session_timeout or "").strip(" abcdefghijklmnopqrstuvwxyz") not in ("", "0")


class Override(msgspec.Struct, frozen=True, array_like=True):
    """A setting that a role, a database, or a role in a database has of its own."""

    role: str | None
    database: str | None
    setting: str
    """`name=value`."""


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """How a role stands to a group."""

    has_privileges: bool
    """The server asks for this: a member that does not inherit has none."""
    is_member: bool
    """Perhaps without the privileges."""


class Account(msgspec.Struct, frozen=True):
    """The role that logged in, the role it acts as, and the database, as the server sees them."""

    login: Identifier
    """The role that logged in: what counts for a login."""
    acting: Identifier
    """The role whose privileges count now: another one where ALTER ROLE … SET role says so."""
    database: Identifier
    is_superuser: bool
    """The role that logged in is one."""
    acts_as_superuser: bool
    login_inherits: bool
    """False for NOINHERIT."""
    acting_inherits: bool
    login_limit: Whole
    """CONNECTION LIMIT; -1 for none. Superusers pass it."""
    database_limit: Whole
    reserved: Membership | None
    """Of the role that logged in, in pg_use_reserved_connections; None before PostgreSQL 16."""
    provider: Membership | None
    """Of the role that logged in, in rds_superuser; None where there is no such role."""
    is_managed: bool
    """A managed service's server, by the roles that such services make: they refuse ALTER SYSTEM."""
    sight: Membership
    """Of the role that it acts as, in pg_read_all_stats."""
    signal: Membership
    """Of the role that it acts as, in pg_signal_backend."""
    missing: tuple[tuple[str, str], ...]
    """What pgtop has to use and the role that it acts as may not, as GRANT names it: a privilege and what
    it is on."""
    over_socket: bool
    settings: tuple[Setting, ...]
    limited_roles: Whole
    """How many roles have a CONNECTION LIMIT, with or without sessions."""
    roles: tuple[Role, ...]
    """Those that have sessions, as far as they were asked for."""
    overrides: tuple[Override, ...]
    """The first of them, by role and database: those of roles without sessions come last."""
    overrides_in_all: Whole


class Use(msgspec.Struct, frozen=True):
    """A number of sessions.

    What counts against a CONNECTION LIMIT are client backends alone: neither walsenders nor parallel workers.
    Source: CountUserBackends and CountDBConnections; some releases before 2025 counted more.
    """

    number: int
    is_bound: bool
    """True for an upper bound: some of them may be no client backends, which this role cannot see."""

    def __str__(self) -> str:
        return f"≤ {self.number}" if self.is_bound else str(self.number)


class Checkup(msgspec.Struct, frozen=True, dict=True):
    """All facts of one target."""

    server: Server
    account: Account
    snapshot: Snapshot | None
    """None where the role may not see the sessions at all."""
    pooled: bool
    own: frozenset[int] = frozenset()
    """The sessions of pgtop beside the one that looks, by pid: as `core.plan.HeldLocks` has them, among which
    no client gets by its name."""

    def is_own(self, backend: Backend) -> bool:
        """Whether a session is pgtop's."""
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
        """All client backends that are seen."""
        return self.snapshot.backends if self.snapshot is not None else ()

    @property
    def use(self) -> "Use":
        """How many sessions there are."""
        return Use(len(self.backends), any(backend.is_hidden for backend in self.backends))

    @cached_property
    def use_by_role(self) -> dict[str | None, "Use"]:
        """How many sessions each role has."""
        counts = Counter(backend.usename for backend in self.backends)
        hidden = {backend.usename for backend in self.backends if backend.is_hidden}
        return {name: Use(number, name in hidden) for name, number in counts.items()}

    def use_by(self, role: Identifier) -> "Use":
        """How many sessions a role has."""
        return self.use_by_role.get(role.name, Use(0, False))

    @property
    def use_of_database(self) -> "Use":
        """How many sessions this database has."""
        name = self.account.database.name
        there = [backend for backend in self.backends if backend.datname == name]
        return Use(len(there), any(backend.is_hidden for backend in there))

    @property
    def of_superusers(self) -> int:
        """How many sessions belong to superusers, other than any pgtop's."""
        return sum(backend.is_superuser and not self.is_own(backend) for backend in self.backends)

    @property
    def of_reserved(self) -> int:
        """How many sessions of other roles may take the slots of pg_use_reserved_connections, too."""
        own = self.account.login.name
        names = {name for name, role in self.role.items() if role.may_use_reserved and not role.is_superuser}
        return sum(
            backend.usename in names and backend.usename != own and not self.is_own(backend)
            for backend in self.backends
        )
