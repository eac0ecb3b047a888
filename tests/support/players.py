"""The player of a recording, driven through Textual's pilot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from textual.pilot import Pilot

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.history.recording import Recording
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.app import PgtopApp
from pgtop.tui.player import PlayerScreen
from pgtop.tui.state.playback import opened
from tests.servers import wait_until
from tests.support.dashboards import screen_text


@dataclass
class Played:
    """A player under test."""

    app: PgtopApp
    pilot: Pilot[None]
    player: PlayerScreen

    @property
    def number(self) -> int:
        """The number of the poll on the screen."""
        return self.player.poll.number

    @property
    def shown(self) -> Snapshot | None:
        """The snapshot on the screen."""
        return self.player.poll.snapshot

    @property
    def listed(self) -> list[int]:
        """The pids in the list, as they stand."""
        return [row.pid for row in self.player.panels.sessions.rows]

    @property
    def text(self) -> str:
        """The text on the screen."""
        return screen_text(self.app)

    async def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        await self.pilot.press(*keys)

    async def shows(self, *words: str) -> None:
        """Wait until all words are on the screen."""
        await wait_until(lambda: all(word in self.text for word in words), complaint=f"no {words}")

    async def at_poll(self, number: int) -> None:
        """Wait until a poll is on the screen."""
        await wait_until(lambda: self.number == number, complaint=f"not at poll {number}")


@asynccontextmanager
async def player(
    recording: Recording,
    *,
    at: int | None = None,
    size: tuple[int, int] = (120, 40),
    name: str | None = None,
    thresholds: Thresholds = STANDARD,
    **settings: Any,
) -> AsyncIterator[Played]:
    """A player of a recording, at its last poll or at a time; `settings` are Config's.

    `thresholds` are those of the diagnosis.
    """
    config = Config(**settings)
    playback, poll = opened(recording, config, thresholds, at=at)
    screen = PlayerScreen(playback, poll, config, name=name, wall=config.wall)
    app = PgtopApp(screen, theme=config.theme)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Played(app, pilot, screen)
