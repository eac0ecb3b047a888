"""HistoryStore: the series behind the graph in a file, so that the last 24 hours outlive pgtop.

Numbers alone: counts, slots and times of each server, which itself is a hash and its system identifier. A
row is a bucket of a tier as `core.sample_history` has it. Of two writers' rows the fuller stays, so that
dashboards on the same server add to the same series, whichever of them wrote.

SQLite with its rollback journal: a write-ahead log needs memory that processes share, which a home directory
on NFS has not. Each call opens the file, works in one transaction, and closes it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from pgtop.core.sample_history import DISTINCT_LOWS, TIERS, Bucket, Low, Past, Sample
from pgtop.core.text import printable
from pgtop.errors import HistoryBusyError, HistoryError
from pgtop.history.file_safety import APPLICATION_ID, FoundFile, find, set_aside, shown
from pgtop.safe_files import UnsafeFileError

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION: Final = 1
SERIES_KEPT: Final = 32
"""The number of servers whose series are kept, those written last."""
CLUSTERS_KEPT: Final = 4
"""The number of clusters' series kept per address, those written last: a server that gives itself another
identifier each time does not drive out the others."""
SERIES_SECONDS: Final = 2 * 86_400
"""A series not written for this many seconds is dropped: all of it is older than a graph reaches.

So is one from so far in the future, written by a clock that was wrong: it would be kept before all others.
"""
BUSY_SECONDS: Final = 1.0
"""Seconds to wait for another process's lock."""

_BUSY_CODES: Final = frozenset({5, 6})
_DAMAGE_CODES: Final = frozenset({1, 11, 19, 20, 24, 26})
"""SQLite's primary codes for a file that is not a database, is malformed, or lacks our tables and columns."""

_SCHEMA: Final = (
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        address INTEGER NOT NULL,
        cluster TEXT NOT NULL,
        written_at INTEGER NOT NULL,
        latest_at INTEGER NOT NULL,
        unbroken_since INTEGER NOT NULL,
        lows BLOB NOT NULL,
        UNIQUE (address, cluster))""",
    """CREATE TABLE bucket (
        series INTEGER NOT NULL,
        tier INTEGER NOT NULL,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        total INTEGER NOT NULL,
        idle INTEGER NOT NULL,
        active INTEGER NOT NULL,
        slots INTEGER NOT NULL,
        in_transaction INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        starts INTEGER NOT NULL,
        PRIMARY KEY (series, tier, number)) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_READ_BUCKETS: Final = """
    SELECT at, total, idle, active, slots, in_transaction, hidden, starts
    FROM bucket WHERE series = ? AND tier = ? ORDER BY number DESC LIMIT ?"""

_PUT_BUCKET: Final = """
    INSERT INTO bucket VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (series, tier, number) DO UPDATE SET
        at = excluded.at, total = excluded.total, idle = excluded.idle, active = excluded.active,
        slots = excluded.slots, in_transaction = excluded.in_transaction, hidden = excluded.hidden,
        starts = min(starts, excluded.starts)
    WHERE excluded.total > total OR (excluded.total = total AND excluded.hidden <= hidden)"""
"""The fuller stays; of equals the one that sees more."""

_PUT_SERIES: Final = """
    INSERT INTO series (address, cluster, written_at, latest_at, unbroken_since, lows)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (address, cluster) DO UPDATE SET
        latest_at = excluded.latest_at, unbroken_since = excluded.unbroken_since, lows = excluded.lows
    WHERE excluded.latest_at >= latest_at"""
"""The later of two writers wins."""

_TRIM: Final = """
    DELETE FROM bucket WHERE series = ?1 AND tier = ?2
    AND number <= (SELECT max(number) FROM bucket WHERE series = ?1 AND tier = ?2) - ?3"""

