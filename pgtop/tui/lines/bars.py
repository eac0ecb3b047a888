"""Values drawn as bars of characters, pure and exact in cells.

Bars round down, as figures do: the last cell is full only if nothing is left.
"""

import math
from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_FREE: Final = "░"
_LINE: Final = "┃"
_THIN: Final = "━"
_HALF_THIN: Final = "╸"
_ROUNDING: Final = 1e-7  # 0.29 * 100 is below 29; the share of one connection is always far above this


def share_bar(fraction: float, width: int) -> str:
    """Return a bar of a fraction of `width` cells, filled up with blanks; only 0 gives an empty bar.

    >>> share_bar(0.5, 4), share_bar(0.001, 4), share_bar(1.3, 4)
    ('██  ', '▏   ', '████')
    """
    if width <= 0:
        return ""
    return _blocks(fraction, width).ljust(width)


def thin_bar(fraction: float, width: int) -> str:
    """Return a thin bar of a fraction of `width` cells, to half a cell; only 0 gives an empty bar.

    >>> thin_bar(0.5, 4), thin_bar(0.4, 4), thin_bar(0.001, 4), thin_bar(1.3, 4), thin_bar(0.0, 4)
    ('━━', '━╸', '╸', '━━━━', '')
    """
    halves = _floor(min(max(fraction, 0.0), 1.0) * max(0, width) * 2)
    if fraction > 0 and width > 0:
        halves = max(1, halves)
    whole, half = divmod(halves, 2)
    return _THIN * whole + (_HALF_THIN if half else "")


def usage_bar(usage: float, width: int, warn_at: float) -> str:
    """Return a bar of the usage in `width` cells, both ends included, with a mark at the 80% line.

    Nothing is filled past the mark while the usage is below it, and everything before it once it is reached.

    >>> usage_bar(0.5, 12, 0.8), usage_bar(0.95, 12, 0.8), usage_bar(1.03, 12, 0.8)
    ('▕█████░░░┃░▏', '▕████████┃▌▏', '▕████████┃█▏')
    """
    inner = width - 2
    if inner <= 0:
        return " " * max(0, width)
    cells = list(_blocks(usage, inner).ljust(inner, _FREE))
    if 0 <= warn_at < 1:
        cells[_floor(warn_at * inner)] = _LINE
    return f"▕{''.join(cells)}▏"


def _blocks(fraction: float, width: int) -> str:
    eighths = _floor(min(max(fraction, 0.0), 1.0) * width * 8)
    if fraction > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def _floor(number: float) -> int:
    return math.floor(number + _ROUNDING)
