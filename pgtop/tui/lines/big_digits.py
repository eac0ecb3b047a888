"""Letters and figures to be read from across a room: Textual's digits, and larger ones of blocks.

The larger ones are drawn on a grid 5 pixels high; a narrow pixel is as high as a square one, so that a longer
text takes no other height.
"""

from functools import lru_cache
from itertools import zip_longest
from typing import Final, NamedTuple

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
    "-": "... ... ### ... ...",
    "_": "... ... ... ... ###",
    ".": ". . . . #",
    ":": ". # . # .",
    " ": "... ... ... ... ...",
    "A": ".#. #.# ### #.# #.#",
    "B": "##. #.# ##. #.# ##.",
    "C": "### #.. #.. #.. ###",
    "D": "##. #.# #.# #.# ##.",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "G": "### #.. #.# #.# ###",
    "H": "#.# #.# ### #.# #.#",
    "I": "### .#. .#. .#. ###",
    "J": "..# ..# ..# #.# ###",
    "K": "#.# #.# ##. #.# #.#",
    "L": "#.. #.. #.. #.. ###",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#..# ##.# #.## #..# #..#",
    "O": "### #.# #.# #.# ###",
    "P": "### #.# ### #.. #..",
    "Q": "### #.# #.# ### ..#",
    "R": "##. #.# ##. #.# #.#",
    "S": "### #.. ### ..# ###",
    "T": "### .#. .#. .#. .#.",
    "U": "#.# #.# #.# #.# ###",
    "V": "#.# #.# #.# #.# .#.",
    "W": "#...# #...# #.#.# ##.## #...#",
    "X": "#.# #.# .#. #.# #.#",
    "Y": "#.# #.# .#. .#. .#.",
    "Z": "### ..# .#. #.. ###",
}
_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


class Scale(NamedTuple):
    """The size of a pixel."""

    across: int
    """Its width in cells."""
    down: int
    """Its height in half cells. With an even one, letters are of whole cells, as ASCII needs them."""

    @property
    def height(self) -> int:
        """The height of a letter in lines."""
        return -(-HEIGHT * self.down // 2)


def width(text: str, scale: Scale) -> int:
    """Return the width in cells of a text of that scale."""
    return sum(len(_rows(letter)[0]) + 1 for letter in text) * scale.across - scale.across if text else 0


def is_drawable(text: str) -> bool:
    """Return whether there is a letter for each character of a text."""
    return all(letter in _GLYPHS for letter in text)


def _rows(letter: str) -> list[str]:
    return _GLYPHS.get(letter, _GLYPHS[" "]).split()


@lru_cache(maxsize=64)
def big(text: str, scale: Scale) -> tuple[str, ...]:
    """Return a text in lines of blocks.

    >>> print(*big("71", Scale(1, 1)), sep="|\\n")
    ▀▀█ ▄█ |
     ▄▀  █ |
     ▀  ▀▀▀
    """
    if not text:
        return ("",) * scale.height
    pixels = ["".join(f"{_rows(letter)[row]}." for letter in text)[:-1] for row in range(HEIGHT)]
    wide = [[pixel == "#" for pixel in line for _ in range(scale.across)] for line in pixels]
    halves = [line for line in wide for _ in range(scale.down)]
    pairs = zip_longest(halves[::2], halves[1::2], fillvalue=[False] * len(halves[0]))
    return tuple("".join(_HALVES[pair] for pair in zip(*rows, strict=True)) for rows in pairs)


@lru_cache(maxsize=64)
def digits(text: str) -> tuple[str, ...]:
    """Return figures as Textual draws them, in SMALL lines; other characters stand on the lowest line."""
    pieces = Digits(text).render(Style(bold=True))
    drawn = "".join(piece.text for piece in pieces if isinstance(piece, Segment))
    return tuple(drawn.splitlines())