_EXPIRED: Final = """
    SELECT id FROM series WHERE abs(written_at - ?1) > ?2
    OR id NOT IN (SELECT id FROM series ORDER BY written_at DESC, id DESC LIMIT ?3)
    OR (SELECT count(*) FROM series newer WHERE newer.address = series.address
        AND (newer.written_at, newer.id) > (series.written_at, series.id)) >= ?4"""

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Time = Annotated[int, Meta(ge=-(2**62), le=2**62)]
_Flag = Literal[0, 1]
_Row = tuple[_Time, _Count, _Count, _Count, _Count, _Count, _Flag, _Flag]
_Head = tuple[_Time, _Time, bytes]
_Lows = Annotated[tuple[Low, ...], Meta(max_length=DISTINCT_LOWS)]

Mode = Literal["add", "begin", "replace"]
"""`add` to a series that is there, `begin` it where it is not, or `replace` what is there."""

Answer = TypeVar("Answer")


class Series(msgspec.Struct, frozen=True):
    """The identity of a series: the target that was asked for, and the cluster that answered there.

    The cluster alone is not enough: a standby has the system identifier of its primary, and sessions of its
    own.
    """

    address: int
    """A hash, from -2**63 to 2**63 - 1."""
    cluster: str
    """The system identifier; "" where the role may not read it."""


class HistoryStore:
    """One file of series. Each method blocks, and raises HistoryError where the file cannot be used.

    HistoryBusyError where another process keeps it locked; HistoryDamagedError where it was damaged, is set
    aside, and a new one can be begun.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Closing a file gives up the locks that this process has on it, whoever of it opened it.
        self._one_at_a_time = threading.Lock()

    def load(self, series: Series) -> Past | None:
        """Return the stored part of a series; None if there is none. Checks that the whole file is sound."""

        def read(database: "sqlite3.Connection") -> Past | None:
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise _UnsoundError
            number = None if _is_empty(database) else _number(database, series)
            return None if number is None else _read(database, number)

        return self._with_database("DEFERRED", read)

    def save(self, series: Series, past: Past, mode: Mode) -> bool:
        """Add what is new to a series; false where it is not there to be added to: nothing is done then."""

        def write(database: "sqlite3.Connection") -> bool:
            _make_schema(database)
            number = _number(database, series)
            if number is None and mode == "add":
                return False
            if number is not None and mode == "replace":
                _drop(database, number)
            number = _put_series(database, series, past)
            database.executemany(_PUT_BUCKET, _rows(number, past))
            for tier, (_, kept) in enumerate(TIERS):
                database.execute(_TRIM, (number, tier, kept))
            _expire(database)
            return True

        return self._with_database("IMMEDIATE", write)

    def _with_database(self, begin: str, work: Callable[["sqlite3.Connection"], Answer]) -> Answer:
        with self._one_at_a_time:
            return self._worked(begin, work)

    def _worked(self, begin: str, work: Callable[["sqlite3.Connection"], Answer]) -> Answer:
        try:
            found = find(self.path)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        try:
            # Imported here: `pgtop --version`, and a dashboard that keeps none, need no SQLite.
            import sqlite3
        except ImportError as error:  # a Python that was built without it
            raise self._unusable(error) from error
        try:
            with closing(sqlite3.connect(found.path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
                database.execute("PRAGMA mmap_size = 0")  # a file cut short would end the process
                database.execute(f"BEGIN {begin}")
                self._check_version(database)
                answer = work(database)
                database.execute("COMMIT")
                return answer
        except (sqlite3.Error, msgspec.ValidationError, msgspec.DecodeError, _UnsoundError) as error:
            raise self._failed(found, error) from error
        except (OSError, ValueError, OverflowError) as error:
            raise self._unusable(error) from error

    def _check_version(self, database: "sqlite3.Connection") -> None:
        if _version(database) > SCHEMA_VERSION:
            raise HistoryError(
                f"the history is not kept: a newer pgtop wrote {shown(self.path)}",
                "name another with --history",
            )

    def _failed(self, found: FoundFile, error: Exception) -> HistoryError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = 11 if code is None else code & 0xFF
        if primary in _BUSY_CODES:
            return HistoryBusyError(
                f"the history is not kept: other processes keep {shown(self.path)} locked"
            )
        if primary not in _DAMAGE_CODES:
            return self._unusable(error)
        try:
            return set_aside(found)
        except OSError as problem:
            return self._unusable(problem)

    def _unusable(self, error: Exception) -> HistoryError:
        if isinstance(error, UnsafeFileError):
            return HistoryError(
                f"the history is not kept: {printable(error.problem)}",
                f"{printable(error.mend)}, or name another with --history",
            )
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return HistoryError(f"the history is not kept: {shown(self.path)} cannot be used ({printable(said)})")


class _UnsoundError(Exception):
    """The file is a sound database of SQLite's, or not even that, and not what we wrote."""


