"""The values that one poll reads from a server, frozen and named as PostgreSQL names them.

Every time is an integer: microseconds since the Unix epoch by the server's clock. A guard can therefore send
it back to the server exactly as it came. Every age is the server's own `now` minus such a time.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final

import msgspec
from msgspec import Meta

MICROSECONDS: Final = 1_000_000

MOST_CONNECTIONS: Final = 262_143
"""The largest max_connections. Source: PostgreSQL, MAX_BACKENDS in src/include/postmaster/postmaster.h."""

Pid = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""A process id."""
Moment = Annotated[int, Meta(ge=0, le=253_370_764_800 * MICROSECONDS)]
"""Microseconds since the Unix epoch, before the year 9999: each is then a valid date in every time zone."""
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A number in the range of PostgreSQL's int8."""
Name = Annotated[str, Meta(max_length=1024)]
"""A name or a short word from the server. Identifiers have at most 63 bytes in a standard build."""
Port = Annotated[int, Meta(ge=-1, le=65_535)]
Connections = Annotated[int, Meta(ge=0, le=MOST_CONNECTIONS)]
"""A number of connections."""

IDLE: Final = "idle"
ACTIVE: Final = "active"
IDLE_IN_TRANSACTION: Final = "idle in transaction"
IDLE_IN_TRANSACTION_ABORTED: Final = "idle in transaction (aborted)"
FASTPATH: Final = "fastpath function call"
DISABLED: Final = "disabled"
STARTING: Final = "starting"

IN_TRANSACTION: Final = frozenset({IDLE_IN_TRANSACTION, IDLE_IN_TRANSACTION_ABORTED})

PGTOP_PREFIX: Final = "pgtop "
"""The beginning of every pgtop session's application_name (`pgtop <face>@<host>`)."""


class BackendId(msgspec.Struct, frozen=True, order=True):
    """The identity of one session. A pid alone is not enough: a busy server reuses pids within minutes."""

    pid: int
    backend_start: int
    """Microseconds since the Unix epoch; 0 if this role cannot see it."""


class Backend(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client backend. The fields have the order of what `postgres/queries/poll.py` selects."""

    pid: Pid
    backend_start: Moment | None
    state_change: Moment | None
    xact_start: Moment | None
    query_start: Moment | None
    state: Name | None
    """The state in PostgreSQL's own words; None if this role cannot see it."""
    application_name: Name | None
    usename: Name | None
    datname: Name | None
    client_addr: Name | None
    """The client's address; None over a Unix socket, or if this role cannot see it."""
    client_port: Port | None
    """The client's TCP port; -1 over a Unix socket."""
    wait_event_type: Name | None
    wait_event: Name | None
    is_superuser: bool
    query: str | None
    """The first 200 characters of the current or last statement."""
    is_of_own_role: bool = False
    """True if pgtop's role has the privileges of the session's role, as a member that inherits them does."""
    idle_at_least: bool = False
    """True if the state began at `state_change` or earlier: the idle age is then a lower bound."""
    readings: tuple[tuple[str, str], ...] = ()
    """Every pair of user and database that the session may have, if the two cannot be told apart.

    `usename` then holds both names, as the process title has them.
    """
    holds_slot: bool = True
    """False for a client that has connected and sent nothing yet; seen only from the server's own host."""

    @property
    def id(self) -> BackendId:
        """The session's identity."""
        return BackendId(self.pid, self.backend_start or 0)

    @property
    def is_hidden(self) -> bool:
        """True if this role cannot see the session's state."""
        return self.backend_start is None

    @property
    def is_not_text(self) -> bool:
        """True if the name of its user or database holds bytes that pgtop could not decode as text."""
        return "\ufffd" in f"{self.usename}{self.datname}"

    @property
    def is_pgtop(self) -> bool:
        """True if the session's name is one of pgtop's. Any client can give itself such a name."""
        return (self.application_name or "").startswith(PGTOP_PREFIX)

    @property
    def waits_on_lock(self) -> bool:
        """True if the session is active and waits for a heavyweight lock."""
        return self.state == ACTIVE and self.wait_event_type == "Lock"

    def idle_seconds(self, now: int) -> float | None:
        """Return the seconds from `state_change` to `now` (microseconds); None if the state is not `idle`."""
        return seconds_between(self.state_change, now) if self.state == IDLE else None

    def xact_seconds(self, now: int) -> float | None:
        """Return the seconds from `xact_start` to `now` (microseconds); None outside a transaction."""
        return seconds_between(self.xact_start, now)

    def query_seconds(self, now: int) -> float | None:
        """Return the seconds from `query_start` to `now` (microseconds); None if no query is running."""
        return seconds_between(self.query_start, now) if self.state == ACTIVE else None

    def session_seconds(self, now: int) -> float | None:
        """Return the seconds from `backend_start` to `now` (microseconds); None if hidden."""
        return seconds_between(self.backend_start, now)

    def state_seconds(self, now: int) -> float | None:
        """Return the seconds that the present state has lasted at `now` (microseconds); None if hidden."""
        return seconds_between(self.state_change, now)


def seconds_between(start: int | None, now: int) -> float | None:
    """Return the seconds from `start` to `now` (both microseconds), at least 0; None without a start.

    Clamping is needed: a statement that begins while the poll is read starts a little after the poll's own
    time.
    """
    return None if start is None else max(0.0, (now - start) / MICROSECONDS)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int | None) -> datetime | None:
    """Return a server's time as a datetime in UTC, exact to the microsecond; None for None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


class Limits(msgspec.Struct, frozen=True):
    """The server's connection limits. All of them stay the same until it restarts."""

    max_connections: Connections
    superuser_reserved_connections: Connections
    reserved_connections: Connections = 0
    """Slots for members of pg_use_reserved_connections, from PostgreSQL 16 on."""
    provider_reserved_connections: Connections = 0
    """Slots that a managed service reserves, such as `rds.rds_superuser_reserved_connections`."""

    @property
    def slots(self) -> int:
        """The connections that ordinary roles can use. A usage of 100% is this number."""
        reserved = (
            self.superuser_reserved_connections
            + self.reserved_connections
            + self.provider_reserved_connections
        )
        return max(1, self.max_connections - reserved)

    @property
    def are_known(self) -> bool:
        """False if the limits could not be read: there is then no usage either."""
        return self.max_connections > 0


