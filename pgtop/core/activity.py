"""What one poll says of a server: frozen values, as PostgreSQL names them.

Every time is an integer of microseconds since the Unix epoch by the server's clock, so that it goes back to
the server in a guard exactly as it came; every age is derived from such a time and the server's own `now`.
"""

from datetime import UTC, datetime, timedelta
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
"""Microseconds since the Unix epoch, before the year 9999, so that every one is a date in every time zone."""
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An int8."""
Name = Annotated[str, Meta(max_length=1024)]
"""A name or a short word of the server's: identifiers have 63 bytes unless it was built otherwise."""
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
"""How the application_name of every pgtop session begins (`pgtop <face>@<host>`)."""


class BackendId(msgspec.Struct, frozen=True, order=True):
    """One session for as long as it lives: a pid alone is reused within minutes in a busy incident."""

    pid: int
    backend_start: int
    """Microseconds since the Unix epoch; 0 where this role cannot see it."""


class Backend(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client backend. The fields' order is that of the rows `postgres/queries.py` asks for."""

    pid: Pid
    backend_start: Moment | None
    state_change: Moment | None
    xact_start: Moment | None
    query_start: Moment | None
    state: Name | None
    """PostgreSQL's word for it; None where this role cannot see it."""
    application_name: Name | None
    usename: Name | None
    datname: Name | None
    client_addr: Name | None
    """None over a Unix socket, or where this role cannot see it."""
    client_port: Port | None
    """-1 over a Unix socket."""
    wait_event_type: Name | None
    wait_event: Name | None
    is_superuser: bool
    query: str | None
    """The first 200 characters of the current or last statement."""
    idle_at_least: bool = False
    """True where `state_change` is only known to lie no later: the idle age is then a lower bound."""
    readings: tuple[tuple[str, str], ...] = ()
    """Every user and database that it may be of, where they cannot be told apart; `usename` has both then."""
    holds_slot: bool = True
    """False for a client that has connected and sent nothing yet, as only the server's own host shows it."""

    @property
    def id(self) -> BackendId:
        """The session's identity."""
        return BackendId(self.pid, self.backend_start or 0)

    @property
    def is_hidden(self) -> bool:
        """True where this role cannot see the session's state."""
        return self.backend_start is None

    @property
    def is_no_text(self) -> bool:
        """True where its user's or database's name holds bytes that were no text where pgtop looks."""
        return "\ufffd" in f"{self.usename}{self.datname}"

    @property
    def is_pgtop(self) -> bool:
        """True for a session that is named as pgtop's are; any client can give itself that name."""
        return (self.application_name or "").startswith(PGTOP_PREFIX)

    @property
    def waits_on_lock(self) -> bool:
        """True for an active session that waits for a heavyweight lock."""
        return self.state == ACTIVE and self.wait_event_type == "Lock"

    def idle_seconds(self, now: int) -> float | None:
        """Seconds since `state_change` at `now` (microseconds), for state `idle`; None for every other."""
        return seconds_between(self.state_change, now) if self.state == IDLE else None

    def xact_seconds(self, now: int) -> float | None:
        """Seconds since `xact_start` at `now` (microseconds); None outside a transaction."""
        return seconds_between(self.xact_start, now)

    def session_seconds(self, now: int) -> float | None:
        """Seconds since `backend_start` at `now` (microseconds); None where hidden."""
        return seconds_between(self.backend_start, now)

    def state_seconds(self, now: int) -> float | None:
        """Seconds in the present state at `now` (microseconds); None where hidden."""
        return seconds_between(self.state_change, now)


def seconds_between(start: int | None, now: int) -> float | None:
    """Seconds from `start` to `now`, both microseconds; never negative; None without a start.

    A statement that began while the poll was being read lies a little after the poll's own clock.
    """
    return None if start is None else max(0.0, (now - start) / MICROSECONDS)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int | None) -> datetime | None:
    """A server's time as a datetime in UTC, exact to the microsecond; None for None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def iso8601(microseconds: int | None) -> str | None:
    """A server's time in ISO 8601, UTC, with microseconds; None for None.

    >>> iso8601(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001+00:00'
    """
    moment = instant(microseconds)
    return None if moment is None else moment.isoformat(timespec="microseconds")


class Limits(msgspec.Struct, frozen=True):
    """How many connections the server takes. All are fixed until it restarts."""

    max_connections: Connections
    superuser_reserved_connections: Connections
    reserved_connections: Connections = 0
    """From PostgreSQL 16 on."""
    provider_reserved_connections: Connections = 0
    """A managed service's own, such as `rds.rds_superuser_reserved_connections`."""

    @property
    def slots(self) -> int:
        """What ordinary roles can use: 100% is this number."""
        reserved = (
            self.superuser_reserved_connections
            + self.reserved_connections
            + self.provider_reserved_connections
        )
        return max(1, self.max_connections - reserved)

    @property
    def are_known(self) -> bool:
        """False where nobody could be asked: there is then no usage either."""
        return self.max_connections > 0


class Privileges(msgspec.Struct, frozen=True):
    """What the role of the seat may see and end."""

    role: Name
    is_superuser: bool
    sees_all: bool
    """Superuser, or a member of pg_read_all_stats (pg_monitor)."""
    may_signal: bool
    """Superuser, or a member of pg_signal_backend."""


class ServerIdentity(msgspec.Struct, frozen=True):
    """The same server means all three are equal; a restart or a failover makes it another."""

    system_identifier: str | None
    """None where the role may not read it."""
    postmaster_start: int
    in_recovery: bool


class Server(msgspec.Struct, frozen=True):
    """Which server this is and how it is reached."""

    host: str
    """As asked for: a host name, an address, or a socket directory."""
    port: int
    version_num: int
    identity: ServerIdentity
    limits: Limits

    @property
    def version(self) -> str:
        """The version as people write it.

        >>> identity = ServerIdentity(None, 0, False)
        >>> Server("db1", 5432, 160004, identity, Limits(100, 3)).version
        '16.4'
        """
        return f"{self.version_num // 10_000}.{self.version_num % 10_000}"

    @property
    def address(self) -> str:
        """`host:port`, as a head line shows it."""
        return f"{self.host}:{self.port}"


class Counts(msgspec.Struct, frozen=True):
    """How many client backends are in each state; pgtop's own session counts too."""

    total: int = 0
    idle: int = 0
    active: int = 0
    idle_in_transaction: int = 0
    idle_in_transaction_aborted: int = 0
    fastpath: int = 0
    disabled: int = 0
    starting: int = 0
    hidden: int = 0
    """Sessions whose state this role cannot see."""
    exact: bool = True
    """False where backend types are hidden: `total` is then an upper bound."""

    @property
    def in_transaction(self) -> int:
        """Idle in transaction, aborted ones included."""
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
    """Counts the backends by state. A state PostgreSQL adds one day counts in the total alone."""
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
    """From asking to having the answer decoded."""
    own_pid: int
    backends: tuple[Backend, ...]
    listeners: frozenset[BackendId] = frozenset()
    """Sessions once seen with LISTEN as their statement: a hint, kept for the rest of their life."""
    is_rescue: bool = False
    """True where the rescue role asked, since the ordinary one is refused."""
    interruptions: int = 0
    """How often the seat had lost sight of the server when this was taken."""

    @cached_property
    def counts(self) -> Counts:
        """The backends by state."""
        return count(self.backends)

    @cached_property
    def by_id(self) -> dict[BackendId, Backend]:
        """The backends by identity."""
        return {backend.id: backend for backend in self.backends}

    @property
    def slots(self) -> int:
        """What ordinary roles can use."""
        return self.server.limits.slots

    @property
    def usage(self) -> float:
        """Client backends over slots; passes 1.0 when privileged roles sit in reserved slots."""
        return self.counts.total / self.slots

    @cached_property
    def waiting_on_locks(self) -> int:
        """How many active sessions wait for a heavyweight lock."""
        return sum(backend.waits_on_lock for backend in self.backends)
