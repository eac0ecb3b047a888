"""The sixteen colours of the usual terminals, each with the backgrounds and foregrounds they come with."""

from typing import NamedTuple

from rich.color import Color, ColorType
from rich.style import Style

Triple = tuple[float, float, float]


class Palette(NamedTuple):
    """A terminal's colours: the sixteen, and its own foreground and background."""

    colours: tuple[str, ...]
    foreground: str
    background: str


_SIXTEEN = {
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 "
    "7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    "linux": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa "
    "555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
    "solarized": "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 "
    "002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3",
    "macos": "000000 c23621 25bc24 adad27 492ee1 d338d3 33bbc8 cbcccd "
    "818383 fc391f 31e722 eaec23 5833ff f935f8 14f0f0 e9ebeb",
    "gnome": "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc "
    "5e5c64 f66151 33da7a e9ad0c 2a7bde c061cb 33c7de ffffff",
}
_GROUNDS = {
    "xterm": ("e5e5e5 000000", "000000 ffffff"),
    "linux": ("aaaaaa 000000", "000000 ffffff"),
    "solarized": ("839496 002b36", "657b83 fdf6e3"),
    "macos": ("ffffff 000000", "000000 ffffff"),
    "gnome": ("d0cfcc 171421", "ffffff 1e1e1e", "171421 ffffff"),
}

PALETTES = [
    Palette(tuple(_SIXTEEN[name].split()), *ground.split())
    for name, grounds in _GROUNDS.items()
    for ground in grounds
]


def contrast(one: Triple, other: Triple) -> float:
    """WCAG's contrast ratio of two sRGB colours, 0 to 255."""
    lights = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in map(linear, (one, other))]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def linear(colour: Triple) -> Triple:
    """sRGB, 0 to 255, without its gamma, 0 to 1."""
    parts = (part / 255 for part in colour)
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return red, green, blue


def least_contrast(style: Style | None) -> float:
    """Return the least contrast that text in this style has, on any of the terminals."""
    return min(_contrast_on(palette, style or Style()) for palette in PALETTES)


def _contrast_on(palette: Palette, style: Style) -> float:
    ink, ground = (
        _shown(palette, style.color, palette.foreground),
        _shown(palette, style.bgcolor, palette.background),
    )
    return contrast(ink, ground)  # the same in reverse


def _shown(palette: Palette, colour: Color | None, own: str) -> Triple:
    if colour is None or colour.type is ColorType.DEFAULT:
        written = own
    else:
        assert colour.type is ColorType.STANDARD, colour
        assert colour.number is not None
        written = palette.colours[colour.number]
    red, green, blue = (float(int(written[at : at + 2], 16)) for at in (0, 2, 4))
    return red, green, blue