class LimitOf(StrEnum):
    """The kinds of objects that have a CONNECTION LIMIT."""

    ROLE = "role"
    DATABASE = "database"


class ConnectionLimit(msgspec.Struct, frozen=True, array_like=True):
    """A CONNECTION LIMIT of a role or a database that has sessions."""

    of: LimitOf
    name: Name
    most: Whole
    """The most sessions at once."""


class Privileges(msgspec.Struct, frozen=True):
    """The rights of pgtop's role to see sessions and to terminate them."""

    role: Name
    is_superuser: bool
    may_signal: bool
    """True for a superuser and for a member of pg_signal_backend that inherits its rights."""
    inherits: bool = True
    """False for a member of pg_read_all_stats, as through pg_monitor, that does not inherit its rights."""
    inherits_signal: bool = True
    """False for a member of pg_signal_backend that does not inherit its rights."""
    role_inherits: bool | None = True
    """False if the role is NOINHERIT: a plain grant then gives it nothing. None if it may not be read."""
    may_call_terminate: bool = True
    """False if EXECUTE on pg_terminate_backend was withdrawn from the role."""
    may_call_cancel: bool = True
    """False if EXECUTE on pg_cancel_backend was withdrawn from the role."""

    def may_end(self, backend: Backend) -> bool:
        """Return whether the server lets the role terminate a session, or cancel its query.

        Its privileges count, not its memberships.
        Source: PostgreSQL, pg_signal_backend() in src/backend/storage/ipc/signalfuncs.c.
        """
        if backend.is_superuser or self.is_superuser:
            return self.is_superuser
        return self.may_signal or backend.is_of_own_role


class ServerIdentity(msgspec.Struct, frozen=True):
    """The identity of a server; the same server has all three equal. A restart or a failover changes it."""

    system_identifier: str | None
    """The cluster's identifier; None if the role may not read it."""
    postmaster_start: int
    in_recovery: bool


