"""Keep recordings within their bounds: old polls go, their counts stay a while, old files go as a whole."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.errors import HistoryError
from pgtop.history.day_file import reading, write

if TYPE_CHECKING:
    import sqlite3

COUNTS_KEPT_SECONDS: Final = 48 * 3600.0
"""Seconds for which the counts alone are kept: the graph reaches back 24 hours, whatever is recorded."""

_STEP: Final = 200
"""The chunks dropped at a time from a file that is too large: about half an hour of polls."""


class Bounds(msgspec.Struct, frozen=True):
    """The bounds of a server's recordings."""

    keep_seconds: float = 48 * 3600.0
    """The age in seconds from which on polls are dropped."""
    max_bytes: int = 256 * 2**20
    """The size in bytes of all files of the server, beyond which the oldest polls are dropped."""


def prune(files: list[Path], bounds: Bounds, now: float) -> None:
    """Drop from files, oldest first, what is older or larger than the bounds allow.

    `now` is in seconds since the Unix epoch. A file that is busy or damaged is left for another time.
    """
    counts_kept = max(bounds.keep_seconds, COUNTS_KEPT_SECONDS)
    for path in files:
        with suppress(OSError):
            if now - path.stat().st_mtime > counts_kept:
                _remove(path)
            else:
                _drop_old(path, now - bounds.keep_seconds, now - counts_kept)
    left = [path for path in files if path.exists()]
    while left and sum(map(_used_bytes, left)) > bounds.max_bytes:
        if len(left) > 1:
            _remove(left.pop(0))
        elif not _drop_oldest(left[0]):
            return


def _used_bytes(path: Path) -> int:
    """Return a file's size, without the pages that are free: those are filled before it grows."""
    with suppress(HistoryError), reading(path) as database:
        size: int = database.execute("PRAGMA page_size").fetchone()[0]
        pages: int = database.execute("PRAGMA page_count").fetchone()[0]
        free: int = database.execute("PRAGMA freelist_count").fetchone()[0]
        return (pages - free) * size
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _remove(path: Path) -> None:
    for each in (path, path.with_name(path.name + "-journal")):
        with suppress(OSError):
            each.unlink()


def _drop_old(path: Path, polls_before: float, counts_before: float) -> None:
    """Drop polls and counts that were written before those times, in seconds since the Unix epoch."""
    polls, counts = (round(each * MICROSECONDS) for each in (polls_before, counts_before))
    oldest = "SELECT 1 FROM chunk WHERE written_at < ? AND body IS NOT NULL LIMIT 1"
    try:
        with reading(path) as database:
            if database.execute(oldest, (polls,)).fetchone() is None:
                return
    except HistoryError:
        return

    def drop(database: "sqlite3.Connection") -> None:
        database.execute("UPDATE chunk SET body = NULL WHERE written_at < ?", (polls,))
        database.execute("DELETE FROM chunk WHERE written_at < ?", (counts,))
        database.execute("DELETE FROM event WHERE written_at < ?", (polls,))

    with suppress(HistoryError):
        write(path, {}, drop)


def _drop_oldest(path: Path) -> bool:
    """Drop a file's oldest polls; return whether there were any to drop."""

    def drop(database: "sqlite3.Connection") -> bool:
        found = database.execute(
            "SELECT id FROM chunk WHERE body IS NOT NULL ORDER BY id LIMIT 1 OFFSET ?", (_STEP,)
        ).fetchone()
        if found is not None:
            database.execute("UPDATE chunk SET body = NULL WHERE id < ?", found)
        return found is not None

    with suppress(HistoryError):
        return write(path, {}, drop)
    return False
