"""LockTreeScreen: who waits for whom, live, from the root blockers to the last session that waits."""

import time
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from pgtop.concurrency import undisturbed
from pgtop.core.activity import Backend
from pgtop.core.lock_tree import LockNode, LockQueue, lock_tree
from pgtop.core.plan import Act
from pgtop.core.text import clip, duration, printable
from pgtop.errors import PgtopError
from pgtop.tui.lines import keys
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.copied_session import locked_line
from pgtop.tui.lines.lock_tree import NO_WAITS, caution, is_within_reach, story_lines, title_cells
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.live_screen import LATE_SECONDS, LiveScreen
from pgtop.tui.screens.session_acts import SessionActs
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.lock_table import LockTable
from pgtop.tui.widgets.painted_lines import Lines

_STORY_LINES: Final = 5
_FEWER_LINES: Final = 3
_TALL: Final = 30
"""A terminal with fewer lines has fewer of them for the session under the cursor."""


class LockTreeScreen(LiveScreen):
    """The lock tree. It asks the server only while nothing is above it."""

    DEFAULT_CSS = """
    LockTreeScreen {
        overflow: hidden;
        #lock-head { height: 1; }
        #lock-table { height: 1fr; }
        #lock-story { height: 5; margin-top: 1; }
        #lock-notice { height: 1; display: none; }
        #lock-keys { height: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K,f9", "terminate", "Terminate the session"),
        Binding("C", "cancel", "Cancel its query"),
        Binding("c", "copy", "Copy the session"),
        Binding("l", "show_in_list", "Show the session in the list"),
        Binding("O", "outcomes", "Results of the last action"),
        # Not to close: `b K` typed once more would mean whatever is selected in the list.
        Binding("r,b,f5", "ask", "Refresh"),
        Binding("escape", "leave", "Dismiss the notice, or close"),
        Binding("q,f10,tab", "close", "Close"),
    ]

    def __init__(self, acts: SessionActs, server: str = "") -> None:
        """`server` is the server's configured name, printable; "" if it has none."""
        super().__init__(acts, "lock-notice")
        self._server = server or acts.source.server
        self._locks: LockQueue | None = None
        self._tree: tuple[LockNode, ...] = ()
        self._head = Lines(id="lock-head")
        self._table = LockTable(hides_queries=acts.source.hides_queries, id="lock-table")
        self._story = Lines(id="lock-story")
        self._keys = Lines(id="lock-keys")

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._table
        yield self._story
        yield self.notice_line
        yield self._keys

    def on_mount(self) -> None:
        self._table.focus()

    async def ask(self) -> None:
        """Ask which sessions wait for locks, and show the tree."""
        try:
            queue = await undisturbed(self.acts.source.locks())
        except PgtopError as error:
            self.problem = printable(str(error))
        else:
            self.problem = ""
            self._locks, self._tree = queue, lock_tree(queue)
            self.answered_at = time.monotonic()
            self._table.show_tree(self._tree, queue.now)
        self.show()

    # Display

    def show(self) -> None:
        """Show the tree, and what is known of the session under the cursor."""
        if not self.is_attached:
            return
        width, height = self.size
        head = [title_cells(self._locks, self._tree, self._server, width)]
        if self.problem:
            old = f"as of {duration(self.age_seconds)} ago: " if self._locks is not None else ""
            head.append([Cell(clip(f" ✗ {old}{self.problem}", width), "alarm")])
        elif self._locks is not None and self.age_seconds > LATE_SECONDS:
            head.append([Cell(clip(f" as of {duration(self.age_seconds)} ago", width), "amber")])
        elif self._locks is not None and not self._tree:
            more = "This stays live: lock waits are shown as they come"
            said = more if self.acts.source.is_live else "As far as it was recorded"
            head.append([Cell(clip(f" {said}", width), "dim")])
        self._head.fit(head)
        for each in (self._table, self._story):
            each.set_class(bool(self.problem), "-greyed")
        now = self._locks.now if self._locks is not None else 0
        lines = story_lines(
            self._table.cursor_row,
            now,
            width,
            _STORY_LINES if height >= _TALL else _FEWER_LINES,
            read_only=self.acts.read_only,
        )
        self._story.fit(lines)
        self.fit_notice(width)
        self._keys.show([keys.key_line(self._key_list(), width)])

    def _key_list(self) -> list[keys.Key]:
        found = []
        if self._tree:
            node = self._table.cursor_row
            may_act = node is not None and is_within_reach(node)
            if may_act and not self.acts.read_only and not self.problem:
                found += [
                    keys.Key("K", "terminate", "screen.terminate"),
                    keys.Key("C", "cancel", "screen.cancel"),
                ]
            found += [
                keys.Key("Enter", "details"),
                keys.Key("l", "in list", "screen.show_in_list"),
                keys.Key("c", "copy", "screen.copy"),
            ]
        return [*found, keys.Key("Esc", "close", "screen.close")]

    # Keys

    def _session(self) -> Backend | None:
        """Return the client session under the cursor; if there is none, say why and return None."""
        node = self._table.cursor_row
        if node is None:
            self.tell(NO_WAITS)
        elif node.queued is None:
            self.tell("A prepared transaction is not a session: COMMIT PREPARED or ROLLBACK PREPARED ends it")
        elif not node.queued.is_client:
            self.tell(
                f"{node.queued.backend.pid} is not a client's session, or is gone: pgtop leaves it alone"
            )
        else:
            return node.queued.backend
        return None

    def _plan(self, act: Act) -> None:
        backend, node = self._session(), self._table.cursor_row
        if backend is not None and node is not None:
            self.plan(act, backend, caution(node, act))

    def action_terminate(self) -> None:
        """Ask whether to terminate the session under the cursor."""
        self._plan(Act.TERMINATE)

    def action_cancel(self) -> None:
        """Ask whether to cancel the query of the session under the cursor."""
        self._plan(Act.CANCEL)

    def action_copy(self) -> None:
        """Copy the session, or the statement that ends a prepared transaction."""
        node = self._table.cursor_row
        if node is not None and self._locks is not None:
            self.app.copy_to_clipboard(locked_line(node, self._locks.now))
            self.tell("copied")

    def action_show_in_list(self) -> None:
        """Close the tree, and put the list's cursor on the session."""
        backend = self._session()
        if backend is not None:
            self.acts.show_in_list(backend.id)

    @on(LineTable.Moved)
    def _moved(self) -> None:
        self.show()

    @on(LineTable.Chosen)
    def _chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        backend = self._session()
        if backend is not None and self.is_active:  # else the details are open already
            listed = [each.queued.backend for each in self._tree if each.queued and each.queued.is_client]
            self.app.push_screen(DetailScreen(self.acts, backend, listed))
