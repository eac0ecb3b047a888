"""The player from its start to its end: the same screens over a recording, without a server."""

import asyncio
from collections.abc import Mapping

from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.exit_codes import ExitCode
from pgtop.history.recording import Recording
from pgtop.settings.defaults_and_bounds import Config


def run_replay(
    recording: Recording,
    *,
    at: int | None,
    config: Config,
    name: str | None,
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
) -> int:
    """Open the player on a recording, stay until it is closed, and return the exit code.

    It begins at the poll of a time, `at` (microseconds by the server's clock), or at the last one. `name` is
    that of the server in the configuration file, `thresholds` are those of the diagnosis, `filters` the saved
    ones by name. Raises HistoryError if no poll can be read.
    """
    from pgtop.tui.app import PgtopApp
    from pgtop.tui.player import PlayerScreen
    from pgtop.tui.state.playback import opened
    from pgtop.tui.terminal.capabilities import hide_dumbness, own_abilities

    playback, poll = opened(recording, config, thresholds, at=at)
    able = own_abilities()
    hide_dumbness()
    player = PlayerScreen(
        playback,
        poll,
        config,
        name=name,
        filters=filters,
        ascii_only=not able.unicode,
        wall=config.wall,
    )
    app = PgtopApp(player, theme=config.theme, able=able)
    asyncio.run(app.run_async())
    if app.failure is not None:
        raise app.failure
    return app.return_code or ExitCode.DONE
