"""The history of the counts: the series behind the graph.

It is bounded and reads no clock: each sample brings its time, by the server's clock. Older samples are
thinned out, but peaks stay: a bucket keeps its fullest sample as a whole, so that all values of a point
belong to one moment.
"""

from collections import deque
from collections.abc import Iterator
from copy import copy
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from pgtop.core.activity import MICROSECONDS, Moment, Snapshot
from pgtop.core.timeline import Timeline

TIERS: Final = ((500_000, 3_600), (10 * MICROSECONDS, 1_080), (60 * MICROSECONDS, 1_440))
"""The width of a bucket in microseconds, and the number kept: 30 minutes, 3 hours, 24 hours."""
DISTINCT_LOWS: Final = 10_000
"""The number of levels of usage that `over_line_since` tells apart."""


class Sample(msgspec.Struct, frozen=True, gc=False):
    """The counts of one moment."""

    at: int
    """Microseconds since the Unix epoch, the server's clock."""
    total: int
    idle: int
    active: int
    slots: int
    """The connections that ordinary roles could use at that moment."""
    in_transaction: int = 0
    """The number of sessions idle in transaction, aborted ones included."""
    hidden: bool = False
    """True if this role cannot see all states: `idle` and `active` then mean nothing."""

    @property
    def usage(self) -> float:
        """Client backends divided by slots. It exceeds 1.0 when privileged roles use reserved connections."""
        return self.total / max(1, self.slots)

    @property
    def other(self) -> int:
        """The number of sessions in another state, such as those still starting."""
        return max(0, self.total - self.idle - self.active - self.in_transaction)


class Point(msgspec.Struct, frozen=True, gc=False):
    """The fullest sample of one column of a window."""

    column: int
    """The column's number: 0 is the oldest, the number of columns less 1 holds the present."""
    at: int
    """Microseconds since the Unix epoch by the server's clock as it is set now."""
    sample: Sample
    starts: bool
    """True if no line is drawn to it from the previous point: it is the first, or the first after a gap."""


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """The fullest sample of one stretch of time: all that a tier keeps of it."""

    at: int
    """The time of that sample, in microseconds."""
    sample: Sample
    starts: bool
    """True if no line is drawn to it from the previous bucket."""


class Low(NamedTuple):
    """The last sample at a level of usage."""

    usage: float
    followed_at: Moment | None
    """The time of the sample that followed; None if none has followed yet."""
    is_followed_at_once: bool = True
    """False if nothing was seen for a while between the two."""


class Since(NamedTuple):
    """The start of a stretch of time."""

    at: int
    """Microseconds since the Unix epoch by the server's clock."""
    is_exact: bool
    """False if it may have begun earlier, unseen."""


class Past(msgspec.Struct, frozen=True):
    """The contents of a history, for a later one to take over; times in microseconds, the server's clock."""

    tiers: tuple[tuple[Bucket, ...], ...]
    """The buckets of each of TIERS, oldest first."""
    latest_at: int
    """The time of the latest sample, even if no bucket keeps it."""
    lows: tuple[Low, ...]
    """The levels of usage, rising."""
    unbroken_since: int
    """The time of the first sample after the last gap."""


def sample_of(snapshot: Snapshot) -> Sample:
    """Return the counts of a snapshot, as the history keeps them."""
    counts = snapshot.counts
    return Sample(
        at=snapshot.taken_at,
        total=snapshot.taken,
        idle=counts.idle,
        active=counts.active,
        slots=snapshot.slots,
        in_transaction=counts.in_transaction,
        hidden=counts.hidden > 0,
    )


def held_since(snapshot: Snapshot, warn_at: float) -> int | None:
    """Return a time since which the present sessions alone have been enough for a usage of `warn_at`.

    It is the backend_start (microseconds) of the last of the oldest sessions that make up the line; None if
    too few of them are seen.
    """
    starts = sorted(each.backend_start for each in snapshot.backends if each.backend_start is not None)
    needed = next((n for n in range(1, len(starts) + 1) if n / snapshot.slots >= warn_at), None)
    return None if needed is None else starts[needed - 1]


