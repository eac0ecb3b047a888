"""ManualApp: the manual's pages in a viewer, read with the keyboard alone or with the mouse."""

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.filter import LineFilter
from textual.screen import ModalScreen
from textual.widgets import Footer, Markdown, MarkdownViewer, OptionList
from textual.widgets.option_list import Option

from pgtop.exit_codes import ExitCode
from pgtop.tui.terminal.capabilities import Capabilities, hide_dumbness, own_abilities
from pgtop.tui.terminal.driver import driver_for
from pgtop.tui.terminal.no_color import COLOURLESS
from pgtop.tui.themes import ANSI, DARK

INDEX: Final = "index"
CONTENTS_FROM_COLUMNS: Final = 110
"""The least width of the terminal at which the table of contents is shown at first."""

_LINK: Final = re.compile(r"(?<!!)\[([^]]+)\]\(([^)\s]+)\)")
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
_OUTSIDE: Final = re.compile(r"[a-z]+:", re.IGNORECASE)


def links_of(text: str) -> list[tuple[str, str]]:
    """Return the links of a page, each once, as words and target.

    >>> links_of("See [reap](reap.md#exit-codes), [reap](reap.md#exit-codes) and `[x]`.")
    [('reap', 'reap.md#exit-codes')]
    """
    return list(dict.fromkeys((words.replace("`", ""), target) for words, target in _LINK.findall(text)))


def title_of(text: str, otherwise: str) -> str:
    """Return the first heading of a page, or `otherwise` if it has none.

    >>> title_of("# pgtop reap\\n\\nText", "reap")
    'pgtop reap'
    """
    found = _TITLE.search(text)
    return found[1].replace("`", "") if found else otherwise


class PageViewer(MarkdownViewer):
    """Textual's viewer, restricted to the pages of the manual."""

    async def go(self, location: str | PurePath) -> None:
        """Follow a link; if it leads out of the manual, show its address instead."""
        if _OUTSIDE.match(str(location)):
            self.app.notify(str(location), title="Outside the manual", markup=False)
            return
        try:
            await super().go(location)
        except OSError:
            self.navigator.back()
            self.app.notify(f"There is no page {location}", severity="error", markup=False)
            return
        if "#" not in str(location):
            self.scroll_home(animate=False)


class TargetList(ModalScreen[str | None]):
    """A list of links to choose from."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close"),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
    ]

    def __init__(self, targets: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._targets = targets

    def compose(self) -> ComposeResult:
        with Vertical(id="targets"):
            yield OptionList(*(Option(Content(words)) for words, _ in self._targets))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._targets[event.option_index][1])

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_leave(self) -> None:
        """Close the list."""
        self.dismiss(None)


class ManualApp(App[None]):
    """The viewer as a program."""

    TITLE = "pgtop docs"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    PageViewer { background: $background; }
    TargetList { align: center middle; background: $background 60%; }
    #targets { width: 60; max-width: 94%; height: auto; max-height: 90%; border: round $border; }
    #targets OptionList { height: auto; max-height: 100%; border: none; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("g", "pages", "Pages"),
        Binding("l", "links", "Links"),
        Binding("b,backspace", "back", "Back"),
        Binding("t", "contents", "Contents"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("space", "page_down", "Page down", show=False),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(self, pages: Path, first: str, *, able: Capabilities | None = None) -> None:
        """`able` has the terminal's capabilities; without it, only NO_COLOR counts."""
        colour = able.colour if able is not None else "NO_COLOR" not in os.environ
        super().__init__(
            driver_class=driver_for(able) if able is not None else None, ansi_color=None if colour else True
        )
        self.no_color = not colour
        for theme in (DARK, ANSI):
            self.register_theme(theme)
        self.theme = DARK.name if colour else ANSI.name
        self._pages = pages
        self._first = first

    @property
    def viewer(self) -> PageViewer:
        """The viewer."""
        return self.screen_stack[0].query_one(PageViewer)

    @property
    def page(self) -> Path:
        """The page that is shown."""
        return Path(str(self.viewer.navigator.location).partition("#")[0])

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters for each line on its way to the terminal."""
        return [COLOURLESS] if self.no_color else super().get_line_filters()

    def compose(self) -> ComposeResult:
        wide = self.size.width >= CONTENTS_FROM_COLUMNS
        yield PageViewer(show_table_of_contents=wide, open_links=False)
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(ending, self.exit)
        await self.viewer.go(self._pages / f"{self._first}.md")
        self.viewer.query_one(Markdown).focus()

    async def action_back(self) -> None:
        """Go back to the previous page."""
        await self.viewer.back()

    def action_contents(self) -> None:
        """Show or hide the table of contents."""
        self.viewer.show_table_of_contents = not self.viewer.show_table_of_contents

    def action_scroll(self, by: int) -> None:
        """Scroll by one line."""
        if by > 0:
            self.viewer.scroll_down(animate=False)
        else:
            self.viewer.scroll_up(animate=False)

    def action_page_down(self) -> None:
        """Scroll by one page."""
        self.viewer.scroll_page_down(animate=False)

    def action_pages(self) -> None:
        """List all pages."""
        found = sorted(self._pages.glob("*.md"), key=lambda path: (path.stem != INDEX, path.stem))
        titles = ((title_of(path.read_text(encoding="utf-8"), path.stem), path.name) for path in found)
        self._choose(list(titles))

    def action_links(self) -> None:
        """List the links of this page."""
        self._choose(links_of(self.page.read_text(encoding="utf-8")))

    def _choose(self, targets: Sequence[tuple[str, str]]) -> None:
        async def follow(target: str | None) -> None:
            if target is not None:
                await self.viewer.go(target)

        if targets:
            self.push_screen(TargetList(targets), follow)
        else:
            self.notify("This page has no links", markup=False)


async def run_manual(pages: Path, first: str) -> int:
    """Open the viewer on a page and stay until it is closed."""
    able = own_abilities()
    hide_dumbness()
    app = ManualApp(pages, first, able=able)
    await app.run_async()
    return app.return_code or ExitCode.DONE
