"""Recorder: collects what the polls saw, and writes it to a server's recording every few seconds.

Several programs may watch one server. One of them writes the polls; the others hold theirs back for a while,
and write what the first one left out, so that nothing is lost once it ends, and nothing is written twice.
"""

import secrets
import threading
import time
from enum import Enum, IntEnum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pgtop.core.activity import MICROSECONDS, Backend, Server, Snapshot
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.recorded import Acted, AlertRaised, Diagnosed, Event, OutageBegan, OutageEnded, Seen
from pgtop.history.codec import Encoder, encode_event
from pgtop.history.counts import counts_of, encode_counts
from pgtop.history.store import RecordingStore
from pgtop.history.written_by_others import Mark, Value, WrittenByOthers, goes_on, is_near

if TYPE_CHECKING:
    import sqlite3

KEY_POLLS: Final = 150
"""The polls after which a chunk needs nothing before it: a seek reads this many at most."""
KEY_SECONDS: Final = 600.0
"""The longest time in seconds from one keyframe to the next."""
MOST_WAITING: Final = 1_000
"""The polls and events that wait for a disk that is full or hangs; then the oldest are lost."""

_MOST_ROWS: Final = 150_000
"""The sessions that the polls of one chunk may have altogether: a reader's memory is bounded."""

_PUT_CHUNK: Final = """
    INSERT INTO chunk (writer, written_at, first_at, last_at, cluster, server, interval_seconds, sight,
    is_key, polls, samples, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_EVENT: Final = "INSERT INTO event (writer, written_at, at, body) VALUES (?, ?, ?, ?)"
_FIND_KEY: Final = "SELECT 1 FROM chunk WHERE id = ? AND writer = ? AND body IS NOT NULL"


class Kept(IntEnum):
    """The part of a poll that is recorded. Each holds all that the ones before it do."""

    COUNTS = 0
    """The counts of the graph, and the events without statements."""
    SESSIONS = 1
    """The sessions, without their statements."""
    FINGERPRINTS = 2
    """Their statements too, without the literals."""
    STATEMENTS = 3
    """Their statements as they are."""


class Batch(msgspec.Struct, frozen=True):
    """The polls and events that were collected since the last batch, in order."""

    items: tuple[Seen | Event, ...]
    kept: Kept
    """The part of them that may be recorded."""


class _Source(NamedTuple):
    """The server that a poll is of; of an outage, the one that had answered before."""

    cluster: str = ""
    """The system identifier; "" if it is not known."""
    server: int = 0
    """A number that another server, or the same one after a restart or a promotion, does not have."""


class _Poll(NamedTuple):
    """A poll that waits to be written."""

    seen: Seen
    kept: Kept
    source: _Source
    after: Mark
    """The last chunk that was there before it."""

    @property
    def value(self) -> Value:
        """The worth of this poll beside another program's."""
        answered = 0
        if isinstance(self.seen.result, Snapshot):
            answered = 1 if self.seen.result.counts.hidden else 2
        return Value(self.kept * 3 + answered, self.seen.interval_seconds, self.source.server)


class _Event(NamedTuple):
    """An event that waits to be written."""

    event: Event
    kept: Kept


class _Fate(Enum):
    """The outcome for something that waited."""

    WRITTEN = auto()
    HELD_BACK = auto()
    """Another program may soon write it."""
    LEFT_OUT = auto()
    """Another program has written it."""


class _Sorted(NamedTuple):
    """All that waited, by what is done with it now."""

    polls: list[_Poll]
    events: list[_Event]
    held: list[_Poll | _Event]
    fate: _Fate
    """The outcome for the last poll."""
    is_out: bool
    """True if an outage was written, and not yet its end."""


