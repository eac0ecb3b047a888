"""Keep recordings within their bounds: old polls go, their counts stay a while, old files go as a whole."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.errors import HistoryDamagedError, HistoryError
from pgtop.history.day_file import reading, write

if TYPE_CHECKING:
    import sqlite3

COUNTS_KEPT_SECONDS: Final = 48 * 3600.0
"""Seconds for which the counts alone are kept: the graph reaches back 24 hours, whatever is recorded."""
KEEP: Final = "keep_seconds"
"""The name under which a file says for how long it is to be kept."""

_OURS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.v[0-9]+)?\.sqlite3")
_ASIDE: Final = re.compile(_OURS.pattern + r"\.damaged-[0-9]{8}-[0-9]{6}-[0-9]{6}")
_PART: Final = 8
"""A file that is too large loses this part of its polls at a time: the oldest eighth."""
_NEVER: Final = 2**62
_LONGEST_KEPT_SECONDS: Final = 366 * 86_400.0


class Bounds(msgspec.Struct, frozen=True):
    """The bounds of a server's recordings."""

    keep_seconds: float = 48 * 3600.0
    """The age in seconds from which on polls are dropped."""
    max_bytes: int = 256 * 2**20
    """The size in bytes of all files of the server, beyond which the oldest polls are dropped."""


def prune(directory: Path, bounds: Bounds, now: float) -> str:
    """Drop from a server's files, oldest first, what is older or larger than the bounds allow.

    `now` is in seconds since the Unix epoch. A file that is busy is left for another time; one that is found
    damaged is set aside, and a sentence about it is returned, "" for none.
    """
    damaged: list[str] = []
    counts_kept = max(bounds.keep_seconds, COUNTS_KEPT_SECONDS)
    asides = _matching(directory, _ASIDE)
    for path in [*_matching(directory, _OURS), *asides]:
        if now - _written_at(path) > counts_kept:
            _remove(path)
        elif path not in asides:
            _drop_old(path, now - bounds.keep_seconds, now - counts_kept, damaged)
    asides = [path for path in asides if path.exists()]
    while (left := _matching(directory, _OURS)) and _total([*left, *asides]) > bounds.max_bytes:
        if asides:
            _remove(asides.pop(0))
        elif not any(_drop_oldest(path, damaged) for path in left):
            if len(left) == 1:
                break
            _remove(left[0])
    return damaged[0] if damaged else ""


def expire_others(root: Path, mine: Path, now: float) -> None:
    """Remove the recordings of servers that nobody watches any more, once they are as old as each may be."""
    with suppress(OSError):
        for directory in root.iterdir():
            if directory == mine or directory.is_symlink() or not directory.is_dir():
                continue
            files = _matching(directory, _OURS)
            kept = [path for path in files if now - _written_at(path) <= _kept_seconds(path, now)]
            for path in files:
                if path not in kept:
                    _remove(path)
            if files and not kept:
                for path in _matching(directory, _ASIDE):
                    _remove(path)
                with suppress(OSError):
                    directory.rmdir()


def _matching(directory: Path, form: "re.Pattern[str]") -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in directory.iterdir() if form.fullmatch(path.name))
    return []


def _written_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return float("inf")


def _kept_seconds(path: Path, now: float) -> float:
    """Return the seconds for which a file is kept; nothing is read of one that is young in any case."""
    if now - _written_at(path) <= COUNTS_KEPT_SECONDS:
        return COUNTS_KEPT_SECONDS
    with suppress(HistoryError, ValueError, TypeError), reading(path) as database:
        found = database.execute("SELECT value FROM about WHERE name = ?", (KEEP,)).fetchone()
        if found is not None:
            return max(float(found[0]), COUNTS_KEPT_SECONDS)
    return _LONGEST_KEPT_SECONDS


def _total(files: Iterable[Path]) -> int:
    total = 0
    for path in files:
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _remove(path: Path) -> None:
    for each in (path, path.with_name(path.name + "-journal")):
        with suppress(OSError):
            each.unlink()


def _drop_old(path: Path, polls_before: float, counts_before: float, damaged: list[str]) -> None:
    """Drop polls and counts that were written before those times, in seconds since the Unix epoch."""
    polls, counts = (round(each * MICROSECONDS) for each in (polls_before, counts_before))
    try:
        with reading(path) as database:
            body = database.execute("SELECT written_at FROM chunk WHERE body IS NOT NULL ORDER BY id LIMIT 1")
            oldest_body = body.fetchone()
            oldest = database.execute("SELECT written_at FROM chunk ORDER BY id LIMIT 1").fetchone()
    except HistoryError:
        return
    if (oldest_body is None or oldest_body[0] >= polls) and (oldest is None or oldest[0] >= counts):
        return

    def drop(database: "sqlite3.Connection") -> bool:
        _drop_chains(database, "written_at < ?", polls)
        database.execute("DELETE FROM chunk WHERE written_at < ?", (counts,))
        database.execute("DELETE FROM event WHERE written_at < ?", (polls,))
        return database.execute("SELECT 1 FROM chunk LIMIT 1").fetchone() is None

    if _changed(path, drop, damaged):
        _remove(path)


def _drop_oldest(path: Path, damaged: list[str]) -> bool:
    """Drop a file's oldest polls and events; return whether there were any to drop."""

    def drop(database: "sqlite3.Connection") -> bool:
        chunks = database.execute("SELECT id FROM chunk WHERE body IS NOT NULL ORDER BY id").fetchall()
        for (number,) in chunks[len(chunks) // _PART :]:
            if _drop_chains(database, "id <= ?", number):
                break
        database.execute(
            """DELETE FROM event WHERE written_at <
            (SELECT coalesce(min(written_at), ?) FROM chunk WHERE body IS NOT NULL)""",
            (_NEVER,),
        )
        return bool(chunks)

    return _changed(path, drop, damaged)


def _drop_chains(database: "sqlite3.Connection", bound: str, value: int) -> int:
    """Drop the polls of all chains that lie within a bound as a whole; return the number of chunks.

    The rest of a chain cannot be read without its beginning.
    """
    chunks = database.execute(
        f"SELECT writer, id, is_key, {bound} FROM chunk WHERE body IS NOT NULL ORDER BY id",  # noqa: S608
        (value,),
    )
    chains: dict[int, list[int]] = {}
    kept: set[int] = set()
    whole: list[int] = []
    for writer, number, is_key, is_within in chunks:
        if is_key and writer in chains:
            whole.extend(chains.pop(writer) if writer not in kept else ())
            chains.pop(writer, None)
            kept.discard(writer)
        chains.setdefault(writer, []).append(number)
        if not is_within:
            kept.add(writer)
    for writer, numbers in chains.items():
        whole.extend(numbers if writer not in kept else ())
    database.executemany("UPDATE chunk SET body = NULL WHERE id = ?", ((number,) for number in whole))
    return len(whole)


def _changed(path: Path, work: Callable[["sqlite3.Connection"], bool], damaged: list[str]) -> bool:
    """Return what work on a file returns; False if it cannot be done now."""
    try:
        return write(path, {}, work)
    except HistoryDamagedError as error:
        damaged.append(str(error))
    except HistoryError:
        pass
    return False
