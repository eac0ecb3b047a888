"""Plans and their parts: the rules, the victims, the skipped sessions, and the outcomes."""

from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import IDLE, Backend, BackendId, Privileges, Server, Snapshot
from pgtop.core.session_patterns import Patterns
from pgtop.core.stalled_logins import Stall

DEFAULT_PROTECTED_APPLICATIONS: Final = ("Patroni*", "pgBackRest*", "barman*", "wal-g*", "repmgr*")
"""Applications whose idle sessions are in use: a backup holds one for hours."""


class Act(StrEnum):
    """The action on a victim."""

    TERMINATE = "terminate"
    """Call pg_terminate_backend: the session ends."""
    CANCEL = "cancel"
    """Call pg_cancel_backend: its statement ends, the session stays."""


class Trigger(StrEnum):
    """The reason a plan was made."""

    SELECTED = "selected"
    """A person selected the sessions."""
    ALWAYS = "always"
    """A sweep was asked for, whatever the usage."""
    USAGE = "usage"
    """The usage is above the line."""
    EMERGENCY = "emergency"
    """No ordinary slot is left, or a login was refused for lack of one."""
    BREAK_GLASS = "break-glass"
    """A person on the server's own host asked for it, without a connection."""
    NONE = "none"
    """There is nothing to do."""


class DecidedBy(StrEnum):
    """The authority behind a run: the trigger tells the cause, which may be the same for all of them."""

    PERSON = "person"
    """A person saw the plan and confirmed it: in the dashboard's dialog, or at break-glass's question."""
    COMMAND = "command"
    """A command was run that asks no question: `reap`, or `break-glass --yes`, also from a script.

    Also a program that runs a plan through the api.
    """
    POLICY = "policy"
    """The rules alone: the dashboard's automatic sweeps, the daemon, or a program's watch."""


class Guard(StrEnum):
    """The facts of a victim that must still hold at the signal, in addition to its pid and backend_start."""

    STATE = "state"
    """Its state and state_change must be the same."""
    TRANSACTION = "transaction"
    """Its xact_start must be the same."""
    SESSION = "session"
    """Nothing else is compared."""
    STATEMENT = "statement"
    """It must be active, and its query_start the same."""


class SparedFor(StrEnum):
    """The reason for skipping a session that a plan would otherwise act on; the value is what people read."""

    OWN = "pgtop's own"
    HIDDEN = "hidden from this role"
    UNTRACKED = "not tracked (track_activities = off)"
    SUPERUSER = "of a superuser"
    FORBIDDEN = "not permitted to this role"
    """The server would refuse the signal to pgtop's role; the plan names the grant that helps."""
    PROTECTED = "protected"
    NAMED = "protected by name"
    """Protected by the application's name, which every client chooses for itself."""
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
    CANARY = "left alone after the canary"


class ReapPolicy(msgspec.Struct, frozen=True):
    """The rules of a sweep. Ages are seconds by the server's clock; `warn_at` is a fraction of the slots."""

    warn_at: float = 0.8
    idle_after_seconds: float = 300.0
    emergency_idle_after_seconds: float = 30.0
    only: Patterns = Patterns()
    """The only sessions that a sweep considers; all of them if it is empty."""
    protected: Patterns = Patterns(applications=DEFAULT_PROTECTED_APPLICATIONS)
    """Sessions that are never terminated, neither by a sweep nor by a person's choice."""
    include_idle_in_transaction_seconds: float | None = None
    """The age above which a sweep also terminates sessions idle in transaction; None to skip them all."""
    include_advisory_locks: bool = False
    """True to terminate also sessions that hold session-level advisory locks."""
    include_listeners: bool = False
    """True to terminate also sessions that were seen with LISTEN."""
    max_per_sweep: int | None = None
    """The most sessions that one sweep terminates, the longest idle first; None for no such limit."""


class HeldLocks(msgspec.Struct, frozen=True):
    """The sessions that hold advisory locks, by pid. They are read when a plan is made, not in each poll."""

    advisory: frozenset[int] = frozenset()
    """Sessions that hold an application's advisory lock. Keys of pgtop's own classes do not count."""
    own: frozenset[int] = frozenset()
    """Sessions of pgtop, told by three signs together: such a name, a key of pgtop's, and a trusted role.

    A role is trusted if it may terminate others or is this session's own. The name alone proves nothing,
    since every client chooses its own.
    """


NO_LOCKS: Final = HeldLocks()
"""No session is known to hold an advisory lock: none was asked for, or none was found."""


class Context(msgspec.Struct, frozen=True):
    """The facts that a judgement needs beside the backend."""

    now: int
    own_pid: int
    privileges: Privileges
    listeners: frozenset[BackendId]
    held: HeldLocks = NO_LOCKS
    stuck: frozenset[BackendId] = frozenset()
    """Sessions that could not be terminated a short while ago."""


