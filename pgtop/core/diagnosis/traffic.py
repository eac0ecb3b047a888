"""The sessions that came and went while somebody watched, by application."""

from collections import Counter, deque
from collections.abc import Iterable
from statistics import linear_regression
from typing import Final

from pgtop.core.activity import MICROSECONDS, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.scene import Application, Before, Scene, Traffic, application_of, scene_of
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds

MOST_APPLICATIONS: Final = 500
"""The most applications whose traffic is kept: those with the most of it."""
_TREND_SECONDS: Final = 300.0
_LEAST_TREND_SECONDS: Final = 60.0
_MOST_SAMPLES: Final = 600


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
        self._present: dict[BackendId, Application] = {}
        self._opened: Counter[Application] = Counter()
        self._closed: Counter[Application] = Counter()
        self._most_in_use: Counter[Application] = Counter()
        self._taken: deque[tuple[int, int]] = deque(maxlen=_MOST_SAMPLES)

    def take(self, snapshot: Snapshot) -> Before:
        """Take note of a snapshot; return what was seen before it and with it."""
        if snapshot.server.identity != self._identity or snapshot.taken_at < self._last_at:
            self._forget()
            self._identity = snapshot.server.identity
        scene = scene_of(snapshot, thresholds=self._thresholds)
        self._count(scene)
        self._last_at = snapshot.taken_at
        self._first_at = self._first_at or snapshot.taken_at
        self._taken.append((snapshot.taken_at, snapshot.taken))
        names = {name for name, _ in (self._opened + self._closed).most_common(MOST_APPLICATIONS)}
        names |= {name for name, _ in self._most_in_use.most_common(MOST_APPLICATIONS)}
        return Before(
            watched_seconds=(snapshot.taken_at - self._first_at) / MICROSECONDS,
            traffic={
                name: Traffic(self._opened[name], self._closed[name], self._most_in_use[name])
                for name in names
            },
            growth_per_minute=self._growth(),
        )

    def swept(self, ended: Iterable[BackendId]) -> None:
        """Take note of sessions that pgtop itself terminates: their application did not close them."""
        for each in ended:
            self._present.pop(each, None)

    def _count(self, scene: Scene) -> None:
        present = {backend.id: application_of(backend) for backend in scene.left}
        if self._first_at:
            self._opened.update(name for each, name in present.items() if each not in self._present)
            self._closed.update(name for each, name in self._present.items() if each not in present)
        self._present = present
        in_use = Counter(application_of(each) for each in scene.left if scene.is_in_use(each))
        for name, number in in_use.items():
            self._most_in_use[name] = max(self._most_in_use[name], number)
        for counted in (self._opened, self._closed, self._most_in_use):
            if len(counted) > 2 * MOST_APPLICATIONS:
                kept = dict(counted.most_common(MOST_APPLICATIONS))
                counted.clear()
                counted.update(kept)

    def _growth(self) -> float | None:
        """Return the slots by which usage grows each minute; None without a trend that holds."""
        limits = self._thresholds
        since = self._last_at - limits.micros(_TREND_SECONDS)
        recent = [(at, taken) for at, taken in self._taken if at >= since]
        if len(recent) < 4 or recent[-1][0] - recent[0][0] < limits.micros(_LEAST_TREND_SECONDS):
            return None
        half = len(recent) // 2
        halves = (recent[:half], recent[half:])
        slopes = [linear_regression(*zip(*part, strict=True)).slope for part in halves]
        if min(slopes) <= 0:
            return None
        slope: float = linear_regression(*zip(*recent, strict=True)).slope
        return slope * MICROSECONDS * 60
