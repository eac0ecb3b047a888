"""The screen in ASCII: nothing else is left, and every cell stays where it was."""

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.text import cell_width, printable
from pgtop.tui.lines.bars import usage_bar
from pgtop.tui.terminal.ascii import to_ascii
from tests.servers import REPOSITORY
from tests.support.ascii_gaps import without_ascii
from tests.support.sources import parsed

SOURCES = set((REPOSITORY / "pgtop").rglob("*.py")) - {REPOSITORY / "pgtop/core/server_encodings.py"}
"""But for the tables of what other encodings hold: they are never printed."""


@given(st.text())
def test_printable_text_becomes_ascii_in_as_many_cells(text: str) -> None:
    """A server's text is never so chosen that a line grows or shrinks."""
    shown = printable(text)
    assert to_ascii(shown).isascii()
    assert len(to_ascii(shown)) == cell_width(shown)


@given(st.text(alphabet="▏▎▍▌▋▊▉█░┃▕·≤≥ 0123456789m", max_size=30))
def test_bars_and_bounds_keep_their_cells_wherever_they_stand(text: str) -> None:
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == len(text)


def test_a_bar_that_is_not_full_does_not_look_full() -> None:
    assert "." in to_ascii(usage_bar(0.9999, 40, 0.8)) or "=" in to_ascii(usage_bar(0.9999, 40, 0.8))
    assert to_ascii(usage_bar(1.0, 12, 0.8)) == "[########|#]"
    assert to_ascii(usage_bar(0.5, 12, 0.8)) == "[#####...|.]"


@given(st.text(alphabet="▎▌█░┃·≤≥… 0123456789mx", max_size=30), st.integers(0, 30))
def test_a_parts_right_neighbour_changes_nothing_in_it(text: str, cut: int) -> None:
    """A line is sent up to where it differs: what is sent must fit to what stays."""
    assert to_ascii(text[:cut]) == to_ascii(text)[: len(text[:cut])]


def characters_of(path: Path) -> set[str]:
    """Return the characters of a module's strings; those of docstrings, which nobody prints, are left out."""
    tree = parsed(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said]
    return set("".join(node.value for node in texts if isinstance(node.value, str)))


def test_every_character_of_the_program_has_a_replacement() -> None:
    """So that a new glyph is not a `?` in ASCII mode."""
    gaps = {path.name: found for path in SOURCES if (found := without_ascii("".join(characters_of(path))))}
    assert gaps == {}