def context_of(
    snapshot: Snapshot, held: HeldLocks = NO_LOCKS, stuck: frozenset[BackendId] = frozenset()
) -> Context:
    """Return the context of all judgements on one snapshot."""
    return Context(
        now=snapshot.taken_at,
        own_pid=snapshot.own_pid,
        privileges=snapshot.privileges,
        listeners=snapshot.listeners,
        held=held,
        stuck=stuck,
    )


class Scope(msgspec.Struct, frozen=True):
    """The sessions that a sweep may choose from: those that a list shows, or that findings explain."""

    sessions: frozenset[BackendId]
    words: str
    """The group and filter, or the findings; printable, such as `application web, filter state:idle`."""


class Victim(msgspec.Struct, frozen=True):
    """A session that a plan would terminate, or whose statement it would cancel."""

    backend: Backend
    reason: str
    guard: Guard
    warning: str = ""
    """The warning that a person should read before confirming; "" for none."""
    blocked_sessions: int | None = None
    """The number of sessions that wait for its locks, directly or behind others; None if that is unknown."""


class Spared(msgspec.Struct, frozen=True):
    """A session that a plan would act on but skips, with the reason."""

    backend: Backend
    spared_for: SparedFor
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """The action to take, decided beforehand and frozen: nothing is done that was not shown."""

    act: Act
    trigger: Trigger
    server: Server
    taken_at: int
    """The time of the snapshot, in microseconds by the server's clock."""
    total: int
    slots: int
    warn_at: float
    victims: tuple[Victim, ...]
    spared: tuple[Spared, ...]
    policy: ReapPolicy
    refusal: str = ""
    """The reason no plan can be made at all, with the remedy, printable; "" if one can."""
    permission: str = ""
    """The sessions that are skipped as not permitted, with the grant that helps, printable; "" for none."""
    interruptions: int = 0
    """The snapshot's number of interruptions. After one more, the plan is not carried out."""
    stalled_logins_seconds: float | None = None
    """Set in a plan for stalled logins alone: the seconds above which a client's login is stalled."""
    least_idle_seconds: float | None = None
    """The idle age that a plan made on the host asks for; None in the others, where the policy has it."""
    stall: Stall | None = None
    """The login stall in which the plan was made; None if there is none."""
    scope: Scope | None = None
    """The list that the plan is bound to; None if it covers all sessions."""
    eligible: int = 0
    """The number of sessions that a sweep by the same rules would terminate in all, in `scope` or not."""
    waiting_on_locks: int = 0
    """The number of sessions in the snapshot that are seen to wait for locks, behind whomever."""
    has_unseen_states: bool = False
    """True if the states of some sessions are unknown: more of them may wait for locks."""
    blocked_sessions: int | None = None
    """The number of sessions that wait behind any of the victims, each counted once; None if unknown."""
    unlisted: int = 0
    """The slots in `total` held by clients still connecting that the server does not list."""

    @property
    def forbidden(self) -> int:
        """The number of sessions that are skipped as not permitted."""
        return sum(each.spared_for is SparedFor.FORBIDDEN for each in self.spared)

    @property
    def leaves_forbidden(self) -> bool:
        """True if the plan falls short of its goal because the role may not terminate some sessions."""
        is_enough = self.trigger is Trigger.EMERGENCY and self.usage_after < self.warn_at
        return self.forbidden > 0 and not is_enough

    @property
    def usage_before(self) -> float:
        """Taken slots divided by slots in the snapshot."""
        return self.total / self.slots

    @property
    def usage_after(self) -> float:
        """The usage if all victims were gone and no new session had come."""
        leaving = sum(victim.backend.holds_slot for victim in self.victims)
        return (self.total - (leaving if self.act is Act.TERMINATE else 0)) / self.slots

    @property
    def may_block(self) -> bool:
        """Return whether a victim may hold a lock that others wait for.

        An idle session outside a transaction holds none but an advisory one, and a sweep skips those that do.
        Asking takes exclusive access to the server's lock manager: an emergency is not the time for it.
        """
        asked_for = self.trigger is Trigger.SELECTED or self.policy.include_advisory_locks
        return asked_for or any(victim.backend.state != IDLE for victim in self.victims)


LONGEST_QUERY_BYTES: Final = 8192
"""The most bytes of a victim's statement in the audit log, escapes included.

The 1 kB that a server keeps by default always fits, whatever characters it holds. A client with longer
statements can neither fill the log nor push older lines out of it by rotation.
"""


class Outcome(StrEnum):
    """The outcome for one victim."""

    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    """Its statement was cancelled; the session stays."""
    CHANGED = "changed"
    """It became active, ended, or is another session now: nothing was done to it."""
    DENIED = "denied"
    """The server does not allow it to this role, or the host does not allow it to this user."""
    SURVIVED = "survived"
    """It was signalled and was still there at the time limit."""
    FAILED = "failed"
    """It was not signalled."""
    UNKNOWN = "unknown"
    """The connection was lost after the signal."""


class Result(msgspec.Struct, frozen=True):
    """The outcome for one victim, with the server's message if there was one."""

    victim: Victim
    outcome: Outcome
    detail: str = ""
