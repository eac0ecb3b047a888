"""NoColor: a screen without colour, for NO_COLOR or a terminal that has none."""

from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter


class NoColor(LineFilter):
    """A filter that removes every colour, grey and the terminal's own included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without colours."""
        return [Segment(text, without_colour(style), control) for text, style, control in segments]


@lru_cache(maxsize=1024)
def without_colour(style: Style | None) -> Style | None:
    """Return a style without colours; bold, reverse and the like stay, as does the action of a click."""
    if style is None:
        return None
    return style.without_color + Style.from_meta(style.meta) if style.meta else style.without_color


COLOURLESS: Final = NoColor()
