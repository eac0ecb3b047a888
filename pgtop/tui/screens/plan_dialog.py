"""The dialogs that ask before anything is terminated, and show the outcome of each session afterwards.

A dialog shows a frozen plan and returns that same plan, or None. Its safe choice has the focus. A key that
confirms is dropped if it was pressed before the plan was painted, or within ARM_SECONDS after: nobody
confirms a plan unseen. Keys that only ask for another plan work at once.
"""

import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from pgtop.concurrency import undisturbed
from pgtop.core.activity import BackendId
from pgtop.core.age_steps import next_age
from pgtop.core.plan import Act, Plan, Result, Trigger
from pgtop.core.text import cell_width, span
from pgtop.errors import PgtopError
from pgtop.reaping.plan_wording import outcome_sentence, sweep_title
from pgtop.reaping.reaper import Report
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import plan_lines, told
from pgtop.tui.screens.dialog import Answer, Dialog
from pgtop.tui.screens.over_dashboard import AboutPlan, Armed
from pgtop.tui.screens.session_list import (
    OUTCOME_STYLES,
    HostOutcomeList,
    HostSessionList,
    Judged,
    OutcomeList,
    SessionList,
)
from pgtop.tui.screens.sweep_choice import CHANGING_KEYS, Replan, SweepChoice
from pgtop.tui.widgets.painted_lines import Lines

ARM_SECONDS: Final = 0.4
CLOSE: Final = "Esc close"
"""The only button of a dialog that asks nothing."""
FRAME_LINES: Final = 4
"""The lines of a dialog besides its text and its list: border, buttons and the line above them."""
_AROUND_LINES: Final = 2
"""The lines left free around a dialog, if there is room."""
_LEAST_LIST_LINES: Final = 2
_TITLE_ENDS: Final = 2
"""The cells of a dialog's border that its title leaves free."""
_WIDEST: Final = 140
_WIDTH_PERCENT: Final = 94
_ROOM_FOR_LONG_KEYS: Final = 86
_SIDES: Final = 4
"""The width of a dialog's border and padding, as in `Dialog`."""


