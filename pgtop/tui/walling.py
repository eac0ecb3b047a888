"""The keys of the dashboard while the wall view is shown, which has no list."""

import time
from typing import Final

from textual.binding import Binding
from textual.events import Key

from pgtop.tui.lines.notice import Notice
from pgtop.tui.looking import Looking
from pgtop.tui.widgets.connection_graph import WINDOWS

LIST_ACTIONS: Final = frozenset(
    {"terminate", "cancel", "tag", "untag", "filter", "sort", "reverse", "root_blocker", "copy"}
)
"""The actions that mean a session of the list, or the list."""
NOTE_SECONDS: Final = 60.0
"""How long the wall shows a note that asks nothing of anybody."""
_ENDING: Final = frozenset({"terminate", "cancel"})


class Walling(Looking):
    """The tables or the wall, and what a key means on it."""

    _pointer: Notice | None = None
    """What was said of a key that led from the wall to the list."""

    def action_wall(self) -> None:
        """Shows the wall view, or the tables again."""
        self.wall = not self.wall
        if self.notice is self._pointer:
            self.notice = None
        self.show_all()
        if self.wall:
            self.set_focus(None)
        elif self.shown is not None:
            self._backends.focus()

    def drop_old_note(self) -> None:
        """Takes back a note that was there for long enough: nobody presses a key at a wall."""
        notice = self.notice
        is_note = notice is not None and notice.style == "note" and notice.report is None
        if self.wall and is_note and time.monotonic() - self.said_at >= NOTE_SECONDS:
            self.notice = None
            self._show_foot()

    def action_window(self, by: int) -> None:
        """Shows a longer or shorter time in the graph; the wall has a window of its own."""
        index = WINDOWS.index(self._graph.window_seconds) + by
        seconds = WINDOWS[min(max(0, index), len(WINDOWS) - 1)]
        if self.wall:
            self._wall_window_seconds = seconds
        else:
            self._window_seconds = seconds
        self._show_graph()

    def action_clear(self) -> None:
        """On the wall only the notice can be cleared: filter and choice are not seen there."""
        if self.wall:
            self.notice = None
            self._show_foot()
        else:
            super().action_clear()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """False on the wall for what means a session that nobody sees there."""
        if self.wall and action in LIST_ACTIONS:
            return False
        return super().check_action(action, parameters)

    def on_key(self, event: Key) -> None:
        """A key that means a session of the list leads from the wall to the list, and does no more."""
        if not self.wall or self.shown is None:
            return
        for binding in self.BINDINGS:
            if isinstance(binding, Binding) and event.key in binding.key.split(","):
                forbidden = self._config.read_only and binding.action in _ENDING
                if binding.action in LIST_ACTIONS and not forbidden:
                    event.stop()  # the binding itself counts from the next press on
                    self.action_wall()
                    name = (event.character or "").strip() or event.key
                    said = "Select a session, then press" if binding.action in _ENDING else "Now press"
                    self.say(f"{said} {name}")
                    self._pointer = self.notice
