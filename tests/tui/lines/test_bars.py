"""Bars and columns take exactly their cells, and never show more, or less, than there is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.text import cell_width, fit
from pgtop.tui.lines.bars import share_bar, usage_bar
from pgtop.tui.lines.column_widths import gaps, lay_out
from pgtop.tui.screens.column_menu import ColumnList
from pgtop.tui.screens.session_list import HostOutcomeList, HostSessionList, OutcomeList, SessionList
from pgtop.tui.widgets.groups_table import GroupsTable
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.lock_table import LockTable
from pgtop.tui.widgets.sessions_table import SessionsTable

WIDTHS = st.integers(-2, 80)
LINES = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


@st.composite
def fractions(draw: st.DrawFn) -> float:
    """Connections over slots, as a server can have them."""
    slots = draw(st.integers(1, 1000))
    return draw(st.integers(0, slots + 10)) / slots


@given(fractions(), WIDTHS, LINES)
def test_bars_take_exactly_their_width(fraction: float, width: int, warn_at: float) -> None:
    assert cell_width(share_bar(fraction, width)) == max(0, width)
    assert cell_width(usage_bar(fraction, width, warn_at)) == max(0, width)


@given(fractions(), st.integers(1, 80))
def test_a_bar_is_full_or_empty_only_when_the_usage_is(fraction: float, width: int) -> None:
    bar = share_bar(fraction, width)
    assert (bar == "█" * width) == (fraction >= 1)
    assert (bar == " " * width) == (fraction == 0)


@given(fractions(), st.integers(12, 80), LINES)
def test_the_bar_passes_its_mark_only_over_the_line(usage: float, width: int, warn_at: float) -> None:
    before, after = usage_bar(usage, width, warn_at)[1:-1].split("┃")
    if usage < warn_at:
        assert set(after) <= {"░"}
    else:
        assert set(before) == {"█"}


def test_the_mark_stands_where_the_line_is() -> None:
    assert usage_bar(0.0, 102, 0.8)[1:-1].index("┃") == 80
    assert usage_bar(0.0, 102, 0.29)[1:-1].index("┃") == 29
    assert "┃" not in usage_bar(0.5, 102, 1.0)


def test_eighths_are_drawn() -> None:
    assert share_bar(11 / 32, 4) == "█▍  "


TABLES = [
    *(SessionsTable, GroupsTable, LockTable, ColumnList),
    *(SessionList, OutcomeList, HostSessionList, HostOutcomeList),
]


@pytest.mark.parametrize("table", TABLES)
def test_no_column_is_cut_off_where_a_terminal_is_narrow(table: type[LineTable[Any]]) -> None:
    """An age without its unit would be another age, and a number without its last digit another number."""
    for width in range(29, 240):
        laid_out = lay_out(table.COLUMNS, width, table.LAST_WIDTH)
        assert sum(cells for _, cells in laid_out) + sum(gaps([column for column, _ in laid_out])) <= width
        assert all(cells >= column.width for column, cells in laid_out if column.right), width
        assert all(cells >= column.width for column, cells in laid_out[:-1]), width


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("width", [79, 99, 119, 199])
def test_two_blanks_part_the_heads_of_a_table(table: type[LineTable[Any]], width: int) -> None:
    """`in txn state` reads as one head."""
    laid_out = lay_out(table.COLUMNS, width, table.LAST_WIDTH)
    gap_after = [*gaps([column for column, _ in laid_out]), 0]
    line = "".join(
        fit(column.title, cells, "right" if column.right else "left") + " " * gap
        for (column, cells), gap in zip(laid_out, gap_after, strict=True)
    )
    heads = [column.title.strip() for column, cells in laid_out if column.title and cells]
    assert [each.strip() for each in line.split("  ") if each.strip()] == heads


def test_a_narrow_list_keeps_what_is_most_needed() -> None:
    for width in range(19, 240):
        laid_out = lay_out(SessionsTable.COLUMNS, width, SessionsTable.LAST_WIDTH)
        widths = {column.key: cells for column, cells in laid_out}
        assert widths["idle"] >= len("59m 59s"), width
        assert "application" in widths or width < 39
        assert ("session" in widths and "user" in widths) or width < 79
