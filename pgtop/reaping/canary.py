"""A plan in two steps: one session of each application, a pause and a look, and then those that stayed away.

The plan is made once. Both steps go through the one reaper: each has its audit lines before its signals, and
each session is looked at again before it is signalled.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.canary import CANARY_SECONDS, Seen, canaries, first_step, second_step
from pgtop.core.plan import DecidedBy, Plan
from pgtop.core.retaken_slots import totals
from pgtop.errors import PgtopError
from pgtop.reaping.reaper import Reaper, Report


class CanaryReport(msgspec.Struct, frozen=True):
    """The outcome of both steps."""

    report: Report
    """Both steps as one: its plan has as victims all that were signalled; the others are skipped."""
    seen: tuple[Seen, ...]
    first_usage: float
    """The usage after the first step."""
    problem: str = ""
    """The reason the second step was not taken, printable; "" if it was, or was not needed."""


async def run_canary(
    reaper: Reaper,
    plan: Plan,
    snapshot: Snapshot,
    *,
    decided_by: DecidedBy,
    poll: Callable[[], Awaitable[Snapshot]],
    pause_seconds: float = CANARY_SECONDS,
) -> CanaryReport:
    """Terminate one session of each application, and the others of those that do not come back.

    `snapshot` is the plan's, `poll` gives another one and raises PgtopError if it cannot. Raises what
    `Reaper.run` raises if nothing was done; whatever keeps the second step from being taken is told in the
    report.
    """
    chosen = canaries(plan, totals(snapshot))
    first = await reaper.run(first_step(plan, chosen), decided_by=decided_by)
    seen = tuple(Seen(each, result.outcome) for each, result in zip(chosen, first.results, strict=True))
    await asyncio.sleep(pause_seconds)
    second, problem = None, ""
    try:
        seen = _looked(seen, await poll(), plan)
        rest = second_step(plan, seen)
        if rest.victims:
            second = await reaper.run(rest, decided_by=decided_by)
    except PgtopError as error:
        problem = str(error)
        seen = tuple(msgspec.structs.replace(each, after=None) for each in seen)
    return _report(plan, first, second, seen, problem)


def _looked(seen: tuple[Seen, ...], snapshot: Snapshot, plan: Plan) -> tuple[Seen, ...]:
    """Return what was seen with the sessions that each application has now."""
    if snapshot.server.identity != plan.server.identity:
        raise PgtopError("another server answers now, or it was restarted")
    has = totals(snapshot)
    return tuple(msgspec.structs.replace(each, after=has[each.canary.application_name]) for each in seen)


def _report(
    plan: Plan, first: Report, second: Report | None, seen: tuple[Seen, ...], problem: str
) -> CanaryReport:
    results = first.results + (second.results if second is not None else ())
    outcomes = {each.victim.backend.id: each.outcome for each in results}
    seen = tuple(
        msgspec.structs.replace(
            each, others=tuple(outcomes[other.backend.id] for other in each.canary.others if each.goes_on)
        )
        for each in seen
    )
    done = msgspec.structs.replace(second_step(plan, seen), victims=tuple(each.victim for each in results))
    last = second or first
    report = Report(done, results, first.audit_problem or last.audit_problem, last.measured_usage)
    return CanaryReport(report, seen, first.usage_after, problem)
