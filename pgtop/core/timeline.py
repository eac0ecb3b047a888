"""A server's clock as a time that only grows.

A server's clock can be set back. Earlier times then move back with it, so that the order of events and the
time between them stay right. A clock that is set forward leaves a gap.
"""


class Timeline:
    """A time that only grows, made from a clock that may be set back.

    The times on it are called moments. They are in the unit of the clock.
    """

    def __init__(self) -> None:
        self._latest: int | None = None
        self._shift = 0

    @property
    def shift(self) -> int:
        """The amount by which the clock was set back so far, in its own unit."""
        return self._shift

    def take(self, at: int) -> int:
        """Return the moment of a new clock time `at`. It is never before the moment returned last."""
        moment = at + self._shift
        if self._latest is not None and moment < self._latest:
            self._shift += self._latest - moment
            moment = self._latest
        self._latest = moment
        return moment

    def moment(self, at: int) -> int:
        """Return the moment of a clock time `at` without recording it."""
        return at + self._shift

    def shown(self, moment: int) -> int:
        """Return the clock time of a moment, by the clock as it is set now."""
        return moment - self._shift
