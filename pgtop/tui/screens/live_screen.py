"""LiveScreen: a screen about sessions that asks the server again and again while it is on top."""

import asyncio
import contextlib
import time
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer

from pgtop.core.activity import Backend
from pgtop.core.plan import Act
from pgtop.core.text import clip
from pgtop.tui.lines import notice
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.session_detail import UNSURE_SESSION
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.over_dashboard import AboutSessions
from pgtop.tui.screens.session_acts import SessionActs
from pgtop.tui.widgets.painted_lines import Lines

EVERY_SECONDS: Final = 2.0
"""Seconds from one question to the next."""
REST: Final = 10
"""The pause after an answer is at least this many times as long as the answer took: polls come first."""
LATE_SECONDS: Final = 5.0
"""The age from which an answer counts as old."""
_TOLD_SECONDS: Final = 3.0


class LiveScreen(Screen[None], AboutSessions):
    """The part that such screens have in common: the pace, the dashboard's notice, and the acts.

    A subclass says what it asks for (`ask`), and shows what it has (`show`).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "help", "Help", show=False),
    ]

    def __init__(self, acts: SessionActs, notice_id: str) -> None:
        super().__init__()
        self.acts = acts
        self.notice_line = Lines(id=notice_id)
        self.answered_at = 0.0
        """The time of the last good answer, by the monotonic clock; 0.0 before the first."""
        self.problem = ""
        """The reason for which the last question had no answer, printable; "" if it had one."""
        self._notice: Notice | None = None
        older = acts.current_notice()
        self._older_said = older.said if older is not None else None
        """A notice from before this was opened; it is not shown again here, where `Esc` would mean it."""
        self._said = ""
        self._quieting: Timer | None = None
        self._wake = asyncio.Event()

    async def ask(self) -> None:
        """Ask the server, and show the answer."""
        raise TypeError(f"{type(self).__name__} asks for nothing")

    def show(self) -> None:
        """Show what is known now."""
        raise TypeError(f"{type(self).__name__} shows nothing")

    def on_mount(self) -> None:
        self.show()
        self.run_worker(self._watch(), name="live", group="live")

    def on_resize(self) -> None:
        self.call_after_refresh(self.show)

    def on_screen_resume(self) -> None:
        self.ask_soon()

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            took = 0.0
            if self.is_active:
                begun = time.monotonic()
                await self.ask()
                took = time.monotonic() - begun
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(EVERY_SECONDS - took, REST * took)):
                    await self._wake.wait()

    def ask_soon(self) -> None:
        """Ask again as soon as the question under way is answered."""
        self._wake.set()

    @property
    def age_seconds(self) -> float:
        """The age of the last good answer."""
        return time.monotonic() - self.answered_at

    def show_notice(self, shown: Notice | None) -> None:
        """Show the dashboard's notice above the keys, and ask again at a new one: something was done."""
        if shown is not None and shown.said == self._older_said:
            return
        self._older_said = None
        if shown is not None and (self._notice is None or shown.said != self._notice.said):
            self.ask_soon()
        self._notice = shown
        if self.is_attached:
            self.show()

    def fit_notice(self, width: int) -> None:
        """Show the notice, or the answer to a key in its place, in at most two lines of `width` cells."""
        said = notice.lines(self._notice, width, 2) if self._notice is not None else []
        if self._said:
            said = [[Cell(clip(f" {self._said}", width), "amber")]]
        self.notice_line.display = bool(said)
        if said:
            self.notice_line.fit(said)

    def tell(self, said: str) -> None:
        """Show an answer to a key for a moment."""
        self._said = said
        self.show()
        if self._quieting is not None:
            self._quieting.stop()  # it belongs to an older answer
        self._quieting = self.set_timer(_TOLD_SECONDS, self._be_quiet)

    def _be_quiet(self) -> None:
        self._said = ""
        self.show()

    def plan(self, act: Act, backend: Backend, said: str) -> None:
        """Ask whether to terminate a session or to cancel its query; if that is not possible, say why."""
        if self.acts.refusal:
            self.tell(self.acts.refusal)
        elif backend.is_hidden:
            self.tell(f"nothing can be done to session {backend.pid}: {UNSURE_SESSION}")
        else:
            self.acts.plan(act, backend, said)

    def action_ask(self) -> None:
        """Ask the server again."""
        self.ask_soon()

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen(read_only=self.acts.read_only, replay=not self.acts.source.is_live))

    def action_outcomes(self) -> None:
        """Show the results of the last action."""
        self.acts.show_outcomes()

    def action_leave(self) -> None:
        """Dismiss the notice; without one, close the screen."""
        if self._notice is None or not self.acts.dismiss_notice():
            self.dismiss()

    def action_close(self) -> None:
        """Close the screen."""
        self.dismiss()
