"""The last 24 hours of a server in short, read from its recording while the wall shows them."""

import asyncio
from collections.abc import Callable
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.errors import HistoryError
from pgtop.flight_recorder import FlightRecorder
from pgtop.tui.lines.last_day import last_day_line

_LOOK_SECONDS: Final = 2.0
BUSY_SECONDS: Final = 60.0
"""Seconds until it is read again while the usage is over the line, or was when it was read."""
QUIET_SECONDS: Final = 600.0
"""Seconds until it is read again otherwise: old episodes leave the day."""


class DayWatch:
    """The last day, as it was when it was last read."""

    def __init__(self, recorder: FlightRecorder, warn_at: float) -> None:
        """`warn_at` is the line, a fraction of the slots."""
        self.line = ""
        """The day in one line; "" if nothing of it is known."""
        self._recorder = recorder
        self._warn_at = warn_at
        self._read_at: float | None = None
        self._was_over = False

    async def run(self, snapshot: Callable[[], Snapshot | None], changed: Callable[[], None]) -> None:
        """Read the day whenever it is due, forever; `changed` is called when there is another one to show.

        `snapshot` gives the last one; None while there is none, or while the day is not shown.
        """
        while True:
            seen = snapshot()
            if seen is not None and self._is_due(seen):
                await self._read(seen)
                changed()
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_due(self, seen: Snapshot) -> bool:
        if self._read_at is None:
            return True
        is_busy = self._was_over or seen.usage >= self._warn_at
        age = asyncio.get_running_loop().time() - self._read_at
        return age >= (BUSY_SECONDS if is_busy else QUIET_SECONDS)

    async def _read(self, seen: Snapshot) -> None:
        self._read_at = asyncio.get_running_loop().time()
        self._was_over = seen.usage >= self._warn_at
        try:
            day = await self._recorder.last_day(seen.taken_at, self._warn_at)
        except HistoryError:  # the recorder itself tells of a recording that cannot be used
            day = None
        self.line = last_day_line(day, self._warn_at)
