"""The dialogs that ask before anything is ended, and tell afterwards what became of each session.

A dialog shows a frozen plan and returns that same plan, or None. Its safe choice has the focus, and what was
typed before it was painted, or within ARM_SECONDS after, is dropped: nobody confirms a plan unseen.
"""

import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Final, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button

from pgtop.concurrency import undisturbed
from pgtop.core.plan import Act, Plan, Result, Trigger
from pgtop.errors import PgtopError
from pgtop.reaping.reaper import Report
from pgtop.reaping.wording import outcome_sentence
from pgtop.tui.lines.columns import Cell
from pgtop.tui.lines.plan_summary import plan_lines, told
from pgtop.tui.screens.session_list import (
    OUTCOME_STYLES,
    HostOutcomeList,
    HostSessionList,
    Judged,
    OutcomeList,
    SessionList,
)
from pgtop.tui.widgets.painted import Lines

ARM_SECONDS: Final = 0.4
FRAME_LINES: Final = 4
"""What a dialog takes beside its text and its list: its border, its buttons and the line above them."""
_AROUND_LINES: Final = 2
"""What is left free of the screen around it, where there is room."""
_LEAST_LIST_LINES: Final = 2
_WIDEST: Final = 140
_WIDTH_PERCENT: Final = 94
_SIDES: Final = 4
"""The width of a dialog's border and padding, as in the .tcss."""

Answer = TypeVar("Answer")

Replan = Callable[[bool, bool], Coroutine[Any, Any, Plan]]
"""Makes the sweep's plan anew from the same snapshot: (emergency, with idle in transaction)."""


