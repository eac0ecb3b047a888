"""The expiry of plans: what was seen before an interruption is not acted on.

Each outage, each reconnect, and each time that the program was suspended is an interruption. A dialog about
what was seen before can no longer be confirmed. If another server answers, what is open about the old one
expires, too.
"""

from typing import Any, Final

from textual.screen import Screen

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Trigger
from pgtop.core.server_change import same_cluster, succession
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.tui.screens.over_dashboard import AboutPlan, AboutServer
from pgtop.tui.state.suspend_clock import SuspendClock

OUT_OF_SIGHT: Final = "the connection was lost after planning"
STOOD_STILL: Final = "pgtop was suspended after planning"
_NOW: Final = "this plan is out of date. Close it and try again"


class PlanExpiry:
    """The watch over a screen's open dialogs and details of a server."""

    def __init__(self, screen: Screen[Any], own_connection: OwnConnection) -> None:
        self._screen = screen
        self._own_connection = own_connection
        self._suspend_clock = SuspendClock()
        self.is_same_cluster = True
        """False if the last snapshot is of another database cluster than the one before it."""

    def beat(self) -> bool:
        """Return whether the program was suspended since the last beat; if so, void the open plans.

        Suspended means stopped, or its machine asleep.
        """
        if not self._suspend_clock.beat():
            return False
        self._own_connection.lose_sight()
        for dialog in self._open_plans():
            dialog.expire(f"{STOOD_STILL}: {_NOW}")
        return True

    def polled(self, before: Snapshot | None, result: Snapshot | Outage) -> str:
        """Take note of a poll, and void the plans that it outdates; `before` is the last snapshot before it.

        Return a sentence if the server was restarted, promoted or replaced by another; "" otherwise.
        """
        self.beat()
        said = ""
        if before is not None and isinstance(result, Snapshot):
            self.is_same_cluster = same_cluster(before, result)
            said = succession(before, result)
            if said and not self.is_same_cluster:
                said = f"{said}: the graph shows its own history"
        if said:
            self._close(said)
        for dialog in self._open_plans():
            if (
                dialog.plan.trigger is not Trigger.BREAK_GLASS
                and dialog.plan.interruptions != self._own_connection.interruptions
            ):
                dialog.expire(f"{OUT_OF_SIGHT}: {_NOW}")
        return said

    def _open_plans(self) -> list[AboutPlan]:
        return [screen for screen in self._screen.app.screen_stack if isinstance(screen, AboutPlan)]

    def _close(self, said: str) -> None:
        """Close what is open about the old server; the dialog of a plan stays, and says why it expired."""
        for dialog in self._open_plans():
            dialog.expire(f"{said}: {_NOW}")
        top = self._screen.app.screen
        if isinstance(top, AboutServer):
            top.server_changed()
