"""The load of a server over time, from the counts that one or several programs recorded of it.

Times are microseconds by the server's clock. It may be set back, and programs may have recorded the same
time: of each moment the fullest count stays, so that no moment counts twice.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import msgspec

from pgtop.core.activity import MICROSECONDS

BRIDGED_SECONDS: Final = 30.0
"""Seconds between two polls up to which the first one is taken to last until the second."""
_BRIDGED_INTERVALS: Final = 3.0
_OPEN_TRACKS: Final = 8
"""The programs that are taken to record at once, at most."""


class PollCounts(Protocol):
    """The counts of one poll, as a recording keeps them."""

    @property
    def at(self) -> int:
        """The time of the poll."""

    @property
    def total(self) -> int:
        """The sessions that take a slot."""

    @property
    def slots(self) -> int:
        """The connections that ordinary roles could use; 0 for a poll without an answer."""

    @property
    def refused(self) -> bool:
        """True if new connections were refused for lack of a slot."""


class PollRun(Protocol):
    """The counts of polls that one program made, one after the other; their times do not fall."""

    @property
    def counts(self) -> Sequence[PollCounts]:
        """The counts of each poll."""

    @property
    def cluster(self) -> str:
        """The system identifier of the cluster that answered; "" if it is not known."""

    @property
    def interval_seconds(self) -> float:
        """The intended seconds between two polls."""


class Level(StrEnum):
    """The state of a server in respect of its slots."""

    FULL = "full"
    """No slot is left, or new connections are refused for lack of one."""
    OVER = "over"
    """On or above the line."""
    BELOW = "below"
    NO_ANSWER = "no_answer"


class Load(msgspec.Struct, frozen=True, gc=False):
    """A time in which the load stayed as it was. Its end is not part of it."""

    start: int
    end: int
    total: int
    slots: int
    """0 where the server did not answer."""
    refused: bool = False
    cluster: str = ""
    """The system identifier of the cluster that answered; "" if it is not known."""

    @property
    def seconds(self) -> float:
        """The seconds that it lasted."""
        return (self.end - self.start) / MICROSECONDS

    @property
    def usage(self) -> float | None:
        """Taken slots divided by slots; None without an answer."""
        return self.total / self.slots if self.slots else None

    @property
    def is_full(self) -> bool:
        """True if no slot was left, or new connections were refused for lack of one."""
        return self.refused or (self.slots > 0 and self.total >= self.slots)

    def level(self, warn_at: float) -> Level:
        """Return its level in respect of the line `warn_at`, a fraction of the slots."""
        if self.is_full:
            return Level.FULL
        if self.usage is None:
            return Level.NO_ANSWER
        return Level.OVER if self.usage >= warn_at else Level.BELOW


class _Poll(NamedTuple):
    counts: PollCounts
    interval_seconds: float
    cluster: str

    @property
    def bridged(self) -> int:
        """The longest time until the next poll, in microseconds, that is not a gap."""
        return round(max(BRIDGED_SECONDS, _BRIDGED_INTERVALS * self.interval_seconds) * MICROSECONDS)


def loads_of(runs: Iterable[PollRun]) -> list[Load]:
    """Return the load over time, without overlaps, in order. Where nothing was recorded there is none.

    `runs` are in the order in which they were written. A poll lasts until the next one, or for one interval
    if that is missing.
    """
    loads = [load for track in _tracks(runs) for load in _lasting(track)]
    return list(_joined(_fullest(sorted(loads, key=lambda each: each.start))))


def _tracks(runs: Iterable[PollRun]) -> list[list[_Poll]]:
    """Return the polls in tracks whose times do not fall: a run goes on with the track that it follows."""
    tracks: list[list[_Poll]] = []
    for run in runs:
        polls = [_Poll(each, run.interval_seconds, run.cluster) for each in run.counts]
        if not polls:
            continue
        begin = polls[0].counts.at
        followed = [
            each for each in tracks[-_OPEN_TRACKS:] if 0 <= begin - each[-1].counts.at <= each[-1].bridged
        ]
        if followed:
            max(followed, key=lambda each: each[-1].counts.at).extend(polls)
        else:
            tracks.append(polls)
    return tracks


def _lasting(track: list[_Poll]) -> Iterator[Load]:
    for poll, following in pairwise([*track, None]):
        if poll is None:
            continue
        counts = poll.counts
        end = counts.at + round(poll.interval_seconds * MICROSECONDS)
        if following is not None and following.counts.at - counts.at <= poll.bridged:
            end = following.counts.at
        if end > counts.at:
            yield Load(counts.at, end, counts.total, counts.slots, counts.refused, poll.cluster)


def _fullest(loads: list[Load]) -> Iterator[Load]:
    """Yield the fullest load of each moment; one with an answer stands for one without."""
    if all(one.end <= other.start for one, other in pairwise(loads)):
        yield from loads  # as long as one program records
        return
    edges = sorted({edge for each in loads for edge in (each.start, each.end)})
    lasting: list[tuple[tuple[bool, float], int]] = []
    number = 0
    for start, end in pairwise(edges):
        while number < len(loads) and loads[number].start <= start:
            usage = loads[number].usage
            heappush(lasting, ((not loads[number].is_full, 1.0 if usage is None else -usage), number))
            number += 1
        while lasting and loads[lasting[0][1]].end <= start:
            heappop(lasting)
        if lasting:
            yield msgspec.structs.replace(loads[lasting[0][1]], start=start, end=end)


def _joined(loads: Iterable[Load]) -> Iterator[Load]:
    """Yield the loads with those that follow each other and are alike as one."""
    last: Load | None = None
    for load in loads:
        if last is not None and last.end == load.start and _is_alike(last, load):
            last = msgspec.structs.replace(last, end=load.end)
            continue
        if last is not None:
            yield last
        last = load
    if last is not None:
        yield last


def _is_alike(one: Load, other: Load) -> bool:
    return (one.total, one.slots, one.refused, one.cluster) == (
        other.total,
        other.slots,
        other.refused,
        other.cluster,
    )


def within(loads: Sequence[Load], start: int, end: int) -> list[Load]:
    """Return the loads between two times, those at the edges in part. They are in order, without overlaps."""
    first = bisect_right(loads, start, key=lambda each: each.end)
    last = bisect_left(loads, end, key=lambda each: each.start)
    inner = list(loads[first:last])
    if inner:
        inner[0] = msgspec.structs.replace(inner[0], start=max(inner[0].start, start))
        inner[-1] = msgspec.structs.replace(inner[-1], end=min(inner[-1].end, end))
    return inner


class Gap(NamedTuple):
    """A time of which nothing was recorded."""

    start: int
    end: int


def gaps(loads: Sequence[Load], start: int, end: int) -> list[Gap]:
    """Return the times between two others of which nothing was recorded, in order."""
    inner = within(loads, start, end)
    edges = [start, *(edge for each in inner for edge in (each.start, each.end)), end]
    return [Gap(begin, until) for begin, until in zip(edges[::2], edges[1::2], strict=True) if until > begin]
