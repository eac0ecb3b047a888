"""Recorder: collects what the polls saw, and writes it to a server's recording every few seconds.

Several programs may watch one server. One of them writes the polls; the others hold theirs back for a while,
and write what the first one left out, so that nothing is lost once it ends, and nothing is written twice.
"""

import secrets
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from pgtop.core.activity import MICROSECONDS, Backend, BackendId, Snapshot
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.recorded import Event, Seen
from pgtop.errors import HistoryError
from pgtop.history.codec import Encoder, encode_event
from pgtop.history.counts import counts_of, encode_counts
from pgtop.history.store import RecordingStore

if TYPE_CHECKING:
    import sqlite3

KEY_POLLS: Final = 150
"""The polls after which a chunk needs nothing before it: a seek reads this many at most."""
HELD_BACK_SECONDS: Final = 25.0
"""Seconds for which polls are held back while another program writes those of the same server."""
MOST_WAITING: Final = 1_000
"""The polls that wait for a disk that is full, or a file that is locked; then the oldest are lost."""
_FINER: Final = 1.5
"""Another program's polls stand for these if its interval is at most this many times as long."""


class Kept(IntEnum):
    """The part of a poll that is recorded. Each holds all that the ones before it do."""

    COUNTS = 0
    """The counts of the graph alone."""
    SESSIONS = 1
    """The sessions, without their statements."""
    FINGERPRINTS = 2
    """Their statements too, without the literals."""
    STATEMENTS = 3
    """Their statements as they are."""


class Batch(msgspec.Struct, frozen=True):
    """The polls and events that were collected since the last batch."""

    polls: tuple[Seen, ...]
    events: tuple[Event, ...]