def inner_width(screen: Dialog[Any]) -> int:
    """Return the width in cells of a dialog's text at the screen's present size."""
    return max(1, min(_WIDEST, screen.app.size.width * _WIDTH_PERCENT // 100) - _SIDES)


def lay_out(
    height: int,
    text: Lines,
    table: SessionList,
    lines: Sequence[Sequence[Cell]],
    rows: Sequence[Judged | Result],
) -> None:
    """Fit text and rows into a screen of that height in cells; the buttons are always visible."""
    room = height - FRAME_LINES
    kept = lines[: max(1, room - _LEAST_LIST_LINES)]
    text.fit(kept)
    left = room - len(kept)
    table.display = bool(rows) and left >= _LEAST_LIST_LINES
    table.styles.height = min(len(rows) + 1, max(_LEAST_LIST_LINES, left - _AROUND_LINES))
    table.show(rows)


class ArmedDialog(Dialog[Answer], Armed):
    """A dialog that can be confirmed only after it has been on the screen for ARM_SECONDS.

    It holds its widgets instead of looking them up: a dialog that is closed at once has none mounted.
    """

    UNARMED_KEYS: ClassVar[frozenset[str]] = frozenset({"n", "escape"})
    """The keys that work before that, since they confirm nothing."""

    def __init__(self, leave: str, confirm: str) -> None:
        """Make the buttons with these labels."""
        super().__init__()
        self._armed_at = math.inf
        self._content = 0
        self.text = Lines(id="dialog-text")
        self.leave_button = Button(leave, id="leave", compact=True)
        self.confirm_button = Button(confirm, id="confirm", variant="error", compact=True)

    def disarm(self) -> None:
        """Ignore `y` until the dialog is armed again."""
        self._armed_at = math.inf
        self._content += 1

    def arm(self) -> None:
        """Ignore `y` until ARM_SECONDS after the present content is painted."""
        self.disarm()
        self.call_after_refresh(self._arm, self._content)

    def _arm(self, content: int) -> None:
        if content == self._content:  # else the content was replaced before this was painted
            self._armed_at = time.monotonic() + ARM_SECONDS

    def on_screen_resume(self) -> None:
        if self.is_mounted:  # another screen was above it, and may have hidden what changed meanwhile
            self.arm()

    @property
    def is_armed(self) -> bool:
        """True after the dialog has been on the screen for ARM_SECONDS."""
        return time.monotonic() >= self._armed_at

    def is_legible(self) -> bool:
        """Return True if the confirming button is fully visible; if not, say that the screen is too small."""
        place = self.find_widget(self.confirm_button)
        legible = place.visible_region == place.region
        if not legible:
            self.text.show(told("Too small to confirm: enlarge the terminal", inner_width(self), "amber"))
        return legible

    def on_key(self, event: events.Key) -> None:
        if event.time < self._armed_at and event.key not in self.UNARMED_KEYS:
            event.stop()
            event.prevent_default()

    def action_confirm(self) -> None:
        """Confirm what is shown."""

    def action_leave(self) -> None:
        """Close without confirming."""

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_leave()


class PlanDialog(ArmedDialog[Plan | None], AboutPlan):
    """A plan and the question whether to carry it out. Returns that plan, or None."""

    UNARMED_KEYS: ClassVar[frozenset[str]] = ArmedDialog.UNARMED_KEYS | CHANGING_KEYS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes", show=False),
        Binding("n,escape", "leave", "No", show=False),
        Binding("e", "emergency", "Emergency's plan", show=False),
        Binding("i", "in_transaction", "Idle in transaction", show=False),
        Binding("a", "all_sessions", "All sessions", show=False),
        Binding("plus,equals_sign", "age(1)", "Longer idle age", show=False),
        Binding("minus", "age(-1)", "Shorter idle age", show=False),
        Binding("c", "canary", "One session of each application first", show=False),
    ]

    def __init__(
        self,
        plan: Plan,
        *,
        replan: Replan | None = None,
        caution: str = "",
        refilling: frozenset[BackendId] = frozenset(),
        typed: Sequence[str] = (),
    ) -> None:
        """`replan` makes other plans; `typed` are CHANGING_KEYS that were typed before it was shown.

        `refilling` are the sessions known to come back at once.
        """
        super().__init__("", "")
        kind = HostSessionList if plan.trigger is Trigger.BREAK_GLASS else SessionList
        self._list = kind(now=plan.taken_at, act=plan.act, id="dialog-list")
        self._keys_line = Lines(id="dialog-keys")
        self._box = Vertical(id="dialog")
        self.plan = plan
        self._replan = replan
        self._choice = replan.first if replan is not None else None
        self._wanted = self._choice
        """The choice that keys have asked for; other than `_choice` while its plan is being made."""
        self._is_planning = False
        self._typed = typed
        self._caution = caution
        self._refilling = refilling
        self._problem = ""
        self._is_void = False
        self._is_canary = False

    @property
    def is_armed(self) -> bool:
        """True after the present plan has been on the screen for ARM_SECONDS, and no other is being made."""
        return not self._is_planning and super().is_armed

    @property
    def may_canary(self) -> bool:
        """True if the plan terminates more than one session of an application."""
        plan = self.plan
        if plan.act is not Act.TERMINATE or plan.trigger is Trigger.BREAK_GLASS:
            return False
        return self._applications < len(plan.victims)

    @property
    def _applications(self) -> int:
        return len({each.backend.application_name or "" for each in self.plan.victims})

    @property
    def is_canary(self) -> bool:
        """True if one session of each application goes first, and the others only if it stays away."""
        return self._is_canary and self.may_canary

    def compose(self) -> ComposeResult:
        with self._box:
            yield self.text
            yield self._list
            yield self._keys_line
            with Horizontal(id="dialog-buttons", classes="-below-keys"):
                yield self.leave_button
                yield self.confirm_button

    async def on_mount(self) -> None:
        self._show_plan()
        self.leave_button.focus()
        for key in self._typed:
            await self.run_action(_ACTIONS[key])

    def _show_plan(self) -> None:
        plan = self.plan
        self._fit()
        verb = "Cancel" if plan.act is Act.CANCEL else "Terminate"
        first = (
            f"{len({each.backend.application_name for each in plan.victims})} of " if self.is_canary else ""
        )
        self.confirm_button.label = f"y  {verb} {first}{len(plan.victims)}"
        self.confirm_button.refresh(layout=True)  # a longer label would be folded, and the number hidden
        may_confirm = bool(plan.victims) and not self._is_void
        self.confirm_button.display = may_confirm
        self.leave_button.label = "n  Keep" if may_confirm else CLOSE
        self.leave_button.refresh(layout=True)
        self.arm()

    def _fit(self) -> None:
        plan = self.plan
        width = inner_width(self)
        is_widened = self._replan is not None and self._replan.first.scope is not None and plan.scope is None
        said = sweep_title(plan, width - _TITLE_ENDS) if self._replan is not None else _title(plan)
        self._box.border_title = Content(said)
        lines = plan_lines(
            plan,
            width,
            self._caution,
            self._problem,
            is_widened=is_widened,
            is_canary=self.is_canary,
            refilling=self._refilling,
        )
        lay_out(self.app.size.height, self.text, self._list, lines, [*plan.victims, *plan.spared])
        self._keys_line.show([self._keys(width)])

    def on_resize(self) -> None:
        self._fit()

    def _keys(self, width: int) -> list[Cell]:
        """Return the line of keys; those that do not fit into `width` cells are dropped from the end."""
        if self.plan.refusal or self._is_void:
            return []
        keys = self._other_plans(is_short=width < _ROOM_FOR_LONG_KEYS)
        if self.may_canary:
            keys.append(("c", "all at once" if self.is_canary else "try one first", "screen.canary"))
        while keys and sum(cell_width(f" {key} {label} ") for key, label, _ in keys) > width:
            keys.pop()
        return [
            cell
            for key, label, action in keys
            for cell in (Cell(f" {key}", "key", action), Cell(f" {label} ", "dim", action))
        ]

    def _other_plans(self, *, is_short: bool) -> list[tuple[str, str, str]]:
        """Return the keys for other plans from the same snapshot, with a label and an action each."""
        replan, choice = self._replan, self._choice
        if replan is None or choice is None:
            return []
        if is_short:
            everything, listed, room = "all", "listed", "as needed"
            included = "not in txn" if choice.in_transaction else "in txn too"
        else:
            everything, listed, room = "all sessions", "only listed", "only as needed"
            included = f"{'exclude' if choice.in_transaction else 'include'} idle in txn"
        keys = [
            ("a", everything if choice.scope is not None else listed, "screen.all_sessions"),
            ("+ -", f"idle > {span(choice.age_seconds)}", "screen.age(1)"),
            ("e", "all stale" if choice.emergency else room, "screen.emergency"),
            ("i", included, "screen.in_transaction"),
        ]
        return keys[0 if replan.first.scope is not None else 1 :]

    def action_confirm(self) -> None:
        """Confirm what is shown."""
        if self.is_armed and self.plan.victims and not self._is_void and self.is_legible():
            self.dismiss(self.plan)

    def expire(self, said: str) -> None:
        """Make the plan void, so that it cannot be confirmed, and show the reason; the first one stays."""
        if self._is_void:
            return
        self._is_void, self._problem = True, said
        if self.is_mounted:
            self._show_plan()
            self.leave_button.focus()

    def action_leave(self) -> None:
        """Close without terminating anything."""
        self.dismiss(None)

    def action_emergency(self) -> None:
        """Switch between the plan of an emergency and that of a sweep."""
        if self._wanted is not None:
            self._want(self._wanted._replace(emergency=not self._wanted.emergency))

    def action_in_transaction(self) -> None:
        """Include sessions idle in transaction, or exclude them again."""
        if self._wanted is not None:
            self._want(self._wanted._replace(in_transaction=not self._wanted.in_transaction))

    def action_all_sessions(self) -> None:
        """Widen the sweep from the listed sessions to all of them, or bind it to the list again."""
        if self._replan is not None and self._wanted is not None:
            listed = self._replan.first.scope
            self._want(self._wanted._replace(scope=listed if self._wanted.scope is None else None))

    def action_age(self, by: int) -> None:
        """Ask for the next longer or shorter idle age."""
        if self._replan is not None and self._wanted is not None:
            first = self._replan.first._replace(emergency=self._wanted.emergency)
            self._want(self._wanted.with_age(next_age(self._wanted.age_seconds, by, first.age_seconds)))

    def action_canary(self) -> None:
        """Let one session of each application go first, or all at once again."""
        if self.may_canary and not self._is_void:
            self._is_canary = not self._is_canary
            self._show_plan()

    def _want(self, choice: SweepChoice) -> None:
        """Make the plan for another choice, and show it. Until it has been seen, nothing can be confirmed."""
        if self._replan is None or self._is_void or choice == self._wanted:
            return
        self._wanted = choice
        self.disarm()
        if not self._is_planning:
            self._is_planning = True
            # In a worker: an action that waits for the server would block all keys.
            self.run_worker(self._plan_anew(self._replan.plan_for), name="plan", group="plan")

    async def _plan_anew(self, plan_for: Callable[[SweepChoice], Coroutine[Any, Any, Plan]]) -> None:
        """Make plans until there is the one for the choice wanted last, and show that."""
        plan, problem, choice = self.plan, "", self._choice
        try:
            while (wanted := self._wanted) is not None and wanted != choice and not self._is_void:
                plan, choice = await undisturbed(plan_for(wanted)), wanted
        except PgtopError as error:
            plan, problem, choice = self.plan, str(error), self._choice
        finally:
            self._is_planning = False
        if not self._is_void:
            self.plan, self._problem, self._choice, self._wanted = plan, problem, choice, choice
            self._show_plan()


_ACTIONS: Final = {
    key: binding.action
    for binding in PlanDialog.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


def _title(plan: Plan) -> str:
    """Return the title of a plan that is not a sweep."""
    if plan.trigger is Trigger.BREAK_GLASS:
        return "Break glass: terminate from this host"
    return "Cancel queries" if plan.act is Act.CANCEL else "Terminate"


class ReportDialog(Dialog[None]):
    """The outcome of each session of a plan."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f10,n,O", "leave", "Close", show=False),
    ]

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        kind = HostOutcomeList if report.plan.trigger is Trigger.BREAK_GLASS else OutcomeList
        self._text = Lines(id="dialog-text")
        self._list = kind(now=report.plan.taken_at, act=report.plan.act, id="dialog-list")
        self._leave_button = Button(CLOSE, id="leave", compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as box:
            box.border_title = "Results of the last action"
            yield self._text
            yield self._list
            with Horizontal(id="dialog-buttons"):
                yield self._leave_button

    def on_mount(self) -> None:
        self._fit()
        self._leave_button.focus()

    def _fit(self) -> None:
        report, width = self._report, inner_width(self)
        lines = told(outcome_sentence(report), width, "strong")
        if report.audit_problem:
            lines += told(report.audit_problem, width, "red")
        rank = list(OUTCOME_STYLES)
        results = sorted(report.results, key=lambda each: -rank.index(each.outcome))
        lay_out(self.app.size.height, self._text, self._list, [*lines, []], results)

    def on_resize(self) -> None:
        self._fit()

    def action_leave(self) -> None:
        """Close the dialog."""
        self.dismiss(None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_leave()
