"""The making of plans from one snapshot: which sessions to terminate, which to skip, and why.

Nothing here terminates a session. `reaping/reaper.py` carries a plan out, and acts on a victim only if it is
unchanged since the plan was made.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from pgtop.core.activity import ACTIVE, DISABLED, IDLE, IN_TRANSACTION, Backend, BackendId, Snapshot
from pgtop.core.outage import Limit
from pgtop.core.plan import (
    NO_LOCKS,
    Act,
    Context,
    Guard,
    HeldLocks,
    Plan,
    ReapPolicy,
    Scope,
    Spared,
    SparedFor,
    Trigger,
    Victim,
    context_of,
)
from pgtop.core.signal_rights import forbidden, permission_sentence, reaping_grants
from pgtop.core.stalled_logins import Stall, session_count, stall_of
from pgtop.core.text import duration, printable, span

_NO_TEXT: Final = "cannot tell {}: the name of its user or database is not valid text"

_UNTRACKED: Final = "its state is not tracked (track_activities = off)"

Verdict = Victim | Spared | None
"""The judgement of one backend; None if the plan does not concern it."""


def never(backend: Backend, policy: ReapPolicy, context: Context) -> Spared | None:
    """Return the reason that forbids terminating this backend in any plan; None if there is none."""
    if backend.pid == context.own_pid or backend.pid in context.held.own:
        return Spared(backend, SparedFor.OWN, "a session of pgtop")
    if backend.is_hidden:
        return Spared(backend, SparedFor.HIDDEN, "its state is hidden from this role")
    if backend.is_superuser and not context.privileges.is_superuser:
        return Spared(backend, SparedFor.SUPERUSER, "belongs to a superuser, and pgtop's role is not one")
    protection = policy.protected.protecting(backend)
    if protection is not None:
        kind = SparedFor.NAMED if protection.is_by_name else SparedFor.PROTECTED
        return Spared(backend, kind, protection.reason)
    if policy.protected.name_anybody and backend.is_not_text:
        return Spared(backend, SparedFor.UNSURE, _NO_TEXT.format("whether it is protected"))
    return None


def caution(backend: Backend, context: Context) -> Spared | None:
    """Return the reason an idle session may be in use all the same, a lock or a LISTEN; None for none."""
    if backend.pid in context.held.advisory:
        return Spared(backend, SparedFor.ADVISORY_LOCK, "holds an advisory lock")
    if backend.id in context.listeners:
        return Spared(backend, SparedFor.LISTENING, "was seen running LISTEN")
    return None


def _asked_for(policy: ReapPolicy, context: Context) -> Context:
    """Return the context without the lock holders and listeners that the policy includes in a sweep."""
    held = context.held
    if policy.include_advisory_locks:
        held = msgspec.structs.replace(held, advisory=frozenset())
    return msgspec.structs.replace(
        context, held=held, listeners=frozenset() if policy.include_listeners else context.listeners
    )


def judge(backend: Backend, policy: ReapPolicy, context: Context, older_than_seconds: float) -> Verdict:
    """Judge one backend for a sweep of sessions idle for longer than `older_than_seconds`."""
    age = backend.state_seconds(context.now)
    limit = older_than_seconds
    asked = policy.include_idle_in_transaction_seconds
    if backend.state in IN_TRANSACTION and asked is not None:
        limit = asked
    elif backend.state == DISABLED and policy.only.admit(backend):
        return never(backend, policy, context) or Spared(backend, SparedFor.UNTRACKED, _UNTRACKED)
    elif backend.state != IDLE and backend.state not in IN_TRANSACTION:
        return None
    if age is None or age <= limit or not policy.only.admit(backend):
        return None
    spared = never(backend, policy, context)
    if spared is None and policy.only.name_anybody and backend.is_not_text:
        spared = Spared(backend, SparedFor.UNSURE, _NO_TEXT.format("whether the filters include it"))
    if spared is None and backend.state in IN_TRANSACTION and asked is None:
        spared = Spared(backend, SparedFor.IN_TRANSACTION, f"{backend.state} for {duration(age)}")
    if spared is None and backend.id in context.stuck:
        spared = Spared(backend, SparedFor.STUCK, "survived an earlier attempt")
    spared = spared or caution(backend, context) or forbidden(backend, Act.TERMINATE, context.privileges)
    return spared or Victim(backend, f"{backend.state} for {duration(age)} (> {span(limit)})", Guard.STATE)


_REFUSAL: Final = (
    "the states of {hidden} sessions are hidden from role {role}, so pgtop can't see what is idle. "
    "Run: {grant}"
)


def is_emergency(snapshot: Snapshot, refused: bool = False) -> bool:
    """Return whether no ordinary slot is left, or a login was just refused for lack of one."""
    return refused or snapshot.is_full


def plan_reap(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    *,
    always: bool = False,
    refused: Limit | None = None,
    stuck: frozenset[BackendId] = frozenset(),
    may_try: bool = False,
    scope: Scope | None = None,
) -> Plan:
    """Make the plan that the usage asks for, with its trigger. A plan with trigger `none` has no victims.

    With a `scope`, only sessions of that list are considered; without any session in it there is nothing to
    do.

    `refused` is the limit that refused a login. `always` asks for a sweep whatever the usage. On a full
    server, the emergency's plan replaces a sweep that would not bring the usage below the line: it
    terminates the same sessions and more.

    In a login stall (`core.stalled_logins`) the plan has no victims; with `may_try` it has at most one, and
    with `always` it is the full sweep.
    """
    if not snapshot.counts.exact:
        return plan_sweep(snapshot, policy, held, Trigger.NONE)
    if scope is not None and not scope.sessions:
        return _nothing_to_do(snapshot, policy, scope)
    stall = stall_of(snapshot, policy.warn_at, refused)
    if stall is not None:
        return _in_a_stall(
            snapshot, policy, held, stall, always=always, may_try=may_try, stuck=stuck, scope=scope
        )
    if is_emergency(snapshot, refused is not None and refused.is_the_servers):
        if always:
            sweep = plan_sweep(snapshot, policy, held, stuck=stuck, scope=scope)
            if sweep.victims and refused is None and sweep.usage_after < policy.warn_at:
                return sweep
        return plan_emergency(snapshot, policy, held, refused=refused, stuck=stuck, scope=scope)
    if always:
        return plan_sweep(snapshot, policy, held, stuck=stuck, scope=scope)
    if is_over_line(snapshot, policy):
        return plan_sweep(snapshot, policy, held, Trigger.USAGE, stuck, scope)
    return _nothing_to_do(snapshot, policy, scope)


def _nothing_to_do(snapshot: Snapshot, policy: ReapPolicy, scope: Scope | None) -> Plan:
    plan = make_plan(snapshot, policy, Act.TERMINATE, Trigger.NONE, [])
    return msgspec.structs.replace(plan, scope=scope)


def is_over_line(snapshot: Snapshot, policy: ReapPolicy) -> bool:
    """Return whether the sessions alone are above the line: a sweep does not end clients still connecting."""
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
    scope: Scope | None,
) -> Plan:
    """Make the plan for a login stall. One session is a test: does its slot go to a connecting client?"""
    if always:
        plan = plan_sweep(snapshot, policy, held, stuck=stuck, scope=scope)
    elif may_try:
        older_than = policy.emergency_idle_after_seconds
        context = context_of(snapshot, held, stuck)
        plan = _sweep(snapshot, policy, context, older_than, Trigger.EMERGENCY, scope)
        plan = at_most(plan, 1, SparedFor.STALL)
    else:
        plan = _nothing_to_do(snapshot, policy, scope)
    return msgspec.structs.replace(plan, stall=stall)


def plan_sweep(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    trigger: Trigger = Trigger.ALWAYS,
    stuck: frozenset[BackendId] = frozenset(),
    scope: Scope | None = None,
) -> Plan:
    """Plan to terminate all stale sessions, whatever the usage, the longest idle first.

    With a `scope`, only sessions of that list are terminated, and only they are named as skipped.
    """
    context = context_of(snapshot, held, stuck)
    plan = _sweep(snapshot, policy, context, policy.idle_after_seconds, trigger, scope)
    return at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST)


def plan_emergency(
    snapshot: Snapshot,
    policy: ReapPolicy,
    held: HeldLocks = NO_LOCKS,
    *,
    refused: Limit | None = None,
    stuck: frozenset[BackendId] = frozenset(),
    scope: Scope | None = None,
) -> Plan:
    """Plan to terminate just enough sessions, the longest idle first, until the rest are below the line.

    Slots of clients still connecting are not counted: terminating sessions does not free them, and slots
    freed beyond the line would go to those clients. `refused` is the limit that refuses logins; with it the
    plan can tell of a login stall. With a `scope`, only sessions of that list are considered.
    """
    older_than = policy.emergency_idle_after_seconds
    context = context_of(snapshot, held, stuck)
    plan = _sweep(snapshot, policy, context, older_than, Trigger.EMERGENCY, scope)
    plan = msgspec.structs.replace(plan, stall=stall_of(snapshot, policy.warn_at, refused))
    needed = just_enough(plan, session_count(snapshot))
    return at_most(at_most(plan, needed, SparedFor.ENOUGH), policy.max_per_sweep, SparedFor.BEYOND_MOST)


def just_enough(plan: Plan, taken: int) -> int:
    """Return how many of the plan's victims bring the usage below its line if `taken` slots are taken."""
    needed = 0
    while needed < len(plan.victims) and (taken - needed) / plan.slots >= plan.warn_at:
        needed += 1
    return needed


