"""The past behind the graph, made from the counts of a recording."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import History, Past
from pgtop.history.counts import Counts
from pgtop.history.order import eras
from pgtop.history.recording import CountsRun

REACH_SECONDS: Final = 24 * 3600.0
"""Seconds that the graph reaches back."""

_EXACT_SECONDS: Final = 3600.0
"""Seconds before the end from which on all counts matter; of older ones the peaks and lows do."""


_OUTLINED: Final = 10 * MICROSECONDS


class _Seen(NamedTuple):
    """The counts of one poll, and what is known of their writer."""

    counts: Counts
    interval_seconds: float
    writer: int


def past_of(runs: Iterable[CountsRun], cluster: str, until: int) -> Past | None:
    """Return the past of one cluster before a time (microseconds); None if there is none.

    The counts that several programs wrote of the same time make one past: of a moment the fuller stays.
    What was seen before the server's clock was set back moves back with it.
    """
    mine = (run for run in runs if run.cluster == cluster and run.counts)
    told: list[list[_Seen]] = []
    for era in reversed(list(eras(mine, lambda run: (run.writer, run.counts[-1].at)))):
        # By the clock as it is set now, what is later than the present is not of this era.
        before = _seen_in(era, until if not told else None)
        if before:
            told.append(before)
    history = History()
    for each in reversed(told):
        _add(history, each)
    return history.past()


def _seen_in(era: list[CountsRun], until: int | None) -> list[_Seen]:
    newest = max(run.counts[-1].at for run in era)
    exact_from = (newest if until is None else until) - round(_EXACT_SECONDS * MICROSECONDS)
    seen: list[_Seen] = []
    for run in era:
        before = [each for each in run.counts if until is None or each.at < until]
        kept = before if before and before[-1].at >= exact_from else _outline(before)
        seen.extend(_Seen(each, run.interval_seconds, run.writer) for each in kept)
    seen.sort(key=lambda each: each.counts.at)
    return seen


def _add(history: History, seen: list[_Seen]) -> None:
    for number, each in enumerate(seen):
        sample = each.counts.sample
        if sample is not None:
            history.add(sample, each.interval_seconds)
        elif not any(
            _is_answered(each, other)
            for other in (*seen[number - 1 : number], *seen[number + 1 : number + 2])
        ):
            history.add_gap()


def _is_answered(failed: _Seen, other: _Seen) -> bool:
    """Return whether the server answered another program about when a poll failed."""
    apart = abs(failed.counts.at - other.counts.at)
    is_near = apart <= failed.interval_seconds * MICROSECONDS
    return other.writer != failed.writer and other.counts.slots > 0 and is_near


def _outline(counts: list[Counts]) -> list[Counts]:
    """Return the ends, the peak and the low of each ten seconds, and all polls without an answer."""
    kept: list[Counts] = []
    for _, group in groupby(counts, key=lambda each: each.at // _OUTLINED):
        some = list(group)
        answered = [each for each in some if each.slots]
        if len(answered) > 4:
            peak, low = (pick(answered, key=lambda each: each.total) for pick in (max, min))
            told = (answered[0], answered[-1], peak, low)
            some = [each for each in some if not each.slots or any(each is one for one in told)]
        kept.extend(some)
    return kept
