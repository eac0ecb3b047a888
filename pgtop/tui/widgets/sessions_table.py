"""The table of sessions: the state and age of each, and its last query."""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from pgtop.core.activity import ACTIVE, IDLE, IN_TRANSACTION, Backend, BackendId, Snapshot
from pgtop.core.filter_sort import SortColumn, stale
from pgtop.core.session_labels import (
    HIDDEN,
    NO_APPLICATION,
    NO_DATABASE,
    NO_USER,
    client,
    label,
    state,
    wait,
)
from pgtop.core.text import clip, duration, printable
from pgtop.tui.lines.column_choice import ColumnChoice
from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.widgets.line_table import LineTable

TAG: Final = "✓"
STALE: Final = "!"

SORT_COLUMNS: Final = {
    "pid": SortColumn.PID,
    "application": SortColumn.APPLICATION,
    "user": SortColumn.USER,
    "database": SortColumn.DATABASE,
    "client": SortColumn.CLIENT,
    "state": SortColumn.STATE,
    "idle": SortColumn.IDLE_AGE,
    "session": SortColumn.SESSION_AGE,
    "xact": SortColumn.TRANSACTION_AGE,
    "wait": SortColumn.WAIT,
    "query": SortColumn.QUERY,
}

_STATE_STYLES: Final = {IDLE: "", ACTIVE: "good"}


class SessionsTable(LineTable[Backend]):
    """All client sessions, or those of the chosen group, or those that match the filter."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        # Columns that change at each poll come first: a line is sent only up to its last difference.
        Column("marks", "", 2),
        Column("pid", "PID", 7, right=True),
        Column("idle", "idle age", 9, right=True),
        Column("session", "session", 8, right=True, squeezed=1),
        Column("xact", "in txn", 7, right=True, drop=4),
        Column("state", "state", 11, squeezed=3),
        Column("application", "application", 14, grow=14, squeezed=5),
        Column("user", "user", 8, grow=8, squeezed=2),
        Column("database", "database", 9, grow=8, drop=2),
        Column("client", "client", 15, grow=8, drop=3),
        Column("wait", "wait", 12, grow=12, drop=1),
        Column("query", "query", 0, squeezed=4),
    )
    LAST_WIDTH: ClassVar[int] = 16
    LEAST_WITH_QUERY: ClassVar[int] = 75
    """Below this width a query has room for a word or two, which the other columns need more."""
    SHOW_TITLE: ClassVar[bool] = True

    def __init__(
        self,
        *,
        idle_after_seconds: float,
        hides_queries: bool = False,
        ascii_only: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        """`ascii_only` is for a terminal without UTF-8."""
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self.hides_queries = hides_queries
        self.idle_after_seconds = idle_after_seconds
        self.tagged: set[BackendId] = set()
        self.sort_column = SortColumn.IDLE_AGE
        self.sort_reversed = False
        self.choice = ColumnChoice()
        """The columns that a person has hidden, and those that a person wants to see."""
        self.title: list[Cell] = []
        self._is_over = True
        self._now = 0
        self._own_pid = 0

    def show_snapshot(
        self, snapshot: Snapshot, rows: Sequence[Backend], title: list[Cell], *, is_over: bool = True
    ) -> None:
        """Show these sessions of a snapshot; sessions that are gone lose their tags.

        `is_over` tells that usage is at the 80% line or above it: stale sessions stand out only then.
        """
        self._is_over = is_over
        self._now = snapshot.taken_at
        self._own_pid = snapshot.own_pid
        self.tagged &= snapshot.by_id.keys()
        self.title = title
        self.show(rows)

    def toggle_tag(self) -> None:
        """Tag or untag the session under the cursor, and move on, as htop does."""
        row = self.cursor_row
        if row is None:
            return
        self.tagged ^= {row.id}
        self.action_move(1)

    def columns(self, width: int) -> Sequence[Column]:
        has_query = width >= self.LEAST_WITH_QUERY or "query" in self.choice.wanted
        return self.choice.of(self.COLUMNS if has_query else self.COLUMNS[:-1])

    @property
    def shown_columns(self) -> frozenset[str]:
        """The keys of the columns that have room now."""
        return frozenset(column.key for column, width in self._laid_out if width)

    def key_of(self, row: Backend) -> Hashable:
        return row.id

    def title_cells(self) -> list[Cell]:
        return self.title

    def head_style(self, column: Column) -> str:
        return "sorted" if SORT_COLUMNS.get(column.key) is self.sort_column else "head"

    def head_title(self, column: Column) -> str:
        if column.key == "query" and self.hides_queries:
            return f"query: {HIDDEN}"
        if SORT_COLUMNS.get(column.key) is not self.sort_column:
            return column.title
        arrow = "▴" if self.sort_reversed else "▾"
        # In ASCII the arrow is a letter, which capitals tell from the title.
        title = column.title.upper() if self._ascii_only else column.title
        return f"{arrow}{title}" if column.right else f"{title}{arrow}"

    def cell(self, row: Backend, column: str, width: int) -> Cell:
        match column:
            case "marks":
                return self._marks(row)
            case "pid":
                return Cell(str(row.pid))
            case "application":
                own = row.pid == self._own_pid
                return Cell(label(row.application_name, NO_APPLICATION), "dim" if own else "")
            case "user":
                return Cell(label(row.usename, HIDDEN if row.is_hidden else NO_USER))
            case "database":
                return Cell(label(row.datname, HIDDEN if row.is_hidden else NO_DATABASE))
            case "client":
                return Cell(client(row))
            case "state":
                return self._state(row)
            case _:
                return self._age_or_text(row, column, width)

    def _age_or_text(self, row: Backend, column: str, width: int) -> Cell:
        match column:
            case "idle":
                return Cell(duration(row.idle_seconds(self._now)), self._stale_style(row))
            case "session":
                return Cell(duration(row.session_seconds(self._now)), "dim")
            case "xact":
                in_transaction = row.state in IN_TRANSACTION
                return Cell(duration(row.xact_seconds(self._now)), "amber" if in_transaction else "")
            case "wait":
                return Cell(clip(printable(wait(row)), width), "strong-amber" if row.waits_on_lock else "dim")
            case "query":
                return Cell(clip(printable(row.query), width), "" if row.state == ACTIVE else "dim")
            case _:
                raise LookupError(f"there is no column {column}")

    def _stale_style(self, row: Backend) -> str:
        if not stale(row, self._now, self.idle_after_seconds):
            return ""
        return "amber" if self._is_over else "dim"

    def _marks(self, row: Backend) -> Cell:
        style = self._stale_style(row)
        mark = STALE if style else ""
        return Cell(TAG + mark, "strong") if row.id in self.tagged else Cell(mark, style)

    def _state(self, row: Backend) -> Cell:
        shown = {column.key for column, _ in self._laid_out}
        if row.waits_on_lock:
            return Cell("active" if "wait" in shown else "active/Lock", "strong-amber")
        style = "amber" if row.state in IN_TRANSACTION else _STATE_STYLES.get(row.state or "", "dim")
        return Cell(state(row), style)