class History:
    """The counts over the last 24 hours.

    It holds at most 6,120 buckets (3,600 of half a second, 1,080 of 10 s, 1,440 of a minute) and 10,000
    levels of usage, whatever the interval: about 3 MB when all are full.
    """

    def __init__(self, tiers: tuple[tuple[int, int], ...] = TIERS) -> None:
        """`tiers` are the widths of the buckets, in microseconds, and the numbers kept: the finest first."""
        self.latest: Sample | None = None
        """The last sample added, exactly as it came."""
        self._clock = Timeline()
        self._widths = tiers
        self._tiers: list[deque[Bucket]] = [deque(maxlen=kept) for _, kept in tiers]
        self._lows: deque[Low] = deque(maxlen=DISTINCT_LOWS)
        self._unbroken_since = 0
        self._first = 0
        self._last = 0
        self._gap = False

    def __len__(self) -> int:
        """Return the number of buckets held."""
        return sum(map(len, self._tiers))

    def copy(self) -> "History":
        """Return a copy of this history. Samples added to this one later are not added to the copy."""
        copied = copy(self)
        copied._clock = copy(self._clock)
        copied._tiers = [tier.copy() for tier in self._tiers]
        copied._lows = self._lows.copy()
        return copied

    def add_gap(self) -> None:
        """Note that a poll gave no data (an outage): no line is drawn to the next sample."""
        self._gap = True

    def add(self, sample: Sample, interval_seconds: float = 2.0) -> None:
        """Add the sample of one poll.

        `interval_seconds` is the intended time between two polls: a time well above it is a gap.
        """
        moment = self._clock.take(sample.at)
        seconds = (moment - self._last) / MICROSECONDS
        first = self.latest is None
        starts = first or self._gap or is_gap(seconds, interval_seconds)
        if first:
            self._first = moment
        if starts:
            self._unbroken_since = moment
        self._remember_usage(sample.usage, moment, seen_at_once=not starts)
        for (width, _), tier in zip(self._widths, self._tiers, strict=True):
            _put(tier, width, Bucket(moment, sample, starts))
        self.latest, self._last, self._gap = sample, moment, False

    @property
    def clock_shift(self) -> int:
        """The microseconds by which the server's clock was set back so far; the past is moved by as much."""
        return self._clock.shift

    @property
    def began_at(self) -> int:
        """The time of the first sample added here, in microseconds by the server's clock as it is set now."""
        return self._clock.shown(self._first)

    def past(self, after: int | None = None) -> Past | None:
        """Return the contents, or only those `after` a time (microseconds); None before the first sample."""
        if self.latest is None:
            return None
        shown = self._clock.shown
        return Past(
            tiers=tuple(tuple(_later(tier, after, self.clock_shift)) for tier in self._tiers),
            latest_at=shown(self._last),
            lows=tuple(
                low._replace(followed_at=None if low.followed_at is None else shown(low.followed_at))
                for low in self._lows
            ),
            unbroken_since=shown(self._unbroken_since),
        )

    def put_before(self, past: Past, interval_seconds: float = 2.0) -> None:
        """Put an earlier history in front of this one's first sample.

        Buckets that are not older than the first sample are left out. The time between the two histories is
        judged to be a gap or not as between two polls; `interval_seconds` is as for `add`. Nothing is done
        before the first sample.
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
        starts = is_gap(seconds, interval_seconds)
        for (width, _), tier, before in zip(self._widths, self._tiers, older, strict=True):
            added = list(tier)
            tier.clear()
            tier.extend(before)
            _put(tier, width, Bucket(added[0].at, added[0].sample, starts))
            tier.extend(added[1:])
        if is_before:
            if not starts and self._unbroken_since == self._first:
                self._unbroken_since = moment(past.unbroken_since)
            lower = [each for each in past.lows if each.usage < self._lows[0].usage]
            lows = [
                Low(usage, self._first, not starts) if at is None else Low(usage, moment(at), at_once)
                for usage, at, at_once in lower
            ]
            self._lows = deque([*lows, *self._lows], maxlen=DISTINCT_LOWS)

    def sample_at(self, now: int) -> Sample | None:
        """Return the last sample kept at or before `now` (microseconds); None if there is none."""
        if self.latest is None or self.latest.at <= now:
            return self.latest
        moment = self._clock.moment(now)
        kept = (bucket for tier in self._tiers for bucket in reversed(tier))
        return next((bucket.sample for bucket in kept if bucket.at <= moment), None)

    def window(
        self, seconds: float, now: int, columns: int, *, edge: int | None = None, width: int | None = None
    ) -> list[Point]:
        """Return the points of the last `seconds` up to `now` (microseconds), oldest first.

        Each column has at most one point: its fullest sample, the latest of equal ones. Samples after `now`
        are left out. The columns begin at whole multiples of their width, so that samples which share a
        column go on sharing it while time passes. The last column holds `edge`, a time not before `now`, or
        `now` itself without `edge`. `width` is that of a column in microseconds; without it, the columns are
        as narrow as they can be to span those seconds.
        """
        if columns < 1 or self.latest is None:
            return []
        step = width or column_width(seconds, columns)
        span = seconds if width is None else width * columns / MICROSECONDS
        newest = max(now, edge or now) // step
        points: list[Point] = []
        for bucket in self._tier_for(span):
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

    def over_line_since(self, warn_at: float, held: int | None = None) -> Since | None:
        """Return the time since which usage has been at or above `warn_at` without a break; None if below.

        It is exact to the sample, however old, if the rise was seen and there was no gap since. Otherwise
        usage has been there at least since the end of the last gap, or since `held`, the result of
        `held_since`, if that is earlier.
        """
        if self.latest is None or self.latest.usage < warn_at:
            return None
        shown = self._clock.shown
        for low in reversed(self._lows):
            if low.usage < warn_at and low.followed_at is not None:
                if low.is_followed_at_once and low.followed_at >= self._unbroken_since:
                    return Since(shown(low.followed_at), is_exact=True)
                break
        at = shown(self._unbroken_since)
        return Since(at if held is None else min(at, held), is_exact=False)

    def span_seconds(self, now: int) -> float:
        """Return the seconds from the oldest sample to `now` (microseconds); 0 if there is none."""
        oldest = [tier[0].at for tier in self._tiers if tier]
        return max(0, now - self._clock.shown(min(oldest))) / MICROSECONDS if oldest else 0.0

    def known_seconds(self, now: int, within: float) -> float:
        """Return the seconds from the oldest sample of the last `within` seconds to `now` (microseconds)."""
        begin = self._clock.moment(now) - int(within * MICROSECONDS)
        oldest = next((bucket.at for bucket in self._tier_for(within) if bucket.at >= begin), None)
        return 0.0 if oldest is None else max(0, now - self._clock.shown(oldest)) / MICROSECONDS

    def _remember_usage(self, usage: float, moment: int, *, seen_at_once: bool) -> None:
        """Keep, for every level, the last sample below it and the time of the one that followed.

        A sample makes all earlier ones irrelevant that were not lower than itself; the rest rise from left to
        right.
        """
        if self._lows and self._lows[-1].followed_at is None:
            self._lows[-1] = Low(self._lows[-1].usage, moment, seen_at_once)
        while self._lows and self._lows[-1].usage >= usage:
            self._lows.pop()
        self._lows.append(Low(usage, None))

    def _tier_for(self, seconds: float) -> deque[Bucket]:
        for (width, kept), tier in zip(self._widths, self._tiers, strict=True):
            if seconds * MICROSECONDS <= width * kept:
                return tier
        return self._tiers[-1]


def column_width(seconds: float, columns: int) -> int:
    """Return the microseconds that one column of a window spans, at least 1."""
    return max(1, -(-int(seconds * MICROSECONDS) // max(1, columns)))


def is_gap(seconds: float, interval_seconds: float) -> bool:
    """Return whether two polls are so many seconds apart that others must be missing between them."""
    return seconds > max(3 * interval_seconds, interval_seconds + 5)


def _later(tier: deque[Bucket], after: int | None, shift: int) -> Iterator[Bucket]:
    """Yield a tier's buckets with the clock's times; only those `after` that time if one is given."""
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
    """Return the fuller of two points of one column, with the `starts` of the earlier one."""
    fullest = later if later.sample.total >= earlier.sample.total else earlier
    return Point(fullest.column, fullest.at, fullest.sample, earlier.starts)
