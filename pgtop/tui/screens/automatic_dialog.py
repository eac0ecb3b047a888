"""AutomaticDialog: the rules of automatic sweeps, and the question whether to turn them on."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button

from pgtop.tui.lines.plan_summary import told
from pgtop.tui.screens.plan_dialog import FRAME_LINES, ArmedDialog, inner_width
from pgtop.tui.widgets.painted_lines import Lines


class AutomaticDialog(ArmedDialog[bool]):
    """A dialog with the rules. Returns True to turn automatic sweeps on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes", show=False),
        Binding("n,escape", "leave", "No", show=False),
        Binding("down,j,pagedown", "further(1)", "Further", show=False),
        Binding("up,k,pageup", "further(-1)", "Back", show=False),
    ]

    def __init__(self, rules: Sequence[tuple[str, str]]) -> None:
        """`rules` are sentences with a style each."""
        super().__init__()
        self._rules = rules

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            with VerticalScroll(id="auto-scroll", can_focus=False):
                yield Lines(id="dialog-text")
            with Horizontal(id="dialog-buttons"):
                yield Button("n  Keep off", id="leave", compact=True)
                yield Button("y  Turn on", id="confirm", variant="error", compact=True)

    def on_mount(self) -> None:
        self._fit()
        self.query_one("#leave", Button).focus()
        self.arm()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        width = inner_width(self) - 1
        lines = [line for said, style in self._rules for line in told(said, width, style)]
        self.query_one("#dialog-text", Lines).fit(lines)
        room = max(1, self.app.size.height - FRAME_LINES)
        self.query_one("#auto-scroll").styles.height = min(len(lines), room)

    def action_further(self, by: int) -> None:
        """Scroll through rules that do not fit."""
        self.query_one("#auto-scroll", VerticalScroll).scroll_relative(y=by * 3, animate=False)

    def action_confirm(self) -> None:
        """Confirm what is shown."""
        if self.is_armed and self.is_legible():
            self.dismiss(True)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(False)
