"""Letters and figures to be read from across a room: Textual's digits, and larger ones of blocks.

The larger ones are drawn on a grid 5 pixels high, each pixel as many cells wide as it is half cells high.
"""

from functools import lru_cache
from itertools import zip_longest
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.renderables.digits import Digits

HEIGHT: Final = 5
"""The height of a letter in pixels."""
SMALL: Final = 3
"""The height of Textual's digits in lines."""

_GLYPHS: Final = {
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# .## ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# .#. .#.",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
    "/": "..# ..# .#. #.. #..",
    "%": "#.# ..# .#. #.. #.#",
    "≤": "..# ##. ..# ... ###",
    " ": "... ... ... ... ...",
    "A": ".#. #.# ### #.# #.#",
    "C": "### #.. #.. #.. ###",
    "D": "##. #.# #.# #.# ##.",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "G": "### #.. #.# #.# ###",
    "I": "### .#. .#. .#. ###",
    "L": "#.. #.. #.. #.. ###",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#..# ##.# #.## #..# #..#",
    "O": "### #.# #.# #.# ###",
    "P": "### #.# ### #.. #..",
    "R": "##. #.# ##. #.# #.#",
    "S": "### #.. ### ..# ###",
    "T": "### .#. .#. .#. .#.",
    "U": "#.# #.# #.# #.# ###",
    "V": "#.# #.# #.# #.# .#.",
}
_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def height(scale: int) -> int:
    """Return the height in lines of letters of that scale."""
    return -(-HEIGHT * scale // 2)


def width(text: str, scale: int) -> int:
    """Return the width in cells of a text of that scale."""
    return sum(len(_rows(letter)[0]) + 1 for letter in text) * scale - scale if text else 0


def _rows(letter: str) -> list[str]:
    return _GLYPHS.get(letter, _GLYPHS[" "]).split()


@lru_cache(maxsize=64)
def big(text: str, scale: int) -> tuple[str, ...]:
    """Return a text in lines of blocks.

    >>> print(*big("71", 1), sep="|\\n")
    ▀▀█ ▄█ |
     ▄▀  █ |
     ▀  ▀▀▀
    """
    pixels = ["".join(f"{_rows(letter)[row]}." for letter in text)[:-1] for row in range(HEIGHT)]
    halves = [[pixel == "#" for pixel in line for _ in range(scale)] for line in pixels for _ in range(scale)]
    pairs = zip_longest(halves[::2], halves[1::2], fillvalue=[False] * len(halves[0]))
    return tuple("".join(_HALVES[pair] for pair in zip(*rows, strict=True)) for rows in pairs)


@lru_cache(maxsize=64)
def digits(text: str) -> tuple[str, ...]:
    """Return figures as Textual draws them, in SMALL lines; other characters stand on the lowest line."""
    pieces = Digits(text).render(Style(bold=True))
    drawn = "".join(piece.text for piece in pieces if isinstance(piece, Segment))
    return tuple(drawn.splitlines())
