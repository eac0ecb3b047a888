"""The measure of how much of a sweep's freed slots is taken again, and of when sweeping is futile.

A connection pool reopens terminated sessions at once, so sweeping it gains nothing. A leak goes on as fast as
before, which is not a reason to stop. The two are told apart by the growth of the application before the
sweep. Times are seconds by a clock that only runs forward; nothing here reads one.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, Snapshot

SOON_SECONDS: Final = 10.0
"""The seconds after a sweep at its first measurement, and those over which growth is measured."""
LATER_SECONDS: Final = 60.0
FUTILE_SHARE: Final = 0.9
"""The fraction of a sweep's freed slots from which it was futile.

It counts the slots that the same applications took again, beyond their growth, SOON_SECONDS later.
"""
UNDONE_SHARE: Final = 0.5
"""The fraction of an application's terminated sessions from which, opened again at once, they undo an act."""
FUTILE_SWEEPS: Final = 3
FIRST_REST_SECONDS: Final = 600.0
LONGEST_REST_SECONDS: Final = 3600.0
BURST_SECONDS: Final = 2.0
"""The seconds within which a pool reopens its sessions, used if growth is unknown."""
REMEMBERED_SECONDS: Final = 600.0
"""The seconds for which a measured growth is used if none can be measured since."""


class Freed(msgspec.Struct, frozen=True):
    """The slots that one sweep freed."""

    at: float
    """The time at which the sweep ended."""
    freed: Mapping[str, int]
    """The number of sessions terminated, by application."""
    left: Mapping[str, int]
    """The number of sessions that each of these applications had left."""
    growth: Mapping[str, int] | None
    """The sessions that each of these applications gained in SOON_SECONDS; None if unknown."""

    @property
    def total(self) -> int:
        """The number of sessions terminated."""
        return sum(self.freed.values())


class Rebound(msgspec.Struct, frozen=True):
    """The slots freed by a sweep that were taken again."""

    after_seconds: float
    """The seconds from the sweep to the measurement: SOON_SECONDS or LATER_SECONDS."""
    freed: int
    again: Mapping[str, int]
    """The slots taken again, by application: its gain since the sweep, for whatever reason."""
    beyond_growth: int
    """The part of these slots that exceeds the applications' expected growth."""

    @property
    def taken(self) -> int:
        """The number of slots taken again."""
        return sum(self.again.values())

    @property
    def share(self) -> float:
        """The fraction of the freed slots that is taken again, 0 to 1."""
        return self.taken / self.freed if self.freed else 0.0

    @property
    def is_futile(self) -> bool:
        """True if the sweep was futile."""
        return self.freed > 0 and self.beyond_growth >= FUTILE_SHARE * self.freed

    @property
    def application(self) -> str:
        """The application that took most of the slots again; "" if none were taken."""
        return max(self.again, key=lambda name: (self.again[name], name), default="")


class Undone(msgspec.Struct, frozen=True):
    """An act whose freed slots were mostly taken again at once, by the application that took most of them."""

    at: int
    """The time of the last poll before the act, microseconds by the server's clock."""
    application: str
    reopened: int
    """The sessions that it opened within SOON_SECONDS after the act, and still has."""
    terminated: int
    """The sessions of it that were terminated."""


def undone(terminated: Mapping[str, int], at: int, snapshot: Snapshot) -> Undone | None:
    """Return the act at `at` (microseconds, the server's clock) if an application undid it; None if none did.

    `terminated` counts the sessions that it terminated by application.
    """
    until = at + round(SOON_SECONDS * MICROSECONDS)
    opened = Counter(
        backend.application_name or ""
        for backend in snapshot.backends
        if backend.backend_start is not None and at < backend.backend_start <= until
    )
    again = {name: min(number, opened[name]) for name, number in terminated.items()}
    name = max(again, key=lambda each: (again[each], each), default="")
    if not again or again[name] < UNDONE_SHARE * terminated[name]:
        return None
    return Undone(at, name, again[name], terminated[name])


def totals(snapshot: Snapshot) -> Counter[str]:
    """Count the sessions of each application."""
    return Counter(backend.application_name or "" for backend in snapshot.backends)


def begun_after(snapshot: Snapshot, moment: int) -> Counter[str]:
    """Count each application's sessions that began after a moment (microseconds, the server's clock)."""
    return Counter(
        backend.application_name or ""
        for backend in snapshot.backends
        if backend.backend_start is not None and backend.backend_start > moment
    )


