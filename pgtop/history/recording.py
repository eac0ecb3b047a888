"""Recording: the recorded past of one server, read from its files like the server itself."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import le
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.recorded import Event, Seen
from pgtop.core.text import printable
from pgtop.errors import HistoryError
from pgtop.history.codec import Decoder, ForeignChunkError, decode_event
from pgtop.history.counts import Counts, decode_counts
from pgtop.history.day_file import reading
from pgtop.history.file_safety import shown
from pgtop.history.order import ChunkRow, Place, in_order

_CHAINS_KEPT: Final = 6
"""The chains that are kept decoded: a player steps to and fro."""

_UNTOLD_SECONDS: Final = 60.0
"""The difference of two clocks up to which it may be the time between a poll and its write."""

_READ_INDEX: Final = """
    SELECT id, writer, written_at, first_at, last_at, interval_seconds, sight, is_key, polls
    FROM chunk WHERE body IS NOT NULL ORDER BY id"""
_READ_CHAIN: Final = """
    SELECT id, body FROM chunk WHERE writer = ? AND id BETWEEN ? AND ? AND body IS NOT NULL ORDER BY id"""
_READ_COUNTS: Final = """
    SELECT samples, cluster, interval_seconds, writer FROM chunk WHERE last_at >= ? AND first_at <= ?
    ORDER BY id"""
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
    writer: int = 0
    """The program that wrote them."""


class Recording:
    """The recorded polls of one server, in their order, and the events between them.

    Chunks that cannot be read are left out, and `problems` says so.
    """

    def __init__(self, files: Sequence[Path] | Callable[[], Sequence[Path]]) -> None:
        """Read what there is in these files. Raises HistoryError if not one of them can be read.

        A function that lists files is called again at each refresh: a new one begins each day.
        """
        self.files: Sequence[Path] = ()
        self._list = files if callable(files) else lambda: files
        self.problems: list[str] = []
        """Sentences about what cannot be read, printable."""
        self.server = ""
        """The name of the server, printable."""
        self._places: list[Place] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        """The polls before each chunk."""
        self._ahead = 0
        """The microseconds by which the recording host's clock was ahead, and those until the last write."""
        self._is_rising = True
        self._chains: OrderedDict[tuple[Path, int, int, int], dict[int, list[Seen]]] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """Read what was recorded since. Positions of before mean nothing then: look again for a time.

        Raises HistoryError as the constructor does.
        """
        self.files = self._list()
        found: list[tuple[Path, list[ChunkRow]]] = []
        failures: list[HistoryError] = []
        for path in self.files:
            try:
                with reading(path) as database:
                    about = database.execute("SELECT value FROM about WHERE name = 'server'").fetchone()
                    self.server = printable(str(about[0])) if about else self.server
                    rows = database.execute(_READ_INDEX).fetchall()
                found.append((path, msgspec.convert(rows, list[ChunkRow], strict=False)))
            except HistoryError as error:
                failures.append(error)
            except msgspec.ValidationError as error:
                failures.append(HistoryError(f"{shown(path)} cannot be read ({printable(str(error))})"))
        self.problems = [str(error) for error in failures]
        if failures and len(failures) == len(self.files):
            raise failures[0]
        newest = max((row for _, rows in found for row in rows), key=lambda row: row.written_at, default=None)
        self._ahead = 0 if newest is None else newest.written_at - newest.last_at
        self._places = in_order(found)
        self._ends = [place.last_at for place in self._places]
        numbers = (place.polls or len(self._polls(chunk)) for chunk, place in enumerate(self._places))
        self._before = list(accumulate(numbers, initial=0))
        self._is_rising = all(map(le, self._ends, self._ends[1:]))

    # Positions

    @property
    def is_empty(self) -> bool:
        """True if no poll was recorded."""
        return not self._places

    @property
    def first_at(self) -> int:
        """The time of the first poll, microseconds by the server's clock. Raises IndexError if empty."""
        return self._places[0].first_at

    @property
    def last_at(self) -> int:
        """The time of the last poll, microseconds by the server's clock. Raises IndexError if empty."""
        return self._places[-1].last_at

    def server_time(self, now: int) -> int:
        """Return a time by the recording host's clock, in microseconds, as the server's clock has it.

        The two may differ; the last write tells by how much, to a minute.
        """
        return now - self._ahead if abs(self._ahead) > _UNTOLD_SECONDS * MICROSECONDS else now

    def at(self, moment: int) -> Position | None:
        """Return the last poll at or before a time (microseconds); the first one if all are later.

        None if nothing can be read.
        """
        for chunk in range(self._latest_before(moment), -1, -1):
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
            if place.last_at >= start and place.first_at <= end:
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
            except HistoryError as error:
                self._note(str(error))
                continue
            for samples, cluster, interval_seconds, writer in rows:
                try:
                    counts = [each for each in decode_counts(samples) if start <= each.at <= end]
                    yield CountsRun(counts, str(cluster), float(interval_seconds), int(writer))
                except (msgspec.ValidationError, msgspec.DecodeError, TypeError, ValueError) as error:
                    self._note(f"a part of {shown(path)} cannot be read ({printable(str(error))})")

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
        """Return the number of the last chunk to have a poll at or before a time; -1 if all are later."""
        if self._is_rising:
            number = bisect_right(self._ends, moment)
            return min(number, len(self._places) - 1)
        # A clock was set back: of the times on both sides, the one that comes closest counts.
        begun = [number for number, place in enumerate(self._places) if place.first_at <= moment]
        return max(begun, key=lambda number: (min(self._ends[number], moment), number), default=-1)

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
        polls = self._chain(place).get(place.chunk, [])
        return [each for each in polls if place.first_at <= each.at <= place.last_at]

    def _chain(self, place: Place) -> dict[int, list[Seen]]:
        """Return the polls of a chunk's chain, by the chunks' ids."""
        key = (place.path, place.writer, place.chain, place.last_of_chain)
        known = self._chains.get(key)
        if known is not None:
            self._chains.move_to_end(key)
            return known
        polls: dict[int, list[Seen]] = {}
        try:
            with reading(place.path) as database:
                rows = database.execute(_READ_CHAIN, key[1:]).fetchall()
            decoder = Decoder()
            for number, body in rows:
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
