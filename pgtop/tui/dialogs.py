"""The dialogs that ask before anything is ended, and tell afterwards what became of each session.

A dialog shows a frozen plan and returns that same plan, or None. Its safe choice has the focus, and what was
typed before it was painted, or within ARM_SECONDS after, is dropped: nobody confirms a plan unseen.
"""

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from textwrap import wrap
from typing import Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button

from pgtop.core.labels import NO_APPLICATION, label
from pgtop.core.policy import Act, Plan, SparedFor, Trigger
from pgtop.core.text import duration, percent, plural
from pgtop.errors import PgtopError
from pgtop.reaper import Outcome, Report, Result
from pgtop.tui.columns import Cell
from pgtop.tui.paint import Lines
from pgtop.tui.sessions import OUTCOME_STYLES, Judged, SessionList

ARM_SECONDS: Final = 0.4
_FRAME_LINES: Final = 6
"""What a dialog takes beside its text and its list: border, buttons, and the screen around it."""

SENTENCE_WIDTH: Final = 69
"""The cells that a dialog has for a sentence on a screen of 80."""

APPLICATIONS_NAMED: Final = 4
"""How many applications a dialog names, before it counts the rest."""

Replan = Callable[[bool, bool], Awaitable[Plan]]
"""Makes the sweep's plan anew from the same snapshot: (emergency, with idle in transaction)."""

_SPARED_PHRASES: Final = {
    SparedFor.OWN: ("is pgtop's own", "are pgtop's own"),
    SparedFor.HIDDEN: ("is hidden from this role", "are hidden from this role"),
    SparedFor.SUPERUSER: ("belongs to a superuser", "belong to superusers"),
    SparedFor.PROTECTED: ("protected", "protected"),
    SparedFor.ADVISORY_LOCK: ("holds an advisory lock", "hold advisory locks"),
    SparedFor.LISTENING: ("listens (LISTEN)", "listen (LISTEN)"),
    SparedFor.IN_TRANSACTION: ("idle in transaction", "idle in transaction"),
    SparedFor.NOT_ACTIVE: ("runs no statement", "run no statement"),
    SparedFor.ENOUGH: ("not needed to get below the line", "not needed to get below the line"),
}


def headline(plan: Plan) -> str:
    """What a plan will do and the room it makes.

    `End 24 sessions idle for more than 5m 00s: 86% → 61%`.
    """
    number = len(plan.victims)
    if plan.act is Act.CANCEL:
        return f"Cancel {plural(number, 'statement')}; the sessions stay"
    usage = f"{percent(plan.usage_before)} → {percent(plan.usage_after)}"
    if plan.trigger is Trigger.SELECTED:
        return f"End {plural(number, 'selected session')}: {usage}"
    policy = plan.policy
    emergency = plan.trigger is Trigger.EMERGENCY
    age = policy.emergency_idle_after_seconds if emergency else policy.idle_after_seconds
    also = ", or idle in transaction" if policy.include_idle_in_transaction_seconds is not None else ""
    if not number:
        return f"Nobody to end: no session is idle{also} for more than {duration(age)} that may be ended"
    if emergency:
        return f"EMERGENCY: end the {number} longest idle (more than {duration(age)}{also}): {usage}"
    return f"End {plural(number, 'session')} idle{also} for more than {duration(age)}: {usage}"


def by_application(plan: Plan) -> list[tuple[str, int]]:
    """The victims' applications with their counts, the most first."""
    names = Counter(label(victim.backend.application_name, NO_APPLICATION) for victim in plan.victims)
    return sorted(names.items(), key=lambda item: (-item[1], item[0]))


def spared_sentence(plan: Plan) -> str:
    """Whom a plan spares and why: `spared: 3 protected, 1 holds an advisory lock`; "" for nobody."""
    counts = Counter(spared.spared_for for spared in plan.spared)
    said = [f"{counts[each]} {_SPARED_PHRASES[each][counts[each] > 1]}" for each in SparedFor if counts[each]]
    return f"spared: {', '.join(said)}" if said else ""


def show_text_and_sessions(
    screen: ModalScreen[Any], lines: Sequence[Sequence[Cell]], rows: Sequence[Judged | Result]
) -> None:
    """Shows a dialog's text, and the rows in its list."""
    text = screen.query_one("#dialog-text", Lines)
    text.styles.height = len(lines)
    text.show(lines)
    screen.query_one(SessionList).show(rows)
    fit(screen)


def fit(screen: ModalScreen[Any]) -> None:
    """Gives the list as many lines as its rows take and the screen leaves: the buttons are always seen."""
    table, above = screen.query_one(SessionList), screen.query_one("#dialog-text").styles.height
    room = screen.app.size.height - int(above.value if above else 0) - _FRAME_LINES
    table.styles.height = max(2, min(len(table.rows) + 1, room))


