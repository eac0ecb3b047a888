"""The connection graph's curves as cells, drawn by plotext.

Total is a line, idle is dotted, active is an area: they differ without colour. Curves that
meet in one cell show the dots of both.
"""

import re
from enum import StrEnum
from functools import lru_cache
from math import floor
from typing import Final, Literal

import msgspec


class Ink(StrEnum):
    """The kind of a piece of the graph's text; the widget gives each a style."""

    TOTAL = "total"
    OVER = "over"
    """Total on the 80% line or over it."""
    FULL = "full"
    """Total when no slot is left."""
    IDLE = "idle"
    ACTIVE = "active"
    WARN_LINE = "warn-line"
    WARN_LABEL = "warn-label"
    REFUSED_LINE = "refused-line"
    REFUSED_LABEL = "refused-label"
    TITLE = "title"
    AXIS = "axis"
    RULE = "rule"


Run = tuple[str, Ink]
"""A piece of text of one ink."""

BLANK: Final[Run] = (" ", Ink.AXIS)

Series = tuple[tuple[int, int], ...]
"""The dots of one curve: column and row of each."""

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_BRAILLE: Final = range(0x2800, 0x2900)


class Curve(msgspec.Struct, frozen=True, gc=False):
    """One point of the three curves."""

    column: int
    """The position in columns of dots: two to a cell, or one if `ascii_only`."""
    total: int
    idle: int | None
    """The idle sessions; None if states are hidden: no curve is drawn then."""
    active: int | None
    starts: bool
    """True if no line leads here from the point before."""


class Canvas(msgspec.Struct, frozen=True):
    """The grid that the curves are drawn on."""

    columns: int
    """The width in cells."""
    rows: int
    top: float
    """The count at the upper end; the lower end is 0."""
    warn_count: int
    """The first count on the 80% line or over it."""
    slots: int
    ascii_only: bool

    @property
    def dots_across(self) -> int:
        """Columns of dots in a cell."""
        return 1 if self.ascii_only else 2

    @property
    def dots_up(self) -> int:
        """Rows of dots in a cell."""
        return 1 if self.ascii_only else 4

    def dot(self, count: float) -> int:
        """Return the row of dots of a count, from the bottom."""
        return floor(round(0.5 + (self.rows * self.dots_up - 1) * count / self.top, 8))

    def row(self, count: float) -> int:
        """Return the row of cells of a count, from the top; negative if the count is above the top."""
        return self.rows - 1 - self.dot(count) // self.dots_up

    def ink(self, total: int) -> Ink:
        """Return the ink for this total."""
        if total >= self.slots:
            return Ink.FULL
        return Ink.OVER if total >= self.warn_count else Ink.TOTAL


def draw_curves(points: tuple[Curve, ...], canvas: Canvas) -> list[list[Run]]:
    """Return the cells of the curves: exactly the canvas's rows and columns, whatever plotext gives."""
    if not points or not canvas.columns:
        return [[BLANK] * canvas.columns for _ in range(canvas.rows)]
    stretches = _stretches(points)
    active = _drawn(canvas, tuple(_series(s, "active", canvas) for s in stretches), ":", fillx=True)
    dotted = tuple(_dotted(_series(s, "idle", canvas), canvas) for s in stretches)
    idle = _drawn(canvas, dotted, ".", lines=False)
    total = _drawn(canvas, tuple(_series(s, "total", canvas) for s in stretches), "*")
    inked = _inked(total, points, canvas)
    return [
        [_merged(_merged((a, Ink.IDLE), (b, Ink.ACTIVE)), c) for a, b, c in zip(*rows, strict=True)]
        for rows in zip(idle, active, inked, strict=True)
    ]


def _stretches(points: tuple[Curve, ...]) -> list[list[Curve]]:
    """Return the points, cut at the gaps."""
    stretches: list[list[Curve]] = []
    for point in points:
        if point.starts or not stretches:
            stretches.append([])
        stretches[-1].append(point)
    return stretches


def _series(stretch: list[Curve], name: Literal["total", "idle", "active"], canvas: Canvas) -> Series:
    counts = ((point.column, getattr(point, name)) for point in stretch)
    return tuple((column, canvas.dot(count)) for column, count in counts if count is not None)


def _dotted(series: Series, canvas: Canvas) -> Series:
    """Return every other dot of a line: one in each cell, at its left."""
    return tuple((x, y) for x, y in series if x % canvas.dots_across == 0) or series


def _drawn(
    canvas: Canvas,
    stretches: tuple[Series, ...],
    character: str,
    *,
    lines: bool = True,
    fillx: bool = False,
) -> list[str]:
    """Draw one curve: exactly the canvas's rows and columns."""
    stretches = tuple(filter(None, stretches))
    highest = max((y for series in stretches for _, y in series), default=None)
    if highest is None:
        return [" " * canvas.columns] * canvas.rows
    rows = min(canvas.rows, highest // canvas.dots_up + 1)  # rows above the curve need not be built
    marker = character if canvas.ascii_only else "braille"
    x_end, y_end = canvas.columns * canvas.dots_across - 1, rows * canvas.dots_up - 1
    drawn = plotted(canvas.columns, rows, x_end, y_end, stretches, marker, lines, fillx)[:rows]
    return [row.ljust(canvas.columns)[: canvas.columns] for row in ("",) * (canvas.rows - len(drawn)) + drawn]


@lru_cache(maxsize=8)  # most polls move no curve by as much as a dot
def plotted(
    columns: int,
    rows: int,
    x_end: int,
    y_end: int,
    stretches: tuple[Series, ...],
    marker: str,
    lines: bool,
    fillx: bool,
) -> tuple[str, ...]:
    """Return plotext's text without its colours."""
    import plotext  # costly: only a screen with data needs it

    plotext.clear_figure()  # its one figure is global
    plotext.limit_size(False, False)  # it would cut to the terminal's size
    plotext.plot_size(columns, rows)
    plotext.theme("clear")
    plotext.frame(False)
    plotext.xticks([])
    plotext.yticks([])
    plotext.xlim(0, max(1, x_end))
    plotext.ylim(0, max(1, y_end))
    draw = plotext.plot if lines else plotext.scatter
    for series in stretches:
        draw([x for x, _ in series], [y for _, y in series], marker=marker, fillx=fillx)
    drawn = _ANSI.sub("", plotext.build())
    plotext.clear_figure()
    return tuple(drawn.split("\n"))


def _inked(rows: list[str], points: tuple[Curve, ...], canvas: Canvas) -> list[list[Run]]:
    """Return the cells of total in the ink of their height.

    A cell above a line's row is above the line; in the row itself the counts of the cell's columns decide.
    """
    fullest: dict[int, int] = {}
    for point in points:
        column = point.column // canvas.dots_across
        fullest[column] = max(fullest.get(column, 0), point.total)
    cells = [[(text, Ink.TOTAL) for text in row] for row in rows]
    for count in (canvas.warn_count, canvas.slots):
        line, ink = canvas.row(count), canvas.ink(count)
        for number, row in enumerate(cells[: max(0, line + 1)]):
            for column, (text, _) in enumerate(row):
                if text != " " and (number < line or fullest.get(column, 0) >= count):
                    row[column] = (text, ink)
    return cells


def _merged(behind: Run, before: Run) -> Run:
    """Merge two cells: the dots of both, in the ink of the one in front."""
    if before[0] == " ":
        return BLANK if behind[0] == " " else behind
    first, second = ord(behind[0]), ord(before[0])
    if first in _BRAILLE and second in _BRAILLE:
        return chr(first | second), before[1]
    return before
