"""The screen below all others, as the program sees it."""

from textual.geometry import Size
from textual.screen import Screen


class MainScreen(Screen[None]):
    """The dashboard of a server, or the player of a recording."""

    def expect(self, size: Size) -> None:
        """Have the class of a terminal of that size from the start: its first size would style all again."""
        raise TypeError(f"{type(self).__name__} expects no size")

    def come_back(self) -> None:
        """Show how old the data is after the program was stopped."""
        raise TypeError(f"{type(self).__name__} does not come back")
