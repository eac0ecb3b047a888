"""Playback: a recording with a position in it, and all that a screen shows of the poll there.

It draws nothing and reads no clock. It reads files: a screen runs it in a thread, one call at a time.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.event_marks import Mark
from pgtop.core.outage import Outage
from pgtop.core.recorded import Acted, Seen, without_statements
from pgtop.core.recorded_stops import Stop, marks_of, next_stop, previous_stop, stops_of
from pgtop.core.sample_history import History, Sample, Since, held_since, is_gap
from pgtop.core.session_groups import (
    GROUP_EVERY_SECONDS,
    GROUP_SPAN_SECONDS,
    GroupBy,
    GroupHistory,
    GroupKey,
    group,
)
from pgtop.errors import HistoryError
from pgtop.history.recording import Position, Recording
from pgtop.settings.defaults_and_bounds import Config

WARM_UP_SECONDS: Final = 900.0
"""The recorded time before a position that a diagnosis there has to have seen."""
WARM_UP_EVERY_SECONDS: Final = 10.0
"""The least time between two polls of the warm-up."""
_NEAR: Final = 60 * MICROSECONDS
"""The recorded time that is played poll by poll on the way to a later position; a longer one is a jump."""
_STEPS_BACK: Final = 20
"""The polls before the end of a jump that are read with it, so that a step back is there at once."""
_POLLS_KEPT: Final = 200
"""The polls that are kept as they were shown."""
ZOOMS: Final = (None, 3600.0, 900.0)
"""The seconds of the recording that the graph shows around the position; None for all of it."""
_BUCKETS: Final = 2_000
"""The moments that the graph tells apart."""


class GraphSpan(NamedTuple):
    """The stretch of a recording that the graph shows."""

    history: History
    begin: int
    """Microseconds since the Unix epoch by the server's clock."""
    end: int
    is_whole: bool
    """True if it is the whole recording."""

    @property
    def seconds(self) -> float:
        """The length of the stretch."""
        return (self.end - self.begin) / MICROSECONDS


class Gap(NamedTuple):
    """A time of which nothing was recorded; microseconds by the server's clock."""

    begin: int
    end: int


class PlayedPoll(NamedTuple):
    """The poll at one position, with all that the screen showed of it."""

    position: Position
    number: int
    """Its number in the recording: 1 is the first."""
    seen: Seen
    snapshot: Snapshot | None
    """The poll's snapshot; in an outage the last one before it, None if there was none."""
    findings: tuple[Finding, ...] = ()
    forecast: Forecast | None = None
    over_since: Since | None = None
    """The time since which usage has been over the line; None below it."""
    stops: tuple[Stop, ...] = ()
    """The events of this poll: those before the next one."""
    gap: Gap | None = None
    """The time before this poll of which nothing was recorded; None if the one before it was in time."""
    next_at: int | None = None
    """The time of the poll that follows; None at the end."""
    earlier: tuple[Snapshot, ...] = ()
    """Snapshots of the last minutes, oldest first, for the change of the groups."""
    graph: GraphSpan = GraphSpan(History(), 0, 0, is_whole=True)

    @property
    def outage(self) -> Outage | None:
        """The outage at that time; None if the poll had an answer."""
        return self.seen.result if isinstance(self.seen.result, Outage) else None

    @property
    def is_before_gap(self) -> bool:
        """True if nothing was recorded between this poll and the next for longer than polls are apart."""
        apart = 0.0 if self.next_at is None else (self.next_at - self.seen.at) / MICROSECONDS
        return is_gap(apart, self.seen.interval_seconds)

    @property
    def age_seconds(self) -> float:
        """The age of the snapshot at that time."""
        return 0.0 if self.snapshot is None else max(0, self.seen.at - self.snapshot.taken_at) / MICROSECONDS


class _Counted(NamedTuple):
    """The counts of one poll, and the intended time to the next."""

    sample: Sample | None
    interval_seconds: float