def rebound(
    room: Freed,
    now_has: Mapping[str, int],
    now: float,
    after_seconds: float,
    late: Mapping[str, int] | None = None,
) -> Rebound:
    """Measure how much of a sweep's freed slots is taken again at `now`.

    `late` counts the sessions of each application that began more than BURST_SECONDS after the sweep. If
    growth is unknown, as on a server that has been full for a long time, they count as growth.

    >>> pool = Freed(at=0.0, freed={"pool": 10}, left={"pool": 2}, growth={"pool": 0})
    >>> rebound(pool, {"pool": 12}, 10.0, 10.0).is_futile
    True
    >>> leak = Freed(at=0.0, freed={"leak": 5}, left={"leak": 30}, growth={"leak": 5})
    >>> rebound(leak, {"leak": 35}, 10.0, 10.0).is_futile
    False
    """
    again: dict[str, int] = {}
    beyond = 0.0
    for name, number in room.freed.items():
        gained = max(0, now_has.get(name, 0) - room.left.get(name, 0))
        if room.growth is None:
            expected = float((late or {}).get(name, 0))
        else:
            expected = room.growth.get(name, 0) * (now - room.at) / SOON_SECONDS
        beyond += min(number, max(0.0, gained - expected))
        if gained:
            again[name] = min(number, gained)
    return Rebound(after_seconds, room.total, again, int(beyond))


class Growth:
    """The number of sessions that each application gains when no sweep disturbs it.

    It is measured only while growth can show: not on a full server, and not right after a sweep, when a pool
    takes its slots back. Meanwhile the last measurement is used, for at most REMEMBERED_SECONDS.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Counter[str]]] = deque()
        self._measured: dict[str, int] = {}
        self._measured_at: float | None = None
        self._quiet_until: float | None = None

    def add(self, now: float, has: Counter[str], *, full: bool = False) -> None:
        """Add a poll's totals by application. `full` tells that the server was full."""
        if full or (self._quiet_until is not None and now < self._quiet_until):
            self._seen.clear()
            return
        self._quiet_until = None
        self._seen.append((now, has))
        while len(self._seen) > 1 and self._seen[1][0] <= now - SOON_SECONDS:
            self._seen.popleft()
        then, had = self._seen[0]
        if now > then:
            spread = max(SOON_SECONDS, now - then)
            self._measured = {name: round((has[name] - had[name]) * SOON_SECONDS / spread) for name in has}
            self._measured_at = now

    def swept(self, now: float) -> None:
        """Note a sweep: nothing is measured for SOON_SECONDS after it."""
        self._seen.clear()
        self._quiet_until = now + SOON_SECONDS

    def of(self, names: Iterable[str], now: float) -> dict[str, int] | None:
        """Return each application's gain in sessions in SOON_SECONDS, 0 if it shrinks; None if unknown."""
        if self._measured_at is None or now - self._measured_at > REMEMBERED_SECONDS:
            return None
        return {name: max(0, self._measured.get(name, 0)) for name in names}


class Patience(msgspec.Struct, frozen=True):
    """The number of futile sweeps in a row, and the pause in sweeping for usage that follows from it."""

    futile: int = 0
    rest_seconds: float = 0.0
    """The length of the last pause; 0 if there was none since the last useful sweep."""
    until: float = 0.0
    application: str = ""
    """The application that took the slots again."""

    def is_resting(self, now: float) -> bool:
        """Return whether sweeping for usage is paused."""
        return now < self.until

    def after(self, measured: Rebound, now: float) -> "Patience":
        """Return the patience after a sweep's rebound was measured.

        The first pause comes after FUTILE_SWEEPS sweeps and lasts FIRST_REST_SECONDS. Each further pause
        comes after a single futile sweep and is twice as long, up to LONGEST_REST_SECONDS.
        """
        if self.is_resting(now):
            return self
        if not measured.is_futile:
            return Patience()
        futile = self.futile + 1
        if futile < FUTILE_SWEEPS:
            return Patience(futile, application=measured.application)
        rest = min(max(FIRST_REST_SECONDS, 2 * self.rest_seconds), LONGEST_REST_SECONDS)
        return Patience(futile, rest, now + rest, measured.application)
