"""The face of `pgtop record list`: the servers that were recorded, since when, and how much that is."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.commands.text_table import TextColumn, local_zone, table_lines, text_of
from pgtop.core.json_text import timestamp
from pgtop.core.text import printable
from pgtop.errors import HistoryError
from pgtop.history.file_safety import shown
from pgtop.history.recording import Recording
from pgtop.history.store import recorded_files

SCHEMA: Final = 1
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class RecordingReport(msgspec.Struct, frozen=True):
    """One server's recording; times are ISO 8601 in UTC, by the server's clock."""

    schema: int
    server: str
    path: str
    """The directory of its files, or its one file."""
    first_at: str | UnsetType
    """The time of the first poll; left out if no poll is left."""
    last_at: str | UnsetType
    """The time of the last poll."""
    polls: int
    files: int
    bytes: int
    problems: tuple[str, ...]
    """Sentences about what cannot be read."""


def directories(root: Path) -> list[Path]:
    """Return the directories of all servers' recordings, by name; none where nothing was recorded."""
    with suppress(OSError):
        return sorted(each for each in root.iterdir() if recorded_files(each))
    return []


def report_of(path: Path, files: list[Path]) -> RecordingReport:
    """Return the report of a server's files, which stand in or at `path`."""
    size = 0
    for each in files:
        with suppress(OSError):
            size += each.stat().st_size
    try:
        recording = Recording(files)
    except HistoryError as error:
        name = printable(path.name)
        return RecordingReport(SCHEMA, name, str(path), UNSET, UNSET, 0, len(files), size, (str(error),))
    is_empty = recording.is_empty
    return RecordingReport(
        schema=SCHEMA,
        server=recording.server,
        path=str(path),
        first_at=UNSET if is_empty else timestamp(recording.first_at),
        last_at=UNSET if is_empty else timestamp(recording.last_at),
        polls=recording.polls,
        files=len(files),
        bytes=size,
        problems=tuple(recording.problems),
    )


def table(reports: list[RecordingReport], width: int | None) -> str:
    """Return the recordings as a table in lines of at most `width` cells; None for any number."""
    columns = [
        TextColumn("server", [printable(each.server) for each in reports], widest=32),
        TextColumn("from", [_local(each.first_at) for each in reports]),
        TextColumn(f"until ({local_zone()})", [_local(each.last_at) for each in reports]),
        TextColumn("polls", [str(each.polls) for each in reports], "right"),
        TextColumn("size", [size_words(each.bytes) for each in reports], "right"),
        TextColumn("path", [shown(Path(each.path)) for each in reports], widest=200, drop=1),
    ]
    return text_of(table_lines(columns, width), width)


def _local(moment: str | UnsetType) -> str:
    if moment is UNSET:
        return "no poll"
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def size_words(size: int) -> str:
    """Return a size in bytes as people say it.

    >>> [size_words(each) for each in (0, 999, 28_672, 5_300_000)]
    ['0 B', '999 B', '28 kB', '5.1 MB']
    """
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit > 1 and number < 10 else f"{number:.0f} {_UNITS[unit]}"
