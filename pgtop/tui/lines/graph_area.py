"""The connection graph's stacked area as cells: layers of sessions, one above the other.

A column of cells is cut into eighths of a row, and each edge is exact to an eighth. A cell has two colours at
most, its own and that of its ground: an edge between two layers is a block of the lower one on the colour of
the upper one.
"""

from collections.abc import Sequence
from enum import Enum, StrEnum
from functools import lru_cache
from math import ceil, floor
from typing import Final

import msgspec

EIGHTHS: Final = 8
"""The parts of a row that an edge can lie on."""
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
"""A cell filled from below by that many eighths."""


class Ink(StrEnum):
    """The kind of a piece of the graph's text; the widget gives each a style."""

    ACTIVE = "active"
    IN_TRANSACTION = "in-transaction"
    IDLE = "idle"
    OTHER = "other"
    """Sessions in another state, such as those still starting."""
    SESSIONS = "sessions"
    """All sessions, where their states are hidden."""
    WARN_LINE = "warn-line"
    WARN_LABEL = "warn-label"
    FULL_LINE = "full-line"
    FULL_LABEL = "full-label"
    FULL_GROUND = "full-ground"
    """The ground of a cell between the edge of the area and the full line."""
    FORECAST = "forecast"
    MARK = "mark"
    CURSOR = "cursor"
    """The time that is shown of a recording."""
    TITLE = "title"
    LEGEND = "legend"
    AXIS = "axis"
    RULE = "rule"


class Shading(Enum):
    """The means by which layers are told apart."""

    COLOUR = "colour"
    """Colours that differ in lightness, too."""
    PLAIN = "plain"
    """Shades without colours."""
    ASCII = "ascii"


Run = tuple[str, Ink, Ink | None]
"""A piece of text of one ink, and the ink of its ground; None for the graph's background."""

BLANK: Final[Run] = (" ", Ink.AXIS, None)

LAYERS: Final = (Ink.ACTIVE, Ink.IN_TRANSACTION, Ink.IDLE, Ink.OTHER, Ink.SESSIONS)
"""The layers, the lowest first; the last one stands alone."""

_GLYPHS: Final = {
    Shading.COLOUR: dict.fromkeys(LAYERS, "█"),
    Shading.PLAIN: dict(zip(LAYERS, "█▓▒░▒", strict=True)),
    Shading.ASCII: dict(zip(LAYERS, "#+:.:", strict=True)),
}

Stack = tuple[tuple[Ink, int], ...]
"""The layers of one column, the lowest first, and the upper edge of each in eighths of a row."""


Parts = list[tuple[Ink, int]]
"""The layers of one cell, the lowest first, and the height of each there in eighths."""

_SOLID: Final = (Ink.ACTIVE,)
"""The layers that are a solid block without colour: part of a cell can be drawn of them."""


class Canvas(msgspec.Struct, frozen=True):
    """The grid that the area is drawn on."""

    columns: int
    rows: int
    top: float
    """The count at the upper end; the lower end is 0."""
    warn_count: int = 0
    """The count of the 80% line, which lies between two rows; 0 for none."""
    slots: int = 0
    """The count of the full line; 0 for none."""

    @property
    def warn_row(self) -> int:
        """The row from the top whose upper edge is the 80% line."""
        return self.rows - round(self.rows * self.warn_count / self.top)

    @property
    def full_row(self) -> int:
        """The row from the top that the full line passes."""
        return self.row(self.slots)

    def edge(self, count: float) -> int:
        """Return the edge of a count in eighths of a row from below, at most that of the top."""
        whole = self.rows * EIGHTHS
        return min(whole, floor(round(0.5 + whole * count / self.top, 8)))

    def row(self, count: float) -> int:
        """Return the row from the top whose upper edge a count reaches last; negative above the top."""
        return self.rows - max(1, ceil(round(self.rows * count / self.top, 8)))


def glyph(ink: Ink, shading: Shading) -> str:
    """Return the character of a cell that a layer fills."""
    return _GLYPHS[shading][ink]


def stack(counts: Sequence[tuple[Ink, int]], canvas: Canvas) -> Stack:
    """Return the layers of these counts, the lowest first; no layer that is less than an eighth high.

    Where there is a session at all, there is an eighth.
    """
    edges: list[tuple[Ink, int]] = []
    total = below = 0
    for ink, count in counts:
        total += count
        edge = canvas.edge(total)
        if edge > below:
            edges.append((ink, edge))
            below = edge
    if total and not edges:
        largest, _ = max(counts, key=lambda each: each[1])
        return ((largest, 1),)
    return tuple(edges)


