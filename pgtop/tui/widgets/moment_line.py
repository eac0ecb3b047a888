"""MomentLine: the line for a time to go to."""

from textual.widgets import Input

_ACCEPTED = "go to 03:12, 03:12:30, 2026-11-30 03:12 or -15min (Esc: stay)"


class MomentLine(Input):
    """An input that is shown while a time is typed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(placeholder=_ACCEPTED, id=id, compact=True)

    def open(self) -> None:
        """Show the empty line and type into it."""
        self.value = ""
        self.display = self.can_focus = True
        self.screen.set_focus(self)  # at once: what is typed next belongs here

    def close(self) -> None:
        """Hide the line."""
        self.display = self.can_focus = False
