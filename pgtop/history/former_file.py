"""The history file of earlier versions: counts alone, of all servers. It is read, and never written."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import DISTINCT_LOWS, TIERS, Bucket, Low, Past, Sample
from pgtop.history.counts import Counts, counts_of_sample, encode_counts
from pgtop.history.store import RecordingStore

if TYPE_CHECKING:
    import sqlite3

_SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x70677470

_READ_BUCKETS: Final = """
    SELECT at, total, idle, active, slots, in_transaction, hidden, starts
    FROM bucket WHERE series = ? AND tier = ? ORDER BY number DESC LIMIT ?"""

_PUT: Final = """
    INSERT INTO chunk (writer, written_at, first_at, last_at, cluster, interval_seconds, sight, is_key, polls,
    samples) VALUES (0, ?, ?, ?, ?, ?, 0, 0, ?, ?)"""
_MOST_IN_RUN: Final = 200

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Time = Annotated[int, Meta(ge=-(2**62), le=2**62)]
_Flag = Literal[0, 1]
_Row = tuple[_Time, _Count, _Count, _Count, _Count, _Count, _Flag, _Flag]
_Head = tuple[_Time, _Time, bytes]
_Lows = Annotated[tuple[Low, ...], Meta(max_length=DISTINCT_LOWS)]


Answer = TypeVar("Answer")


def former_past(path: Path, address: int, cluster: str) -> Past | None:
    """Return the past that an earlier version kept of a server; None where there is none, or it is damaged.

    `address` is the hash of the address asked for, `cluster` the system identifier, "" if it is not known.
    """

    def read(database: "sqlite3.Connection") -> Past | None:
        query = "SELECT id FROM series WHERE address = ? AND cluster = ?"
        found = database.execute(query, (address, cluster)).fetchone()
        return None if found is None else _read(database, msgspec.convert(found[0], int))

    return _reading(path, read)


def take_over(path: Path, store: RecordingStore) -> None:
    """Write the counts that an earlier version kept of a server into its recordings, if there are none yet.

    Raises as the store's `write` does.
    """
    if store.files():
        return

    def read(database: "sqlite3.Connection") -> list[tuple[str, Past]]:
        query = "SELECT id, cluster FROM series WHERE address = ?"
        found = database.execute(query, (store.server.address,)).fetchall()
        return [(str(cluster), _read(database, msgspec.convert(number, int))) for number, cluster in found]

    pasts = _reading(path, read)

    def put(database: "sqlite3.Connection") -> None:
        if database.execute("SELECT 1 FROM chunk LIMIT 1").fetchone() is not None:
            return  # another program was quicker
        now = time.time_ns() // 1000
        for cluster, past in pasts or ():
            for counts, seconds in _runs(past):
                # By this host's clock, which may differ from the server's.
                written_at = now - (past.latest_at - counts[-1].at)
                row = (
                    written_at,
                    counts[0].at,
                    counts[-1].at,
                    cluster,
                    seconds,
                    len(counts),
                    encode_counts(counts),
                )
                database.execute(_PUT, row)

    if pasts:
        store.write(put)


def _reading(path: Path, work: "Callable[[sqlite3.Connection], Answer]") -> Answer | None:
    """Return what work on the file returns; None where there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        import sqlite3
    except ImportError:  # a Python that was built without it
        return None
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
        ) as database:
            database.execute("PRAGMA mmap_size = 0")  # a file cut short would end the process
            numbers = [
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
            return work(database) if numbers == [_APPLICATION_ID, _SCHEMA_VERSION] else None
    except (sqlite3.Error, msgspec.ValidationError, msgspec.DecodeError, OSError, ValueError, TypeError):
        return None


def _runs(past: Past) -> Iterator[tuple[list[Counts], float]]:
    """Yield the counts of a past in runs, oldest first, each with the seconds between two of them."""
    buckets = _finest(past)
    for start in range(0, len(buckets), _MOST_IN_RUN):
        counts: list[Counts] = []
        apart = MICROSECONDS
        for place in range(start, min(len(buckets), start + _MOST_IN_RUN)):
            bucket = buckets[place]
            if place > 0 and bucket.starts:
                counts.append(Counts(bucket.at - 1))  # no line is drawn over a poll without an answer
            elif place > 0:
                apart = max(apart, bucket.at - buckets[place - 1].at)
            counts.append(counts_of_sample(bucket.sample))
        yield counts, apart / MICROSECONDS


def _finest(past: Past) -> list[Bucket]:
    """Return the buckets of a past, of each time the finest: a tier ends where the next one begins."""
    chosen: list[Bucket] = []
    end: int | None = None
    for tier in past.tiers:
        chosen[:0] = [bucket for bucket in tier if end is None or bucket.at < end]
        end = chosen[0].at if chosen else None
    return chosen


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