class _Trail:
    """All that was seen up to a position, as far as the diagnosis and the groups look back."""

    def __init__(self, warn_at: float, thresholds: Thresholds) -> None:
        self.diagnosis = DiagnosisOverTime(warn_at, thresholds)
        self.snapshot: Snapshot | None = None
        self.findings: tuple[Finding, ...] = ()
        self.earlier: deque[Snapshot] = deque(maxlen=int(GROUP_SPAN_SECONDS / GROUP_EVERY_SECONDS) + 1)

    def take(self, seen: Seen, acts: Sequence[Acted]) -> None:
        """Take in a poll, and the acts since the one before it."""
        if not isinstance(seen.result, Snapshot):
            return
        before, snapshot = self.snapshot, seen.result
        if before is not None:
            ended = [before.by_id[each] for act in acts for each in act.backends if each in before.by_id]
            if ended:
                self.diagnosis.swept(ended)
        self.findings = self.diagnosis.take(snapshot, seen.facts)
        self.snapshot = snapshot
        every = GROUP_EVERY_SECONDS * MICROSECONDS
        if not self.earlier or snapshot.taken_at - self.earlier[-1].taken_at >= every:
            self.earlier.append(snapshot)


class Playback:
    """A recording that is played: positions to go to, and what was on the screen there."""

    def __init__(
        self,
        recording: Recording,
        warn_at: float,
        thresholds: Thresholds = STANDARD,
        *,
        hides_queries: bool = False,
    ) -> None:
        """Read the counts and the events. `warn_at` is a fraction of the slots.

        `hides_queries` leaves the sessions without their statements. Raises HistoryError if no file can be
        read, IndexError if no poll was recorded.
        """
        self.recording = recording
        self.hides_queries = hides_queries
        self.warn_at = warn_at
        self.zoom: float | None = None
        """The seconds of the recording that the graph shows; None for all of it. One of ZOOMS."""
        self.progress = 0.0
        """The part of a long seek that is done, a fraction."""
        self._thresholds = thresholds
        self._begin, self._end = recording.first_at, recording.last_at
        events = recording.events(self._begin, self._end + MICROSECONDS * 60)
        self.stops = stops_of(events, warn_at)
        self.marks: tuple[Mark, ...] = marks_of(events)
        self._acts = [each for each in events if isinstance(each, Acted)]
        self._ats: list[int] = []
        self._counted: list[_Counted] = []
        self._read_counts()
        self._shown: tuple[Position, int] | None = None
        self._trail = _Trail(warn_at, thresholds)
        self._graph: GraphSpan | None = None
        self._kept: OrderedDict[Position, PlayedPoll] = OrderedDict()

    def _read_counts(self) -> None:
        counted = [
            (each.at, _Counted(each.sample, run.interval_seconds))
            for run in self.recording.counts(self._begin, self._end)
            for each in run.counts
        ]
        counted.sort(key=lambda each: each[0])
        self._ats, self._counted = [each[0] for each in counted], [each[1] for each in counted]

    # Positions

    def step(self, position: Position, by: int) -> Position:
        """Return the position that many polls later, or earlier if `by` is below 0; at most the last one."""
        for _ in range(abs(by)):
            found = self.recording.next(position) if by > 0 else self.recording.previous(position)
            if found is None:
                break
            position = found
        return position

    def by_seconds(self, position: Position, seconds: float) -> Position:
        """Return the position that much recorded time later or earlier: at least another poll."""
        at = self.recording.seen(position).at
        found = self.recording.at(at + round(seconds * MICROSECONDS))
        is_further = found is not None and (found > position if seconds > 0 else found < position)
        return found if found is not None and is_further else self.step(position, 1 if seconds > 0 else -1)

    def later(self, position: Position, seconds: float) -> Position:
        """Return the position after that much recorded time of playing; a gap is passed at once."""
        begin, at = position, self.recording.seen(position).at + round(seconds * MICROSECONDS)
        while (following := self.recording.next(position)) is not None:
            here, there = self.recording.seen(position), self.recording.seen(following)
            if _is_gap(here, there) or there.at < here.at:  # or the server's clock was set back
                return following if position == begin else position
            if there.at > at:
                break
            position = following
        return position

    def at(self, moment: int) -> Position | None:
        """Return the last position at or before a time, microseconds; None if nothing can be read."""
        return self.recording.at(moment)

    def to_stop(self, position: Position, by: int) -> Position | None:
        """Return the position of the next event, or of the one before; None if there is none."""
        at = self.recording.seen(position).at
        if by > 0:
            following = self.recording.next(position)
            stop = following and next_stop(self.stops, self.recording.seen(following).at)
        else:
            stop = previous_stop(self.stops, at)
        found = self.recording.at(stop.at) if stop else None
        if found is None or by > 0:
            return found
        return min(found, self.step(position, -1))

    # The poll there

    def show(self, position: Position) -> PlayedPoll:
        """Return the poll at a position. Raises IndexError if there is none."""
        self.progress = 0.0
        if position not in self._kept:
            start = self.step(position, -_STEPS_BACK) if self._is_jump(position) else position
            while start < position:  # the polls that are asked for next, most of the time
                self._keep(self._read(start))
                start = self.step(start, 1)
            self._keep(self._read(position))
        self._kept.move_to_end(position)
        poll = self._kept[position]
        return poll._replace(graph=self._graph_at(poll.seen.at))

    def _keep(self, poll: PlayedPoll) -> None:
        self._kept[poll.position] = poll
        while len(self._kept) > _POLLS_KEPT:
            self._kept.popitem(last=False)

    def _read(self, position: Position) -> PlayedPoll:
        """Return the poll at a position, without the graph."""
        seen = self._shown_of(self.recording.seen(position))
        self._follow(position, seen)
        before, following = self.recording.previous(position), self.recording.next(position)
        earlier = self.recording.seen(before) if before is not None else None
        next_at = self.recording.seen(following).at if following is not None else None
        snapshot = self._trail.snapshot or self._last_snapshot(position)
        is_said = self._trail.snapshot is not None
        return PlayedPoll(
            position=position,
            number=self.recording.number(position),
            seen=seen,
            snapshot=snapshot,
            findings=self._trail.findings if is_said else (),
            forecast=self._trail.diagnosis.forecast if is_said else None,
            over_since=self._over_since(snapshot) if snapshot is not None else None,
            stops=self._stops_between(seen.at, next_at),
            gap=Gap(earlier.at, seen.at) if earlier is not None and _is_gap(earlier, seen) else None,
            next_at=next_at,
            earlier=tuple(self._trail.earlier),
        )

    def _shown_of(self, seen: Seen) -> Seen:
        return without_statements(seen) if self.hides_queries else seen

    def _follow(self, position: Position, seen: Seen) -> None:
        """Bring the trail to a position: poll by poll if it is near, else by what led there."""
        if self._shown is not None and not self._is_jump(position):
            shown, at = self._shown
            if position != shown:
                self._walk(self.recording.next(shown), position, 0.0, at)
            return
        self._trail = _Trail(self.warn_at, self._thresholds)
        begin = seen.at - round(WARM_UP_SECONDS * MICROSECONDS)
        self._walk(self.recording.at(begin), position, WARM_UP_EVERY_SECONDS, begin)

    def _is_jump(self, position: Position) -> bool:
        """Return whether the trail does not lead to a position."""
        if self._shown is None:
            return True
        shown, at = self._shown
        return position < shown or not 0 <= self.recording.seen(position).at - at <= _NEAR

    def _walk(self, start: Position | None, end: Position, every_seconds: float, begin: int) -> None:
        """Take in the polls from one position to another, at least `every_seconds` apart, and the last."""
        end_at = self.recording.seen(end).at
        place, taken_at = start if start is not None and start < end else end, begin
        is_first = True
        while True:
            seen, following = self.recording.seen(place), self.recording.next(place)
            is_due = is_first or place == end or seen.at - taken_at >= every_seconds * MICROSECONDS
            if is_due or self._is_outage(following):  # during which it stays on the screen
                acts = [each for each in self._acts if taken_at < each.at <= seen.at]
                self._trail.take(self._shown_of(seen), acts)
                taken_at, is_first = seen.at, False
                self.progress = min(1.0, max(0.0, (seen.at - begin) / max(1, end_at - begin)))
            if place == end or following is None:
                break
            place = following
        self._shown = end, end_at

    def _is_outage(self, position: Position | None) -> bool:
        return position is not None and isinstance(self.recording.seen(position).result, Outage)

    def _last_snapshot(self, position: Position) -> Snapshot | None:
        """Return the last snapshot before a long outage; None if it began the recording."""
        place: Position | None = position
        while place is not None:
            seen = self.recording.seen(place)
            if isinstance(seen.result, Snapshot):
                found = self._shown_of(seen).result
                return found if isinstance(found, Snapshot) else None
            place = self.recording.previous(place)
        return None

    def _over_since(self, snapshot: Snapshot) -> Since | None:
        """Return the time since which usage has been over the line, from the counts recorded before."""
        if snapshot.usage < self.warn_at:
            return None
        end = bisect_right(self._ats, snapshot.taken_at)
        begin = end
        while begin > 0:
            begin -= 1
            sample = self._counted[begin].sample
            if sample is not None and sample.usage < self.warn_at:
                break
        history = _history(self._counted[begin:end], History())
        return history.over_line_since(self.warn_at, held_since(snapshot, self.warn_at))

    def _stops_between(self, begin: int, end: int | None) -> tuple[Stop, ...]:
        return tuple(each for each in self.stops if begin <= each.at and (end is None or each.at < end))

    # The graph

    def _graph_at(self, at: int) -> GraphSpan:
        begin, end = self._span_at(at)
        graph = self._graph
        if graph is None or (graph.begin, graph.end) != (begin, end):
            width = max(MICROSECONDS // 2, (end - begin) // _BUCKETS)
            first, last = bisect_left(self._ats, begin), bisect_right(self._ats, end)
            history = _history(self._counted[first:last], History(((width, _BUCKETS + 2),)))
            graph = self._graph = GraphSpan(history, begin, end, is_whole=self.zoom is None)
        return graph

    def _span_at(self, at: int) -> tuple[int, int]:
        """Return the stretch around a time. It stands still until the time leaves its middle half."""
        whole = self._begin, max(self._end, self._begin + MICROSECONDS)
        if self.zoom is None or self.zoom * MICROSECONDS >= whole[1] - whole[0]:
            return whole
        span = round(self.zoom * MICROSECONDS)
        page = (at - self._begin - span // 4) // (span // 2)
        begin = min(max(self._begin, self._begin + page * (span // 2)), self._end - span)
        return begin, begin + span


def opened(
    recording: Recording,
    config: Config,
    thresholds: Thresholds = STANDARD,
    *,
    at: int | None = None,
) -> tuple[Playback, PlayedPoll]:
    """Return a recording to be played, and its poll at a time (microseconds), or else the last one.

    Raises HistoryError if no poll can be read.
    """
    place = None
    if not recording.is_empty:
        playback = Playback(recording, config.warn_at, thresholds, hides_queries=config.hide_queries)
        place = recording.last() if at is None else playback.at(at)
    if place is None:
        raise HistoryError(
            recording.problems[0] if recording.problems else "the recording has no polls",
            "the daemon and the dashboard record them, unless --no-record is set",
        )
    return playback, playback.show(place)


class GroupPast:
    """The groups of the snapshots before the one that is shown, each counted once."""

    def __init__(self) -> None:
        self._totals: dict[tuple[GroupBy, int], dict[GroupKey, int]] = {}

    def history(self, by: GroupBy, poll: PlayedPoll) -> GroupHistory[GroupKey]:
        """Return the history of a grouping up to a poll."""
        found: GroupHistory[GroupKey] = GroupHistory()
        snapshots = [*poll.earlier]
        if poll.snapshot is not None and (not snapshots or snapshots[-1] is not poll.snapshot):
            snapshots.append(poll.snapshot)
        for snapshot in snapshots:
            found.add(snapshot.taken_at, self._of(by, snapshot))
        kept = {each.taken_at for each in snapshots}
        self._totals = {key: totals for key, totals in list(self._totals.items()) if key[1] in kept}
        return found

    def _of(self, by: GroupBy, snapshot: Snapshot) -> dict[GroupKey, int]:
        key = by, snapshot.taken_at
        totals = self._totals.get(key)
        if totals is None:
            rows = group(snapshot.backends, by, snapshot.taken_at, snapshot.slots)
            totals = self._totals[key] = {row.key: row.total for row in rows}
        return totals


def _history(counted: Sequence[_Counted], history: History) -> History:
    for sample, interval_seconds in counted:
        if sample is None:
            history.add_gap()
        else:
            history.add(sample, interval_seconds)
    return history


def _is_gap(earlier: Seen, later: Seen) -> bool:
    """Return whether nothing was recorded between two polls for longer than polls are apart."""
    apart = (later.at - earlier.at) / MICROSECONDS
    return is_gap(apart, max(earlier.interval_seconds, later.interval_seconds))
