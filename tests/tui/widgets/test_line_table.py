"""The cursor of a table: it stays on its row, and next to it once that is gone."""

from collections.abc import Hashable, Sequence

import pytest

from pgtop.tui.widgets.line_table import LineTable


class Names(LineTable[str]):
    """Rows that are their own keys."""

    def key_of(self, row: str) -> Hashable:
        return row


def at(rows: Sequence[str], chosen: str) -> Names:
    """A table with the cursor on a row."""
    table = Names()
    table.show(rows)
    assert table.move_to(chosen)
    return table


@pytest.mark.parametrize(
    ("rows", "cursor"),
    [
        ("ABCDE", "C"),
        ("ECBA", "C"),
        ("ABDE", "D"),
        ("BDE", "D"),
        ("DE", "D"),
        ("XYZABDE", "D"),
        ("AE", "E"),
        ("AB", "B"),
        ("A", "A"),
        ("XY", "Y"),
    ],
)
def test_the_cursor_is_on_its_row_or_on_the_next_one_left(rows: str, cursor: str) -> None:
    """Also where rows above it come or go at the same time; after the last row, on the one before."""
    table = at("ABCDE", "C")
    table.show(rows)
    assert table.cursor_row == cursor
    assert table.cursor_key == cursor


def test_an_empty_table_has_no_row_under_its_cursor() -> None:
    table = at("ABCDE", "C")
    table.show("")
    assert table.cursor_row is None
    table.show("AB")
    assert table.cursor_row == "A"
