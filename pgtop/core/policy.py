"""Who would be ended, who is spared, and why: pure judgement over one snapshot.

Nothing here ends anything: `reaper.py` carries a plan out, and only while each victim is still what it was
when the plan was made.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from pgtop.core.activity import ACTIVE, IDLE, IN_TRANSACTION, Backend, BackendId, Snapshot
from pgtop.core.labels import monitor_grant
from pgtop.core.outage import Limit
from pgtop.core.plan import (
    DEFAULT_PROTECTED_APPLICATIONS,
    NO_LOCKS,
    Act,
    Context,
    Guard,
    HeldLocks,
    Plan,
    ReapPolicy,
    Spared,
    SparedFor,
    Trigger,
    Victim,
    context_of,
)
from pgtop.core.stalled_logins import Stall, session_count, stall_of
from pgtop.core.text import duration, printable

__all__ = [
    "DEFAULT_PROTECTED_APPLICATIONS",
    "Act",
    "Context",
    "Guard",
    "HeldLocks",
    "Plan",
    "ReapPolicy",
    "Spared",
    "SparedFor",
    "Trigger",
    "Verdict",
    "Victim",
    "at_most",
    "is_emergency",
    "is_over_line",
    "judge",
    "just_enough",
    "make_plan",
    "never",
    "plan_cancel",
    "plan_emergency",
    "plan_reap",
    "plan_sweep",
    "plan_terminate",
]


_NO_TEXT: Final = "cannot tell {}: the name of its user or database is not valid text"

Verdict = Victim | Spared | None
"""What is judged of one backend; None: the plan does not mean it at all."""


def never(backend: Backend, policy: ReapPolicy, context: Context) -> Spared | None:
    """Why this backend may never be ended: by nature, or because somebody protects it."""
    if backend.pid == context.own_pid or backend.pid in context.held.own:
        return Spared(backend, SparedFor.OWN, "a session of pgtop")
    if backend.is_hidden:
        return Spared(backend, SparedFor.HIDDEN, "its state is hidden from this role")
    if backend.is_superuser and not context.is_superuser:
        return Spared(backend, SparedFor.SUPERUSER, "belongs to a superuser, and pgtop's role is not one")
    protection = policy.protected.protecting(backend)
    if protection is not None:
        kind = SparedFor.NAMED if protection.is_by_name else SparedFor.PROTECTED
        return Spared(backend, kind, protection.reason)
    if policy.protected.name_anybody and backend.is_no_text:
        return Spared(backend, SparedFor.UNSURE, _NO_TEXT.format("whether it is protected"))
    return None


def caution(backend: Backend, context: Context) -> Spared | None:
    """Why a session that is idle may be at work all the same: as a leader, a lock or a queue."""
    if backend.pid in context.held.advisory:
        return Spared(backend, SparedFor.ADVISORY_LOCK, "holds an advisory lock")
    if backend.id in context.listeners:
        return Spared(backend, SparedFor.LISTENING, "was seen running LISTEN")
    return None


def _asked_for(policy: ReapPolicy, context: Context) -> Context:
    """The context without what the policy includes: nothing then speaks against those sessions."""
    held = context.held
    if policy.include_advisory_locks:
        held = msgspec.structs.replace(held, advisory=frozenset())
    return msgspec.structs.replace(
        context, held=held, listeners=frozenset() if policy.include_listeners else context.listeners
    )


def judge(backend: Backend, policy: ReapPolicy, context: Context, older_than_seconds: float) -> Verdict:
    """Judges one backend for a sweep of sessions idle for longer than `older_than_seconds`."""
    age = backend.state_seconds(context.now)
    limit = older_than_seconds
    asked = policy.include_idle_in_transaction_seconds
    if backend.state in IN_TRANSACTION and asked is not None:
        limit = asked
    elif backend.state != IDLE and backend.state not in IN_TRANSACTION:
        return None
    if age is None or age <= limit or not policy.only.admit(backend):
        return None
    spared = never(backend, policy, context)
    if spared is None and policy.only.name_anybody and backend.is_no_text:
        spared = Spared(backend, SparedFor.UNSURE, _NO_TEXT.format("whether the filters include it"))
    if spared is None and backend.state in IN_TRANSACTION and asked is None:
        spared = Spared(backend, SparedFor.IN_TRANSACTION, f"{backend.state} for {duration(age)}")
    if spared is None and backend.id in context.stuck:
        spared = Spared(backend, SparedFor.STUCK, "survived an earlier attempt")
    spared = spared or caution(backend, context)
    return spared or Victim(
        backend, f"{backend.state} for {duration(age)} (> {duration(limit)})", Guard.STATE
    )


_REFUSAL: Final = (
    "the states of {hidden} sessions are hidden from role {role}, so pgtop can't see what is idle. "
    "Run: {grant}"
)


def is_emergency(snapshot: Snapshot, refused: bool = False) -> bool:
    """Whether no ordinary slot is left, or a login was just refused for want of one."""
    return refused or snapshot.counts.total >= snapshot.slots


def plan_reap(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    *,
    always: bool = False,
    refused: Limit | None = None,
    stuck: frozenset[BackendId] = frozenset(),
    may_try: bool = False,
) -> Plan:
    """The plan that the usage asks for, with its trigger; one of trigger `none` has no victims.

    `refused` is what refused a login. `always` asks for a sweep whatever the usage; on a full server the
    emergency's plan takes its place where the sweep would not bring the usage below the line: it ends the
    same sessions and some more.

    In a login stall (`core.stall`) the plan has no victims: one where `may_try`, and the sweep that `always`
    asks for.
    """
    if not snapshot.counts.exact:
        return plan_sweep(snapshot, policy, held, Trigger.NONE)
    stall = stall_of(snapshot, policy.warn_at, refused)
    if stall is not None:
        return _in_a_stall(snapshot, policy, held, stall, always=always, may_try=may_try, stuck=stuck)
    if is_emergency(snapshot, refused is not None and refused.is_the_servers):
        if always:
            sweep = plan_sweep(snapshot, policy, held, stuck=stuck)
            if sweep.victims and refused is None and sweep.usage_after < policy.warn_at:
                return sweep
        return plan_emergency(snapshot, policy, held, refused=refused, stuck=stuck)
    if always:
        return plan_sweep(snapshot, policy, held, stuck=stuck)
    if is_over_line(snapshot, policy):
        return plan_sweep(snapshot, policy, held, Trigger.USAGE, stuck)
    return make_plan(snapshot, policy, Act.TERMINATE, Trigger.NONE, [])


def is_over_line(snapshot: Snapshot, policy: ReapPolicy) -> bool:
    """Whether the sessions alone are above the line: clients that are still connecting are not swept."""
    return session_count(snapshot) / snapshot.slots > policy.warn_at


def _in_a_stall(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks,
    stall: Stall,
    *,
    always: bool,
    may_try: bool,
    stuck: frozenset[BackendId],
) -> Plan:
    """The plan of a login stall: one session's room tells whether it goes to whoever keeps connecting."""
    if always:
        plan = plan_sweep(snapshot, policy, held, stuck=stuck)
    elif may_try:
        older_than = policy.emergency_idle_after_seconds
        context = context_of(snapshot, held, stuck)
        plan = _sweep(snapshot, policy, context, older_than, Trigger.EMERGENCY)
        plan = at_most(plan, 1, SparedFor.STALL)
    else:
        plan = make_plan(snapshot, policy, Act.TERMINATE, Trigger.NONE, [])
    return msgspec.structs.replace(plan, stall=stall)


