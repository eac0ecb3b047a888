"""DetailScreen: one session, live: what it does, whom it blocks, its whole query, its locks, and the acts."""

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from pgtop.concurrency import undisturbed
from pgtop.core.activity import ACTIVE, Backend
from pgtop.core.lock_tree import is_other_session, lock_tree
from pgtop.core.plan import Act
from pgtop.core.session_labels import HIDDEN
from pgtop.core.text import clip, duration, printable, printable_lines
from pgtop.errors import PgtopError
from pgtop.postgres.backend_detail import BackendDetail
from pgtop.tui.lines import keys
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.copied_session import detailed_session
from pgtop.tui.lines.lock_tree import caution, node_of
from pgtop.tui.lines.session_detail import UNSURE_SESSION, detail_lines
from pgtop.tui.screens.dialog import BOX
from pgtop.tui.screens.live_screen import LATE_SECONDS, LiveScreen
from pgtop.tui.screens.over_dashboard import AboutServer
from pgtop.tui.screens.session_acts import SessionActs
from pgtop.tui.terminal.pager import page
from pgtop.tui.widgets.painted_lines import Lines


class DetailScreen(LiveScreen, ModalScreen[None], AboutServer):
    """The details of one session, as the server gives them. It asks only while nothing is above it."""

    # Not a Dialog: Textual takes the styles of the first base alone.
    DEFAULT_CSS = f"""
    {BOX}
    DetailScreen #dialog {{ height: 100%; max-height: 50; }}
    DetailScreen #detail-scroll {{ height: 1fr; max-height: 100%; }}
    #detail-notice {{ height: 1; display: none; }}
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Dismiss the notice, or close"),
        Binding("q,f10", "close", "Close"),
        Binding("r", "ask", "Refresh"),
        Binding("K,f9", "terminate", "Terminate the session"),
        Binding("C", "cancel", "Cancel its query"),
        Binding("c", "copy", "Copy the session and its query"),
        Binding("v", "page", "View the query in the pager"),
        Binding("O", "outcomes", "Results of the last action"),
        Binding("l", "show_in_list", "Show the session in the list"),
        Binding("b,f5", "lock_tree", "Lock tree: which sessions block which"),
        # Before the text, which would scroll sideways.
        Binding("left", "step(-1)", "Previous session of the list", priority=True),
        Binding("right", "step(1)", "Next session of the list", priority=True),
    ]

    def __init__(self, acts: SessionActs, backend: Backend, listed: Sequence[Backend] = ()) -> None:
        """`listed` are the sessions in the order in which they were listed, for the way to the next."""
        super().__init__(acts, "detail-notice")
        self._backend = backend
        self._listed = listed or (backend,)
        self._detail: BackendDetail | None = None
        self._is_gone = False
        self._text = Lines(id="detail-text")
        self._scroll = VerticalScroll(self._text, id="detail-scroll")
        self._keys = Lines(id="detail-keys")
        self._box = Vertical(self._scroll, self.notice_line, self._keys, id="dialog", classes="detail")

    def compose(self) -> ComposeResult:
        yield self._box

    def on_mount(self) -> None:
        self._scroll.focus()

    async def ask(self) -> None:
        """Ask for the session, unless it is gone, and show it."""
        if self._is_gone and self.acts.source.is_live:
            return
        asked = self._backend
        try:
            detail = await undisturbed(self.acts.source.detail(asked.id))
        except PgtopError as error:
            self.problem = printable(str(error))
        else:
            if asked is not self._backend:
                return  # a key went on to another session meanwhile
            self.problem = ""
            self.answered_at = time.monotonic()
            if detail is not None and is_other_session(asked, detail.backend):
                detail = None
            self._is_gone = detail is None
            if detail is not None:
                self._detail = detail
        self.show()

    # Display

    @property
    def _inner_width(self) -> int:
        return max(20, self._scroll.size.width - 2)

    def server_changed(self) -> None:
        if self.acts.source.is_live:
            self.dismiss()

    def show(self) -> None:
        """Show the session as it was last seen."""
        if not self.is_attached:
            return
        width = self._inner_width
        late = self._lateness()
        self._box.border_title = f"Session {self._backend.pid}{self._place}{self._liveness(late)}"
        lines = [[Cell(clip(f" {late}", width), "strong-amber")]] if late else []
        if self.problem:
            lines.append([Cell(clip(f" ✗ {self.problem}", width), "red")])
        elif self._shown.is_hidden and not self._is_gone:
            lines.append([Cell(clip(f" known by its pid alone: {UNSURE_SESSION}", width), "amber")])
        if self._detail is not None:
            lines += detail_lines(self._detail, width)
        elif not self.problem and not self._is_gone:
            lines.append([Cell(" loading …", "dim")])
        self._text.set_class(self._is_gone or bool(self.problem), "-greyed")
        self._text.fit(lines)
        self._show_foot()

    @property
    def _shown(self) -> Backend:
        """The session as it was last seen."""
        return self._detail.backend if self._detail is not None else self._backend

    @property
    def _place(self) -> str:
        number = self._index
        return (
            f" · {number + 1} of {len(self._listed)}" if number is not None and len(self._listed) > 1 else ""
        )

    @property
    def _index(self) -> int | None:
        identity = self._backend.id
        return next((n for n, each in enumerate(self._listed) if each.id == identity), None)

    def _lateness(self) -> str:
        """Return that the session is gone, or how old an answer is that should be newer; "" for neither."""
        if self._is_gone:
            seen = ", as last seen:" if self._detail is not None else ""
            return f"is gone{seen}" if self.acts.source.is_live else f"was not there at this time{seen}"
        age = self.age_seconds
        return f"as of {duration(age)} ago" if self._detail is not None and age > LATE_SECONDS else ""

    def _liveness(self, late: str) -> str:
        if not self.acts.source.is_live:
            return " · recorded"
        return " · live" if self._detail is not None and not late else ""

    def _show_foot(self) -> None:
        width = max(20, self._keys.size.width or self._inner_width)
        self.fit_notice(width)
        self._keys.show([keys.key_line(self._key_list(), width)])

    def _key_list(self) -> list[keys.Key]:
        found = []
        may_act = not (self._is_gone or self.acts.read_only or self.problem or self._shown.is_hidden)
        if may_act:
            found.append(keys.Key("K", "terminate", "screen.terminate"))
            if self._shown.state == ACTIVE:
                found.append(keys.Key("C", "cancel", "screen.cancel"))
        found += [keys.Key("c", "copy", "screen.copy"), keys.Key("v", "pager", "screen.page")]
        if len(self._listed) > 1:
            found.append(keys.Key("← →", "next", "screen.step(1)"))
        found.append(keys.Key("l", "in list", "screen.show_in_list"))
        return [*found, keys.Key("↑ ↓", "scroll"), keys.Key("Esc", "close", "screen.close")]

    # Keys

    def action_step(self, by: int) -> None:
        """Show the next session of the list, or the one before."""
        number = self._index
        if number is None or len(self._listed) < 2:
            return
        self._backend = self._listed[(number + by) % len(self._listed)]
        self._detail, self._is_gone, self.problem = None, False, ""
        self._scroll.scroll_home(animate=False)
        self.ask_soon()
        self.show()

    def _plan(self, act: Act) -> None:
        if self._is_gone:
            self.tell(f"session {self._backend.pid} is gone")
        else:
            detail = self._detail
            node = node_of(lock_tree(detail.queue), self._backend.pid) if detail is not None else None
            self.plan(act, self._shown, caution(node, act) if node is not None else "")

    def action_terminate(self) -> None:
        """Ask whether to terminate the session."""
        self._plan(Act.TERMINATE)

    def action_cancel(self) -> None:
        """Ask whether to cancel its query."""
        self._plan(Act.CANCEL)

    def action_copy(self) -> None:
        """Copy the session, and its whole query."""
        if self._detail is not None:
            self.app.copy_to_clipboard(detailed_session(self._detail))
            self.tell(f"copied session {self._backend.pid} and its query")

    def action_page(self) -> None:
        """View the whole query in the pager."""
        if self._detail is None:
            return
        if self._detail.query is None:
            self.tell(f"the query is {HIDDEN} (hide_queries)")
        elif not self._detail.query:
            self.tell("no query to view")
        else:
            text = "\n".join(printable_lines(self._detail.query)) + "\n"
            self.run_worker(self._view(text), name="pager", group="pager")

    async def _view(self, text: str) -> None:
        if problem := await page(self.app, text):
            self.tell(problem)

    def action_lock_tree(self) -> None:
        """Close the details, and show the lock tree."""
        self.acts.show_lock_tree()

    def action_show_in_list(self) -> None:
        """Close the details, and put the list's cursor on the session."""
        self.acts.show_in_list(self._backend.id)
