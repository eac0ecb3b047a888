"""Timeline: a server's clock as a line of time that only grows.

A server's clock can be set back. What came before then moves back with it: the order of what was seen, and
the time between, stay true. A clock set forward leaves a gap.
"""


class Timeline:
    """Turns a clock that may be set back into a line of time that only grows."""

    def __init__(self) -> None:
        self._latest: int | None = None
        self._shift = 0

    @property
    def shift(self) -> int:
        """By how much the clock was set back so far, in its own unit."""
        return self._shift

    def take(self, at: int) -> int:
        """Where `at` lies on the line of time; not before what was taken last."""
        moment = at + self._shift
        if self._latest is not None and moment < self._latest:
            self._shift += self._latest - moment
            moment = self._latest
        self._latest = moment
        return moment

    def moment(self, at: int) -> int:
        """Where `at` lies on the line of time, without taking it."""
        return at + self._shift

    def shown(self, moment: int) -> int:
        """The clock's time of a moment, by the clock as it stands now."""
        return moment - self._shift