class PlanDialog(ModalScreen[Plan | None]):
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
        self._armed_at = math.inf
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Lines(id="dialog-text")
            yield SessionList(now=self.plan.taken_at, act=self.plan.act, id="dialog-list")
            with Horizontal(id="dialog-buttons"):
                yield Button("Cancel", id="leave", compact=True)
                yield Button("", id="confirm", variant="error", compact=True)
                yield Lines(id="dialog-keys")

    def on_mount(self) -> None:
        self._show_plan()
        self.query_one("#leave", Button).focus()

    def on_resize(self) -> None:
        fit(self)

    def _show_plan(self) -> None:
        self._armed_at = math.inf
        plan = self.plan
        lines = plan_lines(plan, self._caution, self._problem)
        show_text_and_sessions(self, lines, [*plan.victims, *plan.spared])
        verb = "Cancel" if plan.act is Act.CANCEL else "End"
        confirm = self.query_one("#confirm", Button)
        confirm.label = f"y  {verb} {len(plan.victims)}"
        confirm.display = bool(plan.victims)
        leave = self.query_one("#leave", Button)
        leave.label = "n  Leave" if plan.act is Act.CANCEL else "n  Cancel"
        self.query_one("#dialog-keys", Lines).show([self._keys()])
        self.call_after_refresh(self._arm)

    def _keys(self) -> list[Cell]:
        if self._replan is None:
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

    def _arm(self) -> None:
        self._armed_at = time.monotonic() + ARM_SECONDS

    @property
    def is_armed(self) -> bool:
        """True once the plan has been on the screen for ARM_SECONDS."""
        return time.monotonic() >= self._armed_at

    def on_key(self, event: events.Key) -> None:
        if event.time < self._armed_at and event.key not in ("n", "escape"):
            event.stop()
            event.prevent_default()

    def action_confirm(self) -> None:
        """Says yes to what is shown."""
        if self.is_armed and self.plan.victims:
            self.dismiss(self.plan)

    def action_leave(self) -> None:
        """Ends nobody."""
        self.dismiss(None)

    async def action_emergency(self) -> None:
        """Shows the emergency's plan, or the sweep's again."""
        included = self.plan.policy.include_idle_in_transaction_seconds is not None
        await self._plan_anew(self.plan.trigger is not Trigger.EMERGENCY, included)

    async def action_in_transaction(self) -> None:
        """Adds sessions idle in transaction, or leaves them out again."""
        included = self.plan.policy.include_idle_in_transaction_seconds is not None
        await self._plan_anew(self.plan.trigger is Trigger.EMERGENCY, not included)

    async def _plan_anew(self, emergency: bool, included: bool) -> None:
        if self._replan is None or not self.is_armed:
            return
        self._armed_at = math.inf
        try:
            self.plan = await self._replan(emergency, included)
            self._problem = ""
        except PgtopError as error:
            self._problem = str(error)
        self._show_plan()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_leave()


def plan_lines(plan: Plan, caution: str = "", problem: str = "") -> list[list[Cell]]:
    """What a plan's dialog says above its list."""
    style = "strong-red" if plan.victims and plan.act is Act.TERMINATE else "strong"
    lines = [[Cell(f" {headline(plan)}", style)]]
    lines += [[Cell(f" {said}", "red")] for said in wrap(problem, SENTENCE_WIDTH)]
    if plan.refusal:
        lines = [[Cell(" No plan can be made: nobody is ended", "strong-amber")]]
        lines += [[Cell(f" {said}")] for said in wrap(plan.refusal, SENTENCE_WIDTH)]
    if caution:
        lines.append([Cell(f" {caution}", "amber")])
    named = by_application(plan)
    lines += [
        [Cell(f"   {number:>4}  ", "strong"), Cell(name)] for name, number in named[:APPLICATIONS_NAMED]
    ]
    if len(named) > APPLICATIONS_NAMED:
        rest = sum(number for _, number in named[APPLICATIONS_NAMED:])
        others = plural(len(named) - APPLICATIONS_NAMED, "more application")
        lines.append([Cell(f"   {rest:>4}  ", "strong"), Cell(f"of {others}", "dim")])
    spared = spared_sentence(plan)
    if spared:
        lines.append([Cell(f" {spared}", "dim")])
    if plan.trigger is not Trigger.SELECTED and plan.victims:
        lines.append([Cell(" LISTEN is a hint: known only where a poll saw it", "dim")])
    lines.append([])
    return lines


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
            yield SessionList(now=report.plan.taken_at, act=report.plan.act, id="dialog-list")
            with Horizontal(id="dialog-buttons"):
                yield Button("Close", id="leave", compact=True)

    def on_mount(self) -> None:
        lines = [[Cell(f" {outcome_sentence(self._report)}", "strong")], []]
        if self._report.audit_problem:
            lines.insert(1, [Cell(f" {self._report.audit_problem}", "red")])
        rank = list(OUTCOME_STYLES)
        results = sorted(self._report.results, key=lambda each: -rank.index(each.outcome))
        show_text_and_sessions(self, lines, results)
        self.query_one("#leave", Button).focus()

    def on_resize(self) -> None:
        fit(self)

    def action_leave(self) -> None:
        """Closes the dialog."""
        self.dismiss(None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_leave()


def outcome_sentence(report: Report) -> str:
    """What became of a plan in one line: `ended 24 of 26: 1 changed, 1 denied`."""
    cancel = report.plan.act is Act.CANCEL
    done = report.count(Outcome.CANCELLED if cancel else Outcome.TERMINATED)
    verb = "cancelled" if cancel else "ended"
    noun = "statement" if cancel else "session"
    total = len(report.results)
    others = [
        f"{number} {outcome}"
        for outcome in Outcome
        if outcome not in (Outcome.TERMINATED, Outcome.CANCELLED) and (number := report.count(outcome))
    ]
    if not others:
        return f"{verb} {plural(done, noun)}"
    return f"{verb} {done} of {plural(total, noun)}: {', '.join(others)}"
