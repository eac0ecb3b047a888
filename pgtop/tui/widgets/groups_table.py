"""The table of groups: the slots of each application (user, database, address), and their change."""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from pgtop.core.activity import MICROSECONDS
from pgtop.core.connection_limits import LimitUse, use_of_group
from pgtop.core.session_groups import (
    HEADS,
    OPENED_SECONDS,
    Group,
    GroupBy,
    GroupHistory,
    GroupKey,
    key_name,
)
from pgtop.core.session_labels import HIDDEN
from pgtop.core.text import clip, duration, percent
from pgtop.tui.lines.bars import thin_bar
from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.widgets.line_table import LineTable

CHOSEN: Final = "▸"
_BESIDE_APPLICATION: Final = frozenset({GroupBy.USER, GroupBy.ADDRESS, GroupBy.STATEMENT})
"""The groupings that show the application beside the name; the others show the user."""
_LEAST_BAR: Final = 2
_KEPT_SECONDS: Final = 60
"""The seconds for which the table stays as tall as it was."""
_NEW: Final = f"new {round(OPENED_SECONDS / 60)}m"
"""The head of the column before the change was watched: the sessions that began in that time."""
_LEAST_SPAN_SECONDS: Final = 60.0
"""The seconds of watching from which on the change is what was seen; before that, the sessions' ages tell."""


class GroupsTable(LineTable[Group]):
    """The groups, the largest first; choosing one filters the sessions below."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("name", "applications", 16, grow=40),
        Column("user", "user", 15, grow=15, drop=1),
        Column("total", "total", 5, right=True),
        Column("idle", "idle", 5, right=True, squeezed=6),
        Column("active", "active", 7, right=True, squeezed=3),
        Column("in_transaction", "in txn", 7, right=True, squeezed=2),
        Column("oldest", "oldest idle", 12, right=True, squeezed=5),
        Column("change", "change", 7, right=True, squeezed=4),
        Column("share", "share", 4, grow=24, squeezed=1),
    )
    LAST_WIDTH: ClassVar[int] = 10
    RESTS_AT_TOP: ClassVar[bool] = True

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.by = GroupBy.APPLICATION
        self.chosen: GroupKey | None = None
        self._history: GroupHistory[GroupKey] = GroupHistory()
        self._now = 0
        self._limits: Sequence[LimitUse] = ()
        self._lately: deque[tuple[int, int]] = deque()
        self._change_title = ""
        self._is_watched = False

    def show_groups(
        self,
        groups: Sequence[Group],
        now: int,
        history: GroupHistory[GroupKey],
        limits: Sequence[LimitUse] = (),
    ) -> None:
        """Show the groups at `now` (microseconds), their change over the history, and the use of `limits`."""
        self._remember(now, len(groups))
        self._now = now
        self._limits = limits
        self._history = history
        since = history.compared_with(self._now)
        span = 0.0 if since is None else (self._now - since) / 1_000_000
        self._is_watched = span >= _LEAST_SPAN_SECONDS
        self._change_title = f"in {round(span / 60)}m" if self._is_watched else _NEW
        self.show(groups)

    def _remember(self, now: int, number: int) -> None:
        if self._lately and not now - self._now >= 0:
            self._lately.clear()  # the server's clock was set back
        second = now // MICROSECONDS
        if self._lately and self._lately[-1][0] == second:
            number = max(number, self._lately.pop()[1])
        self._lately.append((second, number))
        while self._lately[0][0] < second - _KEPT_SECONDS:
            self._lately.popleft()

    @property
    def wanted_lines(self) -> int:
        """The lines that show all groups of the last minute, the heads included.

        An application that comes and goes does not move the list below each time.
        """
        return 1 + max((number for _, number in self._lately), default=0)

    def choose(self, row: Group) -> None:
        """Choose a group."""
        self.chosen = row.key
        self.redraw()

    @property
    def chosen_name(self) -> str:
        """The name of the chosen group, printable; "" if none is chosen."""
        return key_name(self.chosen, self.by) if self.chosen is not None else ""

    def key_of(self, row: Group) -> Hashable:
        return row.key

    def head_title(self, column: Column) -> str:
        if column.key == "name":
            is_hidden = bool(self.rows) and all(row.key.statement is None for row in self.rows)
            return f"{HEADS[self.by]}: {HIDDEN}" if is_hidden else HEADS[self.by]
        if column.key == "user" and self.by in _BESIDE_APPLICATION:
            return "application"
        return self._change_title if column.key == "change" else column.title

    def head_style(self, column: Column) -> str:
        return "title" if column.key == "name" else "head"

    def cell(self, row: Group, column: str, width: int) -> Cell:
        match column:
            case "mark":
                return Cell(CHOSEN if row.key == self.chosen else "", "accent")
            case "name":
                return Cell(
                    clip(key_name(row.key, self.by), width), "strong" if row.key == self.chosen else ""
                )
            case "user":
                return self._beside(row, width)
            case "total":
                return Cell(str(row.total), "strong")
            case "oldest":
                return Cell(duration(row.oldest_idle_seconds))
            case "change":
                return self._change(row)
            case "share":
                return self._share(row, width)
            case "idle" | "active" | "in_transaction":
                return self._count(row, column)
            case _:
                raise LookupError(f"there is no column {column}")

    def _beside(self, row: Group, width: int) -> Cell:
        beside = row.application if self.by in _BESIDE_APPLICATION else row.user
        return Cell(clip(beside, width), "dim")

    def _share(self, row: Group, width: int) -> Cell:
        """Return the share in percent and as a bar, with the use of the group's own limit if it has one."""
        figure = percent(row.share).rjust(4)
        room = width - len(figure) - 1
        use = use_of_group(row, self._limits)
        if use is None:
            return Cell(f"{figure} {thin_bar(row.share, room)}", "accent")
        forms = (f"  {use.figures} limit", f"  {use.figures}")
        said = next((form for form in forms if len(form) + _LEAST_BAR <= room), "")
        if not said:
            return Cell(clip(f"{figure} {use.figures}", width), "amber" if use.is_reached else "accent")
        # Bars keep their scale from row to row: only a bar that would reach the figures is shortened.
        bar = thin_bar(row.share, room)[: room - len(said)]
        return Cell(f"{figure} {bar}{said}", "amber" if use.is_reached else "accent")

    def _count(self, row: Group, column: str) -> Cell:
        nobody = Cell("?" if row.counts.hidden else "·", "dim")
        if column == "idle":
            return Cell(str(row.idle)) if row.idle else nobody
        number = row.active if column == "active" else row.in_transaction
        style = "good" if column == "active" else "amber"
        return Cell(str(number), style) if number else nobody

    def _change(self, row: Group) -> Cell:
        if not self._is_watched:
            # Nobody has seen how many left: this number says less than a change, under a head of its own.
            return Cell(str(row.opened) if row.opened else "·", "dim")
        change = self._history.change(row.key, row.total, self._now)
        if change is None:
            return Cell("", "dim")
        if change == 0:
            return Cell("·", "dim")
        return Cell(f"{change:+d}", "amber" if change > 0 else "good")
