"""The pauses between two tries to connect: after each kind of outage, and after refused logins.

Often enough to win the slot that somebody leaves, and never a load of its own: a refused login costs the
server about 2 ms, so that one each 275 ms is less than a hundredth of a core.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from pgtop.core.outage import OutageKind

SHORTEST_PAUSE_SECONDS: Final = 0.15
LONGEST_PAUSE_SECONDS: Final = 0.40
"""Drawn at random in between, so that many who were refused together don't come back together."""

LOST_SECONDS: Final = 0.25
"""Seconds between the loss of the connection and the poll that makes it again, which may lose it again."""
RETRY_AFTER_SECONDS: Final = {
    OutageKind.FULL: 0.4,
    OutageKind.LIMIT: 0.4,
    OutageKind.STARTING: 1.0,
    OutageKind.UNREACHABLE: 1.0,
    OutageKind.REFUSED: 1.5,
    OutageKind.LOST: LOST_SECONDS,
    OutageKind.TIMEOUT: 1.0,
    OutageKind.FAILED: 1.5,
}
"""Seconds to wait after an outage of each kind, unless the outage names its own pause.

Less than two seconds, so that the user sees a server come back at once. A refused login costs the server
about 2 ms, and an unanswered one nothing.
"""


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
