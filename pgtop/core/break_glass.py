"""Whom `pgtop break-glass` would end, and why: judgement over what a server's own host shows of it.

The host tells less than the server: no application, no advisory lock, no LISTEN, and over Unix sockets an
idle age that is only a lower bound. What it cannot tell for sure is spared.
"""

from typing import Final

import msgspec

from pgtop.core.activity import DISABLED, IDLE, IN_TRANSACTION, Backend, Snapshot
from pgtop.core.plan import (
    Act,
    Context,
    Guard,
    Plan,
    ReapPolicy,
    Spared,
    SparedFor,
    Trigger,
    Victim,
    context_of,
)
from pgtop.core.policy import Verdict, at_most, just_enough, make_plan, never
from pgtop.core.text import duration

UNSEEN: Final = "not seen from here: applications, advisory locks, LISTEN, pgtops on other hosts"
"""What no plan of this kind can take into account."""


class Ask(msgspec.Struct, frozen=True):
    """What was asked for beside the policy. Ages are seconds."""

    count: int | None = None
    """How many to end; None: until the usage is below the policy's `warn_at`."""
    older_than_seconds: float | None = None
    """How long idle is enough, on sockets of any kind.

    None: over TCP longer than the policy's `emergency_idle_after_seconds`, and over Unix sockets all that
    did not run while they were watched.
    """
    watched_seconds: float = 3.0
    """How long Unix sockets have to be watched where `older_than_seconds` is None."""

    def least_seconds(self, backend: Backend, policy: ReapPolicy) -> float:
        """How long this backend has to be idle."""
        if self.older_than_seconds is not None:
            return self.older_than_seconds
        return self.watched_seconds if backend.idle_at_least else policy.emergency_idle_after_seconds


def plan_break_glass(snapshot: Snapshot, policy: ReapPolicy, ask: Ask) -> Plan:
    """A plan that makes just enough room, or ends just so many: the longest idle first.

    Ages that are lower bounds stand behind all that are known. The policy's applications cannot be applied,
    neither as a filter nor as a protection.
    """
    context = context_of(snapshot)
    verdicts = [
        _judge(each, policy, ask, context) for each in sorted(snapshot.backends, key=_longest_idle_first)
    ]
    plan = make_plan(snapshot, policy, Act.TERMINATE, Trigger.BREAK_GLASS, verdicts)
    if ask.count is None:
        plan = at_most(plan, just_enough(plan, plan.total), SparedFor.ENOUGH)
    else:
        plan = at_most(plan, ask.count, SparedFor.BEYOND_COUNT)
    return at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST)


def is_enough(plan: Plan, ask: Ask) -> bool:
    """Whether the plan does all that was asked for."""
    if ask.count is not None:
        return len(plan.victims) >= ask.count
    return plan.usage_after < plan.warn_at


def _longest_idle_first(backend: Backend) -> tuple[bool, int, int, int]:
    return backend.idle_at_least, backend.state_change or 0, backend.backend_start or 0, backend.pid


def _judge(backend: Backend, policy: ReapPolicy, ask: Ask, context: Context) -> Verdict:
    """Judges one backend; only one that is `idle` can be a victim."""
    if backend.state not in (IDLE, DISABLED) and backend.state not in IN_TRANSACTION:
        return None
    age = backend.state_seconds(context.now)
    least = ask.least_seconds(backend, policy)
    if (age is not None and age < least) or not (
        policy.only.admit(backend) or policy.only.is_unsure_of(backend)
    ):
        return None
    spared = never(backend, policy, context)
    if spared is not None:
        return spared
    if backend.state == DISABLED:
        return Spared(backend, SparedFor.AGE_UNKNOWN, "its title is cut off: what it does is not known")
    if backend.state in IN_TRANSACTION:
        return Spared(backend, SparedFor.IN_TRANSACTION, f"{backend.state}")
    if _is_no_text(backend) and policy.protected.name_anybody:
        reason = "its user or database is no text here, so nobody can say whether it is protected"
        return Spared(backend, SparedFor.UNSURE, reason)
    if policy.only.is_unsure_of(backend):
        reason = "user and database cannot be told apart: name both in full, --user and --database"
        return Spared(backend, SparedFor.UNSURE, reason)
    if age is None:
        return Spared(backend, SparedFor.AGE_UNKNOWN, "its socket was not found: its idle age is unknown")
    if backend.idle_at_least:
        return Victim(backend, f"did not run for {duration(age)} while watched", Guard.STATE)
    return Victim(backend, f"idle for {duration(age)} (> {duration(least)})", Guard.STATE)


def _is_no_text(backend: Backend) -> bool:
    """True where a name holds bytes that are no UTF-8, as of a database in another encoding."""
    return "\ufffd" in f"{backend.usename}{backend.datname}"
