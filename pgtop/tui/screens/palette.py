"""The command palette: Textual's own, with an icon that every font has."""

from typing import ClassVar

from textual import on
from textual.command import CommandPalette, SearchIcon
from textual.events import Mount


class Palette(CommandPalette):
    """The commands by name."""

    ICON: ClassVar[str] = "/"

    @on(Mount)
    def _show_icon(self) -> None:
        self.query_one(SearchIcon).icon = self.ICON
