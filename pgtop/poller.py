"""The loop that all faces share: one poll after the other, never two at once, at the pace asked for."""

import asyncio
import contextlib
import time
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.postgres.session.retry_pauses import LOST_SECONDS, RETRY_AFTER_SECONDS
from pgtop.postgres.snapshot_probe import GIVE_BACK_SECONDS, Probe

SHORTEST_PAUSE_SECONDS: Final = 0.05


class Poller:
    """Poll through one probe at an interval (seconds), from the start of one poll to the start of the next.

    A poll that takes longer than the interval is followed at once by the next: polls are never queued.
    """

    def __init__(self, probe: Probe, interval_seconds: float) -> None:
        self.probe = probe
        self._interval_seconds = interval_seconds
        self._due = 0.0
        self._is_out = False
        self._is_wanted = False
        self._wake = asyncio.Event()
        probe.own_connection.on_lost = self._connection_lost

    @property
    def interval_seconds(self) -> float:
        """Seconds between the starts of two polls; setting it moves the next, but for an outage's retry."""
        return self._interval_seconds

    @interval_seconds.setter
    def interval_seconds(self, seconds: float) -> None:
        if not self._is_out:  # the pace of connecting again is another one
            self._due += seconds - self._interval_seconds
        self._interval_seconds = seconds
        self._wake.set()

    def _connection_lost(self) -> None:
        """A long interval shall not keep anybody from hearing of it."""
        self._due = min(self._due, time.monotonic() + LOST_SECONDS)
        self._wake.set()

    def wake(self) -> None:
        """Let the next poll begin now; a poll under way asked before, and is followed by another."""
        self._due = 0.0
        self._is_wanted = True
        self._wake.set()

    async def next(self) -> Snapshot | Outage:
        """Wait until a poll is due, and poll. The first is due at once."""
        await self._until_due()
        started = time.monotonic()
        self._is_wanted = False
        result = await self.probe.poll()
        self._is_out = isinstance(result, Outage)
        if isinstance(result, Outage):
            self._due = time.monotonic() + _pause_seconds(result)
        else:
            due = started if self._is_wanted else started + self._interval_seconds
            self._due = max(due, time.monotonic() + SHORTEST_PAUSE_SECONDS)
        return result

    async def _until_due(self) -> None:
        while (remaining := self._due - time.monotonic()) > 0:
            self._wake.clear()
            rescue = self.probe.own_connection.is_rescue and self.probe.own_connection.is_held
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, GIVE_BACK_SECONDS) if rescue else remaining):
                    await self._wake.wait()
            # A long interval shall not keep the rescue role's session from being given back.
            if rescue and await self.probe.give_back():
                return


def _pause_seconds(outage: Outage) -> float:
    own = outage.retry_after_seconds
    return RETRY_AFTER_SECONDS[outage.kind] if own is None else own
