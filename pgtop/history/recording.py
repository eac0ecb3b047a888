"""Recording: the recorded past of one server, read from its files like the server itself."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from operator import le
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pgtop.core.recorded import Event, Seen
from pgtop.core.text import printable
from pgtop.errors import HistoryError
from pgtop.history.codec import Decoder, ForeignChunkError, decode_event
from pgtop.history.counts import Counts, decode_counts
from pgtop.history.day_file import reading
from pgtop.history.file_safety import shown

_CHAINS_KEPT: Final = 6
"""The chains that are kept decoded: a player steps to and fro."""

_READ_INDEX: Final = """
    SELECT id, writer, written_at, first_at, last_at, cluster, interval_seconds, is_key, polls
    FROM chunk WHERE body IS NOT NULL ORDER BY id"""
_READ_CHAIN: Final = "SELECT id, body FROM chunk WHERE writer = ? AND id BETWEEN ? AND ? ORDER BY id"
_READ_COUNTS: Final = """
    SELECT samples, cluster, interval_seconds FROM chunk WHERE last_at >= ? AND first_at <= ?
    ORDER BY written_at, id"""
_READ_EVENTS: Final = "SELECT body FROM event WHERE at BETWEEN ? AND ? ORDER BY at, id"


class Position(NamedTuple):
    """The place of a poll in a recording. Positions rise as the polls were made."""

    chunk: int
    poll: int


class CountsRun(NamedTuple):
    """The counts of polls of one cluster, one after the other."""

    counts: list[Counts]
    cluster: str
    """The system identifier of the cluster that answered; "" if it is not known."""
    interval_seconds: float


class _ChunkRow(msgspec.Struct, frozen=True, array_like=True):
    id: int
    writer: int
    written_at: int
    first_at: int
    last_at: int
    cluster: str
    interval_seconds: float
    is_key: bool
    polls: int


class _Place(NamedTuple):
    """A chunk in the order of the whole recording."""

    path: Path
    row: _ChunkRow
    chain: int
    """The id of the keyframe of its chain in that file."""
    last_of_chain: int


class Recording:
    """The recorded polls of one server, in their order, and the events between them.

    Chunks that cannot be read are left out, and `problems` says so.
    """

    def __init__(self, files: list[Path]) -> None:
        """Read what there is in these files. Raises HistoryError if not one of them can be read."""
        self.files = files
        self.problems: list[str] = []
        """Sentences about what cannot be read, printable."""
        self.server = ""
        """The name of the server, printable."""
        self._places: list[_Place] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        """The polls before each chunk."""
        self._is_rising = True
        self._chains: OrderedDict[tuple[Path, int, int], dict[int, list[Seen]]] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """Read what was recorded since. Raises HistoryError as the constructor does."""
        rows: list[tuple[Path, _ChunkRow]] = []
        failures: list[HistoryError] = []
        for path in self.files:
            try:
                with reading(path) as database:
                    found = database.execute("SELECT value FROM about WHERE name = 'server'").fetchone()
                    self.server = printable(str(found[0])) if found else self.server
                    read = msgspec.convert(
                        database.execute(_READ_INDEX).fetchall(), list[_ChunkRow], strict=False
                    )
            except HistoryError as error:
                failures.append(error)
            except msgspec.ValidationError as error:
                failures.append(HistoryError(f"{shown(path)} cannot be read ({error})"))
            else:
                rows.extend((path, row) for row in read)
        self.problems = [str(error) for error in failures]
        if failures and len(failures) == len(self.files):
            raise failures[0]
        self._places = _in_order(rows)
        self._ends = [place.row.last_at for place in self._places]
        self._before = list(accumulate((place.row.polls for place in self._places), initial=0))
        self._is_rising = all(map(le, self._ends, self._ends[1:]))
        newest = self._places[-1] if self._places else None
        if newest is not None:  # its chain may have grown
            self._chains = OrderedDict(
                (key, chain)
                for key, chain in self._chains.items()
                if key[:2] != (newest.path, newest.row.writer)
            )

    # Positions

    @property
    def is_empty(self) -> bool:
        """True if no poll was recorded."""
        return not self._places

    @property
    def first_at(self) -> int:
        """The time of the first poll, microseconds by the server's clock. Raises IndexError if empty."""
        return self._places[0].row.first_at

    @property
    def last_at(self) -> int:
        """The time of the last poll, microseconds by the server's clock. Raises IndexError if empty."""
        return self._places[-1].row.last_at

    def at(self, moment: int) -> Position | None:
        """Return the last poll at or before a time (microseconds); the first one if all are later.

        None if nothing can be read.
        """
        number = bisect_right(self._ends, moment) if self._is_rising else self._latest_before(moment)
        for chunk in range(min(number, len(self._places) - 1), -1, -1):
            polls = self._polls(chunk)
            for poll in range(len(polls) - 1, -1, -1):
                if polls[poll].at <= moment:
                    return Position(chunk, poll)
        return self.first()

    def first(self) -> Position | None:
        """Return the position of the first poll that can be read; None if there is none."""
        return self._forward(0)

    def last(self) -> Position | None:
        """Return the position of the last poll that can be read; None if there is none."""
        return self._back(len(self._places) - 1)

    def next(self, position: Position) -> Position | None:
        """Return the position of the poll that follows; None at the end."""
        if position.poll + 1 < len(self._polls(position.chunk)):
            return Position(position.chunk, position.poll + 1)
        return self._forward(position.chunk + 1)

    def previous(self, position: Position) -> Position | None:
        """Return the position of the poll before; None at the beginning."""
        if position.poll > 0:
            return Position(position.chunk, position.poll - 1)
        return self._back(position.chunk - 1)

    @property
    def polls(self) -> int:
        """The number of polls that were recorded."""
        return self._before[-1]

    def number(self, position: Position) -> int:
        """Return the number of a poll in the whole recording: 1 is the first."""
        return self._before[position.chunk] + position.poll + 1

    def seen(self, position: Position) -> Seen:
        """Return the poll at a position. Raises IndexError if there is none."""
        return self._polls(position.chunk)[position.poll]

    def between(self, start: int, end: int) -> Iterator[Seen]:
        """Yield the polls between two times (microseconds, the server's clock), both included, in order."""
        for chunk, place in enumerate(self._places):
            if place.row.last_at >= start and place.row.first_at <= end:
                yield from (each for each in self._polls(chunk) if start <= each.at <= end)

    # What needs no sessions

    def counts(self, start: int, end: int) -> Iterator[CountsRun]:
        """Yield the counts of the polls between two times (microseconds), in runs, as they were written.

        Counts are kept for longer than polls, and several programs may have written some of the same time.
        """
        for path in self.files:
            try:
                with reading(path) as database:
                    rows = database.execute(_READ_COUNTS, (start, end)).fetchall()
                for samples, cluster, interval_seconds in rows:
                    counts = [each for each in decode_counts(samples) if start <= each.at <= end]
                    yield CountsRun(counts, str(cluster), float(interval_seconds))
            except (
                HistoryError,
                msgspec.ValidationError,
                msgspec.DecodeError,
                TypeError,
                ValueError,
            ) as error:
                self._note(f"{shown(path)} cannot be read ({printable(str(error))})")

    def events(self, start: int, end: int) -> list[Event]:
        """Return the events between two times (microseconds, the server's clock), both included, in order.

        Those of a kind that a newer pgtop added are left out.
        """
        events: list[Event] = []
        for path in self.files:
            try:
                with reading(path) as database:
                    rows = database.execute(_READ_EVENTS, (start, end)).fetchall()
            except HistoryError as error:
                self._note(str(error))
                continue
            for (body,) in rows:
                try:
                    events.append(decode_event(body))
                except ForeignChunkError:
                    self._note(f"{shown(path)} has events that this pgtop does not know")
        return sorted(events, key=lambda each: each.at)

    # Chunks

    def _latest_before(self, moment: int) -> int:
        """Return the last chunk that begins at or before a time, where a clock was set back."""
        begun = [number for number, place in enumerate(self._places) if place.row.first_at <= moment]
        return begun[-1] if begun else 0

    def _forward(self, chunk: int) -> Position | None:
        for number in range(max(0, chunk), len(self._places)):
            if self._polls(number):
                return Position(number, 0)
        return None

    def _back(self, chunk: int) -> Position | None:
        for number in range(chunk, -1, -1):
            if polls := self._polls(number):
                return Position(number, len(polls) - 1)
        return None

    def _polls(self, chunk: int) -> list[Seen]:
        place = self._places[chunk]
        return self._chain(place).get(place.row.id, [])

    def _chain(self, place: _Place) -> dict[int, list[Seen]]:
        """Return the polls of a chunk's chain, by the chunks' ids."""
        key = (place.path, place.row.writer, place.chain)
        known = self._chains.get(key)
        if known is not None:
            self._chains.move_to_end(key)
            return known
        polls: dict[int, list[Seen]] = {}
        try:
            with reading(place.path) as database:
                bounds = (place.row.writer, place.chain, place.last_of_chain)
                rows = database.execute(_READ_CHAIN, bounds).fetchall()
            decoder = Decoder()
            for number, body in rows:
                if body is not None:
                    polls[number] = list(decoder.decode(body))
        except HistoryError as error:
            self._note(str(error))
        except (ForeignChunkError, TypeError) as error:
            self._note(f"a part of {shown(place.path)} cannot be read ({printable(str(error))})")
        self._chains[key] = polls
        while len(self._chains) > _CHAINS_KEPT:
            self._chains.popitem(last=False)
        return polls

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _in_order(rows: list[tuple[Path, _ChunkRow]]) -> list[_Place]:
    """Return the chunks as they were written, without those that another program's stand for."""
    chains: dict[tuple[Path, int], int] = {}
    last: dict[tuple[Path, int, int], int] = {}
    linked: list[tuple[Path, _ChunkRow, int]] = []
    for path, row in rows:
        key = (path, row.writer)
        if row.is_key:
            chains[key] = row.id
        if key in chains:  # what follows a keyframe that was dropped cannot be read
            linked.append((path, row, chains[key]))
            last[*key, chains[key]] = row.id
    linked.sort(key=lambda each: (each[1].written_at, each[0], each[1].id))
    places: list[_Place] = []
    for path, row, chain in linked:
        others = [each.row for each in places[-8:] if each.row.writer != row.writer]
        if not any(each.first_at <= row.first_at and row.last_at <= each.last_at for each in others):
            places.append(_Place(path, row, chain, last[path, row.writer, chain]))
    return places
