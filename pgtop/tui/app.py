"""PgtopApp: the terminal program around the dashboard."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.actions import parse
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage
from pgtop.core.text import printable
from pgtop.flight_recorder import FlightRecorder
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.lines.key_names import key_names
from pgtop.tui.messages import TitleChanged
from pgtop.tui.screens.over_dashboard import Armed
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.terminal.capabilities import Capabilities
from pgtop.tui.terminal.driver import TerminalDriver, driver_for
from pgtop.tui.terminal.no_color import COLOURLESS
from pgtop.tui.themes import ANSI, THEMES
from pgtop.wiring import Wiring


class PgtopApp(App[None]):
    """The dashboard as a program."""

    TITLE = "pgtop"
    CSS_PATH = "pgtop.tcss"
    ENABLE_COMMAND_PALETTE = True
    _styled_for = ""
    """The name of the theme that the styles are parsed for; "" while Textual sets up its own."""
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
        recorder: FlightRecorder | None = None,
        thresholds: Thresholds = STANDARD,
        able: Capabilities | None = None,
        filters: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        """Set up the program; nothing is asked of the server yet.

        `host_watch` is for a server that may run on this host. `recorder` keeps its past.
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
        self._styled_for = self.theme
        self.stylesheet.set_variables(self.get_css_variables())
        for other in self.available_themes.keys() - THEMES.keys():
            self.unregister_theme(other)  # those are not known to be legible here
        self.dashboard = DashboardScreen(
            wiring=wiring,
            config=config,
            first=first,
            host_watch=host_watch,
            recorder=recorder,
            thresholds=thresholds,
            filters=filters,
            ascii_only=able is not None and not able.unicode,
            name=name,
        )
        self._has_title = able is not None and able.title

    def get_default_screen(self) -> Screen[Any]:
        """Return the dashboard: a blank screen below it would be styled, and painted over, for nothing."""
        self.dashboard.expect(self.size)
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
            if isinstance(screen, Armed):
                screen.arm()  # it was off the screen, behind a pager perhaps: nobody may have seen it

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters for each line on its way to the terminal."""
        return [COLOURLESS] if self.no_color else super().get_line_filters()

    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's variables; none for Textual's default theme, which nothing is styled for."""
        return super().get_css_variables() if self._styled_for else {}

    def refresh_css(self, animate: bool = True) -> None:
        """Parse and apply the styles again after a change of the theme.

        Textual asks for it at the start too, when the styles are those of the theme already.
        """
        if self._styled_for != self.theme:
            self._styled_for = self.theme
            super().refresh_css(animate)

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
