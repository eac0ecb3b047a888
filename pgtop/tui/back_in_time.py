"""BackInTime: the way from the live dashboard into its recording, and what is told there of the present."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from textual.screen import Screen

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.errors import HistoryError
from pgtop.flight_recorder import FlightRecorder
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.lines.notice import Notice
from pgtop.tui.state.playback import Playback, PlayedPoll, opened

if TYPE_CHECKING:
    from pgtop.tui.player import PlayerScreen

READING: Final = "reading the recording …"
SLOW_SECONDS: Final = 0.5
"""Seconds after which a notice says that the recording is being read."""


class BackInTime:
    """The player over a dashboard, which goes on below it."""

    def __init__(
        self,
        recorder: FlightRecorder | None,
        config: Config,
        thresholds: Thresholds,
        *,
        name: str | None,
        filters: Mapping[str, str] | None,
        ascii_only: bool,
    ) -> None:
        """`recorder` is None if nothing is kept; the rest is as for the dashboard."""
        self.player: PlayerScreen | None = None
        """The player that is open."""
        self._recorder = recorder
        self._config = config
        self._thresholds = thresholds
        self._name, self._filters, self._ascii_only = name, filters, ascii_only

    async def open(
        self,
        screen: Screen[None],
        before: int | None,
        *,
        wall: bool,
        say: Callable[[str], None],
        is_free: Callable[[], bool],
    ) -> None:
        """Show the player until it is closed, at the last poll before a time (microseconds).

        `say` shows a notice on the dashboard's `screen`. Nothing is opened over a dialog: it must be
        `is_free` once the recording is read. Raises HistoryError if nothing can be played.
        """
        from pgtop.tui.player import PlayerScreen

        if self._recorder is None:
            raise HistoryError("nothing is recorded (--no-history)")
        reading = asyncio.ensure_future(self._read(self._recorder, before))
        done, _ = await asyncio.wait({reading}, timeout=SLOW_SECONDS)
        if not done:
            say(READING)
        playback, poll = await reading
        if not is_free():
            return
        self.player = PlayerScreen(
            playback,
            poll,
            self._config,
            name=self._name,
            filters=self._filters,
            ascii_only=self._ascii_only,
            is_over_live=True,
            wall=wall,
        )
        try:
            await screen.app.push_screen_wait(self.player)
        finally:
            self.player = None

    async def _read(self, recorder: FlightRecorder, before: int | None) -> tuple[Playback, PlayedPoll]:
        recording = await recorder.recording()
        at = None if before is None else before - 1
        return await unawaited_at_exit(lambda: opened(recording, self._config, self._thresholds, at=at))

    def tell(self, alert: Notice) -> None:
        """Show an alert of the present over the recording."""
        if self.player is not None:
            self.player.say(f"NOW: {alert.said} (End returns to now)", alert.style)


def load_player() -> None:
    """Load the modules of the player: its key is then never late."""
    import pgtop.tui.player  # noqa: F401
