"""One file of a recording: what was seen of one server on one day, in SQLite.

SQLite with its rollback journal: a write-ahead log needs memory that processes share, which a home directory
on NFS has not. Each call opens the file, works in one transaction, and closes it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pgtop.core.text import printable
from pgtop.errors import HistoryBusyError, HistoryError
from pgtop.history.file_safety import APPLICATION_ID, FoundFile, find, set_aside, shown
from pgtop.safe_files import UnsafeFileError

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION: Final = 1
"""The version of the tables: the number grows where an older pgtop could not add to them."""
BUSY_SECONDS: Final = 1.0
"""Seconds to wait for another process's lock."""

_BUSY_CODES: Final = frozenset({5, 6})
_DAMAGE_CODES: Final = frozenset({1, 11, 19, 20, 24, 26})
"""SQLite's primary codes for a file that is not a database, is malformed, or lacks our tables and columns."""
_PAGE_BYTES: Final = 1024
"""The bytes of a page: a chunk has a few hundred to a few thousand, and takes whole pages."""
_BEGUN_CODE: Final = 776
"""SQLITE_READONLY_ROLLBACK: a writer was killed in the middle, and its work must be undone first."""

_SCHEMA: Final = (
    """CREATE TABLE about (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE chunk (
        id INTEGER PRIMARY KEY,
        writer INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        first_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        cluster TEXT NOT NULL,
        server INTEGER NOT NULL DEFAULT 0,
        interval_seconds REAL NOT NULL,
        sight INTEGER NOT NULL,
        is_key INTEGER NOT NULL,
        polls INTEGER NOT NULL,
        samples BLOB NOT NULL,
        body BLOB)""",
    "CREATE INDEX chunk_by_time ON chunk (last_at)",
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        writer INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE INDEX event_by_time ON event (at)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

Answer = TypeVar("Answer")

# Closing a file gives up the locks that this process has on it, whoever of it opened it.
_ONE_AT_A_TIME: Final = threading.Lock()


class NewerFileError(HistoryError):
    """A newer pgtop made the file, and this one cannot add to it."""


class UnsoundFileError(Exception):
    """The file is a sound database of SQLite's, or not even that, and not what pgtop wrote."""


def write(path: Path, about: dict[str, str], work: "Callable[[sqlite3.Connection], Answer]") -> Answer:
    """Do work on a file in one transaction; make the file, with `about` in it, where there is none.

    Raises HistoryError where the file cannot be used, HistoryBusyError where another process keeps it
    locked, NewerFileError for a newer pgtop's, and HistoryDamagedError where it was damaged: it is set aside
    then, and a new one can be begun.
    """
    with _ONE_AT_A_TIME:
        try:
            found = find(path)
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from error
        try:
            # Imported here: `pgtop --version`, and a dashboard that keeps none, need no SQLite.
            import sqlite3
        except ImportError as error:  # a Python that was built without it
            raise _unusable(path, error) from error
        try:
            with closing(sqlite3.connect(found.path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
                database.execute("PRAGMA mmap_size = 0")  # a file cut short would end the process
                if found.is_empty:
                    database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                    database.execute("PRAGMA auto_vacuum = FULL")  # what is pruned makes the file smaller
                database.execute("BEGIN IMMEDIATE")
                if version(database) > SCHEMA_VERSION:
                    raise NewerFileError(f"the recording is not kept: a newer pgtop wrote {shown(path)}")
                _make_schema(database, about)
                answer = work(database)
                database.execute("COMMIT")
                return answer
        except (sqlite3.Error, msgspec.ValidationError, msgspec.DecodeError, UnsoundFileError) as error:
            raise _failed(found, error) from error
        except (OSError, ValueError, OverflowError) as error:
            raise _unusable(path, error) from error


@contextmanager
def reading(path: Path) -> "Iterator[sqlite3.Connection]":
    """Open a file to read it alone; nothing of it is changed, and it may be written meanwhile.

    Raises HistoryError where it cannot be read, and for what fails while the block lasts.
    """
    if not path.is_file():
        raise HistoryError(f"there is no recording {shown(path)}")
    try:
        import sqlite3
    except ImportError as error:  # a Python that was built without it
        raise HistoryError(f"{shown(path)} cannot be read ({error})") from error
    with _ONE_AT_A_TIME:
        try:
            with closing(_opened(path)) as database:
                found = database.execute("PRAGMA application_id").fetchone()[0]
                if found != APPLICATION_ID:
                    raise HistoryError(f"{shown(path)} is not a recording of pgtop")
                yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is not None and code & 0xFF in _BUSY_CODES:
                raise HistoryBusyError(f"other processes keep {shown(path)} locked") from error
            raise HistoryError(f"{shown(path)} cannot be read ({printable(str(error))})") from error
        except (OSError, ValueError, OverflowError) as error:
            raise HistoryError(f"{shown(path)} cannot be read ({printable(str(error))})") from error


def _opened(path: Path) -> "sqlite3.Connection":
    """Open a file to read it alone; undo first what a killed writer had begun."""
    import sqlite3

    uri = path.absolute().as_uri()
    for mode in ("ro", "rw"):
        database = sqlite3.connect(f"{uri}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            database.execute("PRAGMA mmap_size = 0")
            database.execute("PRAGMA query_only = 1")
            database.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            database.close()
            if mode == "rw" or getattr(error, "sqlite_errorcode", None) != _BEGUN_CODE:
                raise
        else:
            break
    return database


def version(database: "sqlite3.Connection") -> int:
    """Return the version of a file's tables; 0 if it has none yet."""
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def _make_schema(database: "sqlite3.Connection", about: dict[str, str]) -> None:
    if version(database) != 0 or database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        return
    for statement in _SCHEMA:
        database.execute(statement)
    database.executemany("INSERT INTO about VALUES (?, ?)", about.items())


def _failed(found: FoundFile, error: Exception) -> HistoryError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = 11 if code is None else code & 0xFF
    if primary in _BUSY_CODES:
        return HistoryBusyError(f"the recording is not kept: other processes keep {shown(found.path)} locked")
    if primary not in _DAMAGE_CODES:
        return _unusable(found.path, error)
    try:
        return set_aside(found)
    except OSError as problem:
        return _unusable(found.path, problem)


def _unusable(path: Path, error: Exception) -> HistoryError:
    if isinstance(error, HistoryError):
        return error
    if isinstance(error, UnsafeFileError):
        return HistoryError(
            f"the recording is not kept: {printable(error.problem)}",
            f"{printable(error.mend)}, or name another directory with --record-dir",
        )
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return HistoryError(f"the recording is not kept: {shown(path)} cannot be used ({printable(said)})")
