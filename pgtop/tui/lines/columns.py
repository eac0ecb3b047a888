"""Columns and cells: how wide each column is at a given width, whatever the rows hold."""

from collections.abc import Sequence
from typing import Final, NamedTuple

GAP: Final = 1
"""Cells between two columns."""


class Column(NamedTuple):
    """One column: its width in cells, and when it gives way to others."""

    key: str
    title: str
    width: int
    right: bool = False
    grow: int = 0
    """How many cells it takes more at most where there is room."""
    drop: int = 0
    """Narrow tables drop the columns with a number, the lowest first; 0 stays always."""
    squeezed: int = 0
    """Where not even the rest fits, the columns with a number go, the lowest first: none is cut off."""


class Cell(NamedTuple):
    """What one cell shows: printable text, and the name of a component class (without `cell--`)."""

    text: str
    style: str = ""
    action: str = ""
    """What a click on it does; one of pgtop's own actions, never made from a server's text."""


def lay_out(columns: Sequence[Column], width: int, last_width: int) -> list[tuple[Column, int]]:
    """The columns that fit into `width` cells with their widths; the last takes what is left.

    Columns are dropped until the last has at least `last_width` cells (or none can be dropped any more); room
    beyond that goes to the columns that grow, up to a half of it.

    >>> name, query = Column("name", "name", 5, grow=10, drop=1), Column("query", "query", 0)
    >>> [(column.key, cells) for column, cells in lay_out([name, query], 40, 20)]
    [('name', 12), ('query', 27)]
    >>> [(column.key, cells) for column, cells in lay_out([name, query], 20, 20)]
    [('query', 20)]
    """
    kept = list(columns)
    droppable = sorted((column for column in columns if column.drop), key=lambda column: column.drop)

    def left() -> int:
        return width - sum(column.width + GAP for column in kept[:-1])

    while droppable and left() < last_width:
        kept.remove(droppable.pop(0))
    squeezed = sorted((column for column in kept if column.squeezed), key=lambda column: column.squeezed)
    while squeezed and left() < (kept[-1].width if kept[-1].right else 0):
        kept.remove(squeezed.pop(0))
    spare = max(0, left() - max(last_width, kept[-1].width)) // 2
    asked = sum(column.grow for column in kept[:-1])
    widths = [
        column.width + (min(column.grow, spare * column.grow // asked) if asked else 0)
        for column in kept[:-1]
    ]
    last = max(0, width - sum(widths) - GAP * len(widths))
    return list(zip(kept, [*widths, last], strict=True))
