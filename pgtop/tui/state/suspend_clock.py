"""Time that also passes while the program is stopped or its machine sleeps, and whether it did."""

import time
from collections.abc import Callable
from typing import Final

STILL_SECONDS: Final = 4.0
"""A pulse that is due each second and comes so much later: nobody looked at the server meanwhile."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux' monotonic clock stands still while the machine sleeps, that of macOS does not."""


def elapsed() -> float:
    """Seconds since some moment, those asleep included; never the clock on the wall, which may be set."""
    return time.clock_gettime(_CLOCK)


class SuspendClock:
    """Notices that this program did not run for a while."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        """`clock` gives seconds and only runs forward."""
        self._clock = clock
        self._at = clock()

    def beat(self) -> bool:
        """Whether it stood still since the last beat; to be asked each second, and before anything is done
        on the strength of what was seen."""
        now = self._clock()
        was_still = now - self._at > STILL_SECONDS
        self._at = now
        return was_still