class Server(msgspec.Struct, frozen=True):
    """A server and the address it is reached at."""

    host: str
    """The host as it was asked for: a host name, an address, or a socket directory."""
    port: int
    version_num: int
    identity: ServerIdentity
    limits: Limits

    @property
    def version(self) -> str:
        """The version in its usual form.

        >>> identity = ServerIdentity(None, 0, False)
        >>> Server("db1", 5432, 160004, identity, Limits(100, 3)).version
        '16.4'
        """
        return f"{self.version_num // 10_000}.{self.version_num % 10_000}"

    @property
    def address(self) -> str:
        """`host:port`, as the screen's header shows it."""
        return f"{self.host}:{self.port}"


class Counts(msgspec.Struct, frozen=True):
    """The number of client backends in each state. pgtop's own session is included."""

    total: int = 0
    idle: int = 0
    active: int = 0
    idle_in_transaction: int = 0
    idle_in_transaction_aborted: int = 0
    fastpath: int = 0
    disabled: int = 0
    starting: int = 0
    hidden: int = 0
    """The number of sessions whose state this role cannot see."""
    exact: bool = True
    """False if backend types are hidden: `total` is then an upper bound."""

    @property
    def in_transaction(self) -> int:
        """The number of sessions idle in transaction, aborted ones included."""
        return self.idle_in_transaction + self.idle_in_transaction_aborted


_COUNTED: Final = {
    IDLE: "idle",
    ACTIVE: "active",
    IDLE_IN_TRANSACTION: "idle_in_transaction",
    IDLE_IN_TRANSACTION_ABORTED: "idle_in_transaction_aborted",
    FASTPATH: "fastpath",
    DISABLED: "disabled",
    STARTING: "starting",
}


def count(backends: tuple[Backend, ...]) -> Counts:
    """Count the backends by state. A state that a later PostgreSQL adds counts in the total alone."""
    seen: dict[str, int] = {}
    hidden = 0
    for backend in backends:
        name = _COUNTED.get(backend.state or "")
        if name is not None:
            seen[name] = seen.get(name, 0) + 1
        elif backend.is_hidden:
            hidden += 1
    return Counts(total=len(backends), hidden=hidden, exact=hidden == 0, **seen)


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """All client backends of a server at one moment."""

    server: Server
    privileges: Privileges
    taken_at: int
    """Microseconds since the Unix epoch, the server's clock."""
    poll_seconds: float
    """Seconds from sending the query until its answer was decoded."""
    own_pid: int
    backends: tuple[Backend, ...]
    listeners: frozenset[BackendId] = frozenset()
    """Sessions that were once seen with LISTEN as their statement: a hint, kept for as long as they live."""
    is_rescue: bool = False
    """True if the rescue role made the poll because the ordinary role was refused."""
    interruptions: int = 0
    """The number of times the connection had lost sight of the server before this was taken."""
    connection_limits: tuple[ConnectionLimit, ...] = ()
    """The CONNECTION LIMITs of the roles and databases that have sessions, as far as this role may know."""
    unlisted: int = 0
    """The slots held by clients still connecting that the server does not list, as far as known."""

    @cached_property
    def counts(self) -> Counts:
        """The number of backends in each state."""
        return count(self.backends)

    @cached_property
    def by_id(self) -> dict[BackendId, Backend]:
        """The backends by identity."""
        return {backend.id: backend for backend in self.backends}

    @cached_property
    def sessions_by_role(self) -> Counter[str | None]:
        """The number of backends of each role."""
        return Counter(backend.usename for backend in self.backends)

    @cached_property
    def sessions_by_database(self) -> Counter[str | None]:
        """The number of backends in each database."""
        return Counter(backend.datname for backend in self.backends)

    @property
    def slots(self) -> int:
        """The connections that ordinary roles can use."""
        return self.server.limits.slots

    @property
    def taken(self) -> int:
        """The slots that are taken: by client backends, and by clients that are not listed."""
        return self.counts.total + self.unlisted

    @property
    def is_full(self) -> bool:
        """True if no ordinary slot is left."""
        return self.taken >= self.slots

    @property
    def usage(self) -> float:
        """Taken slots divided by slots. It exceeds 1.0 when privileged roles use reserved connections."""
        return self.taken / self.slots

    @cached_property
    def waiting_on_locks(self) -> int:
        """The number of active sessions that wait for a heavyweight lock."""
        return sum(backend.waits_on_lock for backend in self.backends)
