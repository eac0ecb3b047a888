"""Glyphs: what stands in a terminal without UTF-8 for each character that ASCII lacks, cell for cell.

The whole screen goes through here on its way out, the server's text and the toolkit's own frames included, so
that no byte above 0x7f is sent, whoever wrote it. A line may be sent in part, up to where it differs: what a
character becomes depends on nothing that stands right of it, but for the ends of a bar.
"""

import re
from typing import Final

from pgtop.core.text import cell_width

_SINGLES: Final = {
    "…": "~",
    "·": ".",
    "•": "*",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "▸": ">",
    "▶": ">",
    "◀": "<",
    "▴": "+",
    "▲": "^",
    "▾": "-",
    "▼": "v",
    "✓": "*",
    "✗": "!",
    "●": "*",
    "○": "o",
    "◌": "?",
    "‖": "=",
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
    "🔎": "/ ",
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
"""Frames, and partly filled cells: one that is not whole never looks whole."""


class _Table(dict[int, str]):
    """What is known, and `?` in each cell of what is not."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code < 0x80 else "?" * cell_width(chr(code))


_TABLE: Final = _Table(
    {
        **{ord(one): other for one, other in _SINGLES.items()},
        **{ord(one): other for other, ones in _DRAWN.items() for one in ones},
        **dict.fromkeys((ord(one) for one in "▎▏▍"), "-"),
        0x2800: " ",
        **dict.fromkeys(range(0x2801, 0x2900), "*"),
    }
)

_BAR: Final = re.compile(r"▕([█▉▊▋▌▍▎▏░┃]*)▏")
_BETWEEN: Final = re.compile(r"(?<=[^ ] )·")


def to_ascii(text: str) -> str:
    """The text in ASCII alone, in as many cells; sequences that move the cursor or colour pass untouched.

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
