"""Events that the graph marks: sweeps, terminations, alerts, restarts, failovers and new findings.

The list is bounded and reads no clock. Times move with the server's clock, as those of the history do.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS

KEPT: Final = 500
"""The number of marks that are kept: the oldest go first."""
QUIET_SECONDS: Final = 60.0
"""The time for which a finding must have been absent before it counts as new again."""


class Event(StrEnum):
    """The kinds of events, the most important first: it is the one shown where several share a place."""

    FAILOVER = "failover"
    """Another server answers, or the same one was promoted."""
    RESTART = "restart"
    SWEEP = "sweep"
    """Stale sessions were terminated."""
    TERMINATION = "terminated"
    """Sessions that a person selected were terminated."""
    FULL = "full"
    """No slot is left, or new connections are refused."""
    LIMIT = "limit"
    """A role or a database has reached its own CONNECTION LIMIT."""
    OVER = "over the line"
    """The usage has crossed the 80% line."""
    FINDING = "finding"
    """The diagnosis has found something new."""


IMPORTANCE: Final = {event: place for place, event in enumerate(Event)}


class Mark(msgspec.Struct, frozen=True):
    """One event."""

    at: int
    """Microseconds since the Unix epoch by the server's clock as it is set now."""
    event: Event
    count: int = 0
    """The number of sessions that were terminated; 0 where that is not a question."""
    name: str = ""
    """The kind of a finding in words."""

    @property
    def words(self) -> str:
        """The event in words.

        >>> Mark(0, Event.SWEEP, 17).words, Mark(0, Event.FINDING, name="lock queue").words
        ('sweep 17', 'lock queue')
        """
        return self.name or (f"{self.event} {self.count}" if self.count else self.event)


class EventMarks:
    """The marks of the last events."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque(maxlen=KEPT)
        self._last_found: dict[str, int] | None = None

    def add(self, mark: Mark, clock_shift: int) -> None:
        """Add a mark; `clock_shift` is that of the history, the microseconds that the clock was set back."""
        self._marks.append(msgspec.structs.replace(mark, at=mark.at + clock_shift))

    def add_findings(self, names: Iterable[str], at: int, clock_shift: int) -> None:
        """Mark the kinds of findings that are new; those of the first diagnosis began at an unknown time."""
        moment = at + clock_shift
        is_first, last_found = self._last_found is None, self._last_found or {}
        for name in names:
            seen = last_found.get(name)
            if not is_first and (seen is None or moment - seen > QUIET_SECONDS * MICROSECONDS):
                self._marks.append(Mark(moment, Event.FINDING, name=name))
            last_found[name] = moment
        self._last_found = last_found

    def shown(self, clock_shift: int) -> tuple[Mark, ...]:
        """Return the marks, oldest first, with times by the clock as it is set now."""
        return tuple(msgspec.structs.replace(mark, at=mark.at - clock_shift) for mark in self._marks)
