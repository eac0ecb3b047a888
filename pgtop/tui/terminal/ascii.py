"""Replacements for all characters that ASCII lacks, cell for cell, for a terminal without UTF-8.

The whole screen passes through here on its way out, the server's text and the toolkit's own frames included,
so that no byte above 0x7f is sent. A line may be sent in part, up to where it differs: the replacement of a
character never depends on the text right of it, except at the ends of a bar.
"""

import re
from typing import Final

from pgtop.core.text import cell_width

_SINGLES: Final = {
    "…": "~",
    "·": ".",
    "•": "*",
    "◦": "o",
    "▪": "-",
    "‣": ">",
    "⭑": "*",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "▸": ">",
    "▶": ">",
    "◀": "<",
    "▴": "^",
    "▲": "^",
    "▾": "v",
    "▼": "|",
    "✓": "*",
    "✗": "!",
    "●": "*",
    "○": "o",
    "◌": "?",
    "‖": "=",
    "�": "?",
    "≥": ">",
    "≤": "<",
    "±": "+",
    "×": "x",
    "–": "-",
    "—": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "■": "#",
    "□": "o",
    "▕": "[",
}

_DRAWN: Final = {
    "-": "─━┄┅┈┉╌╍╴╶╸╺╼╾▔▁",
    "|": "│┃┆┇┊┋╎╏╵╷╹╻╽╿▐║",
    "=": "═▌▋▊▉",
    "+": "┌┍┎┏┐┑┒┓└┕┖┗┘┙┚┛├┝┞┟┠┡┢┣┤┥┦┧┨┩┪┫┬┭┮┯┰┱┲┳┴┵┶┷┸┹┺┻┼┽┾┿╀╁╂╃╄╅╆╇╈╉╊╋╔╗╚╝╠╣╦╩╬",
    ".": "╭╮░",
    "'": "╰╯▀",
    "_": "▂▃▄",
    "#": "█▅▆▇▒▓",
}
"""Frames and partly filled cells; a cell that is not full never looks full."""


class _Table(dict[int, str]):
    """A translation table with `?` in each cell of an unknown character."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code < 0x80 else "?" * cell_width(chr(code))


_TABLE: Final = _Table(
    {
        **{ord(one): other for one, other in _SINGLES.items()},
        **{ord(one): other for other, ones in _DRAWN.items() for one in ones},
        **dict.fromkeys((ord(one) for one in "▎▏▍"), "-"),
        # The viewer's table of contents numbers the levels of headings in Roman.
        **{ord(one): str(level) for level, one in enumerate("ⅠⅡⅢⅣⅤⅥ", start=1)},
        0x2800: " ",
        **dict.fromkeys(range(0x2801, 0x2900), "*"),
    }
)

_BAR: Final = re.compile(r"▕([█▉▊▋▌▍▎▏░┃]*)▏")
_BETWEEN: Final = re.compile(r"(?<=[^ ] )·")


def has_replacement(character: str) -> bool:
    """Return whether a character has a replacement of its own, and is not just unknown."""
    return character.isascii() or ord(character) in _TABLE


def to_ascii(text: str) -> str:
    """Return the text in ASCII, equally wide; sequences that move the cursor or set colours are kept.

    >>> to_ascii("83 of 97 slots · 86% ▕████▌░┃░▏ leaky…")
    '83 of 97 slots | 86% [####=.|.] leaky~'
    >>> to_ascii("≤ 83, Zürich 東京")
    '<=83, Z?rich ????'
    """
    if text.isascii():
        return text
    text = _BAR.sub(r"[\1]", text)
    text = text.replace("≤ ", "<=").replace("≥ ", ">=")
    return _BETWEEN.sub("|", text).translate(_TABLE)