class Recorder:
    """One program's recorder of one server. `write` may run in a thread, one call at a time."""

    def __init__(self, store: RecordingStore, kept: Kept = Kept.FINGERPRINTS) -> None:
        self.store = store
        self._kept = kept
        self._writer = secrets.randbits(62)
        self._polls: list[Seen] = []
        self._events: list[Event] = []
        self._waiting: list[Seen] = []
        self._unwritten_events: list[Event] = []
        self._encoder = Encoder()
        self._encoded = 0
        self._path = ""
        self._statements = _Statements(kept)

    def polled(self, seen: Seen) -> None:
        """Take note of a poll."""
        self._polls.append(seen)

    def amend(self, seen: Seen) -> None:
        """Put a poll in the place of the last one: the same one, with more facts."""
        if self._polls and self._polls[-1].at == seen.at:
            self._polls[-1] = seen

    def happened(self, event: Event) -> None:
        """Take note of an event."""
        self._events.append(event)

    def take(self) -> Batch:
        """Return what was collected, to be written."""
        batch = Batch(tuple(self._polls), tuple(self._events))
        self._polls.clear()
        self._events.clear()
        return batch

    def write(self, batch: Batch, *, is_last: bool = False) -> None:
        """Write a batch, and what had to wait before it; nothing is held back at the end, if it `is_last`.

        Raises HistoryError if it cannot be written: it is tried again with the next batch.
        """
        self._waiting.extend(batch.polls)
        self._unwritten_events.extend(batch.events)
        del self._waiting[:-MOST_WAITING]
        del self._unwritten_events[:-MOST_WAITING]
        if not self._waiting and not self._unwritten_events:
            return
        try:
            self.store.write(lambda database: self._write(database, is_last=is_last))
        except HistoryError:
            self._encoder.begin()  # nobody may ever read the chunk that the next one would follow
            self._encoded = 0
            raise

    def _write(self, database: "sqlite3.Connection", *, is_last: bool) -> None:
        polls, held = self._due(database, is_last=is_last)
        now = time.time_ns() // 1000
        for run in _runs(polls):
            self._write_chunk(database, run, now)
        rows = [(self._writer, now, each.at, encode_event(each)) for each in self._unwritten_events]
        database.executemany("INSERT INTO event (writer, written_at, at, body) VALUES (?, ?, ?, ?)", rows)
        self._waiting = held
        self._unwritten_events = []

    def _due(self, database: "sqlite3.Connection", *, is_last: bool) -> tuple[list[Seen], list[Seen]]:
        """Return the polls to write now, and those to hold back, without those that others have written."""
        waiting = self._waiting
        if not waiting:
            return [], []
        newest = waiting[-1]
        slack = round(newest.interval_seconds * MICROSECONDS)
        reach = round(HELD_BACK_SECONDS * MICROSECONDS)
        others = database.execute(
            """SELECT first_at, last_at FROM chunk
            WHERE writer <> ? AND last_at >= ? AND first_at <= ? AND interval_seconds <= ? AND sight >= ?""",
            (
                self._writer,
                min(waiting[0].at - slack, newest.at - reach),
                newest.at + slack,
                newest.interval_seconds * _FINER,
                self._sight(newest),
            ),
        ).fetchall()
        left = [
            each
            for each in waiting
            if not any(first - slack <= each.at <= last + slack for first, last in others)
        ]
        is_written_elsewhere = any(last >= newest.at - reach for _, last in others)
        if left and is_written_elsewhere and not is_last and newest.at - left[0].at < reach:
            return [], left
        return left, []

    def _sight(self, seen: Seen) -> int:
        """Return how much of a poll is recorded; more stands for less."""
        is_hidden = isinstance(seen.result, Snapshot) and seen.result.counts.hidden > 0
        return self._kept * 2 + (not is_hidden)

    def _write_chunk(self, database: "sqlite3.Connection", polls: list[Seen], now: int) -> None:
        path = database.execute("PRAGMA database_list").fetchone()[2]
        if self._encoded >= KEY_POLLS or path != self._path:
            self._encoder.begin()
            self._encoded, self._path = 0, path
        is_key = self._encoded == 0
        body = None
        if self._kept is not Kept.COUNTS:
            body = self._encoder.encode(self._statements.recorded(each) for each in polls)
            self._encoded += len(polls)
        last = polls[-1]
        database.execute(
            """INSERT INTO chunk (writer, written_at, first_at, last_at, cluster, interval_seconds, sight,
            is_key, polls, samples, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                self._writer,
                now,
                polls[0].at,
                last.at,
                _cluster(polls),
                last.interval_seconds,
                self._sight(last),
                is_key,
                len(polls),
                encode_counts([counts_of(each) for each in polls]),
                body,
            ),
        )


def _cluster(polls: list[Seen]) -> str:
    """Return the system identifier of the server that answered last; "" if it is not known."""
    for each in reversed(polls):
        if isinstance(each.result, Snapshot):
            return each.result.server.identity.system_identifier or ""
    return ""


def _runs(polls: list[Seen]) -> list[list[Seen]]:
    """Return the polls in runs in which the server's clock runs forward, and one cluster answers."""
    runs: list[list[Seen]] = []
    cluster = None
    for each in polls:
        heard = each.result.server.identity.system_identifier if isinstance(each.result, Snapshot) else None
        is_other = heard is not None and cluster is not None and heard != cluster
        cluster = heard or cluster
        if not runs or each.at < runs[-1][-1].at or is_other:
            runs.append([])
        runs[-1].append(each)
    return runs


class _Statements:
    """Takes from sessions what is not recorded of their statements. Sessions that stay the same stay so."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._known: dict[BackendId, tuple[Backend, Backend]] = {}

    def recorded(self, seen: Seen) -> Seen:
        """Return a poll as it is recorded."""
        snapshot = seen.result
        if not isinstance(snapshot, Snapshot) or self._kept is Kept.STATEMENTS:
            return seen
        known, now = self._known, {}
        for backend in snapshot.backends:
            before = known.get(backend.id)
            now[backend.id] = (
                before if before is not None and before[0] is backend else (backend, self._without(backend))
            )
        self._known = now
        backends = tuple(each for _, each in now.values())
        if len(backends) != len(snapshot.backends):  # two of one identity, as a broken view may show
            backends = tuple(map(self._without, snapshot.backends))
        return msgspec.structs.replace(seen, result=msgspec.structs.replace(snapshot, backends=backends))

    def _without(self, backend: Backend) -> Backend:
        if backend.query is None:
            return backend
        query = fingerprint(backend.query) if self._kept is Kept.FINGERPRINTS else None
        return msgspec.structs.replace(backend, query=query)
