"""The sessions that came and went while somebody watched, by application."""

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping
from statistics import linear_regression
from typing import Final

from pgtop.core.activity import MICROSECONDS, Backend, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.scene import (
    Application,
    Before,
    Client,
    Scene,
    Traffic,
    application_of,
    is_judged,
    scene_of,
)
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.retaken_slots import REMEMBERED_SECONDS, Undone, undone
from pgtop.core.session_labels import address

MOST_KEYS: Final = 200
"""The most applications, and clients, whose traffic of a minute is kept: those with the most of it."""
WINDOW_SECONDS: Final = 900.0
"""Seconds for which traffic counts: weeks of order must not outweigh a leak that begins after them."""
_PARTS: Final = 15
_TREND_SECONDS: Final = 300.0
_LEAST_TREND_SECONDS: Final = 60.0
SAMPLE_SECONDS: Final = 1.5
"""Seconds between two samples of the usage, at least."""
_MOST_SAMPLES: Final = 250
_SWEPT_SECONDS: Final = 3600.0
"""Seconds for which pgtop remembers the sessions that it terminated."""
_MOST_SWEPT: Final = 1000
REPORTED_SECONDS: Final = 15.0
"""Seconds within which a sweep is reported after its sessions have left."""
_SLOWS_DOWN: Final = 0.5
"""A usage that grows only by this part of its earlier pace is about to stop."""

Key = Application | Client


class _Minute:
    """The traffic of one part of the window, by some key."""

    def __init__(self, begun_at: int) -> None:
        self.begun_at = begun_at
        self.opened: Counter[Key] = Counter()
        self.closed: Counter[Key] = Counter()
        self.most_in_use: Counter[Key] = Counter()

    def see(self, opened: Iterable[Backend], closed: Iterable[Backend], in_use: Iterable[Backend]) -> None:
        """Count sessions by application, and by application and address."""
        for backends, counted in ((opened, self.opened), (closed, self.closed)):
            for backend in backends:
                counted.update(_keys(backend))
            _bound(counted)
        busy = Counter(key for backend in in_use for key in _keys(backend))
        for key, number in busy.items():
            self.most_in_use[key] = max(self.most_in_use[key], number)
        _bound(self.most_in_use)


def _keys(backend: Backend) -> tuple[Application, Client]:
    application = application_of(backend)
    return application, Client(application, address(backend))


def _bound(counted: Counter[Key]) -> None:
    if len(counted) > MOST_KEYS * 5 // 4:
        kept = dict(counted.most_common(MOST_KEYS))
        counted.clear()
        counted.update(kept)


