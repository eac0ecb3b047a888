"""Markdown that shows any text as it is: names from a server must not become links, tables or markup."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pgtop.core.text import printable

_SPECIAL: Final = re.compile(r"[\\`*\[\]<>|~&$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain(text: str) -> str:
    r"""Return a text as one line of Markdown that is shown as the text.

    >>> print(plain("a|b`<c>*d*\n_e_ leaky_worker"))
    a\|b\`\<c\>\*d\* \_e\_ leaky_worker
    """
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", printable(text))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()
) -> list[str]:
    """Return a table; `right` are the columns whose cells are aligned to the right. Cells are plain texts."""
    lines = ["| " + " | ".join(heads) + " |"]
    lines.append(
        "| " + " | ".join("---:" if number in right else "---" for number in range(len(heads))) + " |"
    )
    return lines + ["| " + " | ".join(map(plain, row)) + " |" for row in rows]


def bullets(texts: Iterable[str]) -> list[str]:
    """Return a list of plain texts."""
    return [f"- {plain(each)}" for each in texts]


def code(lines: Iterable[str], indent: str = "  ") -> list[str]:
    """Return lines of code in a fence that none of them can close; none for none. They belong to a bullet."""
    shown = [printable(each) for each in lines]
    if not shown:
        return []
    fence = "`" * max(3, *(len(run) + 1 for each in shown for run in re.findall(r"`+", each)), 3)
    return [f"{indent}{each}" for each in (fence, *shown, fence)]
