"""The manual as these tests read it: its text, links, headings, tables and commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pgtop.commands.docs import PAGES
from tests.servers import REPOSITORY

MANUAL: Final = sorted(PAGES.glob("*.md"))
"""The pages that are shipped."""
AROUND: Final = [
    REPOSITORY / "README.md",
    REPOSITORY / ".github" / "CONTRIBUTING.md",
    REPOSITORY / "screenshots" / "README.md",
]
"""Pages of the repository that are not shipped."""

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]+`")
_LINK: Final = re.compile(r"(?<!\\)\[(?:[^][]|\[[^]]*\])*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)


class Heading(NamedTuple):
    """One heading."""

    level: int
    text: str


def page(name: str) -> str:
    """Return the text of a page of the manual."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def unfenced(text: str) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", text)


def prose(text: str) -> str:
    """Return what is to be read as a sentence: without code, the targets of links and comments."""
    bare = re.sub(r"\]\([^)]*\)", "]", _CODE.sub("`x`", unfenced(text)))
    return re.sub(r"<!--.*?-->", "", bare)


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code of a language."""
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def headings(text: str) -> list[Heading]:
    """Return the headings of a page."""
    return [Heading(len(marks), words) for marks, words in _HEADING.findall(unfenced(text))]


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor ("" for none) of each link that leads to a file."""
    for target in _LINK.findall(unfenced(path.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield ((path.parent / file).resolve() if file else path), anchor


def anchors(text: str) -> set[str]:
    """Return the anchors of a page as GitHub makes them.

    >>> sorted(anchors("# One, two!\\n\\n## `pgtop reap --json`\\n"))
    ['one-two', 'pgtop-reap---json']
    """
    return {re.sub(r"[^\w\- ]", "", each.text.lower()).replace(" ", "-") for each in headings(text)}


def section(text: str, title: str) -> str:
    """Return what stands under a heading, up to the next of its level or above."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", unfenced(text), re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"no heading {title}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows whose first cell is code, without their blanks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def codes(text: str) -> list[str]:
    """Return the pieces of a line that are set as code."""
    return [piece.strip("`") for piece in _CODE.findall(text)]
