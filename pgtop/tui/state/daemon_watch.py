"""The daemons that sweep this server, for the head; recognised by key and role, as a name proves nothing."""

import asyncio
import contextlib
import time
from typing import Any, Final

from textual.screen import Screen

from pgtop.concurrency import undisturbed
from pgtop.core.activity import BackendId, Snapshot
from pgtop.core.leadership import Key, ranked
from pgtop.core.outage import Outage
from pgtop.errors import PgtopError
from pgtop.poller import Poller
from pgtop.postgres.advisory_keys import ReaperKeys
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.tui.lines.automatic_sweeps import daemons
from pgtop.tui.messages import AutoChanged

_AGAIN_SECONDS: Final = 15.0
"""The pause before asking again while the sessions are the same: a daemon may have resigned, or hang."""


class DaemonWatch:
    """A watch that asks the server which daemons sweep, but only if a session calls itself a daemon."""

    def __init__(self, screen: Screen[Any], poller: Poller) -> None:
        self.reapers: tuple[Key, ...] = ()
        """The daemons that hold pgtop's key and count, the active one first."""
        self._screen = screen
        self._poller = poller
        self._asked: frozenset[BackendId] = frozenset()
        self._asked_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def polled(self, result: Snapshot | Outage) -> None:
        """Take note of a poll, and ask the server if that is due; AutoChanged announces the answer."""
        if isinstance(result, Outage):
            return
        named = daemons(result)
        if not named or self._poller.probe.own_connection.pooled:
            self.reapers, self._asked = (), frozenset()
            return
        is_due = named != self._asked or time.monotonic() - self._asked_at >= _AGAIN_SECONDS
        if is_due and (self._task is None or self._task.done()):
            self._asked, self._asked_at = named, time.monotonic()
            self._task = asyncio.ensure_future(self._ask(named))

    async def _ask(self, named: frozenset[BackendId]) -> None:
        # Without an answer no daemon is named, and a later poll asks again.
        with contextlib.suppress(PgtopError, *DRIVER_ERRORS):
            own_connection = self._poller.probe.own_connection
            seen = await undisturbed(ReaperKeys(own_connection).seen())
            holders = ranked(seen.keys, own_connection.own_pid, seen.now).holders
            self.reapers = tuple(each for each in holders if BackendId(each.pid, each.backend_start) in named)
            self._screen.post_message(AutoChanged())

    async def finish(self) -> None:
        """Cancel a question that is under way, after the screen is closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
