"""Columns and cells: the width of each column depends on the table's width, never on its rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_GAP: Final = 1
_GAP_AFTER_RIGHT: Final = 2
"""The cells between figures at the right edge of their column and text at the left edge of the next one."""


class Column(NamedTuple):
    """One column: its width in cells, and the order in which columns are dropped."""

    key: str
    title: str
    width: int
    right: bool = False
    grow: int = 0
    """The number of cells it may grow by if there is room."""
    drop: int = 0
    """The order in which a narrow table drops its columns, the lowest first; 0 for never."""
    squeezed: int = 0
    """The same order if the remaining columns still do not fit, so that none is cut off; 0 for never."""


class Cell(NamedTuple):
    """The content of a cell: printable text, and the name of its look."""

    text: str
    style: str = ""
    action: str = ""
    """The action of a click on it; one of pgtop's own, never made from a server's text."""


def gaps(columns: Sequence[Column]) -> list[int]:
    """Return the cells after each column but the last.

    >>> gaps([Column("age", "age", 7, right=True), Column("state", "state", 11), Column("user", "user", 8)])
    [2, 1]
    """
    return [_GAP_AFTER_RIGHT if one.right and not after.right else _GAP for one, after in pairwise(columns)]


def lay_out(columns: Sequence[Column], width: int, last_width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit into `width` cells, with their widths.

    Columns are dropped until the last has at least `last_width` cells, or until none can be dropped. The room
    beyond that goes to the columns that grow: up to half of it, and the last takes what is left. A last
    column that grows itself takes no more than that: all of the room is shared out then, and the rest stays
    blank.

    >>> name, query = Column("name", "name", 5, grow=10, drop=1), Column("query", "query", 0)
    >>> [(column.key, cells) for column, cells in lay_out([name, query], 40, 20)]
    [('name', 12), ('query', 27)]
    >>> [(column.key, cells) for column, cells in lay_out([name, query], 20, 20)]
    [('query', 20)]
    >>> share = Column("share", "share", 4, grow=10)
    >>> [(column.key, cells) for column, cells in lay_out([name, share], 40, 4)]
    [('name', 15), ('share', 14)]
    """
    kept = list(columns)
    droppable = sorted((column for column in columns if column.drop), key=lambda column: column.drop)

    def left() -> int:
        return width - sum(column.width for column in kept[:-1]) - sum(gaps(kept))

    while droppable and left() < last_width:
        kept.remove(droppable.pop(0))
    squeezed = sorted((column for column in kept if column.squeezed), key=lambda column: column.squeezed)
    while squeezed and left() < kept[-1].width:
        kept.remove(squeezed.pop(0))
    last = kept[-1]
    spare = max(0, left() - max(last_width, last.width))
    if not last.grow:
        spare //= 2
    asked = sum(column.grow for column in kept)
    widths = [
        column.width + (min(column.grow, spare * column.grow // asked) if asked else 0)
        for column in kept[:-1]
    ]
    rest = max(0, width - sum(widths) - sum(gaps(kept)))
    return list(zip(kept, [*widths, min(rest, last.width + last.grow) if last.grow else rest], strict=True))
