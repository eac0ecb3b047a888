"""PgtopApp: the terminal program around the dashboard, or around the player of a recording."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.actions import parse
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from pgtop.core.text import printable
from pgtop.tui.lines.key_names import key_names
from pgtop.tui.messages import TitleChanged
from pgtop.tui.screens.main_screen import MainScreen
from pgtop.tui.screens.over_dashboard import Armed
from pgtop.tui.terminal.capabilities import Capabilities
from pgtop.tui.terminal.driver import TerminalDriver, driver_for
from pgtop.tui.terminal.no_color import COLOURLESS
from pgtop.tui.themes import ANSI, THEMES


class PgtopApp(App[None]):
    """The dashboard, or the player of a recording, as a program."""

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
        main_screen: MainScreen,
        *,
        theme: str,
        able: Capabilities | None = None,
    ) -> None:
        """Set up the program; nothing is asked of a server yet.

        `main_screen` is the one below all others, `theme` is the name of the colours. `able` has the
        terminal's capabilities; without it, only NO_COLOR counts.
        """
        colour = able.colour if able is not None else "NO_COLOR" not in os.environ
        # By default, Textual would turn the colours into greys, and the terminal's own into black on black.
        super().__init__(
            driver_class=driver_for(able) if able is not None else None, ansi_color=None if colour else True
        )
        self.no_color = not colour
        for each in THEMES.values():
            self.register_theme(each)
        self.theme = theme if colour else ANSI.name
        self._styled_for = self.theme
        self.stylesheet.set_variables(self.get_css_variables())
        for other in self.available_themes.keys() - THEMES.keys():
            self.unregister_theme(other)  # those are not known to be legible here
        self.main_screen = main_screen
        self._has_title = able is not None and able.title

    def get_default_screen(self) -> Screen[Any]:
        """Return the main screen: a blank screen below it would be styled, and painted over, for nothing."""
        self.main_screen.expect(self.size)
        return self.main_screen

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
        self.main_screen.come_back()
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
        if isinstance(screen, MainScreen):
            for binding in screen.BINDINGS:
                if isinstance(binding, Binding) and binding.show and _may(screen, binding.action):
                    keys = key_names(binding.key)
                    run = self._runner(screen, binding.action)
                    yield SystemCommand(binding.description, f"key {keys}", run)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)

    def _runner(self, screen: MainScreen, action: str) -> Any:
        async def run() -> None:
            await self.run_action(action, screen)

        return run


def _may(screen: MainScreen, action: str) -> bool:
    _, name, parameters = parse(action)
    return bool(screen.check_action(name, parameters))


def _collect_from_now_on() -> None:
    """Collect garbage among new objects only: what was imported stays, and need not be examined."""
    gc.freeze()
    gc.enable()
