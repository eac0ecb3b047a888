"""A clock that also runs while the program is stopped or its machine sleeps, and notices that."""

import time
from collections.abc import Callable
from typing import Final

STILL_SECONDS: Final = 4.0
"""A tick, due each second, that is this late means the process was suspended and saw nothing in between."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's monotonic clock stops while the machine sleeps; that of macOS does not."""


def elapsed() -> float:
    """Return seconds since some moment, including sleep; not wall-clock time, which may be set."""
    return time.clock_gettime(_CLOCK)


class SuspendClock:
    """A clock that tells whether this program was suspended."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        """`clock` gives seconds and only runs forward."""
        self._clock = clock
        self._at = clock()

    def beat(self) -> bool:
        """Return True if the process was suspended since the last beat; to be called each second, and before
        acting on what was seen."""
        now = self._clock()
        was_still = now - self._at > STILL_SECONDS
        self._at = now
        return was_still