def plan_sweep(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    trigger: Trigger = Trigger.ALWAYS,
    stuck: frozenset[BackendId] = frozenset(),
) -> Plan:
    """A plan over all stale sessions, whatever the usage; the longest idle first."""
    context = context_of(snapshot, held, stuck)
    plan = _sweep(snapshot, policy, context, policy.idle_after_seconds, trigger)
    return at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST)


def plan_emergency(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    *,
    refused: Limit | None = None,
    stuck: frozenset[BackendId] = frozenset(),
) -> Plan:
    """A plan that makes just enough room: the longest idle first, until the sessions are below the line.

    Slots of clients that are still connecting are left out of that: ending sessions does not free them, and
    whatever is ended beyond the line goes to them. `refused` is what refuses logins: the plan then tells of a
    login stall.
    """
    older_than = policy.emergency_idle_after_seconds
    context = context_of(snapshot, held, stuck)
    plan = _sweep(snapshot, policy, context, older_than, Trigger.EMERGENCY)
    plan = msgspec.structs.replace(plan, stall=stall_of(snapshot, policy.warn_at, refused))
    needed = just_enough(plan, session_count(snapshot))
    return at_most(at_most(plan, needed, SparedFor.ENOUGH), policy.max_per_sweep, SparedFor.BEYOND_MOST)


