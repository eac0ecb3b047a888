"""The table of the lock tree: a line for each session that waits for a lock or blocks others with one."""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from pgtop.core.lock_tree import LockNode
from pgtop.core.session_labels import HIDDEN
from pgtop.core.text import cell_width, clip, duration, printable
from pgtop.tui.lines import lock_tree as words
from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.widgets.line_table import LineTable

_ROOM_FOR_LONG_WORDS: Final = 20


class LockTable(LineTable[LockNode]):
    """The nodes of all lock trees, the branches drawn before their names."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("session", " session", 18, grow=22),
        Column("state", "state", 11, squeezed=3),
        Column("age", "for", 7, right=True, squeezed=2),
        Column("behind", "behind", 7, right=True, squeezed=4),
        Column("frees", "way out", 11, grow=12),
        Column("lock", "lock", 18, grow=14, squeezed=1),
        Column("query", "query", 0, squeezed=5),
    )
    LAST_WIDTH: ClassVar[int] = 16

    def __init__(self, *, hides_queries: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._hides_queries = hides_queries
        self._now = 0

    def show_tree(self, nodes: Sequence[LockNode], now: int) -> None:
        """Show these nodes as they were at `now`, microseconds by the server's clock."""
        self._now = now
        self.show(nodes)

    def key_of(self, row: LockNode) -> Hashable:
        return row.key

    def head_title(self, column: Column) -> str:
        return f"query: {HIDDEN}" if column.key == "query" and self._hides_queries else column.title

    def cell(self, row: LockNode, column: str, width: int) -> Cell:
        match column:
            case "session":
                branch = f" {words.branch(row)}"
                name = clip(words.name(row), max(0, width - cell_width(branch)))
                return Cell(branch + name, "" if row.trunk else "strong")
            case "state":
                waits = row.queued is not None and row.queued.waits
                return Cell(
                    "deadlock" if row.is_in_ring else words.state_words(row),
                    "strong-amber" if waits else "amber",
                )
            case "age":
                return Cell(duration(words.age(row, self._now)))
            case "behind":
                return Cell(str(row.behind) if row.behind else "", "strong")
            case "frees":
                # The head of a queue is the one to cancel: its root may be a dump that should live.
                said = words.freed_words(row, is_long=width >= _ROOM_FOR_LONG_WORDS)
                return Cell(said, "strong-accent" if row.trunk else "accent")
            case "lock":
                return Cell(clip(words.short_lock_words(row), width))
            case _:
                query = row.queued.backend.query if row.queued is not None else None
                return Cell(clip(printable(query), width), "dim")
