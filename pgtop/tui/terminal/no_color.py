"""NoColor: a screen for who wants no colour (NO_COLOR), or has none."""

from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter


class NoColor(LineFilter):
    """Takes every colour away: no grey, and no terminal's own colour asked for either."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments as they are, without colours."""
        return [Segment(text, without_colour(style), control) for text, style, control in segments]


@lru_cache(maxsize=1024)
def without_colour(style: Style | None) -> Style | None:
    """What is left of a style: bold, reverse and the like, and what a click on it does."""
    if style is None:
        return None
    return style.without_color + Style.from_meta(style.meta) if style.meta else style.without_color


COLOURLESS: Final = NoColor()
