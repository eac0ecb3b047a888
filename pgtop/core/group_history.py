"""Each group's sessions over the last minutes, bounded. Time comes with a sample, by the server's clock."""

from collections import deque
from collections.abc import Hashable, Mapping
from heapq import nlargest
from typing import Final, Generic, TypeVar

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.timeline import Timeline

GROUP_EVERY_SECONDS: Final = 15
GROUP_SPAN_SECONDS: Final = 15 * 60
GROUP_KEYS: Final = 500
"""How many groups of one moment are kept, the biggest."""

Key = TypeVar("Key", bound=Hashable)


class _GroupSample(msgspec.Struct, Generic[Key], frozen=True):
    at: int
    totals: dict[Key, int]
    whole: bool
    """False where groups beyond the biggest were left out: one that is missing was small, not absent."""


class GroupHistory(Generic[Key]):
    """How many client backends each group had over the last 15 minutes.

    One sample each 15 s, and the latest: at most 62 samples of at most 500 groups, the biggest.
    """

    def __init__(self) -> None:
        self._clock = Timeline()
        self._samples: deque[_GroupSample[Key]] = deque(maxlen=GROUP_SPAN_SECONDS // GROUP_EVERY_SECONDS + 1)
        self._current: _GroupSample[Key] | None = None

    def add(self, at: int, totals: Mapping[Key, int]) -> None:
        """Adds each group's total at `at` (microseconds, the server's clock)."""
        moment = self._clock.take(at)
        if len(totals) <= GROUP_KEYS:
            self._current = _GroupSample(moment, dict(totals), True)
        else:
            biggest = nlargest(GROUP_KEYS, totals.items(), key=lambda item: item[1])
            self._current = _GroupSample(moment, dict(biggest), False)
        every = GROUP_EVERY_SECONDS * MICROSECONDS
        if not self._samples or moment // every != self._samples[-1].at // every:
            self._samples.append(self._current)

    def compared_with(self, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """The moment `change` compares with, in microseconds; None while there is nothing to compare.

        The oldest sample of the last `seconds`: pgtop may have been opened a minute ago.
        """
        base = self._base(now, seconds)
        return None if base is None else self._clock.shown(base.at)

    def change(self, key: Key, total: int, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """How many more client backends (or fewer, below 0) `total`, the group's at `now`, is than before.

        None where that is unknown: nothing to compare with yet, or the group was too small then to be kept.
        What came after `now` does not count, as while paused.
        """
        base = self._base(now, seconds)
        before = _total(base, key) if base is not None else None
        return None if before is None else total - before

    def series(self, key: Key) -> list[int]:
        """The group's totals over the last 15 minutes, oldest first, the latest last."""
        samples = list(self._samples)
        if self._current is not None and (not samples or samples[-1] is not self._current):
            samples.append(self._current)
        return [sample.totals.get(key, 0) for sample in samples]

    def _base(self, now: int, seconds: float) -> _GroupSample[Key] | None:
        moment = self._clock.moment(now)
        earliest = moment - int(seconds * MICROSECONDS)
        oldest = next((sample for sample in self._samples if sample.at >= earliest), None)
        return oldest if oldest is not None and oldest.at < moment else None


def _total(sample: _GroupSample[Key], key: Key) -> int | None:
    return sample.totals.get(key, 0 if sample.whole else None)
