"""When a plan expires: what becomes of dialogs, tags and automatic sweeps once the server was out of sight.

It is out of sight after each outage, after the seat was taken again, and while the program itself did not
run. A question about what was seen before gets no yes any more; where another server answers, what was chosen
on the old one is dropped.
"""

from typing import Any, Final

from textual.screen import Screen

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Trigger
from pgtop.postgres.session.seat import Seat
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.state.server_change import same_cluster, succession
from pgtop.tui.state.suspend_clock import SuspendClock

OUT_OF_SIGHT: Final = "the connection was lost after planning"
STOOD_STILL: Final = "pgtop was suspended after planning"
_NOW: Final = "this plan is out of date. Close it and try again"


class PlanExpiry:
    """Watches over what a screen has open about a server."""

    def __init__(self, screen: Screen[Any], seat: Seat) -> None:
        self._screen = screen
        self._seat = seat
        self._suspend_clock = SuspendClock()
        self.is_same_cluster = True
        """False where the last snapshot is of another database cluster than the one before it."""

    def beat(self) -> bool:
        """Whether the program stood still since the last beat: stopped, or its machine asleep."""
        if not self._suspend_clock.beat():
            return False
        self._seat.lose_sight()
        for dialog in self._open_plans():
            dialog.expire(f"{STOOD_STILL}: {_NOW}")
        return True

    def polled(self, before: Snapshot | None, result: Snapshot | Outage) -> str:
        """Takes note of a poll; `before` is the last snapshot before it.

        Who answers now, in words, where that is another server than before; else "".
        """
        self.beat()
        said = ""
        if before is not None and isinstance(result, Snapshot):
            self.is_same_cluster = same_cluster(before, result)
            said = succession(before, result)
        if said:
            self._close(said)
        for dialog in self._open_plans():
            if (
                dialog.plan.trigger is not Trigger.BREAK_GLASS
                and dialog.plan.interruptions != self._seat.interruptions
            ):
                dialog.expire(f"{OUT_OF_SIGHT}: {_NOW}")
        return said

    def _open_plans(self) -> list[PlanDialog]:
        return [screen for screen in self._screen.app.screen_stack if isinstance(screen, PlanDialog)]

    def _close(self, said: str) -> None:
        """Leaves what is open about the old server, and says in a plan's dialog why it is void."""
        for dialog in self._open_plans():
            dialog.expire(f"{said}: {_NOW}")
        top = self._screen.app.screen
        if isinstance(top, AutomaticDialog):
            top.action_leave()
        elif isinstance(top, DetailScreen):
            top.dismiss()