def at_most(plan: Plan, number: int | None, spared_for: SparedFor) -> Plan:
    """Return the plan with its first `number` victims (None: all); the others are skipped as `spared_for`."""
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
    scope: Scope | None = None,
) -> Plan:
    if not snapshot.counts.exact:
        role = snapshot.privileges.role
        refusal = _REFUSAL.format(
            hidden=snapshot.counts.hidden, role=printable(role), grant=reaping_grants(snapshot)
        )
        return make_plan(snapshot, policy, Act.TERMINATE, trigger, [], refusal)
    context = _asked_for(policy, context)
    longest_idle_first = sorted(snapshot.backends, key=lambda each: (each.state_change or 0, each.pid))
    judged = [(each.id, judge(each, policy, context, older_than_seconds)) for each in longest_idle_first]
    considered = [verdict for id_, verdict in judged if scope is None or id_ in scope.sessions]
    plan = make_plan(snapshot, policy, Act.TERMINATE, trigger, considered)
    eligible = sum(isinstance(verdict, Victim) for _, verdict in judged)
    return msgspec.structs.replace(plan, scope=scope, eligible=eligible)


DIAGNOSED: Final = "diagnosis: "
"""The beginning of the reason of a plan that was made from a finding: the same for all its sessions."""
SELECTED: Final = "selected"
"""The reason for what a person selected one by one."""


