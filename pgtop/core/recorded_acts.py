"""The acts of a recording and of the audit log as one list, in which none is told twice."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.plan import Outcome
from pgtop.core.recorded import Acted

_SAME_SECONDS: Final = 120.0
"""Seconds between two accounts of one act that reached no session: the clocks of two hosts may differ."""
_DONE: Final = frozenset({Outcome.TERMINATED, Outcome.CANCELLED})


class ToldAct(msgspec.Struct, frozen=True):
    """An act on sessions: a plan that was carried out. Names are raw, as the recording has them."""

    at: int
    """Microseconds since the Unix epoch; by the server's clock if the recording has it."""
    act: str
    """A value of `core.plan.Act`, or of a newer pgtop."""
    trigger: str
    """A value of `core.plan.Trigger`, or of a newer pgtop."""
    decided_by: str | None
    """A value of `core.plan.DecidedBy`; None if it is not known."""
    operator: str
    face: str
    outcomes: tuple[tuple[str | None, int], ...]
    """The number of sessions with each outcome; None for those whose outcome was not written."""
    usage_before: float | None
    """A fraction of the slots, as `usage_after`; None if it is not known."""
    usage_after: float | None
    applications: tuple[tuple[str, int], ...]
    """The applications of the sessions that are gone, with the number of each, the largest first."""
    sessions: frozenset[tuple[int, int]] = frozenset()
    """The sessions as pid and backend_start (microseconds; 0 if it is not known)."""

    @property
    def gone(self) -> int:
        """The number of sessions that were terminated, or whose queries were cancelled."""
        return sum(number for outcome, number in self.outcomes if outcome in _DONE)

    @property
    def asked(self) -> int:
        """The number of sessions that the plan was for."""
        return sum(number for _, number in self.outcomes)


def told_act(acted: Acted) -> ToldAct:
    """Return an act of a recording."""
    return ToldAct(
        at=acted.at,
        act=acted.act,
        trigger=acted.trigger,
        decided_by=acted.decided_by,
        operator=acted.operator,
        face=acted.face,
        outcomes=tuple(acted.outcomes),
        usage_before=acted.usage_before,
        usage_after=acted.usage_after,
        applications=acted.applications,
        sessions=frozenset((each.pid, each.backend_start) for each in acted.backends),
    )


def all_acts(recorded: Sequence[Acted], audited: Iterable[ToldAct]) -> list[ToldAct]:
    """Return the acts of both in the order of their times.

    Of an act that both have, the recording's time stays, by the server's clock, and the audit log's operator,
    whose host it knows.
    """
    acts = [told_act(each) for each in recorded]
    left = list(range(len(acts)))
    others: list[ToldAct] = []
    for each in audited:
        number = next((place for place in left if _is_same(acts[place], each)), None)
        if number is None:
            others.append(each)
        else:
            left.remove(number)
            acts[number] = msgspec.structs.replace(acts[number], operator=each.operator)
    return sorted([*acts, *others], key=lambda each: each.at)


def _is_same(recorded: ToldAct, audited: ToldAct) -> bool:
    """Return whether two accounts are of one act: the same sessions, or none at the same time and usage."""
    if recorded.act != audited.act:
        return False
    if recorded.sessions:
        return not recorded.sessions.isdisjoint(audited.sessions)
    is_close = abs(recorded.at - audited.at) <= _SAME_SECONDS * MICROSECONDS
    is_alike = (recorded.trigger, recorded.face, recorded.asked) == (
        audited.trigger,
        audited.face,
        audited.asked,
    )
    return is_close and is_alike and not audited.gone
