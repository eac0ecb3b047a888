"""Tries: how often a login has been refused, since when, and when to ask again.

Often enough to win the slot that somebody leaves, and never a load of its own: a refused login costs the
server about 2 ms, so that one each 275 ms is less than a hundredth of a core.
"""

import random
import time
from collections.abc import Callable
from typing import Final

SHORTEST_PAUSE_SECONDS: Final = 0.15
LONGEST_PAUSE_SECONDS: Final = 0.40
"""Drawn at random in between, so that many who were refused together don't come back together."""


class LoginRetry:
    """The refused logins since the connection was last held."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._since: float | None = None
        self._rounds = 0
        self.count = 0
        """The number of logins refused."""

    @property
    def seconds(self) -> float:
        """The seconds since the first refused login; 0 if there is none."""
        return 0.0 if self._since is None else self._clock() - self._since

    def refused(self, logins: int = 1) -> float:
        """Take note of a round with `logins` refused logins; return the seconds until the next round.

        The second round follows at once: the first may have met the moment between two clients.
        """
        if self._since is None:
            self._since = self._clock()
        self.count += logins
        self._rounds += 1
        if self._rounds == 1:
            return 0.0
        return sum(self._draw(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) for _ in range(logins))

    def clear(self) -> None:
        """Begin anew: pgtop is connected."""
        self._since, self._rounds, self.count = None, 0, 0