def just_enough(plan: Plan, taken: int) -> int:
    """How many of the plan's victims bring the usage below its line, where `taken` slots are taken."""
    needed = 0
    while needed < len(plan.victims) and (taken - needed) / plan.slots >= plan.warn_at:
        needed += 1
    return needed


def at_most(plan: Plan, number: int | None, spared_for: SparedFor) -> Plan:
    """The plan with its first victims alone; the rest is spared for the reason given."""
    if number is None or len(plan.victims) <= number:
        return plan
    rest = tuple(Spared(victim.backend, spared_for, spared_for.value) for victim in plan.victims[number:])
    return msgspec.structs.replace(plan, victims=plan.victims[:number], spared=plan.spared + rest)


def _sweep(
    snapshot: Snapshot,
    policy: ReapPolicy,
    context: Context,
    older_than_seconds: float,
    trigger: Trigger,
) -> Plan:
    if not snapshot.counts.exact:
        role = snapshot.privileges.role
        refusal = _REFUSAL.format(
            hidden=snapshot.counts.hidden, role=printable(role), grant=monitor_grant(role)
        )
        return make_plan(snapshot, policy, Act.TERMINATE, trigger, [], refusal)
    context = _asked_for(policy, context)
    longest_idle_first = sorted(snapshot.backends, key=lambda each: (each.state_change or 0, each.pid))
    verdicts = [judge(backend, policy, context, older_than_seconds) for backend in longest_idle_first]
    return make_plan(snapshot, policy, Act.TERMINATE, trigger, verdicts)


def plan_terminate(
    snapshot: Snapshot,
    policy: ReapPolicy,
    selected: Iterable[BackendId],
    held: HeldLocks = NO_LOCKS,
) -> Plan:
    """A plan to end the selected sessions, whatever they do; sessions no longer listed are left out."""
    context = context_of(snapshot, held)

    def verdict(backend: Backend) -> Verdict:
        hint = caution(backend, context)
        return Victim(backend, "selected", guard_of(backend), hint.reason if hint else "")

    return _selected(snapshot, policy, selected, Act.TERMINATE, verdict, context)


def plan_cancel(
    snapshot: Snapshot, policy: ReapPolicy, selected: Iterable[BackendId], held: HeldLocks = NO_LOCKS
) -> Plan:
    """A plan to cancel the statements of the selected sessions; those that run none are spared."""

    def verdict(backend: Backend) -> Verdict:
        if backend.state != ACTIVE or backend.query_start is None:
            state = backend.state or "unknown state"
            return Spared(backend, SparedFor.NOT_ACTIVE, f"{state}, not running a query")
        return Victim(backend, "selected", Guard.STATEMENT)

    return _selected(snapshot, policy, selected, Act.CANCEL, verdict, context_of(snapshot, held))


def _selected(
    snapshot: Snapshot,
    policy: ReapPolicy,
    selected: Iterable[BackendId],
    act: Act,
    verdict: Callable[[Backend], Verdict],
    context: Context,
) -> Plan:
    meant = [snapshot.by_id[each] for each in dict.fromkeys(selected) if each in snapshot.by_id]
    verdicts = [never(backend, policy, context) or verdict(backend) for backend in meant]
    return make_plan(snapshot, policy, act, Trigger.SELECTED, verdicts)


def guard_of(backend: Backend) -> Guard:
    """What must still be true of a session that a person selected, when it is ended.

    An active one may have begun its next statement by then: it was chosen for what it is, not for that
    statement, and could otherwise never be ended.
    """
    if backend.state in IN_TRANSACTION and backend.xact_start is not None:
        return Guard.TRANSACTION
    if backend.state == IDLE or backend.state in IN_TRANSACTION:
        return Guard.STATE
    return Guard.SESSION


def make_plan(
    snapshot: Snapshot,
    policy: ReapPolicy,
    act: Act,
    trigger: Trigger,
    verdicts: Iterable[Verdict],
    refusal: str = "",
) -> Plan:
    """The plan over one snapshot, with the verdicts in the order of the acts."""
    verdicts = list(verdicts)
    return Plan(
        act=act,
        trigger=trigger,
        server=snapshot.server,
        taken_at=snapshot.taken_at,
        total=snapshot.counts.total,
        slots=snapshot.slots,
        warn_at=policy.warn_at,
        victims=tuple(verdict for verdict in verdicts if isinstance(verdict, Victim)),
        spared=tuple(verdict for verdict in verdicts if isinstance(verdict, Spared)),
        policy=policy,
        refusal=refusal,
        interruptions=snapshot.interruptions,
    )