class Recorder:
    """One program's recorder of one server. `write` may run in a thread."""

    def __init__(self, store: RecordingStore, kept: Kept = Kept.FINGERPRINTS) -> None:
        self.store = store
        self.kept = kept
        """The part of a poll that is recorded from the next batch on."""
        self._writer = secrets.randbits(62)
        self._collected: list[Seen | Event] = []
        self._one_at_a_time = threading.Lock()
        # Of `write` alone:
        self._waiting: list[_Poll | _Event] = []
        self._source = _Source()
        self._mark = Mark()
        self._fate = _Fate.WRITTEN
        self._is_out = False
        self._encoder = Encoder()
        self._encoded = 0
        self._key = Mark()
        self._key_at = 0
        self._statements = _Statements()

    def polled(self, seen: Seen) -> None:
        """Take note of a poll."""
        self._collected.append(seen)

    def amend(self, seen: Seen) -> None:
        """Put a poll in the place of the last one: the same one, with more facts."""
        for place in range(len(self._collected) - 1, -1, -1):
            last = self._collected[place]
            if isinstance(last, Seen):
                if last.at == seen.at:
                    self._collected[place] = seen
                return

    def happened(self, event: Event) -> None:
        """Take note of an event at the last poll, or since."""
        self._collected.append(event)

    def take(self) -> Batch:
        """Return what was collected, to be written."""
        batch = Batch(tuple(self._collected), self.kept)
        self._collected.clear()
        return batch

    def put_back(self, batch: Batch) -> None:
        """Take back a batch that could not be given to `write`."""
        self._collected[:0] = batch.items

    def forget_oldest(self) -> None:
        """Drop what was collected and is more than may wait."""
        del self._collected[:-MOST_WAITING]

    def write(self, batch: Batch, *, is_last: bool = False) -> None:
        """Write a batch, and what had to wait before it; nothing is held back at the end, if it `is_last`.

        Raises HistoryError if it cannot be written: it is tried again with the next batch.
        """
        with self._one_at_a_time:
            self._waiting.extend(self._to_wait(each, batch.kept) for each in batch.items)
            if not self._waiting:
                return
            try:
                done, self._mark = self.store.write(lambda database: self._write(database, is_last=is_last))
            except Exception:
                self._begin()  # nobody may ever read the chunk that the next one would follow
                del self._waiting[:-MOST_WAITING]
                raise
            self._waiting, self._fate, self._is_out = done.held, done.fate, done.is_out

    def _to_wait(self, what: Seen | Event, kept: Kept) -> _Poll | _Event:
        if not isinstance(what, Seen):
            return _Event(what, kept)
        if isinstance(what.result, Snapshot):
            server = what.result.server
            self._source = _Source(server.identity.system_identifier or "", _number(server))
        return _Poll(what, kept, self._source, self._mark)

    def _begin(self) -> None:
        self._encoder.begin()
        self._encoded, self._key = 0, Mark()

    def _write(self, database: "sqlite3.Connection", *, is_last: bool) -> tuple[_Sorted, Mark]:
        path = str(database.execute("PRAGMA database_list").fetchone()[2])
        now = time.time_ns() // 1000
        done = self._sorted(database, path, now, is_last=is_last)
        for run in _runs(done.polls):
            self._write_chunk(database, path, run, now)
        events = [_as_recorded(each) for each in done.events]
        rows = [(self._writer, now, each.at, encode_event(each)) for each in events]
        database.executemany(_PUT_EVENT, rows)
        newest = database.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()[0]
        return done, Mark(path, newest)

    def _sorted(self, database: "sqlite3.Connection", path: str, now: int, *, is_last: bool) -> _Sorted:
        times = [each.seen.at for each in self._waiting if isinstance(each, _Poll)] or [0]
        others = WrittenByOthers.read(database, path, self._writer, (min(times), max(times)), now)
        done = _Sorted([], [], [], self._fate, self._is_out)
        for each in self._waiting:
            if isinstance(each, _Poll):
                own = _fate_of(each, others, times[-1], is_last=is_last)
                done = done._replace(fate=own)
            else:
                own = _Fate.WRITTEN if _is_needed(each.event, is_out=done.is_out) else done.fate
            if own is _Fate.HELD_BACK:
                done.held.append(each)
            elif own is _Fate.WRITTEN and isinstance(each, _Poll):
                done.polls.append(each)
            elif own is _Fate.WRITTEN and isinstance(each, _Event):
                done.events.append(each)
                is_end = isinstance(each.event, OutageEnded)
                is_out = not is_end and (done.is_out or isinstance(each.event, OutageBegan))
                done = done._replace(is_out=is_out)
        return done

    def _write_chunk(self, database: "sqlite3.Connection", path: str, run: list[_Poll], now: int) -> None:
        polls = [each.seen for each in run]
        last = run[-1]
        is_over = abs(polls[0].at - self._key_at) > KEY_SECONDS * MICROSECONDS
        if is_over or self._encoded + len(polls) > KEY_POLLS or not self._has_key(database, path):
            self._begin()
        is_key = self._encoded == 0
        body = None
        if last.kept is not Kept.COUNTS:
            body = self._encoder.encode(self._statements.recorded(each, last.kept) for each in polls)
            self._encoded += len(polls)
        value = last.value
        row = database.execute(
            _PUT_CHUNK,
            (
                self._writer,
                now,
                polls[0].at,
                polls[-1].at,
                last.source.cluster,
                last.source.server,
                value.interval_seconds,
                value.sight,
                is_key,
                len(polls),
                encode_counts([counts_of(each) for each in polls]),
                body,
            ),
        )
        if is_key and body is not None:
            self._key, self._key_at = Mark(path, row.lastrowid or 0), polls[0].at

    def _has_key(self, database: "sqlite3.Connection", path: str) -> bool:
        """Return whether the keyframe is there: somebody may have removed the file, or it was pruned."""
        return self._key.path == path and (
            database.execute(_FIND_KEY, (self._key.id, self._writer)).fetchone() is not None
        )