class TrafficWatch:
    """Count what is opened and closed from one snapshot to the next, over the last quarter of an hour.

    A restart or a failover forgets all of it. Sessions that begin and end between two polls are not seen.
    """

    def __init__(self, thresholds: Thresholds = STANDARD) -> None:
        self._thresholds = thresholds
        self._identity: ServerIdentity | None = None
        self._forget()

    def _forget(self) -> None:
        self._first_at = self._last_at = 0
        self._present: Mapping[BackendId, Backend] = {}
        self._minutes: deque[_Minute] = deque(maxlen=_PARTS + 1)
        self._taken: deque[tuple[int, int]] = deque(maxlen=_MOST_SAMPLES)
        self._swept: deque[tuple[int, Backend]] = deque(maxlen=_MOST_SWEPT)
        self._left: dict[BackendId, tuple[int, _Minute]] = {}
        self._earlier_at = 0
        self._act: tuple[int, Counter[str]] | None = None
        """The time of the last poll before pgtop's last act, and the sessions terminated by application."""

    def take(self, snapshot: Snapshot, scene: Scene | None = None) -> Before:
        """Take note of a snapshot; return what was seen before it and with it.

        `scene` is that of the snapshot, if it is at hand.
        """
        if snapshot.server.identity != self._identity or snapshot.taken_at < self._last_at:
            self._forget()
            self._identity = snapshot.server.identity
        self._count(snapshot, scene or scene_of(snapshot, thresholds=self._thresholds))
        self._earlier_at, self._last_at = self._last_at, snapshot.taken_at
        self._first_at = self._first_at or snapshot.taken_at
        self._sample(snapshot)
        growth, uncertainty = self._growth()
        traffic = self._traffic()
        return Before(
            watched_seconds=(snapshot.taken_at - self._minutes[0].begun_at) / MICROSECONDS,
            traffic={key: found for key, found in traffic.items() if isinstance(key, Application)},
            client_traffic={key: found for key, found in traffic.items() if isinstance(key, Client)},
            growth_per_minute=growth,
            growth_uncertainty=uncertainty,
            swept=self._remembered(),
            undone=self._undone(snapshot),
        )

    def _sample(self, snapshot: Snapshot) -> None:
        apart = self._thresholds.micros(SAMPLE_SECONDS)
        if not self._taken or snapshot.taken_at - self._taken[-1][0] >= apart:
            self._taken.append((snapshot.taken_at, snapshot.taken))

    def _traffic(self) -> dict[Key, Traffic]:
        opened: Counter[Key] = Counter()
        closed: Counter[Key] = Counter()
        most: dict[Key, int] = {}
        for minute in self._minutes:
            opened.update(minute.opened)
            closed.update(minute.closed)
            for key, number in minute.most_in_use.items():
                most[key] = max(most.get(key, 0), number)
        return {
            key: Traffic(opened[key], closed[key], most.get(key, 0))
            for key in opened.keys() | closed.keys() | most.keys()
        }

    def swept(self, ended: Iterable[Backend], leaked: Container[BackendId] = frozenset()) -> None:
        """Take note of sessions that pgtop itself terminated: their application did not close them.

        They count in no sample of the usage any more, so that a trend goes on through a sweep. Those that
        were `leaked` are remembered: their leak is not over.
        """
        left_at = []
        begun, counted = self._last_at, Counter[str]()
        present = dict(self._present)
        for each in ended:
            if present.pop(each.id, None) is not None:
                left_at.append(self._last_at + 1)
            elif each.id in self._left:
                # A poll saw that they were gone before this was known to be a sweep's doing.
                at, minute = self._left.pop(each.id)
                minute.closed.subtract(_keys(each))
                left_at.append(at)
                begun = self._earlier_at
            else:
                continue
            counted[each.application_name or ""] += 1
            if each.id in leaked:
                self._swept.append((self._last_at, each))
        if counted:
            self._act = begun, counted
        self._present = present
        lower = [(at, taken - sum(at < left for left in left_at)) for at, taken in self._taken]
        self._taken = deque(lower, maxlen=_MOST_SAMPLES)

    def _undone(self, snapshot: Snapshot) -> Undone | None:
        if self._act is None or self._last_at - self._act[0] > REMEMBERED_SECONDS * MICROSECONDS:
            return None
        at, terminated = self._act
        return undone(terminated, at, snapshot)

    def _remembered(self) -> tuple[Backend, ...]:
        oldest = self._last_at - self._thresholds.micros(_SWEPT_SECONDS)
        while self._swept and self._swept[0][0] < oldest:
            self._swept.popleft()
        return tuple(each for _, each in self._swept)

    def _count(self, snapshot: Snapshot, scene: Scene) -> None:
        present, now = snapshot.by_id, snapshot.taken_at
        minute = self._minute(now)
        opened: list[Backend] = []
        closed: list[Backend] = []
        if self._first_at:
            opened = [present[each] for each in present.keys() - self._present.keys()]
            closed = [self._present[each] for each in self._present.keys() - present.keys()]
            self._left = {each: entry for each, entry in self._left.items() if self._is_recent(entry[0])}
            self._left |= {each.id: (now, minute) for each in closed}
        self._present = present
        in_use = filter(scene.is_in_use, scene.left)
        minute.see(filter(is_judged, opened), filter(is_judged, closed), in_use)

    def _minute(self, now: int) -> _Minute:
        """Return the present part of the window, and forget those that have left it."""
        window = self._thresholds.micros(WINDOW_SECONDS)
        if not self._minutes or now - self._minutes[-1].begun_at >= window // _PARTS:
            self._minutes.append(_Minute(now))
        while now - self._minutes[0].begun_at > window:
            self._minutes.popleft()
        return self._minutes[-1]

    def _is_recent(self, at: int) -> bool:
        return self._last_at - at <= REPORTED_SECONDS * MICROSECONDS

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
