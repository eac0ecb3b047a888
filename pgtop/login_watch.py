"""LoginWatch: whether others get in, learnt by knocking now and then, for a face that has its seat."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.refusal import Limit
from pgtop.poller import Poller
from pgtop.postgres.login_probe import Knock, knock

AGAIN_SECONDS: Final = 1.0
"""How soon a refused login is tried again, to see whether that is still so."""


class LoginWatch:
    """Knocks one login at a time, each closed at once."""

    def __init__(
        self, poller: Poller, seconds: float, tell: Callable[[Knock], None] = lambda _: None
    ) -> None:
        """`seconds` between two knocks, 0 for none at all; `tell` hears what each came to."""
        self.limit: Limit | None = None
        """Which of the server's limits refuses logins, as far as is known; None where none does."""
        self._poller = poller
        self._seconds = seconds
        self._tell = tell
        self._changed = asyncio.Event()
        self._one = asyncio.Lock()
        self._is_fresh = False
        self._knocked_at = 0.0

    @property
    def seconds(self) -> float:
        """Between two knocks; setting it takes effect at once."""
        return self._seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds
        self._changed.set()

    async def run(self) -> None:
        """Knocks for ever. A poll follows at once where a login was refused: does the view show why?"""
        while True:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds or None):
                    await self._changed.wait()
                    continue
            if self._poller.probe.seat.is_held:
                await self._knock()
                if self.limit is not None:
                    self._is_fresh = True
                    self._poller.wake()

    async def settle(self, snapshot: Snapshot) -> bool:
        """Whether the last knock was refused and still is, although the snapshot shows slots that are free.

        True once a knock: whoever acts on it shall not act again before the next one. To be asked after each
        poll, since it also notices when logins are no longer refused.
        """
        is_fresh, self._is_fresh = self._is_fresh, False
        seat = self._poller.probe.seat
        if self.limit is None and not seat.is_rescue:
            return False
        if snapshot.counts.total >= snapshot.slots:
            return False
        # A fresh one again, too: a slot may have been left between that login and this snapshot.
        if is_fresh or time.monotonic() - self._knocked_at >= AGAIN_SECONDS:
            await self._knock()
        return is_fresh and self.limit is not None

    async def _knock(self) -> None:
        async with self._one:
            knocked = await knock(self._poller.probe.seat)
        self._knocked_at = time.monotonic()
        if knocked.is_known:
            self.limit = knocked.limit
        self._tell(knocked)
