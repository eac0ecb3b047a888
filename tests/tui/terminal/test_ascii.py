"""The screen in ASCII: nothing else is left, and every cell stays where it was."""

from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.text import cell_width, printable
from pgtop.tui.lines.bars import usage_bar
from pgtop.tui.terminal.ascii import to_ascii


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
