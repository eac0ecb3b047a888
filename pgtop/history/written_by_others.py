"""Polls that other programs have written of the same server: they need not be written twice."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import is_gap

if TYPE_CHECKING:
    import sqlite3

HELD_BACK_SECONDS: Final = 25.0
"""Seconds for which polls are held back while another program writes those of the same server."""

_FINER: Final = 1.5
"""Another program's polls stand for these if its interval is at most this many times as long."""
_RECENT_SECONDS: Final = 120.0
"""Seconds for which a chunk counts as written at the time of a poll, where its number does not tell."""

_READ: Final = """
    SELECT id, writer, written_at, first_at, last_at, interval_seconds, sight, server FROM chunk
    WHERE writer <> ? AND last_at >= ? AND first_at <= ? ORDER BY id"""


class Mark(NamedTuple):
    """A chunk of a file, which a recorder knows as the last one."""

    path: str = ""
    id: int = 0


class Value(NamedTuple):
    """The worth of a poll beside another program's of the same time."""

    sight: int
    """The part of the truth that it has; more stands for less."""
    interval_seconds: float
    server: int
    """The number of the server that it is of."""

    def stands_for(self, other: "Value") -> bool:
        """Return whether a poll of this worth makes another one of the same time needless."""
        return (
            self.server == other.server
            and self.sight >= other.sight
            and self.interval_seconds <= other.interval_seconds * _FINER
        )

    def lower_of(self, other: "Value") -> "Value":
        """Return the worth of the time between a poll of this worth and one of another."""
        return Value(
            min(self.sight, other.sight), max(self.interval_seconds, other.interval_seconds), self.server
        )


class _Stretch(NamedTuple):
    """The time of a chunk of another program, or the time between two."""

    id: int
    written_at: int
    first_at: int
    last_at: int
    value: Value


class WrittenByOthers:
    """The chunks of other programs around the polls that wait to be written."""

    def __init__(self, path: str, now: int, stretches: Iterable[_Stretch]) -> None:
        self._path = path
        self._recent = now - round(_RECENT_SECONDS * MICROSECONDS)
        self._stretches = list(stretches)

    @classmethod
    def read(
        cls, database: "sqlite3.Connection", path: str, writer: int, span: tuple[int, int], now: int
    ) -> "WrittenByOthers":
        """Read the chunks that are not this writer's, and near a span of the server's time."""
        reach = round(2 * HELD_BACK_SECONDS * MICROSECONDS)
        rows = database.execute(_READ, (writer, span[0] - reach, span[1] + reach)).fetchall()
        return cls(path, now, _stretches(rows))

    def have(self, at: int, value: Value, after: Mark) -> bool:
        """Return whether another program has written a poll of that time that stands for this one.

        `after` is the last chunk that was there before the poll: none up to it is of the same time, although
        it may seem so by a clock that was set back.
        """
        return any(
            each.first_at <= at <= each.last_at
            and each.value.stands_for(value)
            and (each.id > after.id if after.path == self._path else each.written_at >= self._recent)
            for each in self._stretches
        )

    def go_on(self, value: Value, newest_at: int) -> bool:
        """Return whether another program has just written such polls, and may soon write of this time."""
        stretches = self._stretches
        return any(is_near(each.last_at, newest_at) and each.value.stands_for(value) for each in stretches)


def is_near(one: int, other: int) -> bool:
    """Return whether two times (microseconds) are so close that one may wait for the other."""
    return abs(one - other) < HELD_BACK_SECONDS * MICROSECONDS


def goes_on(last_at: int, first_at: int, interval_seconds: float) -> bool:
    """Return whether a poll is the next one after another, without a poll left out between them."""
    return last_at <= first_at and not is_gap((first_at - last_at) / MICROSECONDS, interval_seconds)


def _stretches(rows: Iterable[tuple[int, int, int, int, int, float, int, int]]) -> Iterable[_Stretch]:
    """Yield the chunks, and the times between each and the one that goes on from it."""
    before: dict[int, _Stretch] = {}
    for number, writer, written_at, first_at, last_at, interval_seconds, sight, server in rows:
        value = Value(sight, interval_seconds, server)
        chunk = _Stretch(number, written_at, first_at, last_at, value)
        earlier = before.get(writer)
        if (
            earlier is not None
            and earlier.value.server == server
            and goes_on(earlier.last_at, first_at, interval_seconds)
        ):
            yield chunk._replace(
                first_at=earlier.last_at, last_at=first_at, value=earlier.value.lower_of(value)
            )
        before[writer] = chunk
        yield chunk