def _version(database: "sqlite3.Connection") -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


def _is_empty(database: "sqlite3.Connection") -> bool:
    return _version(database) == 0 and database.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _make_schema(database: "sqlite3.Connection") -> None:
    if _is_empty(database):
        for statement in _SCHEMA:
            database.execute(statement)


def _number(database: "sqlite3.Connection", series: Series) -> int | None:
    query = "SELECT id FROM series WHERE address = ? AND cluster = ?"
    found = database.execute(query, (series.address, series.cluster)).fetchone()
    return None if found is None else msgspec.convert(found[0], int)


def _read(database: "sqlite3.Connection", number: int) -> Past:
    query = "SELECT latest_at, unbroken_since, lows FROM series WHERE id = ?"
    latest_at, unbroken_since, lows = msgspec.convert(database.execute(query, (number,)).fetchone(), _Head)
    tiers = []
    for tier, (_, kept) in enumerate(TIERS):
        rows = msgspec.convert(database.execute(_READ_BUCKETS, (number, tier, kept)).fetchall(), list[_Row])
        tiers.append(tuple(_bucket(row) for row in reversed(rows)))
    return Past(tuple(tiers), latest_at, msgspec.json.decode(lows, type=_Lows), unbroken_since)


def _bucket(row: _Row) -> Bucket:
    at, total, idle, active, slots, in_transaction, hidden, starts = row
    return Bucket(at, Sample(at, total, idle, active, slots, in_transaction, bool(hidden)), bool(starts))


def _rows(number: int, past: Past) -> Iterator[tuple[int, ...]]:
    for tier, (buckets, (width, _)) in enumerate(zip(past.tiers, TIERS, strict=True)):
        for at, sample, starts in ((each.at, each.sample, each.starts) for each in buckets):
            states = (sample.total, sample.idle, sample.active, sample.slots, sample.in_transaction)
            yield (number, tier, at // width, at, *states, sample.hidden, starts)


def _put_series(database: "sqlite3.Connection", series: Series, past: Past) -> int:
    """Create or update the series; return its number."""
    now, lows = int(time.time()), msgspec.json.encode(past.lows)
    known = (past.latest_at, past.unbroken_since, lows)
    database.execute(_PUT_SERIES, (series.address, series.cluster, now, *known))
    number = _number(database, series)
    if number is None:
        raise _UnsoundError
    database.execute("UPDATE series SET written_at = ? WHERE id = ?", (now, number))
    return number


def _drop(database: "sqlite3.Connection", number: int) -> None:
    database.execute("DELETE FROM bucket WHERE series = ?", (number,))
    database.execute("DELETE FROM series WHERE id = ?", (number,))


def _expire(database: "sqlite3.Connection") -> None:
    """Drop the series of servers that nobody looked at for long."""
    expired = database.execute(
        _EXPIRED, (int(time.time()), SERIES_SECONDS, SERIES_KEPT, CLUSTERS_KEPT)
    ).fetchall()
    for (number,) in expired:
        _drop(database, number)