@lru_cache(maxsize=4096)  # neighbours often look alike, and so does a column at the next poll
def column_cells(layers: Stack | None, canvas: Canvas, shading: Shading, has_dash: bool) -> tuple[Run, ...]:
    """Return the cells of a column from the top; `layers` is None where nothing is known.

    The 80% line is dashed: a column has a dash of it or a space.
    """
    all_parts = [_parts(layers or (), (canvas.rows - 1 - row) * EIGHTHS) for row in range(canvas.rows)]
    cells = [_cell(parts, row == canvas.rows - 1, shading) for row, parts in enumerate(all_parts)]
    full_row, warn_row = canvas.full_row, canvas.warn_row
    has_warn = canvas.warn_count > 0 and 0 < warn_row < canvas.rows
    is_over = has_warn and bool(all_parts[warn_row - 1])
    is_clear = has_warn and (is_over or cells[warn_row] == BLANK)
    if canvas.slots and 0 <= full_row < canvas.rows:
        has_room = is_clear or not (has_warn and has_dash and warn_row - 1 == full_row)
        if has_room:
            cells[full_row] = _with_full_line(cells[full_row], all_parts[full_row], canvas, shading)
    if has_dash and is_clear:  # at the upper edge of the row below it, where the area's dashes are, too
        dash, ground = ("-" if shading is Shading.ASCII else "▔"), all_parts[warn_row]
        cells[warn_row] = dash, Ink.WARN_LINE, _ground(ground, shading) if is_over else None
    elif has_warn and has_dash and cells[warn_row - 1] == BLANK:  # the area ends in the row below it
        cells[warn_row - 1] = ("_" if shading is Shading.ASCII else "▁"), Ink.WARN_LINE, None
    return tuple(cells)


def _with_full_line(cell: Run, parts: Parts, canvas: Canvas, shading: Shading) -> Run:
    """Return a cell of the full line's row with the line, or with a ground that tells of it."""
    height = sum(part for _, part in parts)
    if height in (0, EIGHTHS) or cell == BLANK:  # in shades, too little of a cell is none of it
        return (
            _full_line(canvas, shading),
            Ink.FULL_LINE,
            _ground(parts, shading) if height == EIGHTHS else None,
        )
    text, ink, _ = cell
    return (text, ink, Ink.FULL_GROUND) if shading is Shading.COLOUR else cell


def _full_line(canvas: Canvas, shading: Shading) -> str:
    """Return the character that is nearest to the full line's height in its row."""
    if shading is Shading.ASCII:
        return "="
    part = canvas.rows * canvas.slots / canvas.top % 1
    return "▁" if 0.01 < part < 0.3 else "─" if 0.01 < part < 0.8 else "▔"


def _ground(parts: Parts, shading: Shading) -> Ink | None:
    return _largest(parts) if shading is Shading.COLOUR else None


def _cell(parts: Parts, is_lowest: bool, shading: Shading) -> Run:
    """Return a cell of the area, without a line."""
    if not parts:
        return BLANK
    largest, height = _largest(parts), sum(part for _, part in parts)
    if shading is Shading.COLOUR:
        return _coloured_cell(parts) if height == EIGHTHS else (BLOCKS[height], largest, None)
    lowest, part = parts[0]
    if shading is Shading.PLAIN and lowest in _SOLID and (part == EIGHTHS or len(parts) > 1 or is_lowest):
        return BLOCKS[part], lowest, None
    is_filled = height >= EIGHTHS // 2 or is_lowest
    return (glyph(largest, shading), largest, None) if is_filled else BLANK


def _parts(layers: Stack, bottom: int) -> Parts:
    """Return the layers of a cell, the lowest first, each with its height there in eighths."""
    parts = []
    below = bottom
    for ink, edge in layers:
        height = min(edge, bottom + EIGHTHS) - below
        if height > 0:
            parts.append((ink, height))
            below += height
    return parts


def _largest(parts: Parts) -> Ink:
    """Return the layer that takes most of a cell, the upper of equal ones."""
    return max(reversed(parts), key=lambda part: part[1])[0]


def _coloured_cell(parts: Parts) -> Run:
    """Return a cell without a blank part. Of more than two layers, it shows the two largest."""
    if len(parts) == 1:
        return BLOCKS[EIGHTHS], parts[0][0], None
    lower, upper = sorted(sorted(range(len(parts)), key=lambda n: -parts[n][1])[:2])
    edge = sum(height for _, height in parts[: lower + 1])
    return BLOCKS[edge], parts[lower][0], parts[upper][0]
