"""ColumnMenu: the columns of the list of sessions, to sort by one and to hide or show each."""

from collections.abc import Hashable
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.screens.dialog import Dialog
from pgtop.tui.widgets.dashboard_panels import Panels
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.painted_lines import Lines
from pgtop.tui.widgets.sessions_table import SORT_COLUMNS, SessionsTable

LETTERS: Final = {
    "pid": "p",
    "idle": "i",
    "session": "s",
    "xact": "t",
    "state": "e",
    "application": "a",
    "user": "u",
    "database": "d",
    "client": "c",
    "wait": "w",
    "query": "y",
}
"""The letter of each column. j, k, q and r mean the same here as elsewhere, so that no column has them."""

ALWAYS_SHOWN: Final = "pid"
"""The column without which no session could be told from another."""


class ColumnList(LineTable[Column]):
    """One line a column: its letter, its name, and whether the list shows it."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("letter", "key", 4),
        Column("name", "sort by", 12),
        Column("shown", "column", 7),
    )
    LAST_WIDTH: ClassVar[int] = 7

    def __init__(self, sessions: SessionsTable, *, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._sessions = sessions

    def key_of(self, row: Column) -> Hashable:
        return row.key

    def cell(self, row: Column, column: str, width: int) -> Cell:
        is_sorted = SORT_COLUMNS[row.key] is self._sessions.sort_column
        match column:
            case "mark":
                arrow = "▴" if self._sessions.sort_reversed else "▾"
                return Cell(arrow if is_sorted else "", "strong")
            case "letter":
                return Cell(LETTERS[row.key], "key")
            case "name":
                return Cell(SORT_COLUMNS[row.key].value, "strong" if is_sorted else "")
            case _:
                return self._shown(row)

    def _shown(self, row: Column) -> Cell:
        if row.key in self._sessions.shown_columns:
            return Cell("shown")
        return Cell("hidden" if row.key in self._sessions.choice.hidden else "no room", "dim")


class ColumnMenu(Dialog[None]):
    """A menu over the list, which follows each key at once."""

    DEFAULT_CSS = """
    ColumnMenu {
        #dialog.menu { width: 42; max-width: 100%; padding: 0; }
        #columns-keys { height: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f10,o,f6", "close", "Close"),
        Binding("space", "switch", "Show or hide the column"),
        Binding("r", "reverse", "Reverse the order"),
        *(Binding(letter, f"sort('{key}')", show=False) for key, letter in LETTERS.items()),
    ]

    def __init__(self, panels: Panels) -> None:
        """`panels` has the list, and sorts it."""
        super().__init__()
        self._panels = panels
        self._list = ColumnList(panels.sessions, id="columns")
        self._keys = Lines(id="columns-keys")

    def compose(self) -> ComposeResult:
        dialog = Vertical(self._list, self._keys, id="dialog", classes="menu")
        dialog.border_title, dialog.border_subtitle = "Sort and columns", "Esc close"
        yield dialog

    def on_mount(self) -> None:
        columns = [each for each in self._panels.sessions.COLUMNS if each.key in SORT_COLUMNS]
        self._list.styles.height = len(columns) + 1
        self._list.show(columns)
        sorted_by = self._panels.sessions.sort_column
        self._list.move_to(next(key for key, column in SORT_COLUMNS.items() if column is sorted_by))
        keys = (("Enter", "sort", ""), ("Space", "hide", "screen.switch"), ("r", "reverse", "screen.reverse"))
        cells = []
        for key, said, action in keys:
            cells += [Cell(f" {key}", "key", action), Cell(f" {said} ", "dim", action)]
        self._keys.show([cells])
        self._list.focus()

    def on_resize(self) -> None:
        # Beside the frame and the line of keys; a list that is too long for it scrolls.
        self._list.styles.max_height = max(2, self.app.size.height - 3)

    @on(LineTable.Chosen, "#columns")
    def _column_chosen(self, message: LineTable.Chosen) -> None:
        if isinstance(message.row, Column):
            self.action_sort(message.row.key)

    def action_sort(self, key: str) -> None:
        """Sort by a column and close; the column that is sorted by already keeps its direction."""
        column = SORT_COLUMNS[key]
        if column is not self._panels.sessions.sort_column:
            self._panels.sort_by(column)
        self.dismiss(None)

    def action_switch(self) -> None:
        """Hide the column under the cursor, or show it."""
        row = self._list.cursor_row
        if row is not None and row.key != ALWAYS_SHOWN:
            self._panels.toggle_column(row.key)
            self._list.redraw()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._panels.reverse()
        self._list.redraw()

    def action_close(self) -> None:
        """Close the menu."""
        self.dismiss(None)
