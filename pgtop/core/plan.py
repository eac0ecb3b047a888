"""What a plan is made of: the rules it follows, its victims and spared with a reason each."""

from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import Backend, BackendId, Server, Snapshot
from pgtop.core.patterns import Patterns
from pgtop.core.stalled_logins import Stall

DEFAULT_PROTECTED_APPLICATIONS: Final = ("Patroni*", "pgBackRest*", "barman*", "wal-g*", "repmgr*")
"""Applications whose idle session is at work: a backup holds one for hours."""


class Act(StrEnum):
    """What is done to a victim."""

    TERMINATE = "terminate"
    """pg_terminate_backend: the session ends."""
    CANCEL = "cancel"
    """pg_cancel_backend: its statement ends, the session stays."""


class Trigger(StrEnum):
    """What a plan was made for."""

    SELECTED = "selected"
    """A person selected the sessions."""
    ALWAYS = "always"
    """A sweep whatever the usage."""
    USAGE = "usage"
    """A sweep because the usage is above the line."""
    EMERGENCY = "emergency"
    """No ordinary slot is left, or a login was refused for want of one."""
    BREAK_GLASS = "break-glass"
    """A person on the server's own host, without a slot."""
    NONE = "none"
    """Nothing to do."""


class Guard(StrEnum):
    """What must still be true of a victim when the signal is sent, beside its pid and backend_start."""

    STATE = "state"
    """Its state and state_change."""
    TRANSACTION = "transaction"
    """Its xact_start."""
    SESSION = "session"
    """Nothing more."""
    STATEMENT = "statement"
    """It is active, and its query_start."""


class SparedFor(StrEnum):
    """Why a session that was otherwise meant is spared; the value is the phrase people read."""

    OWN = "pgtop's own"
    HIDDEN = "hidden from this role"
    SUPERUSER = "of a superuser"
    PROTECTED = "protected"
    NAMED = "protected by name"
    """By the application's name, which every client chooses for itself."""
    ADVISORY_LOCK = "holding an advisory lock"
    LISTENING = "listening (LISTEN)"
    IN_TRANSACTION = "idle in transaction"
    NOT_ACTIVE = "not running a query"
    ENOUGH = "not needed"
    BEYOND_COUNT = "beyond --count"
    BEYOND_MOST = "beyond --max-per-sweep"
    STALL = "no help while clients still connecting hold the slots"
    STUCK = "survived an earlier attempt"
    AGE_UNKNOWN = "unknown idle age"
    UNTOLD = "unclear process title"
    UNSURE = "user or database not known for sure"


class ReapPolicy(msgspec.Struct, frozen=True):
    """The rules of a sweep. Ages are seconds by the server's clock, `warn_at` is a fraction of the slots."""

    warn_at: float = 0.8
    idle_after_seconds: float = 300.0
    emergency_idle_after_seconds: float = 30.0
    only: Patterns = Patterns()
    """Whom a sweep means at all; everybody where it is empty."""
    protected: Patterns = Patterns(applications=DEFAULT_PROTECTED_APPLICATIONS)
    """Who is never ended, neither by a sweep nor by a person's choice."""
    include_idle_in_transaction_seconds: float | None = None
    """Ends sessions idle in transaction for longer than this too; None spares them all."""
    include_advisory_locks: bool = False
    """Ends holders of session-level advisory locks too."""
    include_listeners: bool = False
    """Ends sessions seen with LISTEN too."""
    max_per_sweep: int | None = None
    """The most that one sweep ends, the longest idle first; None for no such limit."""


class HeldLocks(msgspec.Struct, frozen=True):
    """The sessions that hold advisory locks, by pid; read when a plan is made, not in each poll."""

    advisory: frozenset[int] = frozenset()
    """Sessions that hold an advisory lock of an application's; keys of pgtop's own classes do not count."""
    own: frozenset[int] = frozenset()
    """Sessions of pgtop: named so, with a key of pgtop's, and of a role that may end others or is this one's.
    The name alone proves nothing, since every client chooses its own."""


NO_LOCKS: Final = HeldLocks()
"""No session holds an advisory lock, as far as anybody asked."""


class Context(msgspec.Struct, frozen=True):
    """What a judgement needs beside the backend."""

    now: int
    own_pid: int
    is_superuser: bool
    listeners: frozenset[BackendId]
    held: HeldLocks = NO_LOCKS
    stuck: frozenset[BackendId] = frozenset()
    """Sessions that could not be ended a short while ago."""


def context_of(
    snapshot: Snapshot, held: HeldLocks = NO_LOCKS, stuck: frozenset[BackendId] = frozenset()
) -> Context:
    """The context of all judgements over one snapshot."""
    return Context(
        now=snapshot.taken_at,
        own_pid=snapshot.own_pid,
        is_superuser=snapshot.privileges.is_superuser,
        listeners=snapshot.listeners,
        held=held,
        stuck=stuck,
    )


class Victim(msgspec.Struct, frozen=True):
    """One session that a plan would end, or whose statement it would cancel."""

    backend: Backend
    reason: str
    guard: Guard
    warning: str = ""
    """What a person should know before saying yes."""


class Spared(msgspec.Struct, frozen=True):
    """One session that was meant and is spared."""

    backend: Backend
    spared_for: SparedFor
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """What a reap would do, frozen: what is shown is what is ended, and nothing else."""

    act: Act
    trigger: Trigger
    server: Server
    taken_at: int
    """The snapshot's time, microseconds by the server's clock."""
    total: int
    slots: int
    warn_at: float
    victims: tuple[Victim, ...]
    spared: tuple[Spared, ...]
    policy: ReapPolicy
    refusal: str = ""
    """Why no plan can be made at all, with the mend, printable; "" where one can."""
    interruptions: int = 0
    """The snapshot's: after one more interruption the plan is not carried out."""
    stalled_logins_seconds: float | None = None
    """Set where the plan ends clients that have been logging in for longer than this, and nothing else."""
    stall: Stall | None = None
    """The login stall in which it was made, where sessions are not what keeps logins out."""

    @property
    def usage_before(self) -> float:
        """Client backends over slots in the snapshot."""
        return self.total / self.slots

    @property
    def usage_after(self) -> float:
        """What the usage would be were all victims gone and nobody new had come."""
        leaving = sum(victim.backend.holds_slot for victim in self.victims)
        return (self.total - (leaving if self.act is Act.TERMINATE else 0)) / self.slots


LONGEST_QUERY_BYTES: Final = 8192
"""Of a victim's statement in the audit log, as it is written there. What a server keeps by default (1 kB)
fits, whatever is in it; who has longer ones can neither fill the log nor rotate the older lines away."""


class Outcome(StrEnum):
    """What became of one victim."""

    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    """Its statement ended; the session lives."""
    CHANGED = "changed"
    """It turned active, left, or is another session now: nothing was done to it."""
    DENIED = "denied"
    """The server does not let this role end it, or the host this user."""
    SURVIVED = "survived"
    """It was signalled and still there at the limit."""
    FAILED = "failed"
    """It was not signalled."""
    UNKNOWN = "unknown"
    """The connection was lost after the signal."""


class Result(msgspec.Struct, frozen=True):
    """The outcome of one victim, with what the server said where it said something."""

    victim: Victim
    outcome: Outcome
    detail: str = ""
