"""The line above the list counts what an eye should not have to look for."""

from pgtop.core.activity import IDLE_IN_TRANSACTION, Backend
from pgtop.core.filter_sort import SortColumn
from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.sessions_title import Listed, sessions_title
from tests.builders import backend, snapshot

ALL = Listed(chosen="", filter="", column=SortColumn.IDLE_AGE, tagged=frozenset(), idle_after_seconds=300.0)


def rows() -> list[Backend]:
    stale = [backend(1 + n, age=400) for n in range(3)]
    silent = [
        backend(pid, state=IDLE_IN_TRANSACTION, age=age) for pid, age in ((10, 59), (11, 60), (12, 7200))
    ]
    return [*stale, *silent]


def title(listed: Listed, width: int) -> list[Cell]:
    found = rows()
    return sessions_title(snapshot(*found), found, listed, width)


def said(listed: Listed, width: int = 120) -> str:
    return "".join(cell.text for cell in title(listed, width))


def test_it_counts_what_is_stale_long_in_transaction_and_blocking() -> None:
    assert said(ALL) == " sessions: 6, by idle age   3 stale (> 5m)   2 idle in txn > 1m"
    assert said(ALL._replace(blocking="1 blocks 12")) == (
        " sessions: 6, by idle age   1 blocks 12 · b   3 stale (> 5m)   2 idle in txn > 1m"
    )


def test_the_least_telling_part_is_dropped_first() -> None:
    listed = ALL._replace(blocking="1 blocks 12", filter="app:web", tagged=frozenset({rows()[0].id}))
    for width in range(20, 130):
        text = said(listed, width)
        assert cell_width(text) <= width
        assert text.endswith("   1 tagged")
        if "filter" in text:
            assert all(each in text for each in ("1 blocks 12", "3 stale", "2 idle in txn"))


def test_below_the_line_stale_sessions_do_not_stand_out() -> None:
    styles = {
        is_over: {cell.style for cell in title(ALL._replace(is_over=is_over), 120) if "stale" in cell.text}
        for is_over in (True, False)
    }
    assert styles == {True: {"amber"}, False: {"dim"}}
