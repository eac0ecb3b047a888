"""Deck: the poll of a recording that is shown, the way to another one, and playing on from it."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import is_gap
from pgtop.core.text import printable
from pgtop.errors import HistoryError
from pgtop.history.recording import Position
from pgtop.tui.state.playback import Playback, PlayedPoll

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""The speeds to choose from: recorded seconds in a second."""
SLOW_SECONDS: Final = 0.5
"""Seconds after which a seek says how far it is."""
_LONGEST_SECONDS: Final = 1.0
"""The most time that a single step of playing stands for: a program that was stopped does not catch up."""

Way = Callable[[Position], Position | None]
"""The way from one position to another; None if it leads nowhere. It is asked in a thread."""


class _Wish(NamedTuple):
    go: Way
    missing: str
    """The sentence if it leads nowhere."""


class Deck:
    """A recording that is looked at. Whatever reads files is done in a thread, one step at a time."""

    def __init__(
        self, playback: Playback, poll: PlayedPoll, *, prepare: Callable[[PlayedPoll], None] = lambda _: None
    ) -> None:
        """`prepare` is called in the thread with each poll, before it is shown."""
        self.playback = playback
        self.poll = poll
        """The poll that is shown."""
        self.is_playing = False
        self.speed = 1.0
        """Recorded seconds in a second: one of SPEEDS."""
        self._prepare = prepare
        self._wishes: list[_Wish] = []
        self._wished = asyncio.Event()
        self._seeking_since: float | None = None
        self._played_at = 0.0
        self._owed_seconds = 0.0
        """Recorded seconds that were played since the poll that is shown."""

    @property
    def seeking(self) -> float | None:
        """The part of a slow seek that is done, a fraction; None while none is under way."""
        since = self._seeking_since
        is_slow = since is not None and time.monotonic() - since > SLOW_SECONDS
        return self.playback.progress if is_slow else None

    def wish(self, go: Way, missing: str = "") -> None:
        """Go another way as soon as the ends of those that were wished for before are reached.

        `missing` is said if it leads nowhere.
        """
        self._wishes.append(_Wish(go, missing))
        self._wished.set()

    async def run(self, shown: Callable[[PlayedPoll, str], None]) -> None:
        """Go where it is wished, for ever; call `shown` with the poll before, and what is to be said."""
        while True:
            await self._wished.wait()
            self._wished.clear()
            wishes, self._wishes = self._wishes, []
            self._seeking_since = time.monotonic()
            before = self.poll
            try:
                self.poll, said = await unawaited_at_exit(partial(self._answer, before, wishes))
            except (HistoryError, IndexError, RuntimeError) as error:
                said = f"the recording cannot be read: {printable(str(error))}"
                self.is_playing = False
            self._seeking_since = None
            passed = (self.poll.seen.at - before.seen.at) / MICROSECONDS
            self._owed_seconds = 0.0 if self.poll.gap else max(0.0, self._owed_seconds - passed)
            shown(before, said)

    def _answer(self, before: PlayedPoll, wishes: list[_Wish]) -> tuple[PlayedPoll, str]:
        """Return the poll that some wishes lead to, and the sentence of the last if it leads nowhere."""
        position, said = before.position, ""
        for wish in wishes:
            found = wish.go(position)
            said = wish.missing if found is None or found == position else ""
            position = found if found is not None else position
        poll = self.playback.show(position)
        self._prepare(poll)
        return poll, said

    # Playing

    def toggle(self) -> None:
        """Play from the poll that is shown, or pause."""
        self.is_playing = not self.is_playing
        self._played_at, self._owed_seconds = time.monotonic(), 0.0

    def faster(self, by: int) -> None:
        """Play at the next higher or lower speed."""
        place = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(0, place), len(SPEEDS) - 1)]
        self._owed_seconds = 0.0

    def advance(self) -> bool:
        """Go on while it is played; to be called several times a second. Return True once at the end."""
        now = time.monotonic()
        passed, self._played_at = now - self._played_at, now
        if not self.is_playing or self._wishes or self._seeking_since is not None:
            return False
        poll = self.poll
        if poll.next_at is None:
            self.is_playing = False
            return True
        self._owed_seconds += min(passed, _LONGEST_SECONDS) * self.speed
        apart = (poll.next_at - poll.seen.at) / MICROSECONDS
        if self._owed_seconds >= apart or is_gap(apart, poll.seen.interval_seconds):
            owed = self._owed_seconds
            self.wish(lambda position: self.playback.later(position, owed))
        return False
