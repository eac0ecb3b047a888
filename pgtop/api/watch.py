"""The work of `Server.watch`: one poll after the other, and the events that each leads to."""

import asyncio
import contextlib
from typing import Any

import msgspec

from pgtop.api.events import (
    Event,
    Planned,
    Polled,
    Rebounded,
    Standing,
    Swept,
    Troubled,
    Unanswered,
    Withheld,
)
from pgtop.automatic_watch import AutomaticWatch
from pgtop.concurrency import forget, outlast
from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import ReapPolicy
from pgtop.errors import PgtopError, UsageError
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.reaping.automatic import Turn
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import Wiring


class Watch:
    """One watch over a server."""

    def __init__(self, wiring: Wiring, config: Config, policy: ReapPolicy) -> None:
        """Set it up; a read-only one only plans."""
        self._watched = AutomaticWatch(wiring, config, dry_run=config.read_only)
        self._watched.automatic.policy = policy
        self._watched.diagnosis.warn_at = policy.warn_at
        self._is_dry = config.read_only
        self._logins: asyncio.Future[None] | None = None
        self._standing: tuple[object, ...] = ()
        self._withheld = ""
        self._is_first = True
        self._closed = asyncio.Event()
        self._acting: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """Connect and poll once. Raises PgtopError where it cannot begin."""
        await self._watched.begin()
        self._logins = asyncio.ensure_future(self._watched.logins.run())

    async def next(self) -> list[Event]:
        """Wait for the next poll, do what it asks for, and return what happened."""
        polled = self._watched.polled if self._is_first else None
        self._is_first = False
        if polled is None:
            polled = await self._poll()
        if isinstance(polled, Outage):
            return [Unanswered(polled)]
        self._acting = asyncio.get_running_loop().create_future()
        try:
            return await self._act(polled)
        finally:
            self._acting.set_result(None)

    async def _poll(self) -> Snapshot | Outage:
        """Wait for the next poll. Raises UsageError if the watch is closed meanwhile."""
        polling = asyncio.ensure_future(self._watched.poll())
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {polling, closed}
            if self._logins is not None:
                waiting.add(self._logins)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._closed.is_set():
                raise UsageError("this server is not open", "use it inside of its async with")
            if self._logins is not None and self._logins.done():
                self._logins.result()
            return await polling
        finally:
            for each in (polling, closed):
                each.cancel()
                each.add_done_callback(forget)
            await outlast(polling)

    async def _act(self, snapshot: Snapshot) -> list[Event]:
        findings = self._watched.diagnose(snapshot)
        seen = Polled(snapshot, findings, self._watched.diagnosis.forecast, self._watched.logins.limit)
        try:
            self._watched.refuse_pooler()
            turn = await self._watched.turn(snapshot, findings)
        except PgtopError as error:
            return [seen, Troubled(error)]
        except DRIVER_ERRORS as error:
            return [seen, Troubled(answer_error(error))]
        seen = msgspec.structs.replace(seen, stall=turn.stall, wont_hold=turn.wont_hold)
        return [seen, *self._of(turn)]

    def _of(self, turn: Turn) -> list[Event]:
        """Return what followed from a poll."""
        events: list[Event] = []
        pause = self._watched.automatic.seconds_to_rest()
        standing = turn.is_active, turn.unfit, turn.keyless, turn.active and turn.active.pid
        if not self._is_dry and standing != self._standing:
            events.append(Standing(turn.is_active, turn.holders, turn.unfit, turn.keyless))
        self._standing = standing
        events += [Rebounded(each, pause) for each in turn.measured]
        if turn.report is not None:
            events.append(Swept(turn.report))
        elif turn.plan is not None:
            events.append(Planned(turn.plan))
        if turn.hands_off and turn.hands_off != self._withheld:
            events.append(Withheld(turn.hands_off))
        self._withheld = turn.hands_off
        return events

    async def close(self) -> None:
        """Leave nothing behind: no task, and no key of pgtop's. It may be called again.

        A sweep that has begun is waited for.
        """
        self._closed.set()
        if self._acting is not None:
            await asyncio.wait([self._acting])
        self._watched.close()
        if self._logins is not None:
            self._logins.cancel()
            self._logins.add_done_callback(forget)
            await asyncio.wait([self._logins])
        with contextlib.suppress(PgtopError, *DRIVER_ERRORS):
            await self._watched.automatic.stop()
