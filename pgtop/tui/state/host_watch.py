"""The watch on the host of a full server while pgtop has no connection to it.

It finds out whether the server runs on this host, looks at it there repeatedly, so that idle ages of Unix
sockets grow without a wait, and makes the plan that `B` asks about. Looking blocks: it is done in
threads, one look at a time, and none while a plan is being decided or carried out.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.break_glass_plan import Ask, lock_queue_hint, plan_break_glass
from pgtop.core.plan import Plan, ReapPolicy
from pgtop.core.text import printable
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.host.server_at_address import server_at
from pgtop.postgres.host.server_settings import ask_settings
from pgtop.postgres.host.terminate import HostTerminator
from pgtop.postgres.host.watcher import HostView, HostWatcher
from pgtop.reaping.reaper import Reaper

LOOK_SECONDS: Final = 1.0
"""The time between two looks."""

FIND_SECONDS: Final = 5.0
"""The time between two searches for the server on this host: each may use DNS and start programs."""

ASK: Final = Ask()

_NO_LIMITS: Final = "the number of slots is unknown: use pgtop break-glass --count N"


class HostWatch:
    """The watch on a server from its own host, if that is this one."""

    def __init__(
        self,
        target: Target,
        policy: ReapPolicy,
        reaper: Reaper,
    ) -> None:
        """`reaper` is the dashboard's; the one used here differs from it only in its terminator."""
        self.problem = ""
        """The reason why a server on this host cannot be acted on from here; "" if there is none."""
        self.view: HostView | None = None
        """The last look; None before the first, or if the server is not on this host."""
        self.reaper: Reaper | None = None
        """Terminates the victims of `plan`."""
        self._target = target
        self._policy = policy
        self._likewise = reaper
        self._watcher: HostWatcher | None = None
        self._wanted = asyncio.Event()
        self.is_held = False
        """True while a plan is being decided or carried out: then nothing is looked at."""

    @property
    def is_here(self) -> bool:
        """True if the server runs on this host, and its sessions can be terminated from here."""
        return self.reaper is not None and self.view is not None and self.view.has_limits

    def want(self, wanted: bool) -> None:
        """Start or stop looking."""
        if wanted:
            self._wanted.set()
            return
        self._wanted.clear()
        self.view = self.reaper = self._watcher = None
        self.problem = ""

    async def run(self, looked: Callable[[], None]) -> None:
        """Look forever, while that is wanted; call `looked` after each look."""
        while True:
            await self._wanted.wait()
            if not self.is_held:
                await self._look()
                looked()
            await asyncio.sleep(LOOK_SECONDS if self._watcher is not None else FIND_SECONDS)

    async def _look(self) -> None:
        watcher = self._watcher
        try:
            if watcher is None:
                watcher = await unawaited_at_exit(lambda: _watcher(self._target))
            view = await unawaited_at_exit(watcher.look) if watcher is not None else None
        except Exception as error:  # noqa: BLE001 - no name or file on this host may end the dashboard
            # The watcher treats a restarted server as another one.
            self.view = self.reaper = self._watcher = None
            self.problem = printable(str(error))
            return
        if not self._wanted.is_set():
            return
        if watcher is not None and watcher is not self._watcher:
            self.reaper = self._likewise.through(HostTerminator(watcher))
        self._watcher, self.view = watcher, view
        self.problem = "" if view is None or view.has_limits else _NO_LIMITS

    @property
    def caution(self) -> str:
        """The warning that sessions wait for locks, as the last look saw them; "" if none does."""
        if self.view is None:
            return ""
        included = self._policy.include_idle_in_transaction_seconds is not None
        return lock_queue_hint(self.view.snapshot, is_included=included)

    def plan(self) -> Plan | None:
        """Return the plan over the last look; None if there is no look yet."""
        if self.view is None or not self.view.has_limits:
            return None
        return plan_break_glass(self.view.snapshot, self._policy, ASK)


def _watcher(target: Target) -> HostWatcher | None:
    """Return the watcher of the target's server; None if it is not known to be on this host.

    Raises PgtopError if it is, but cannot be examined.
    """
    if sys.platform != "linux" or len(target.endpoints) != 1:
        return None
    server = server_at(target.endpoints[0])
    return None if server is None else HostWatcher(server, ask_settings(server).answers())
