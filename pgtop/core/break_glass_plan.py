"""The plans of `pgtop break-glass`, made from what a server's own host shows of its sessions.

The host shows less than the server: no application, no advisory lock, no LISTEN, and over Unix sockets only a
lower bound of the idle age. Sessions that cannot be judged for sure are skipped.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from pgtop.core.activity import DISABLED, IDLE, IN_TRANSACTION, STARTING, Backend, Snapshot
from pgtop.core.blocking import with_blocked
from pgtop.core.plan import (
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
from pgtop.core.policy import Verdict, at_most, just_enough, make_plan, never
from pgtop.core.session_labels import LOCAL, client
from pgtop.core.text import duration, plural, span

UNSEEN: Final = "not visible from the host: applications, advisory locks, LISTEN, pgtop on other hosts"
"""The facts that no plan of this kind can take into account."""


_MANY_LOGINS: Final = 5
_MANY_LOGINS_FRACTION: Final = 0.2


class Ask(msgspec.Struct, frozen=True):
    """The request that a plan answers, in addition to the policy. Ages are seconds."""

    count: int | None = None
    """The number of sessions to terminate; None for just enough to bring the usage below `warn_at`."""
    older_than_seconds: float | None = None
    """The idle age that is enough, over sockets of any kind.

    None means the policy's `emergency_idle_after_seconds`.
    """
    stalled_logins_seconds: float | None = None
    """The age above which a login is stalled, in a plan for stalled logins; None in a plan for sessions."""

    def least_seconds(self, policy: ReapPolicy) -> float:
        """Return the seconds that a session must have been idle, whatever the kind of its socket."""
        if self.older_than_seconds is not None:
            return self.older_than_seconds
        return policy.emergency_idle_after_seconds


def plan_break_glass(snapshot: Snapshot, policy: ReapPolicy, ask: Ask) -> Plan:
    """Plan to terminate just enough sessions, or `ask.count` of them, the longest idle first.

    A lower bound counts as the age: the session has been idle for at least as long. The policy's patterns for
    applications do not apply, neither as a filter nor as a protection.
    """
    context = _context(snapshot, snapshot.backends)
    verdicts = [
        _judge(each, policy, ask, context) for each in sorted(snapshot.backends, key=_longest_idle_first)
    ]
    plan = make_plan(snapshot, policy, Act.TERMINATE, Trigger.BREAK_GLASS, verdicts)
    plan = msgspec.structs.replace(plan, least_idle_seconds=ask.least_seconds(policy))
    if ask.count is None:
        plan = at_most(plan, just_enough(plan, plan.total), SparedFor.ENOUGH)
    else:
        plan = at_most(plan, ask.count, SparedFor.BEYOND_COUNT)
    return _none_blocked(at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST))


def _none_blocked(plan: Plan) -> Plan:
    """Return the plan with the fact that nobody waits behind its victims, where no session waits at all."""
    return plan if plan.waiting_on_locks or plan.has_unseen_states else with_blocked(plan, {})


def _context(snapshot: Snapshot, backends: Iterable[Backend]) -> Context:
    """Return the context of the judgements. pgtop's own sessions are those that the watcher names as such.

    The watcher knows them by their processes, so a client cannot pass for one by its name.
    """
    own = frozenset(each.pid for each in backends if each.is_pgtop)
    return context_of(snapshot, HeldLocks(own=own))


def plan_stalled_logins(
    snapshot: Snapshot, silent: tuple[Backend, ...], policy: ReapPolicy, ask: Ask
) -> Plan:
    """Plan to terminate the clients that have been logging in for too long, the longest first.

    `silent` are the clients that have sent nothing yet (`HostView.silent`). A client's user and database are
    unknown until it has sent them: before that, neither a filter nor a protection by these names matches it.
    Sessions are skipped if their process title does not show whether they have logged in.
    """
    limit = ask.stalled_logins_seconds or 0.0
    clients = [each for each in snapshot.backends if each.state in (STARTING, DISABLED)] + list(silent)
    context = _context(snapshot, clients)
    clients.sort(key=lambda each: (each.backend_start or 0, each.pid))
    verdicts = [_judge_login(each, policy, limit, context) for each in clients]
    plan = make_plan(snapshot, policy, Act.TERMINATE, Trigger.BREAK_GLASS, verdicts)
    plan = msgspec.structs.replace(plan, stalled_logins_seconds=limit)
    plan = at_most(plan, ask.count, SparedFor.BEYOND_COUNT)
    # A client that has not logged in holds no lock that others wait for.
    return with_blocked(at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST), {})


def stalled_logins_hint(clients: int, longest_seconds: float, slots: int | None) -> str:
    """Return a line that tells of many clients logging in, which a plan for idle sessions skips; "" for few.

    Many means a fifth of the slots, or five if the number of slots is unknown.

    >>> print(*stalled_logins_hint(12, 42.0, 17).split(": "), sep=":\\n")
    12 clients are logging in, for up to 42s:
    pgtop break-glass --stalled-logins 10s terminates the stalled ones
    >>> stalled_logins_hint(1, 42.0, 17)
    ''
    """
    if clients < (_MANY_LOGINS if slots is None else max(1, _MANY_LOGINS_FRACTION * slots)):
        return ""
    are = "is" if clients == 1 else "are"
    return (
        f"{plural(clients, 'client')} {are} logging in, for up to {duration(longest_seconds)}: "
        "pgtop break-glass --stalled-logins 10s terminates the stalled ones"
    )


def lock_queue_hint(snapshot: Snapshot, *, is_included: bool, has_room: bool = False) -> str:
    """Return a line that tells of sessions waiting on locks, which are not helped by terminating idle ones.

    "" if none waits. `is_included` tells that the plan may terminate sessions idle in transaction, `has_room`
    that usage is below the line, where it terminates none.
    """
    waiting, blocking = snapshot.waiting_on_locks, snapshot.counts.in_transaction
    if not waiting:
        return ""
    verb = "waits" if waiting == 1 else "wait"
    said = f"{plural(waiting, 'session')} {verb} for locks: terminating idle sessions does not help there"
    if has_room:
        return f"{said}. There is room to connect: b in the dashboard shows the session that blocks them"
    if is_included or not blocking:
        return said
    return (
        f"{said}. {plural(blocking, 'session')} idle in transaction may block them: "
        "pgtop break-glass --include-idle-in-transaction 30s terminates such sessions too"
    )


def is_enough(plan: Plan, ask: Ask) -> bool:
    """Return whether the plan does all that was asked for."""
    if ask.count is not None:
        return len(plan.victims) >= ask.count
    return plan.usage_after < plan.warn_at


def _longest_idle_first(backend: Backend) -> tuple[int, int, int]:
    return backend.state_change or 0, backend.backend_start or 0, backend.pid


def _judge(backend: Backend, policy: ReapPolicy, ask: Ask, context: Context) -> Verdict:
    """Judge one backend. Only an idle one can be a victim; one in a transaction only if that is asked for."""
    if backend.state not in (IDLE, DISABLED) and backend.state not in IN_TRANSACTION:
        return None
    age = backend.state_seconds(context.now)
    included = policy.include_idle_in_transaction_seconds if backend.state in IN_TRANSACTION else None
    least = ask.least_seconds(policy) if included is None else included
    if (age is not None and age < least) or not (
        policy.only.admit(backend) or policy.only.is_unsure_of(backend)
    ):
        return None
    spared = never(backend, policy, context)
    if spared is not None:
        return spared
    if backend.state == DISABLED:
        reason = "its state is unknown: the process title is cut off, frozen, or perhaps replication's"
        return Spared(backend, SparedFor.AGE_UNKNOWN, reason)
    if backend.state in IN_TRANSACTION and included is None:
        return Spared(backend, SparedFor.IN_TRANSACTION, f"{backend.state}")
    if policy.only.is_unsure_of(backend):
        reason = "user and database cannot be told apart: name both in full, --user and --database"
        return Spared(backend, SparedFor.UNSURE, reason)
    if age is None:
        return Spared(backend, SparedFor.AGE_UNKNOWN, "its idle age is unknown: its socket was not found")
    if backend.idle_at_least:
        return Victim(backend, f"did not run for {duration(age)} (> {span(least)})", Guard.STATE)
    return Victim(backend, f"{backend.state} for {duration(age)} (> {span(least)})", Guard.STATE)


def _judge_login(backend: Backend, policy: ReapPolicy, limit: float, context: Context) -> Verdict:
    age = backend.session_seconds(context.now)
    is_unsure = policy.only.is_unsure_of(backend)
    if age is None or age <= limit or not (policy.only.admit(backend) or is_unsure):
        return None
    spared = never(backend, policy, context)
    if spared is not None:
        return spared
    if backend.state == DISABLED:
        reason = "its title does not show whether it has logged in (update_process_title = off for its role?)"
        return Spared(backend, SparedFor.UNTOLD, reason)
    if is_unsure:
        return Spared(backend, SparedFor.UNSURE, "its user or database is not known for sure")
    origin = client(backend)
    where = " over a Unix socket" if origin == LOCAL else f" from {origin}" if origin else ""
    return Victim(backend, f"logging in for {duration(age)}{where}", Guard.STATE)
