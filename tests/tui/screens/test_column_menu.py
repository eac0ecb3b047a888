"""The menu of the columns: each key acts at once on the list behind it."""

from pathlib import Path

from pgtop.core.filter_sort import SortColumn
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.column_menu import LETTERS, ColumnMenu
from pgtop.tui.widgets.sessions_table import SORT_COLUMNS, SessionsTable
from tests.servers import sessions, wait_until
from tests.support.dashboards import Driven, dashboard


async def test_it_sorts_by_a_column_and_closes(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 2), dashboard(server, tmp_path / "a") as driven:
        table = driven.backends
        await driven.press("f6")
        await driven.shows("idle age     shown", "Enter sort  Space hide  r reverse", "Esc close")
        await driven.press("down", "enter")
        assert driven.app.screen is driven.dashboard
        assert (table.sort_column, table.sort_reversed) == (SortColumn.SESSION_AGE, False)
        await driven.press("o", "r")
        await driven.shows("▴")
        await driven.press("enter")
        assert (table.sort_column, table.sort_reversed) == (SortColumn.SESSION_AGE, True)
        for key, letter in LETTERS.items():
            await driven.press("o", letter)
            assert driven.app.screen is driven.dashboard
            assert table.sort_column is SORT_COLUMNS[key]
        for key in ("escape", "q", "o", "f6"):
            await driven.press("o", key)
            assert driven.app.screen is driven.dashboard
        assert table.sort_column is SortColumn.QUERY


async def test_hidden_columns_stay_hidden_and_wanted_ones_stay(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with sessions(server, 2), dashboard(server, tmp_path / "a", size=(80, 24)) as driven:
        assert "client" not in driven.backends.shown_columns
        await choose(driven, "c")
        await wait_until(lambda: {"client", "pid"} <= driven.backends.shown_columns)
        await choose(driven, "y")
        await driven.pilot.resize_terminal(160, 40)
        await wait_until(lambda: "wait" in driven.backends.shown_columns)
        assert "query" not in driven.backends.shown_columns
        await driven.press("o")
        await driven.shows("query        hidden", "client       shown")
        await driven.press("escape")
        before = driven.backends.shown_columns
        await choose(driven, "p")
        assert driven.backends.shown_columns == before, "the PID is always shown"
        await choose(driven, "y")
        await wait_until(lambda: "query" in driven.backends.shown_columns)
        await driven.pilot.resize_terminal(40, 12)
        await wait_until(lambda: driven.backends.size.width == 40)
        assert "pid" in driven.backends.shown_columns


async def choose(driven: Driven, letter: str) -> None:
    """Press Space on the column of that letter, and close the menu."""
    await driven.press("o")
    menu = driven.app.screen
    assert isinstance(menu, ColumnMenu)
    key = next(key for key, each in LETTERS.items() if each == letter)
    columns = [column.key for column in SessionsTable.COLUMNS if column.key in LETTERS]
    await driven.press("home", *["down"] * columns.index(key), "space", "escape")
    await wait_until(lambda: driven.app.screen is driven.dashboard)
