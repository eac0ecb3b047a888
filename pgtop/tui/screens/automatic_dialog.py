"""AutomaticDialog: the rules of automatic sweeps, and the question whether to turn them on."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll

from pgtop.tui.lines.plan_summary import told, told_with_label
from pgtop.tui.screens.over_dashboard import AboutServer
from pgtop.tui.screens.plan_dialog import FRAME_LINES, ArmedDialog, inner_width


class AutomaticDialog(ArmedDialog[bool], AboutServer):
    """A dialog with the rules. Returns True to turn automatic sweeps on."""

    DEFAULT_CSS = """
    AutomaticDialog {
        #auto-scroll { height: auto; max-height: 100vh; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes", show=False),
        Binding("n,escape", "leave", "No", show=False),
        Binding("down,j,pagedown", "further(1)", "Further", show=False),
        Binding("up,k,pageup", "further(-1)", "Back", show=False),
    ]

    def __init__(self, rules: Sequence[tuple[str, str]]) -> None:
        """`rules` are sentences with a style each."""
        super().__init__("n  Keep off", "y  Turn on")
        self._rules = rules
        self._scroll = VerticalScroll(self.text, id="auto-scroll", can_focus=False)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as box:
            box.border_title = "Automatic sweeps"
            yield self._scroll
            with Horizontal(id="dialog-buttons"):
                yield self.leave_button
                yield self.confirm_button

    def on_mount(self) -> None:
        self._fit()
        self.leave_button.focus()
        self.arm()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        width = inner_width(self) - 1
        (title, title_style), *rules = self._rules
        lines = told(title, width, title_style)
        lines += [line for said, style in rules for line in told_with_label(said, width, style)]
        self.text.fit(lines)
        room = max(1, self.app.size.height - FRAME_LINES)
        self._scroll.styles.height = min(len(lines), room)

    def action_further(self, by: int) -> None:
        """Scroll through rules that do not fit."""
        self._scroll.scroll_relative(y=by * 3, animate=False)

    def action_confirm(self) -> None:
        """Confirm what is shown."""
        if self.is_armed and self.is_legible():
            self.dismiss(True)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(False)

    def server_changed(self) -> None:
        self.action_leave()
