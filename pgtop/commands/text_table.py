"""Tables as plain text, of a given width at most and safe in any terminal."""

from typing import Final, Literal

import msgspec

from pgtop.core.activity import Server
from pgtop.core.text import cell_width, fit, printable

_GAP: Final = "  "
_LEAST_LAST: Final = 20
"""The cells that the last column keeps: for less, another column is dropped."""


class TextColumn(msgspec.Struct, frozen=True):
    """One column of a table: its heading and its cells, all printable."""

    title: str
    cells: list[str]
    align: Literal["left", "right"] = "left"
    widest: int = 24
    """The most cells that it takes."""
    drop: int = 0
    """The order in which columns are dropped if there is no room, lowest first; 0 for never."""

    @property
    def width(self) -> int:
        """The cells that it takes."""
        return min(self.widest, max(map(cell_width, (self.title, *self.cells))))


def server_line(server: Server, taken_at: int) -> str:
    """Return a line with the server, its version and role, and the time of the snapshot."""
    role = "standby" if server.identity.in_recovery else "primary"
    at = moment(taken_at)
    return f"{printable(server.address)} · PostgreSQL {server.version} · {role} · {at} UTC"


def moment(microseconds: int) -> str:
    """Return a time to the second, in UTC."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(microseconds // 1_000_000, tz=UTC):%Y-%m-%d %H:%M:%S}"


def table_lines(columns: list[TextColumn], width: int) -> list[str]:
    """Return heading and rows. Columns are dropped, lowest `drop` first, until the last one has room."""
    kept = list(columns)
    while _taken(kept) > width:
        droppable = [column for column in kept if column.drop]
        if not droppable:
            break
        kept.remove(min(droppable, key=lambda column: column.drop))
    widths = [column.width for column in kept]
    widths[-1] = max(
        len(kept[-1].title), min(widths[-1], width - sum(widths[:-1]) - len(_GAP) * (len(kept) - 1))
    )
    rows = [[column.title for column in kept], *zip(*(column.cells for column in kept), strict=True)]
    return [
        _GAP.join(
            fit(cell, cells, column.align) for cell, cells, column in zip(row, widths, kept, strict=True)
        )
        for row in rows
    ]


def _taken(columns: list[TextColumn]) -> int:
    """Return the cells that the columns need, counting the last one with no more than it must keep."""
    widths = [column.width for column in columns]
    return sum(widths[:-1]) + min(widths[-1], _LEAST_LAST) + len(_GAP) * (len(columns) - 1)
