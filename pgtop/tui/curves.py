"""The connection graph's curves as cells, drawn by plotext.

Total is a line, idle is dotted, active is an area: they differ without colour. Curves that
meet in one cell show the dots of both.
"""

import re
from enum import StrEnum
from math import floor
from typing import Any, Final

import msgspec


class Ink(StrEnum):
    """What a piece of the graph's text is; the widget gives each a style."""

    TOTAL = "total"
    OVER = "over"
    """Total where it is on the 80% line or over it."""
    FULL = "full"
    """Total where no slot is left."""
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

_INKS: Final = (Ink.ACTIVE, Ink.IDLE, Ink.TOTAL)
"""Their numbers here are the colours plotext is told to use: they only carry the ink through its answer."""
_ANSI: Final = re.compile(r"\x1b\[([0-9;]*)m|([^\x1b]+)")
_BRAILLE: Final = range(0x2800, 0x2900)


class Curve(msgspec.Struct, frozen=True, gc=False):
    """One point of the three curves."""

    column: int
    """In columns of dots: two to a cell, one where `ascii_only`."""
    total: int
    idle: int
    active: int
    starts: bool
    """True where no line leads here from the point before."""


class Canvas(msgspec.Struct, frozen=True):
    """Where the curves are drawn."""

    columns: int
    """In cells."""
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

    def row(self, count: float) -> int:
        """The row of a count, from the top, just as plotext places it; below 0 where it is above the top."""
        dots_up = 1 if self.ascii_only else 4
        dot = floor(round(0.5 + (self.rows * dots_up - 1) * count / self.top, 8))
        return self.rows - 1 - dot // dots_up

    def ink(self, total: int) -> Ink:
        """How it stands at this total."""
        if total >= self.slots:
            return Ink.FULL
        return Ink.OVER if total >= self.warn_count else Ink.TOTAL


def draw_curves(points: tuple[Curve, ...], canvas: Canvas) -> list[list[Run]]:
    """The cells of the curves: exactly the canvas's rows and columns, whatever plotext gives."""
    if not points:
        return [[BLANK] * canvas.columns for _ in range(canvas.rows)]
    import plotext  # only a screen with data on it pays for this

    stretches = _stretches(points)
    _prepare(plotext, canvas)
    for stretch in stretches:
        _fill_active(plotext, stretch, canvas)
    for stretch in stretches:
        _dot_idle(plotext, stretch, canvas)
    behind = _cells(plotext.build(), canvas)
    _prepare(plotext, canvas)
    for stretch in stretches:
        _line_total(plotext, stretch, canvas)
    before = _inked(_cells(plotext.build(), canvas), points, canvas)
    plotext.clear_figure()
    return [[_merged(*pair) for pair in zip(*rows, strict=True)] for rows in zip(behind, before, strict=True)]


def _prepare(plotext: Any, canvas: Canvas) -> None:
    """Empties plotext's one figure and makes it a bare canvas."""
    plotext.clear_figure()
    plotext.limit_size(False, False)  # its own limit is the terminal it believes to be in
    plotext.plot_size(canvas.columns, canvas.rows)
    plotext.theme("clear")
    plotext.frame(False)
    plotext.xticks([])
    plotext.yticks([])
    plotext.xlim(0, max(1, canvas.columns * canvas.dots_across - 1))
    plotext.ylim(0, canvas.top)


def _fill_active(plotext: Any, stretch: list[Curve], canvas: Canvas) -> None:
    marker = ":" if canvas.ascii_only else "braille"
    x, y = [p.column for p in stretch], [p.active for p in stretch]
    plotext.plot(x, y, marker=marker, color=_INKS.index(Ink.ACTIVE), fillx=True)


def _dot_idle(plotext: Any, stretch: list[Curve], canvas: Canvas) -> None:
    """A dot in every cell, at its left: a line of one dot in two."""
    marker = "." if canvas.ascii_only else "braille"
    dotted = [p for p in stretch if canvas.ascii_only or p.column % 2 == 0] or stretch
    x, y = [p.column for p in dotted], [p.idle for p in dotted]
    plotext.scatter(x, y, marker=marker, color=_INKS.index(Ink.IDLE))


def _line_total(plotext: Any, stretch: list[Curve], canvas: Canvas) -> None:
    marker = "*" if canvas.ascii_only else "braille"
    x, y = [p.column for p in stretch], [p.total for p in stretch]
    plotext.plot(x, y, marker=marker, color=_INKS.index(Ink.TOTAL))


def _inked(cells: list[list[Run]], points: tuple[Curve, ...], canvas: Canvas) -> list[list[Run]]:
    """The line of total in the ink of its height.

    A cell above a line's row is above the line; in the row itself the counts of the cell's columns decide.
    """
    fullest: dict[int, int] = {}
    for point in points:
        column = point.column // canvas.dots_across
        fullest[column] = max(fullest.get(column, 0), point.total)
    for count in (canvas.warn_count, canvas.slots):
        line, ink = canvas.row(count), canvas.ink(count)
        for number, row in enumerate(cells[: max(0, line + 1)]):
            for column, (text, _) in enumerate(row):
                if text != " " and (number < line or fullest.get(column, 0) >= count):
                    row[column] = (text, ink)
    return cells


def _stretches(points: tuple[Curve, ...]) -> list[list[Curve]]:
    """The points cut at the gaps."""
    stretches: list[list[Curve]] = []
    for point in points:
        if point.starts or not stretches:
            stretches.append([])
        stretches[-1].append(point)
    return stretches


def _cells(drawn: str, canvas: Canvas) -> list[list[Run]]:
    """plotext's coloured text as cells."""
    lines: list[list[Run]] = [[]]
    ink = Ink.AXIS
    for code, text in _ANSI.findall(drawn):
        if not text:
            ink = _INKS[int(code.rpartition(";")[2])] if code.startswith("38;5;") else Ink.AXIS
            continue
        for number, piece in enumerate(text.split("\n")):
            if number:
                lines.append([])
            lines[-1].extend((character, ink) for character in piece)
    lines += [[] for _ in range(canvas.rows - len(lines))]
    return [(line + [BLANK] * canvas.columns)[: canvas.columns] for line in lines[: canvas.rows]]


def _merged(behind: Run, before: Run) -> Run:
    """Two cells as one: the dots of both, in the ink of the one before."""
    if before[0] == " ":
        return behind
    first, second = ord(behind[0]), ord(before[0])
    if first in _BRAILLE and second in _BRAILLE:
        return chr(first | second), before[1]
    return before
