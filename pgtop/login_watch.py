"""LoginWatch: a test login now and then, which shows a connected face whether others can still log in."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit
from pgtop.errors import Peer, PgtopError
from pgtop.poller import Poller
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.session.login_probe import LoginProbe, probe_login

AGAIN_SECONDS: Final = 1.0
"""Seconds until a refused login is tried again, to see whether it is still refused."""
BELIEVED_SECONDS: Final = 60.0
"""Seconds for which a refusal counts without a later login that confirms it."""


class LoginWatch:
    """Knock one login at a time, each closed at once."""

    def __init__(
        self,
        poller: Poller,
        seconds: float,
        tell: Callable[[LoginProbe], None] = lambda _: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds` between two knocks, 0 for none at all; `tell` hears what each came to.

        `clock` gives seconds and only runs forward.
        """
        self.limit: Limit | None = None
        """The limit of the server that refuses logins, as far as known; None if none does."""
        self.limit_here: Limit | None = None
        """The limit that refused the last login, if it is surely the server's that pgtop is connected to."""
        self._poller = poller
        self._seconds = seconds
        self._tell = tell
        self._changed = asyncio.Event()
        self._one = asyncio.Lock()
        self._is_fresh = False
        self._clock = clock
        self._knocked_at = 0.0
        self._total_then: int | None = None
        self._confirmed_at = 0.0
        self._known_of: Peer | None = None

    @property
    def seconds(self) -> float:
        """Between two knocks; setting it takes effect at once."""
        return self._seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds
        self._changed.set()

    async def run(self) -> None:
        """Knock for ever. A poll follows at once where a login was refused: does the view show why?"""
        while True:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds or None):
                    await self._changed.wait()
                    continue
            if self._poller.probe.own_connection.is_held and await self.knock():
                self._is_fresh = True
                self._poller.wake()

    async def settle(self, snapshot: Snapshot) -> bool:
        """Return whether the last knock is still refused although the snapshot shows free slots.

        True once per knock: whoever acts on it must not act again before the next one. Call it after each
        poll, since it also notices when logins are no longer refused.
        """
        self._forget_another()
        is_fresh, self._is_fresh = self._is_fresh, False
        own_connection = self._poller.probe.own_connection
        if self.limit is None and not own_connection.is_rescue:
            return False
        if snapshot.counts.total >= snapshot.slots:
            return False
        # A fresh one again, too: a slot may have been left between that login and this snapshot.
        # And sessions may have left since the last login: that it was refused says nothing any more.
        have_left = self._total_then is None or snapshot.counts.total < self._total_then
        if is_fresh or have_left or self._clock() - self._knocked_at >= AGAIN_SECONDS:
            refused = await self.knock()
            self._total_then = snapshot.counts.total
            return refused and is_fresh
        return False

    async def knock(self) -> bool:
        """Log in once; return whether that was refused for lack of a slot.

        No session is terminated for any other result: otherwise, whoever fills a limit of the role's own
        could keep an old refusal alive for ever.
        """
        async with self._one:
            knocked = await probe_login(self._poller.probe.own_connection)
        self._knocked_at = now = self._clock()
        self._total_then = None
        self._forget_another()
        if knocked.is_known:
            self.limit, self._confirmed_at = knocked.limit, now
        elif now - self._confirmed_at > BELIEVED_SECONDS:
            self.limit = None
        is_sure = knocked.is_known and knocked.limit is not None and await self._is_direct()
        self.limit_here = knocked.limit if is_sure else None
        self._tell(knocked)
        return knocked.limit is not None

    async def _is_direct(self) -> bool:
        try:
            return await self._poller.probe.own_connection.is_direct()
        except (PgtopError, *DRIVER_ERRORS):
            return False

    def _forget_another(self) -> None:
        """Forget what is known of another server than the one that pgtop is connected to by now."""
        peer = self._poller.probe.own_connection.peer
        if peer != self._known_of:
            self.limit, self.limit_here, self._known_of = None, None, peer
