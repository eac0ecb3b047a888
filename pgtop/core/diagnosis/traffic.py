"""The sessions that came and went while somebody watched, by application."""

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping
from statistics import linear_regression
from typing import Final

from pgtop.core.activity import MICROSECONDS, Backend, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.scene import (
    Application,
    Before,
    Scene,
    Traffic,
    application_of,
    is_judged,
    scene_of,
)
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds

MOST_APPLICATIONS: Final = 500
"""The most applications whose traffic is kept: those with the most of it."""
_TREND_SECONDS: Final = 300.0
_LEAST_TREND_SECONDS: Final = 60.0
_MOST_SAMPLES: Final = 600
_SWEPT_SECONDS: Final = 3600.0
"""Seconds for which pgtop remembers the sessions that it terminated."""
_MOST_SWEPT: Final = 1000
_REPORTED_SECONDS: Final = 30.0
"""Seconds within which a sweep is reported after its sessions have left."""
_SLOWS_DOWN: Final = 0.5
"""A usage that grows only by this part of its earlier pace is about to stop."""


class TrafficWatch:
    """Count what is opened and closed from one snapshot to the next.

    A restart or a failover forgets all of it. Sessions that begin and end between two polls are not seen.
    """

    def __init__(self, thresholds: Thresholds = STANDARD) -> None:
        self._thresholds = thresholds
        self._identity: ServerIdentity | None = None
        self._forget()

    def _forget(self) -> None:
        self._first_at = self._last_at = 0
        self._present: Mapping[BackendId, Backend] = {}
        self._opened: Counter[Application] = Counter()
        self._closed: Counter[Application] = Counter()
        self._most_in_use: Counter[Application] = Counter()
        self._taken: deque[tuple[int, int]] = deque(maxlen=_MOST_SAMPLES)
        self._swept: deque[tuple[int, Backend]] = deque(maxlen=_MOST_SWEPT)
        self._left: dict[BackendId, tuple[int, Application]] = {}

    def take(self, snapshot: Snapshot, scene: Scene | None = None) -> Before:
        """Take note of a snapshot; return what was seen before it and with it.

        `scene` is that of the snapshot, if it is at hand.
        """
        if snapshot.server.identity != self._identity or snapshot.taken_at < self._last_at:
            self._forget()
            self._identity = snapshot.server.identity
        self._count(snapshot, scene or scene_of(snapshot, thresholds=self._thresholds))
        self._last_at = snapshot.taken_at
        self._first_at = self._first_at or snapshot.taken_at
        self._taken.append((snapshot.taken_at, snapshot.taken))
        names = {name for name, _ in (self._opened + self._closed).most_common(MOST_APPLICATIONS)}
        names |= {name for name, _ in self._most_in_use.most_common(MOST_APPLICATIONS)}
        growth, uncertainty = self._growth()
        return Before(
            watched_seconds=(snapshot.taken_at - self._first_at) / MICROSECONDS,
            traffic={
                name: Traffic(self._opened[name], self._closed[name], self._most_in_use[name])
                for name in names
            },
            growth_per_minute=growth,
            growth_uncertainty=uncertainty,
            swept=self._remembered(),
        )

    def swept(self, ended: Iterable[Backend], leaked: Container[BackendId] = frozenset()) -> None:
        """Take note of sessions that pgtop itself terminated: their application did not close them.

        They count in no sample of the usage any more, so that a trend goes on through a sweep. Those that
        were `leaked` are remembered: their leak is not over.
        """
        left_at = []
        present = dict(self._present)
        for each in ended:
            if present.pop(each.id, None) is not None:
                left_at.append(self._last_at + 1)
            elif each.id in self._left:
                # A poll saw that they were gone before this was known to be a sweep's doing.
                at, application = self._left.pop(each.id)
                self._closed[application] -= 1
                left_at.append(at)
            else:
                continue
            if each.id in leaked:
                self._swept.append((self._last_at, each))
        self._present = present
        lower = [(at, taken - sum(at < left for left in left_at)) for at, taken in self._taken]
        self._taken = deque(lower, maxlen=_MOST_SAMPLES)

    def _remembered(self) -> tuple[Backend, ...]:
        oldest = self._last_at - self._thresholds.micros(_SWEPT_SECONDS)
        while self._swept and self._swept[0][0] < oldest:
            self._swept.popleft()
        return tuple(each for _, each in self._swept)

    def _count(self, snapshot: Snapshot, scene: Scene) -> None:
        present = snapshot.by_id
        if self._first_at:
            self._opened.update(
                application_of(present[each])
                for each in present.keys() - self._present.keys()
                if is_judged(present[each])
            )
            left = {
                each: application_of(self._present[each])
                for each in self._present.keys() - present.keys()
                if is_judged(self._present[each])
            }
            self._closed.update(left.values())
            self._left = {each: entry for each, entry in self._left.items() if self._is_recent(entry[0])}
            self._left |= {each: (scene.now, name) for each, name in left.items()}
        self._present = present
        in_use = Counter(application_of(each) for each in filter(scene.is_in_use, scene.left))
        for name, number in in_use.items():
            self._most_in_use[name] = max(self._most_in_use[name], number)
        for counted in (self._opened, self._closed, self._most_in_use):
            if len(counted) > 2 * MOST_APPLICATIONS:
                kept = dict(counted.most_common(MOST_APPLICATIONS))
                counted.clear()
                counted.update(kept)

    def _is_recent(self, at: int) -> bool:
        return self._last_at - at <= _REPORTED_SECONDS * MICROSECONDS

    def _growth(self) -> tuple[float | None, float]:
        """Return the slots by which usage grows each minute, and the part of that which is uncertain.

        None without a trend that holds: one that goes on in both halves of the time, and does not slow down.
        """
        limits = self._thresholds
        since = self._last_at - limits.micros(_TREND_SECONDS)
        recent = [(at, taken) for at, taken in self._taken if at >= since]
        if len(recent) < 4 or recent[-1][0] - recent[0][0] < limits.micros(_LEAST_TREND_SECONDS):
            return None, 0.0
        half = len(recent) // 2
        halves = (recent[:half], recent[half:])
        earlier, later = (linear_regression(*zip(*part, strict=True)).slope for part in halves)
        if min(earlier, later) <= 0 or later < _SLOWS_DOWN * earlier:
            return None, 0.0
        slope: float = linear_regression(*zip(*recent, strict=True)).slope
        return slope * MICROSECONDS * 60, abs(later - earlier) / (later + earlier)