def plan_terminate(
    snapshot: Snapshot,
    policy: ReapPolicy,
    selected: Iterable[BackendId],
    held: HeldLocks = NO_LOCKS,
    reason: str = SELECTED,
) -> Plan:
    """Plan to terminate the selected sessions, whatever they do. Sessions no longer listed are left out."""
    context = context_of(snapshot, held)

    def verdict(backend: Backend) -> Verdict:
        hint = caution(backend, context)
        return Victim(backend, reason, guard_of(backend), hint.reason if hint else "")

    return _selected(snapshot, policy, selected, Act.TERMINATE, verdict, context)


def plan_cancel(
    snapshot: Snapshot,
    policy: ReapPolicy,
    selected: Iterable[BackendId],
    held: HeldLocks = NO_LOCKS,
    reason: str = SELECTED,
) -> Plan:
    """Plan to cancel the statements of the selected sessions, the longest running first.

    Those that run none are skipped.
    """

    def verdict(backend: Backend) -> Verdict:
        if backend.state != ACTIVE or backend.query_start is None:
            state = backend.state or "unknown state"
            return Spared(backend, SparedFor.NOT_ACTIVE, f"{state}, not running a query")
        return Victim(backend, reason, Guard.STATEMENT)

    plan = _selected(snapshot, policy, selected, Act.CANCEL, verdict, context_of(snapshot, held))
    longest_running_first = sorted(plan.victims, key=lambda each: each.backend.query_start or 0)
    return msgspec.structs.replace(plan, victims=tuple(longest_running_first))


def _selected(
    snapshot: Snapshot,
    policy: ReapPolicy,
    selected: Iterable[BackendId],
    act: Act,
    verdict: Callable[[Backend], Verdict],
    context: Context,
) -> Plan:
    meant = [snapshot.by_id[each] for each in dict.fromkeys(selected) if each in snapshot.by_id]
    verdicts = [_permitted(never(each, policy, context) or verdict(each), act, context) for each in meant]
    return make_plan(snapshot, policy, act, Trigger.SELECTED, verdicts)


def _permitted(verdict: Verdict, act: Act, context: Context) -> Verdict:
    if not isinstance(verdict, Victim):
        return verdict
    return forbidden(verdict.backend, act, context.privileges) or verdict


def guard_of(backend: Backend) -> Guard:
    """Return the guard for terminating a session that a person selected.

    An active session may have begun its next statement by then. It was selected as a session, not for one
    statement; if its statement were compared, a busy session could never be terminated.
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
    """Make a plan from one snapshot. The order of the verdicts is the order of the actions."""
    verdicts = list(verdicts)
    victims = tuple(verdict for verdict in verdicts if isinstance(verdict, Victim))
    spared = tuple(verdict for verdict in verdicts if isinstance(verdict, Spared))
    lacking = [each.backend for each in spared if each.spared_for is SparedFor.FORBIDDEN]
    return Plan(
        act=act,
        trigger=trigger,
        server=snapshot.server,
        taken_at=snapshot.taken_at,
        total=snapshot.taken,
        unlisted=snapshot.unlisted,
        slots=snapshot.slots,
        warn_at=policy.warn_at,
        victims=victims,
        spared=spared,
        policy=policy,
        refusal=refusal,
        permission=permission_sentence(snapshot, lacking, act),
        interruptions=snapshot.interruptions,
        waiting_on_locks=snapshot.waiting_on_locks,
        has_unseen_states=bool(snapshot.counts.hidden or snapshot.counts.disabled),
    )
