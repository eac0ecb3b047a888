"""PgtopApp: the terminal program around the dashboard, from its start to its end."""

import asyncio
import contextlib
import gc
import io
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from textual import events, on
from textual.actions import parse
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.text import printable
from pgtop.exit_codes import ExitCode
from pgtop.history.store import HistoryStore
from pgtop.poller import Poller
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import FullError, LimitReachedError
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.lines.key_names import key_names
from pgtop.tui.lines.notice import Notice
from pgtop.tui.messages import TitleChanged
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.terminal.capabilities import Capabilities, hide_dumbness, own_abilities
from pgtop.tui.terminal.driver import TerminalDriver, driver_for
from pgtop.tui.terminal.no_color import COLOURLESS
from pgtop.tui.themes import ANSI, THEMES
from pgtop.wiring import Wiring, wire

FACE: Final = "dashboard"
OPENS_AFTER_SECONDS: Final = 1.0
"""The seconds after which the screen opens although the rescue role has no answer yet."""


class PgtopApp(App[None]):
    """The dashboard as a program."""

    TITLE = "pgtop"
    CSS_PATH = "pgtop.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(
        self,
        *,
        wiring: Wiring,
        config: Config,
        first: Snapshot | Outage,
        host_watch: HostWatch | None = None,
        history: HistoryStore | None = None,
        thresholds: Thresholds = STANDARD,
        able: Capabilities | None = None,
        filters: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        """Set up the program; nothing is asked of the server yet.

        `host_watch` is for a server that may run on this host. `history` is the store of its past.
        `thresholds` are those of the diagnosis. `able` has the terminal's capabilities; without it, only
        NO_COLOR counts. `filters` are the saved ones by name, `name` is that of the server in the
        configuration file.
        """
        colour = able.colour if able is not None else "NO_COLOR" not in os.environ
        # By default, Textual would turn the colours into greys, and the terminal's own into black on black.
        super().__init__(
            driver_class=driver_for(able) if able is not None else None, ansi_color=None if colour else True
        )
        self.no_color = not colour
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = config.theme if colour else ANSI.name
        for other in self.available_themes.keys() - THEMES.keys():
            self.unregister_theme(other)  # those are not known to be legible here
        self.dashboard = DashboardScreen(
            wiring=wiring,
            config=config,
            first=first,
            host_watch=host_watch,
            history=history,
            thresholds=thresholds,
            filters=filters,
            ascii_only=able is not None and not able.unicode,
            name=name,
        )
        self._has_title = able is not None and able.title

    def get_default_screen(self) -> Screen[Any]:
        """Return the dashboard: a blank screen below it would be styled, and painted over, for nothing."""
        return self.dashboard

    def on_mount(self) -> None:
        if not gc.isenabled():
            self.call_after_refresh(_collect_from_now_on)
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(ending, self.exit)
        self.app_resume_signal.subscribe(self, self._continued)

    @on(TitleChanged)
    def _title_changed(self, message: TitleChanged) -> None:
        if self._has_title and isinstance(self._driver, TerminalDriver):
            self._driver.set_title(message.title)

    def _fatal_error(self) -> None:
        """End without Textual's traceback, which could print text from the server."""
        self._close_messages_no_wait()

    @property
    def failure(self) -> Exception | None:
        """The unforeseen error that ended the program; None if none did."""
        return self._exception

    def _continued(self, _: App[None]) -> None:
        """Draw everything again: after a stop, the terminal's content is gone or incomplete."""
        self.dashboard.come_back()
        for screen in self.screen_stack:
            screen.refresh()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters for each line on its way to the terminal."""
        return [COLOURLESS] if self.no_color else super().get_line_filters()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Paste):
            # An input would show it as it is, even the escape sequences of a statement copied from a log.
            event.text = printable(event.text)
        await super().on_event(event)

    def action_command_palette(self) -> None:
        """Open the command palette."""
        from pgtop.tui.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield the action of every key by its name, for the command palette."""
        if screen is self.dashboard:
            for binding in self.dashboard.BINDINGS:
                if isinstance(binding, Binding) and self._may(binding.action):
                    keys = key_names(binding.key)
                    yield SystemCommand(binding.description, f"key {keys}", self._runner(binding.action))
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)

    def _may(self, action: str) -> bool:
        _, name, parameters = parse(action)
        return bool(self.dashboard.check_action(name, parameters))

    def _runner(self, action: str) -> Any:
        async def run() -> None:
            await self.run_action(action, self.dashboard)

        return run


def _collect_from_now_on() -> None:
    """Collect garbage among new objects only: what was imported stays, and need not be examined."""
    gc.freeze()
    gc.enable()


async def _first(own_connection: OwnConnection, poller: Poller) -> Snapshot | Outage:
    """Return the result that the screen opens with.

    Raises PgtopError if no connection can be made for another reason than a lack of slots.
    """
    taking = asyncio.ensure_future(own_connection.take())
    taking.add_done_callback(lambda done: done.cancelled() or done.exception())
    begun = time.monotonic()
    while not (await asyncio.wait({taking}, timeout=OPENS_AFTER_SECONDS / 10))[0]:
        if own_connection.refused is not None and time.monotonic() - begun > OPENS_AFTER_SECONDS:
            # The ordinary role was refused, and the rescue role has no answer yet: the screen waits for it.
            kind = OutageKind.FULL if own_connection.refused.is_the_servers else OutageKind.LIMIT
            waited = "no answer yet"
            limit = own_connection.refused
            return Outage(kind, str(limit), limit=limit, tries=1, rescue_problem=waited)
    with contextlib.suppress(FullError, LimitReachedError):
        taking.result()
    return await poller.next()


async def run_dashboard(
    target: Target,
    config: Config,
    note: str = "",
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
    name: str | None = None,
) -> int:
    """Open the dashboard on a server, stay until it is closed, and return the exit code.

    `note` is the first notice, `thresholds` are those of the diagnosis, `filters` the saved ones by
    name. `name` is that of the server in the configuration file.

    Raises PgtopError before the screen opens if the server cannot be reached; a server that has no slot left
    is tried again on the screen.
    """
    later = io.StringIO()
    wiring = wire(target, config, FACE, later)
    try:
        first = await _first(wiring.own_connection, wiring.poller)
        host_watch = HostWatch(target, config.policy, wiring.reaper)
        history = HistoryStore(config.history) if config.history is not None else None
        able = own_abilities()
        hide_dumbness()
        app = PgtopApp(
            wiring=wiring,
            config=config,
            first=first,
            host_watch=host_watch,
            history=history,
            thresholds=thresholds,
            able=able,
            filters=filters,
            name=name,
        )
        if note:
            app.dashboard.notices.post(Notice(note))
        await app.run_async()
        await app.dashboard.finish()
        if app.failure is not None:
            raise app.failure
    finally:
        await wiring.own_connection.release()
        # The screen owns standard error while it is open. The terminal may be gone by now, or not reading:
        # then even an empty write would block.
        if said := later.getvalue():
            with contextlib.suppress(OSError):
                sys.stderr.write(said)
                sys.stderr.flush()
    return app.return_code or ExitCode.DONE
