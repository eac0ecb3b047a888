"""Tables as plain text, safe in any terminal: complete, or of a given width at most.

A width of None means that there is no limit, as in a pipe: nothing is cut and no column is left out.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from pgtop.core.activity import Server
from pgtop.core.text import cell_width, clip, fit, folded, printable

WIDTH_OF_A_PARAGRAPH: Final = 120
"""The width, in cells, at which sentences are folded if there is no limit."""

_GAP: Final = "  "
_LEAST_LAST: Final = 20
"""The cells that the last column keeps: for less, another column is dropped."""


class TextColumn(msgspec.Struct, frozen=True):
    """One column of a table: its heading and its cells, all printable."""

    title: str
    cells: list[str]
    align: Literal["left", "right"] = "left"
    widest: int = 24
    """The most cells that it takes if not every text has room."""
    drop: int = 0
    """The order in which columns are left out if there is no room, lowest first; 0 for never."""

    @property
    def longest(self) -> int:
        """The cells of its longest text."""
        return max(map(cell_width, (self.title, *self.cells)))

    @property
    def width(self) -> int:
        """The cells that it takes if not every text has room."""
        return min(self.widest, self.longest)


def server_line(server: Server, taken_at: int) -> str:
    """Return a line with the server, its version and role, and the time of the snapshot."""
    return f"{server_words(server)} · {moment(taken_at)} UTC"


def server_words(server: Server) -> str:
    """Return the server, its version and its role."""
    role = "standby" if server.identity.in_recovery else "primary"
    return f"{printable(server.address)} · PostgreSQL {server.version} · {role}"


def moment(microseconds: int) -> str:
    """Return a time to the second, in UTC."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(microseconds // 1_000_000, tz=UTC):%Y-%m-%d %H:%M:%S}"


def local_moment(microseconds: int) -> str:
    """Return a time to the second, in the local zone, as the clocks on the screen are."""
    from datetime import datetime

    return f"{datetime.fromtimestamp(microseconds // 1_000_000).astimezone():%Y-%m-%d %H:%M:%S}"


def local_zone() -> str:
    """Return the name of the local zone; printable."""
    from datetime import datetime

    return printable(f"{datetime.now().astimezone():%Z}")


def text_of(lines: Iterable[str], width: int | None) -> str:
    """Return the lines as one text, each clipped to `width` cells."""
    return "".join((line if width is None else clip(line, width)).rstrip() + "\n" for line in lines)


def paragraph(sentence: str, width: int | None) -> list[str]:
    """Return a sentence in lines of at most `width` cells; no line for none.

    >>> paragraph("", 80), paragraph("one two", 3)
    ([], ['one', 'two'])
    """
    return folded(sentence, WIDTH_OF_A_PARAGRAPH if width is None else width) if sentence else []


def table_lines(columns: list[TextColumn], width: int | None) -> list[str]:
    """Return heading and rows, and a line that names the columns for which there was no room."""
    kept = fitting(columns, width)
    return [*aligned(kept, width), *left_out(columns, kept, width)]


def fitting(columns: list[TextColumn], width: int | None) -> list[TextColumn]:
    """Return the columns without those to leave out, lowest `drop` first, until the last one has room."""
    kept = list(columns)
    while width is not None and _taken(kept) > width:
        droppable = [column for column in kept if column.drop]
        if not droppable:
            break
        kept.remove(min(droppable, key=lambda column: column.drop))
    return kept


def left_out(columns: list[TextColumn], kept: list[TextColumn], width: int | None) -> list[str]:
    """Return the lines that name the columns that are not among those `kept`; [] if all are.

    >>> one, two = TextColumn("pid", ["1"]), TextColumn("client", ["local"])
    >>> left_out([one, two], [one], 80), left_out([one, two], [one, two], 80)
    (['not shown at 80 columns: client'], [])
    """
    titles = [column.title for column in columns if column not in kept]
    return paragraph(f"not shown at {width} columns: {', '.join(titles)}", width) if titles else []


def aligned(columns: list[TextColumn], width: int | None) -> list[str]:
    """Return heading and rows, one line for each."""
    gaps = len(_GAP) * (len(columns) - 1)
    widths = [column.longest for column in columns]
    if width is not None and sum(widths) + gaps > width:
        widths = [column.width for column in columns]
        room = width - sum(widths[:-1]) - gaps
        widths[-1] = max(len(columns[-1].title), min(widths[-1], room))
    rows = [[column.title for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    return [
        _GAP.join(
            fit(cell, cells, column.align) for cell, cells, column in zip(row, widths, columns, strict=True)
        )
        for row in rows
    ]


def _taken(columns: list[TextColumn]) -> int:
    """Return the cells that the columns need, counting the last one with no more than it must keep."""
    widths = [column.width for column in columns]
    return sum(widths[:-1]) + min(widths[-1], _LEAST_LAST) + len(_GAP) * (len(columns) - 1)
