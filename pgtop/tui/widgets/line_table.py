"""LineTable: a table that draws line by line, formats only what is visible and repaints only what changed.

Its cursor stays on a row's key, not on a line; its columns keep their widths whatever the rows hold.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pgtop.core.text import fit
from pgtop.tui.lines.column_widths import Cell, Column, gaps, lay_out
from pgtop.tui.widgets.painted_lines import Painted

Row = TypeVar("Row")


class _OfTable(Message):
    """A message of a table, by which a handler selects it."""

    def __init__(self, table: Widget) -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> Widget:
        """The table."""
        return self.table


class LineTable(Painted, Generic[Row], can_focus=True):
    """A list of rows with a cursor. Subclasses define the key and the cells of a row."""

    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    LAST_WIDTH: ClassVar[int] = 20
    """The least width of the last column while there are columns that can be dropped."""
    RESTS_AT_TOP: ClassVar[bool] = False
    """True if the cursor marks the first row, whichever that is, until the table has had the focus."""
    SHOW_TITLE: ClassVar[bool] = False
    """True if the table has a title line above the column heads."""

    DEFAULT_CSS = "LineTable { height: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(-1)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    class Chosen(_OfTable):
        """Enter or a double click on a row."""

        def __init__(self, table: Widget, row: object) -> None:
            super().__init__(table)
            self.row = row

    class Moved(_OfTable):
        """The cursor was put on another row, by a key or the mouse."""

    class HeadClicked(_OfTable):
        """A click on a column's head."""

        def __init__(self, table: Widget, column: str) -> None:
            super().__init__(table)
            self.column = column

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.rows: Sequence[Row] = ()
        self.cursor_key: Hashable = None
        self._cursor = 0
        self._top = 0
        self._follows = False
        self._laid_out: list[tuple[Column, int]] = []
        self._gaps: list[int] = []

    def allow_focus(self) -> bool:
        """Return False while the table is hidden: keys must not act on an invisible row."""
        return super().allow_focus() and self.display

    # For subclasses

    def key_of(self, row: Row) -> Hashable:
        """Return the key of a row, which the cursor stays on."""
        raise TypeError(f"{type(self).__name__} gives its rows no key")

    def cell(self, row: Row, column: str, width: int) -> Cell:
        """Return a row's cell for a column of that width."""
        raise TypeError(f"{type(self).__name__} has no cells")

    def columns(self, width: int) -> Sequence[Column]:
        """Return the columns to choose from in a table of that width, in cells."""
        return self.COLUMNS

    def title_cells(self) -> list[Cell]:
        """Return the line above the heads, as cells one after the other."""
        return []

    def head_style(self, column: Column) -> str:
        """Return the component class of a column's head."""
        return "head"

    def head_title(self, column: Column) -> str:
        """Return a column's head."""
        return column.title

    # Content

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows; the cursor follows its row, or goes to the next one left if that row is gone."""
        before, self.rows = self.rows, rows
        places = {self.key_of(row): place for place, row in enumerate(rows)}
        if self.cursor_key not in places:
            # By the order before: other rows above it may have come or gone at the same time.
            behind = (self.key_of(row) for row in before[self._cursor + 1 :])
            ahead = (self.key_of(row) for row in reversed(before[: self._cursor]))
            left = (key for keys in (behind, ahead) for key in keys if key in places)
            self.cursor_key = next(left, None)
        self._cursor = places.get(self.cursor_key, self._cursor)
        self._settle()
        self.redraw()

    def let_go(self) -> None:
        """Stay at the top again, as long as nobody moves the cursor."""
        self._follows = False
        self._settle()
        self.redraw()

    @property
    def cursor_row(self) -> Row | None:
        """The row under the cursor; None in an empty table."""
        return self.rows[self._cursor] if 0 <= self._cursor < len(self.rows) else None

    def move_to(self, key: Hashable) -> bool:
        """Put the cursor on the row with that key, and return False if there is none."""
        for index, row in enumerate(self.rows):
            if self.key_of(row) == key:
                self._put(index)
                return True
        return False

    # Drawing

    @property
    def _head_height(self) -> int:
        return 2 if self.SHOW_TITLE else 1

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self._head_height)

    def format_lines(self, width: int, height: int) -> list[Strip]:
        inner = max(1, width - 1)
        self._laid_out = lay_out(self.columns(inner), inner, self.LAST_WIDTH)
        self._gaps = [*gaps([column for column, _ in self._laid_out]), 1]
        lines = [self.strip(self.title_cells(), width)] if self.SHOW_TITLE else []
        lines.append(self._head(width))
        scrolls = len(self.rows) > self._page
        for y in range(height - len(lines)):
            index = self._top + y
            if index < len(self.rows):
                lines.append(self._row(index, inner, self._scroll_mark(y) if scrolls else " "))
            else:
                lines.append(Strip.blank(width, self._look("")))
        return lines[:height]

    def _scroll_mark(self, y: int) -> str:
        page = self._page
        size = max(1, page * page // max(1, len(self.rows)))
        start = (page - size) * self._top // max(1, len(self.rows) - page)
        return "▐" if start <= y < start + size else " "

    def _head(self, width: int) -> Strip:
        cells = []
        for (column, cells_wide), gap in zip(self._laid_out, self._gaps, strict=True):
            text = fit(self.head_title(column), cells_wide, "right" if column.right else "left")
            cells.append(Cell(text, self.head_style(column)))
            cells.append(Cell(" " * gap))
        return self.strip(cells, width)

    def _row(self, index: int, inner: int, scroll_mark: str) -> Strip:
        row = self.rows[index]
        cells = []
        for (column, width), gap in zip(self._laid_out, self._gaps, strict=True):
            cell = self.cell(row, column.key, width)
            text = fit(cell.text, width, "right" if column.right else "left")
            cells += [Cell(text, cell.style), Cell(" " * gap)]
        strip = self._with_cursor(cells, inner) if index == self._cursor else self.strip(cells, inner)
        return Strip([*strip, Segment(scroll_mark, self._look("dim"))])

    def _with_cursor(self, cells: Sequence[Cell], width: int) -> Strip:
        """Return the cursor's line; without focus and a ground of its own, its first column is reversed."""
        if self.has_focus:
            return self.strip(cells, width, self.cell_style("cursor"))
        blurred = self.cell_style("cursor-blurred")
        if not blurred.reverse:
            return self.strip(cells, width, Style(bgcolor=blurred.bgcolor))
        first = self._laid_out[0][1]
        mark = self.strip(cells[:1], first, Style(reverse=True))
        return Strip.join([mark, self.strip(cells[1:], width - first)])

    # The cursor

    def _settle(self) -> None:
        page = self._page
        if not self._follows:
            # Nobody has chosen this row: the list stays at its top, also if it was less tall for a while.
            self._top = 0
            rests = self.RESTS_AT_TOP and not self.has_focus
            self._cursor = self._cursor if self._cursor < page and not rests else 0
        self._cursor = min(max(0, self._cursor), max(0, len(self.rows) - 1))
        row = self.cursor_row
        self.cursor_key = self.key_of(row) if row is not None else None
        self._top = min(max(self._top, self._cursor - page + 1), self._cursor)
        self._top = min(self._top, max(0, len(self.rows) - page))

    def _put(self, index: int) -> None:
        self._follows = True
        self._cursor = index
        self._settle()
        self.redraw()
        self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        """Move the cursor by lines."""
        self._put(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by pages."""
        self._put(self._cursor + by * self._page)

    def action_edge(self, direction: int) -> None:
        """Move the cursor to the first or the last row."""
        self._put(0 if direction < 0 else len(self.rows) - 1)

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        row = self.cursor_row
        if row is not None:
            self.post_message(self.Chosen(self, row))

    # Events

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)

    def on_click(self, event: events.Click) -> None:
        line = event.y - self._head_height
        if line == -1:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.HeadClicked(self, column))
        elif line >= 0 and self._top + line < len(self.rows):
            self._put(self._top + line)
            if event.chain == 2:
                self.action_choose()

    def _column_at(self, x: int) -> str | None:
        right = 0
        for (column, width), gap in zip(self._laid_out, self._gaps, strict=True):
            right += width + gap
            if x < right:
                return column.key
        return None

    def on_resize(self) -> None:
        self._settle()
        super().on_resize()
