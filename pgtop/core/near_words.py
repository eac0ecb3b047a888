"""Words that are nearly another one: what somebody meant who mistyped it."""

from collections.abc import Iterable
from typing import Final

_SHORT: Final = 5
"""Up to this many letters, one slip is allowed; in a longer word, two."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is one slip away, or two in a long word; None if there is none.

    A slip is a letter too many, missing or wrong, or two neighbours in the wrong order.

    >>> nearest("snapshto", ["reap", "snapshot"]), nearest("raep", ["reap"]), nearest("shop", ["snapshot"])
    ('snapshot', 'reap', None)
    """
    distances = {other: _slips(word, other) for other in known if abs(len(word) - len(other)) <= 2}
    near = [other for other, slips in distances.items() if slips <= (1 if len(other) <= _SHORT else 2)]
    return min(near, key=distances.__getitem__) if near else None


def _slips(one: str, other: str) -> int:
    """Return the slips between two words (optimal string alignment).

    >>> _slips("demo", "demo"), _slips("dmeo", "demo"), _slips("", "demo")
    (0, 1, 4)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above = row
        row = [i]
        for j, wanted in enumerate(other, start=1):
            best = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before = above
    return row[-1]
