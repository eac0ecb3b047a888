"""What was seen over time: the series behind the graph.

Bounded, and without a clock: time comes with each sample, by the server's clock. Detail fades with age, peaks
do not: a bucket keeps its fullest sample, all of it, so that the values of one point belong to one moment.
"""

from collections import deque
from collections.abc import Iterator
from copy import copy
from itertools import takewhile
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.timeline import Timeline

TIERS: Final = ((500_000, 3_600), (10 * MICROSECONDS, 1_080), (60 * MICROSECONDS, 1_440))
"""Width of a bucket in microseconds, and how many are kept: 30 minutes, 3 hours, 24 hours."""
DISTINCT_LOWS: Final = 10_000
"""How many levels of usage `over_line_since` tells apart."""
LONG_GAP_SECONDS: Final = 300.0
"""A gap longer than this is not taken for a short outage."""


class Sample(msgspec.Struct, frozen=True, gc=False):
    """The counts of one moment."""

    at: int
    """Microseconds since the Unix epoch, the server's clock."""
    total: int
    idle: int
    active: int
    slots: int
    """What ordinary roles could use at that moment."""
    in_transaction: int = 0
    """Idle in transaction, aborted ones included."""
    hidden: bool = False
    """True where this role cannot see all states: `idle` and `active` say nothing then."""

    @property
    def usage(self) -> float:
        """Client backends over slots; passes 1.0 when privileged roles sit in reserved slots."""
        return self.total / max(1, self.slots)


class Point(msgspec.Struct, frozen=True, gc=False):
    """The fullest sample of one column of a window."""

    column: int
    """Counted from 0, the oldest, to the window's columns less 1, which holds now."""
    at: int
    """Microseconds since the Unix epoch, by the clock as it stands now."""
    sample: Sample
    starts: bool
    """True where no line leads here from the point before: the first of all, or the first after a gap."""


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """What a tier keeps of one stretch of time: its fullest sample."""

    at: int
    """Microseconds, of that sample."""
    sample: Sample
    starts: bool
    """True where no line leads here from the bucket before."""


class Past(msgspec.Struct, frozen=True):
    """What a history holds, for one that begins later. Times are microseconds by the server's clock."""

    tiers: tuple[tuple[Bucket, ...], ...]
    """Oldest first, one for each of TIERS."""
    latest_at: int
    """When the latest sample was taken, kept in a bucket or not."""
    lows: tuple[tuple[float, int | None], ...]
    """Levels of usage, rising, each with the moment of the sample that followed the last one so low."""
    unbroken_since: int
    """No longer gap lies after this moment."""


def sample_of(snapshot: Snapshot) -> Sample:
    """The counts of a snapshot, as the history keeps them."""
    counts = snapshot.counts
    return Sample(
        at=snapshot.taken_at,
        total=counts.total,
        idle=counts.idle,
        active=counts.active,
        slots=snapshot.slots,
        in_transaction=counts.in_transaction,
        hidden=counts.hidden > 0,
    )


