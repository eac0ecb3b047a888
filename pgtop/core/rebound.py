"""What became of the room that a sweep made: who took it again, and when sweeping is no use.

A pool opens again what is ended, at once: sweeping it is a fight that nobody wins. A leak goes on as fast as
before, which is no reason to stop. The two are told apart by how fast the application grew before the sweep.
Times are seconds by a clock that only runs forward; nothing here reads one.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pgtop.core.activity import Snapshot

SOON_SECONDS: Final = 10.0
"""When it is first measured how much of the room is taken again, and over which time growth is measured."""
LATER_SECONDS: Final = 60.0
FUTILE_SHARE: Final = 0.9
"""A sweep was futile when the same applications hold this share of its room again SOON_SECONDS later."""
FUTILE_SWEEPS: Final = 3
FIRST_REST_SECONDS: Final = 600.0
LONGEST_REST_SECONDS: Final = 3600.0
BURST_SECONDS: Final = 2.0
"""A pool opens what it lost within this, where nothing else tells it from a leak."""
REMEMBERED_SECONDS: Final = 600.0
"""How long a growth counts that cannot be measured anew."""


class Freed(msgspec.Struct, frozen=True):
    """The room that one sweep made."""

    at: float
    """When the sweep was over."""
    freed: Mapping[str, int]
    """Sessions ended, by application."""
    left: Mapping[str, int]
    """Sessions that each of these applications had left."""
    growth: Mapping[str, int] | None
    """By how many sessions each of these applications grew in SOON_SECONDS; None where that is not known."""

    @property
    def total(self) -> int:
        """Sessions ended."""
        return sum(self.freed.values())


class Rebound(msgspec.Struct, frozen=True):
    """How much of a sweep's room was taken again."""

    after_seconds: float
    """SOON_SECONDS or LATER_SECONDS."""
    freed: int
    again: Mapping[str, int]
    """Slots that are held again, by application: what it gained beyond what it has left, whatever for."""
    beyond_growth: int
    """Of these, what is more than those applications would have grown by anyway."""

    @property
    def taken(self) -> int:
        """Slots that are held again, in all."""
        return sum(self.again.values())

    @property
    def share(self) -> float:
        """The part of the room that is taken again, 0 to 1."""
        return self.taken / self.freed if self.freed else 0.0

    @property
    def is_futile(self) -> bool:
        """Whether the sweep was no use."""
        return self.freed > 0 and self.beyond_growth >= FUTILE_SHARE * self.freed

    @property
    def application(self) -> str:
        """The application that took most; "" where nobody took any."""
        return max(self.again, key=lambda name: (self.again[name], name), default="")


def totals(snapshot: Snapshot) -> Counter[str]:
    """How many sessions each application has."""
    return Counter(backend.application_name or "" for backend in snapshot.backends)


def begun_after(snapshot: Snapshot, moment: int) -> Counter[str]:
    """How many sessions of each application began after a moment (microseconds by the server's clock)."""
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
    """Measures what became of a sweep's room at `now`.

    `late` are the sessions of each application that began more than BURST_SECONDS after the sweep: where
    growth is not known, as on a server that has been full for long, they count as growth.

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
    """By how many sessions each application grows of its own accord.

    Measured only where growth can show: not on a full server, and not right after a sweep, when a pool takes
    its slots back. What was last measured holds until then, for REMEMBERED_SECONDS at most.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Counter[str]]] = deque()
        self._measured: dict[str, int] = {}
        self._measured_at: float | None = None
        self._quiet_until: float | None = None

    def add(self, now: float, has: Counter[str], *, full: bool = False) -> None:
        """Takes note of a poll's totals."""
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
        """Lets a while pass after a sweep."""
        self._seen.clear()
        self._quiet_until = now + SOON_SECONDS

    def of(self, names: Iterable[str], now: float) -> dict[str, int] | None:
        """Sessions that each of the applications gains in SOON_SECONDS, 0 where it shrinks.

        None where that is not known.
        """
        if self._measured_at is None or now - self._measured_at > REMEMBERED_SECONDS:
            return None
        return {name: max(0, self._measured.get(name, 0)) for name in names}


class Patience(msgspec.Struct, frozen=True):
    """How often in a row a sweep was futile, and whether sweeping for usage rests for that."""

    futile: int = 0
    rest_seconds: float = 0.0
    """The last rest; 0 where there was none since a sweep was last of use."""
    until: float = 0.0
    application: str = ""
    """Who took the room again."""

    def is_resting(self, now: float) -> bool:
        """True while nobody is swept for usage."""
        return now < self.until

    def after(self, measured: Rebound, now: float) -> "Patience":
        """What follows from a sweep's rebound.

        The first rest comes after FUTILE_SWEEPS, each next one after a single try, and is twice as long.
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