def inner_width(screen: ModalScreen[Any]) -> int:
    """How many cells wide a dialog's text is at the screen's present size."""
    return max(1, min(_WIDEST, screen.app.size.width * _WIDTH_PERCENT // 100) - _SIDES)


def lay_out(
    screen: ModalScreen[Any], lines: Sequence[Sequence[Cell]], rows: Sequence[Judged | Result]
) -> None:
    """Shows text and rows in the lines that the screen leaves: the buttons are always seen."""
    room = screen.app.size.height - FRAME_LINES
    kept = lines[: max(1, room - _LEAST_LIST_LINES)]
    screen.query_one("#dialog-text", Lines).fit(kept)
    left = room - len(kept)
    table = screen.query_one(SessionList)
    table.display = left >= _LEAST_LIST_LINES
    table.styles.height = min(len(rows) + 1, max(_LEAST_LIST_LINES, left - _AROUND_LINES))
    table.show(rows)


class ArmedDialog(ModalScreen[Answer]):
    """A question that takes a yes only once it has been on the screen for ARM_SECONDS."""

    _armed_at = math.inf

    def arm(self) -> None:
        """Takes a yes ARM_SECONDS after what is shown now has been painted, and none until then."""
        self._armed_at = math.inf
        self.call_after_refresh(self._arm)

    def _arm(self) -> None:
        self._armed_at = time.monotonic() + ARM_SECONDS

    @property
    def is_armed(self) -> bool:
        """True once what is asked has been on the screen for ARM_SECONDS."""
        return time.monotonic() >= self._armed_at

    def is_legible(self) -> bool:
        """Whether the yes stands whole on the screen; says so where the terminal is too small for it."""
        place = self.find_widget(self.query_one("#confirm", Button))
        legible = place.visible_region == place.region
        if not legible:
            text = told("too small: enlarge the terminal", inner_width(self), "amber")
            self.query_one("#dialog-text", Lines).show(text)
        return legible

    def on_key(self, event: events.Key) -> None:
        if event.time < self._armed_at and event.key not in ("n", "escape"):
            event.stop()
            event.prevent_default()

    def action_confirm(self) -> None:
        """Says yes to what is shown."""

    def action_leave(self) -> None:
        """Says no."""

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_leave()


class PlanDialog(ArmedDialog[Plan | None]):
    """Shows a plan and asks. Returns the plan to carry out, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes", show=False),
        Binding("n,escape", "leave", "No", show=False),
        Binding("e", "emergency", "Emergency's plan", show=False),
        Binding("i", "in_transaction", "Idle in transaction", show=False),
    ]

    def __init__(self, plan: Plan, *, replan: Replan | None = None, caution: str = "") -> None:
        super().__init__()
        self.plan = plan
        self._replan = replan
        self._caution = caution
        self._problem = ""
        self._is_void = False

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Lines(id="dialog-text")
            kind = HostSessionList if self.plan.trigger is Trigger.BREAK_GLASS else SessionList
            yield kind(now=self.plan.taken_at, act=self.plan.act, id="dialog-list")
            with Horizontal(id="dialog-buttons"):
                yield Button("Cancel", id="leave", compact=True)
                yield Button("", id="confirm", variant="error", compact=True)
                yield Lines(id="dialog-keys")

    def on_mount(self) -> None:
        self._show_plan()
        self.query_one("#leave", Button).focus()

    def _show_plan(self) -> None:
        plan = self.plan
        self._fit()
        verb = "Cancel" if plan.act is Act.CANCEL else "End"
        confirm = self.query_one("#confirm", Button)
        confirm.label = f"y  {verb} {len(plan.victims)}"
        confirm.display = bool(plan.victims) and not self._is_void
        leave = self.query_one("#leave", Button)
        leave.label = "n  Leave" if plan.act is Act.CANCEL else "n  Cancel"
        self.query_one("#dialog-keys", Lines).show([self._keys()])
        self.arm()

    def _fit(self) -> None:
        plan = self.plan
        lines = plan_lines(plan, inner_width(self), self._caution, self._problem)
        lay_out(self, lines, [*plan.victims, *plan.spared])

    def on_resize(self) -> None:
        self._fit()

    def _keys(self) -> list[Cell]:
        if self._replan is None or self.plan.refusal or self._is_void:
            return []
        emergency = self.plan.trigger is Trigger.EMERGENCY
        included = self.plan.policy.include_idle_in_transaction_seconds is not None
        return [
            Cell("  e", "key", "screen.emergency"),
            Cell(" all stale" if emergency else " emergency's plan", "dim", "screen.emergency"),
            Cell("  i", "key", "screen.in_transaction"),
            Cell(
                " drop idle in txn" if included else " add idle in txn",
                "dim",
                "screen.in_transaction",
            ),
        ]

    def action_confirm(self) -> None:
        """Says yes to what is shown."""
        if self.is_armed and self.plan.victims and not self._is_void and self.is_legible():
            self.dismiss(self.plan)

    def expire(self, said: str) -> None:
        """Takes no yes any more, and says why; the first reason stays."""
        if self._is_void:
            return
        self._is_void, self._problem = True, said
        if self.query("#dialog-list"):
            self._show_plan()
            self.query_one("#leave", Button).focus()

    def action_leave(self) -> None:
        """Ends nobody."""
        self.dismiss(None)

    def action_emergency(self) -> None:
        """Shows the emergency's plan, or the sweep's again."""
        included = self.plan.policy.include_idle_in_transaction_seconds is not None
        self._plan_anew(self.plan.trigger is not Trigger.EMERGENCY, included)

    def action_in_transaction(self) -> None:
        """Adds sessions idle in transaction, or leaves them out again."""
        included = self.plan.policy.include_idle_in_transaction_seconds is not None
        self._plan_anew(self.plan.trigger is Trigger.EMERGENCY, not included)

    def _plan_anew(self, emergency: bool, included: bool) -> None:
        if self._replan is None or not self.is_armed or self._is_void:
            return
        self._armed_at = math.inf
        # Not in the action itself: while it waits for the server, no key would be heard.
        self.run_worker(self._show_anew(self._replan(emergency, included)), name="plan", group="plan")

    async def _show_anew(self, planning: Coroutine[Any, Any, Plan]) -> None:
        problem = ""
        try:
            plan = await undisturbed(planning)
        except PgtopError as error:
            plan, problem = self.plan, str(error)
        if not self._is_void:
            self.plan, self._problem = plan, problem
            self._show_plan()


class ReportDialog(ModalScreen[None]):
    """What became of each session of a plan."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,n,o", "leave", "Close", show=False),
    ]

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def compose(self) -> ComposeResult:
        report = self._report
        with Vertical(id="dialog"):
            yield Lines(id="dialog-text")
            kind = HostOutcomeList if report.plan.trigger is Trigger.BREAK_GLASS else OutcomeList
            yield kind(now=report.plan.taken_at, act=report.plan.act, id="dialog-list")
            with Horizontal(id="dialog-buttons"):
                yield Button("Close", id="leave", compact=True)

    def on_mount(self) -> None:
        self._fit()
        self.query_one("#leave", Button).focus()

    def _fit(self) -> None:
        report, width = self._report, inner_width(self)
        lines = told(outcome_sentence(report), width, "strong")
        if report.audit_problem:
            lines += told(report.audit_problem, width, "red")
        rank = list(OUTCOME_STYLES)
        results = sorted(report.results, key=lambda each: -rank.index(each.outcome))
        lay_out(self, [*lines, []], results)

    def on_resize(self) -> None:
        self._fit()

    def action_leave(self) -> None:
        """Closes the dialog."""
        self.dismiss(None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_leave()