def _number(server: Server) -> int:
    # Not the identity alone: a role that may not read the identifier has little else to go by.
    known = msgspec.msgpack.encode((server.host, server.port, server.identity))
    return int.from_bytes(blake2b(known, digest_size=8).digest(), "big", signed=True)


def _fate_of(poll: _Poll, others: WrittenByOthers, newest_at: int, *, is_last: bool) -> _Fate:
    at, value = poll.seen.at, poll.value
    if others.have(at, value, poll.after):
        return _Fate.LEFT_OUT
    may_wait = not is_last and is_near(at, newest_at)
    return _Fate.HELD_BACK if may_wait and others.go_on(value, newest_at) else _Fate.WRITTEN


def _is_needed(event: Event, *, is_out: bool) -> bool:
    """Return whether an event is written in any case: no other program has it, or its beginning was."""
    return isinstance(event, Acted | AlertRaised) or (is_out and isinstance(event, OutageEnded))


def _runs(polls: list[_Poll]) -> list[list[_Poll]]:
    """Return polls in runs of one server and one worth, without a gap, and with times that do not fall."""
    runs: list[list[_Poll]] = []
    rows = 0
    for each in polls:
        seen = each.seen
        sessions = len(seen.result.backends) if isinstance(seen.result, Snapshot) else 0
        last = runs[-1][-1] if runs else None
        rows += sessions
        if (
            last is None
            or last.value != each.value
            or last.source != each.source
            or not goes_on(last.seen.at, seen.at, seen.interval_seconds)
            or len(runs[-1]) >= KEY_POLLS
            or rows > _MOST_ROWS
        ):
            runs.append([])
            rows = sessions
        runs[-1].append(each)
    return runs


def _as_recorded(item: _Event) -> Event:
    """Return an event as it is recorded: the statements in a diagnosis are hidden where all others are."""
    event = item.event
    if isinstance(event, Diagnosed) and item.kept < Kept.FINGERPRINTS:
        hidden = tuple(
            msgspec.structs.replace(each, sentence=each.sentence_without_statements, statements=())
            for each in event.findings
        )
        return msgspec.structs.replace(event, findings=hidden)
    return event


class _Statements:
    """Sessions without what is not recorded of their statements. Those that do not change stay the same."""

    def __init__(self) -> None:
        self._kept = Kept.STATEMENTS
        self._known: dict[int, tuple[Backend, Backend]] = {}

    def recorded(self, seen: Seen, kept: Kept) -> Seen:
        """Return a poll as it is recorded."""
        snapshot = seen.result
        if not isinstance(snapshot, Snapshot) or kept is Kept.STATEMENTS:
            return seen
        if kept is not self._kept:
            self._kept, self._known = kept, {}
        known, now = self._known, {}
        backends = []
        for backend in snapshot.backends:
            # The session is kept beside its number, so that no other one can have that number meanwhile.
            pair = known.get(id(backend)) or (backend, self._without(backend))
            now[id(backend)] = pair
            backends.append(pair[1])
        self._known = now
        return msgspec.structs.replace(
            seen, result=msgspec.structs.replace(snapshot, backends=tuple(backends))
        )

    def _without(self, backend: Backend) -> Backend:
        if backend.query is None:
            return backend
        query = fingerprint(backend.query) if self._kept is Kept.FINGERPRINTS else None
        return msgspec.structs.replace(backend, query=query)
