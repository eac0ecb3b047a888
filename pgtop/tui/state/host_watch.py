"""What the dashboard does on the host of a full server while no seat can be had there.

It finds out whether the server runs on this host, looks at it there again and again, so that idle ages of
Unix sockets grow without a wait, and makes the plan that `B` asks about. Looking blocks: it is done in
threads, one look at a time, and none while a plan is being decided or carried out.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.host_policy import Ask, plan_break_glass
from pgtop.core.plan import Plan, ReapPolicy
from pgtop.core.text import printable
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.host.lookup import server_at
from pgtop.postgres.host.settings import ask_settings
from pgtop.postgres.host.terminate import HostTerminator
from pgtop.postgres.host.watcher import HostView, HostWatcher
from pgtop.reaping.reaper import Reaper

LOOK_SECONDS: Final = 1.0
"""Between two looks."""

FIND_SECONDS: Final = 5.0
"""Between two attempts to find the server on this host: each may ask a name server and start programs."""

ASK: Final = Ask()

_NO_LIMITS: Final = "how many slots the server has could not be found out: pgtop break-glass --count N"


class HostWatch:
    """One server, seen from its own host, where that is this one."""

    def __init__(
        self,
        target: Target,
        policy: ReapPolicy,
        reaper: Reaper,
    ) -> None:
        """`reaper` is the one of the dashboard: this one is like it, but for its terminator."""
        self.problem = ""
        """Why sessions cannot be ended from here although the server is; "" where they can, or it is not."""
        self.view: HostView | None = None
        """The last look; None before the first, and where the server is not on this host."""
        self.reaper: Reaper | None = None
        """Ends what `plan` gives."""
        self._target = target
        self._policy = policy
        self._likewise = reaper
        self._watcher: HostWatcher | None = None
        self._wanted = asyncio.Event()
        self.is_held = False
        """While True nothing is looked at: a plan is being decided, or carried out."""

    @property
    def is_here(self) -> bool:
        """True where the server runs on this host, and its sessions can be ended from here."""
        return self.reaper is not None and self.view is not None and self.view.has_limits

    def want(self, wanted: bool) -> None:
        """Looks from now on, or no longer."""
        if wanted:
            self._wanted.set()
            return
        self._wanted.clear()
        self.view = self.reaper = self._watcher = None
        self.problem = ""

    async def run(self, looked: Callable[[], None]) -> None:
        """Looks while that is wanted, for ever; `looked` is called after each look."""
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
        except Exception as error:  # noqa: BLE001 - names and files of this host are anybody's: none ends the dashboard
            # A server that was restarted is another one to the watcher.
            self.view = self.reaper = self._watcher = None
            self.problem = printable(str(error))
            return
        if not self._wanted.is_set():
            return
        if watcher is not None and watcher is not self._watcher:
            self.reaper = self._likewise.through(HostTerminator(watcher))
        self._watcher, self.view = watcher, view
        self.problem = "" if view is None or view.has_limits else _NO_LIMITS

    def plan(self) -> Plan | None:
        """The plan over the last look; None where there is none to make one of."""
        if self.view is None or not self.view.has_limits:
            return None
        return plan_break_glass(self.view.snapshot, self._policy, ASK)


def _watcher(target: Target) -> HostWatcher | None:
    """Who watches the target's server; None where it is not surely on this host.

    Raises PgtopError where it is, and cannot be looked into.
    """
    if sys.platform != "linux" or len(target.endpoints) != 1:
        return None
    server = server_at(target.endpoints[0])
    return None if server is None else HostWatcher(server, ask_settings(server).answers())
