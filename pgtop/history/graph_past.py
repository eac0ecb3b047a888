"""The past behind the graph, made from the counts of a recording."""

from collections.abc import Iterable
from typing import Final

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import History, Past
from pgtop.history.counts import Counts
from pgtop.history.recording import CountsRun

REACH_SECONDS: Final = 24 * 3600.0
"""Seconds that the graph reaches back."""

_EXACT_SECONDS: Final = 3600.0
"""Seconds before the end from which on all counts matter; of older ones the peaks and lows do."""


def past_of(runs: Iterable[CountsRun], cluster: str, until: int) -> Past | None:
    """Return the past of one cluster before a time (microseconds); None if there is none.

    The counts that several programs wrote of the same time make one past: of a moment the fuller stays.
    """
    exact_from = until - round(_EXACT_SECONDS * MICROSECONDS)
    counts: list[tuple[Counts, float]] = []
    for run in runs:
        if run.cluster == cluster:
            before = [each for each in run.counts if each.at < until]
            kept = before if before and before[-1].at >= exact_from else _outline(before)
            counts.extend((each, run.interval_seconds) for each in kept)
    counts.sort(key=lambda each: each[0].at)
    history = History()
    for each, interval_seconds in counts:
        sample = each.sample
        if sample is None:
            history.add_gap()
        else:
            history.add(sample, interval_seconds)
    return history.past()


def _outline(counts: list[Counts]) -> list[Counts]:
    """Return the ends, the peak and the low of some counts, and every poll without an answer, in order."""
    answered = [each for each in counts if each.slots]
    if len(answered) <= 4:
        return counts
    peak, low = (pick(answered, key=lambda each: each.total) for pick in (max, min))
    kept = (answered[0], answered[-1], peak, low)
    return [each for each in counts if not each.slots or any(each is one for one in kept)]