class History:
    """The counts over the last 24 hours.

    At most 6,120 buckets (3,600 of half a second, 1,080 of 10 s, 1,440 of a minute) and 10,000 levels of
    usage are held, whatever the interval: about 3 MB when all are full.
    """

    def __init__(self) -> None:
        self.latest: Sample | None = None
        """The last sample added, exactly as it came."""
        self._clock = Timeline()
        self._tiers: list[deque[Bucket]] = [deque(maxlen=kept) for _, kept in TIERS]
        self._lows: deque[tuple[float, int | None]] = deque(maxlen=DISTINCT_LOWS)
        self._unbroken_since = 0
        self._first = 0
        self._last = 0
        self._gap = False

    def __len__(self) -> int:
        """How many buckets are held."""
        return sum(map(len, self._tiers))

    def copy(self) -> "History":
        """This history as it stands, which nothing is added to any more when this one goes on."""
        copied = copy(self)
        copied._clock = copy(self._clock)
        copied._tiers = [tier.copy() for tier in self._tiers]
        copied._lows = self._lows.copy()
        return copied

    def add_gap(self) -> None:
        """Says that a poll gave nothing (an outage): no line will lead to the next sample."""
        self._gap = True

    def add(self, sample: Sample, interval_seconds: float = 2.0) -> None:
        """Adds what one poll saw.

        `interval_seconds` is what was meant to lie between two polls: well over that is a gap.
        """
        moment = self._clock.take(sample.at)
        seconds = (moment - self._last) / MICROSECONDS
        first = self.latest is None
        starts = first or self._gap or _is_gap(seconds, interval_seconds)
        if first:
            self._first = moment
        if first or (starts and seconds > LONG_GAP_SECONDS):
            self._lows.clear()
            self._unbroken_since = moment
        self._remember_usage(sample.usage, moment)
        for (width, _), tier in zip(TIERS, self._tiers, strict=True):
            _put(tier, width, Bucket(moment, sample, starts))
        self.latest, self._last, self._gap = sample, moment, False

    @property
    def clock_shift(self) -> int:
        """By how many microseconds the server's clock was set back so far: the past moved with it."""
        return self._clock.shift

    @property
    def began_at(self) -> int:
        """When the first sample that was added here was taken, by the clock as it stands now."""
        return self._clock.shown(self._first)

    def past(self, after: int | None = None) -> Past | None:
        """What is held, or what came `after` that moment (microseconds); None before the first sample."""
        if self.latest is None:
            return None
        shown = self._clock.shown
        return Past(
            tiers=tuple(tuple(_later(tier, after, self.clock_shift)) for tier in self._tiers),
            latest_at=shown(self._last),
            lows=tuple((usage, None if at is None else shown(at)) for usage, at in self._lows),
            unbroken_since=shown(self._unbroken_since),
        )

    def put_before(self, past: Past, interval_seconds: float = 2.0) -> None:
        """Puts what was seen before the first sample in front of it.

        What is no older than that is left out: it would be from the future. Between the two lies a gap, as
        between two polls; `interval_seconds` is as for `add`.
        """
        if self.latest is None:
            return
        moment = self._clock.moment
        older = [
            [
                Bucket(moment(each.at), each.sample, each.starts)
                for each in tier
                if moment(each.at) < self._first
            ]
            for tier in past.tiers
        ]
        last = max((tier[-1].at for tier in older if tier), default=None)
        if last is None:
            return
        is_before = moment(past.latest_at) < self._first
        seconds = (self._first - (moment(past.latest_at) if is_before else last)) / MICROSECONDS
        starts = _is_gap(seconds, interval_seconds)
        for (width, _), tier, before in zip(TIERS, self._tiers, older, strict=True):
            added = list(tier)
            tier.clear()
            tier.extend(before)
            _put(tier, width, Bucket(added[0].at, added[0].sample, starts))
            tier.extend(added[1:])
        if is_before and not (starts and seconds > LONG_GAP_SECONDS):
            lower = [each for each in past.lows if each[0] < self._lows[0][0]]
            lows = [(usage, self._first if at is None else moment(at)) for usage, at in lower]
            self._lows = deque([*lows, *self._lows], maxlen=DISTINCT_LOWS)
            self._unbroken_since = moment(past.unbroken_since)

    def sample_at(self, now: int) -> Sample | None:
        """The last sample kept of `now` (microseconds) or before."""
        if self.latest is None or self.latest.at <= now:
            return self.latest
        moment = self._clock.moment(now)
        kept = (bucket for tier in self._tiers for bucket in reversed(tier))
        return next((bucket.sample for bucket in kept if bucket.at <= moment), None)

    def window(self, seconds: float, now: int, columns: int, *, edge: int | None = None) -> list[Point]:
        """The last `seconds` up to `now` (microseconds), at most one point a column, oldest first.

        A point is its column's fullest sample, the latest of equals; what came after `now` is left out. The
        columns lie on whole multiples of their width, so that a point stays in its column while time passes;
        the last one holds `edge`, a moment from `now` on where it is not now itself.
        """
        if columns < 1 or self.latest is None:
            return []
        step = column_width(seconds, columns)
        newest = max(now, edge or now) // step
        points: list[Point] = []
        for bucket in self._tier_for(seconds):
            at = self._clock.shown(bucket.at)
            column = at // step - newest + columns - 1
            if column < 0 or at > now:
                continue
            point = Point(column, at, bucket.sample, bucket.starts or not points)
            if points and points[-1].column == column:
                points[-1] = _fuller(points[-1], point)
            else:
                points.append(point)
        return points

    def over_line_since(self, warn_at: float) -> int | None:
        """Since when usage has been at `warn_at` or over without a break; None while it is below.

        In microseconds, to the exact sample, however old. Nothing seen is no break: an outage of up to
        5 minutes does not reset it if usage is over the line after it as it was before; after a longer one
        it counts anew.
        """
        if self.latest is None or self.latest.usage < warn_at:
            return None
        for usage, following in reversed(self._lows):
            if usage < warn_at and following is not None:
                return self._clock.shown(following)
        return self._clock.shown(self._unbroken_since)

    def span_seconds(self, now: int) -> float:
        """How far back from `now` (microseconds) it reaches; 0 where nothing was seen."""
        oldest = [tier[0].at for tier in self._tiers if tier]
        return max(0, now - self._clock.shown(min(oldest))) / MICROSECONDS if oldest else 0.0

    def _remember_usage(self, usage: float, moment: int) -> None:
        """Keeps, for every level, the last sample below it and the moment of the one that followed.

        A sample makes all earlier ones that were no lower than itself irrelevant; what stays rises from left
        to right.
        """
        if self._lows and self._lows[-1][1] is None:
            self._lows[-1] = (self._lows[-1][0], moment)
        while self._lows and self._lows[-1][0] >= usage:
            self._lows.pop()
        self._lows.append((usage, None))

    def _tier_for(self, seconds: float) -> deque[Bucket]:
        for (width, kept), tier in zip(TIERS, self._tiers, strict=True):
            if seconds * MICROSECONDS <= width * kept:
                return tier
        return self._tiers[-1]


def column_width(seconds: float, columns: int) -> int:
    """How many microseconds one of a window's columns spans, at least 1."""
    return max(1, -(-int(seconds * MICROSECONDS) // max(1, columns)))


def _is_gap(seconds: float, interval_seconds: float) -> bool:
    return seconds > max(3 * interval_seconds, interval_seconds + 5)


def _later(tier: deque[Bucket], after: int | None, shift: int) -> Iterator[Bucket]:
    """A tier's buckets with the clock's times, those `after` that time where one is given."""
    new = tier if after is None else reversed(list(takewhile(lambda b: b.at - shift > after, reversed(tier))))
    for bucket in new:
        yield Bucket(bucket.at - shift, bucket.sample, bucket.starts)


def _put(tier: deque[Bucket], width: int, bucket: Bucket) -> None:
    last = tier[-1] if tier else None
    if last is None or last.at // width != bucket.at // width:
        tier.append(bucket)
    elif bucket.sample.total >= last.sample.total:
        tier[-1] = Bucket(bucket.at, bucket.sample, last.starts)


def _fuller(earlier: Point, later: Point) -> Point:
    """The fuller of two points of one column, which starts where the earlier does."""
    fullest = later if later.sample.total >= earlier.sample.total else earlier
    return Point(fullest.column, fullest.at, fullest.sample, earlier.starts)
