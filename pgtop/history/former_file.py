"""The history file of earlier versions: counts alone, of all servers. It is read, and never written."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pgtop.core.sample_history import DISTINCT_LOWS, TIERS, Bucket, Low, Past, Sample

_SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x70677470

_READ_BUCKETS: Final = """
    SELECT at, total, idle, active, slots, in_transaction, hidden, starts
    FROM bucket WHERE series = ? AND tier = ? ORDER BY number DESC LIMIT ?"""

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Time = Annotated[int, Meta(ge=-(2**62), le=2**62)]
_Flag = Literal[0, 1]
_Row = tuple[_Time, _Count, _Count, _Count, _Count, _Count, _Flag, _Flag]
_Head = tuple[_Time, _Time, bytes]
_Lows = Annotated[tuple[Low, ...], Meta(max_length=DISTINCT_LOWS)]


def former_past(path: Path, address: int, cluster: str) -> Past | None:
    """Return the past that an earlier version kept of a server; None where there is none, or it is damaged.

    `address` is the hash of the address asked for, `cluster` the system identifier, "" if it is not known.
    """
    if not path.is_file():
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
            if numbers != [_APPLICATION_ID, _SCHEMA_VERSION]:
                return None
            query = "SELECT id FROM series WHERE address = ? AND cluster = ?"
            found = database.execute(query, (address, cluster)).fetchone()
            return None if found is None else _read(database, msgspec.convert(found[0], int))
    except (sqlite3.Error, msgspec.ValidationError, msgspec.DecodeError, OSError, ValueError):
        return None


def _read(database: sqlite3.Connection, number: int) -> Past:
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
