"""Every key of the dashboard, against real sessions."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from textual import events
from textual.widgets import Button, Input

from pgtop.core.filter_sort import SortColumn
from pgtop.core.session_groups import GroupBy
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens import plan_dialog
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.plan_dialog import PlanDialog, ReportDialog
from pgtop.tui.widgets.connection_graph import ConnectionGraph
from pgtop.tui.widgets.groups_table import GroupsTable
from pgtop.tui.widgets.sessions_table import SessionsTable
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import Driven, dashboard, is_painted
from tests.support.targets import connection_on, target_of


async def is_gone(connection: asyncpg.Connection) -> bool:
    try:
        return await connection.fetchval("SELECT 1") != 1
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return True


async def test_k_and_y_end_the_selected_and_nobody_else(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 2, application_name="app") as (one, other):
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            await driven.press("K")
            dialog = await driven.dialog()
            assert [victim.backend.pid for victim in dialog.plan.victims] == [one.get_server_pid()]
            assert dialog.focused is not None
            assert dialog.focused.id == "leave"
            await driven.press("y")
            await driven.shows("terminated 1 session", "→")
            await driven.press("O")
            await wait_until(lambda: isinstance(driven.app.screen, ReportDialog))
            await driven.shows("terminated", str(one.get_server_pid()))
            await driven.press("O", "escape")
            assert driven.dashboard.notices.current is None
            told = [(line["event"], line["decided_by"]) for line in driven.audited()]
            assert told == [("attempt", "person"), ("outcome", "person")]
        assert await is_gone(one)
        assert not await is_gone(other)


async def test_k_ends_a_client_that_is_named_as_pgtop_is(server: ThrowawayServer, tmp_path: Path) -> None:
    """Another pgtop beside it is not ended by the same key."""
    async with (
        session(server, application_name="pgtop daemon@x") as one,
        connection_on(target_of(server), "daemon") as other,
        dashboard(server, tmp_path / "a") as driven,
    ):
        for pid, victims in ((one.get_server_pid(), [one.get_server_pid()]), (other.own_pid, [])):
            await driven.select(pid)
            await driven.press("K")
            dialog = await driven.dialog()
            assert [victim.backend.pid for victim in dialog.plan.victims] == victims
            await driven.press("y" if victims else "n")
            await wait_until(lambda: not driven.dashboard.plan_actions.is_busy)
        await driven.shows("terminated 1 session")
        assert await is_gone(one)
        assert (await other.fetch("SELECT 1"))[0][0] == 1


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_no_ends_nobody(server: ThrowawayServer, tmp_path: Path, key: str) -> None:
    """n, Esc, and Enter on the button that has the focus."""
    async with session(server) as one:
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            await driven.press("K")
            await driven.dialog()
            await driven.press(key)
            await wait_until(lambda: driven.app.screen is driven.dashboard)
            assert not driven.audit.exists()
        assert not await is_gone(one)


async def test_a_yes_before_the_plan_was_seen_is_dropped(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed ahead in one go, and again while the plan is new."""
    monkeypatch.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
    async with session(server) as one:
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            for key in ("K", "y"):
                driven.app.post_message(events.Key(key, key))
            await wait_until(lambda: isinstance(driven.app.screen, PlanDialog))
            screen = driven.app.screen
            await driven.press("y", "tab", "enter")
            assert driven.app.screen is screen
            assert not driven.audit.exists()
            await driven.press("escape")
            assert driven.app.screen is driven.dashboard
        assert not await is_gone(one)


async def test_nothing_says_yes_to_a_plan_that_has_just_been_painted(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the key, nor the button by mouse or keyboard; a key that makes another plan works at once."""
    async with session(server) as one:
        async with dashboard(server, tmp_path / "a") as driven:
            await wait_until(lambda: one.get_server_pid() in stale_pids(driven))
            await driven.press("S")
            dialog = await driven.dialog()
            monkeypatch.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
            plan = dialog.plan
            await driven.press("i")
            await wait_until(lambda: dialog.plan is not plan)
            await is_painted(dialog)
            plan = dialog.plan
            await driven.press("y", "i", "y")
            await wait_until(lambda: dialog.plan is not plan)
            await is_painted(dialog)
            plan = dialog.plan
            assert plan.victims
            await driven.press("y", "tab", "enter")
            await driven.pilot.click("#confirm")
            dialog.query_one("#confirm").focus()
            await driven.press("enter")
            await driven.pilot.pause()
            assert driven.app.screen is dialog
            assert dialog.plan is plan
            assert not driven.audit.exists()
            await driven.press("n")
            await wait_until(lambda: driven.app.screen is driven.dashboard)
        assert not await is_gone(one)


async def test_a_yes_counts_once_however_often_it_is_given(server: ThrowawayServer, tmp_path: Path) -> None:
    """All of it typed at once, with another K and its yes behind."""
    async with sessions(server, 2) as (one, other):
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            await driven.press("K")
            await driven.dialog()
            for key in ("y", "y", "K", "y"):
                driven.app.post_message(events.Key(key, key))
            await driven.shows("terminated 1 session")
            assert [line["event"] for line in driven.audited()] == ["attempt", "outcome"]
        assert await is_gone(one)
        assert not await is_gone(other)


async def test_there_is_nothing_to_say_yes_to_where_nobody_would_be_ended(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.select(driven.shown.own_pid if driven.shown else 0)
        await driven.press("K")
        dialog = await driven.dialog()
        await driven.shows("skipped: 1 is pgtop's own")
        assert not dialog.query_one("#confirm").display
        await driven.press("y")
        await driven.pilot.pause()
        assert driven.app.screen is dialog
        await driven.press("n")


async def test_lower_case_k_only_moves(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 3), dashboard(server, tmp_path / "a") as driven:
        await driven.press("end", "k", "k")
        await driven.pilot.pause(0.3)
        assert driven.app.screen is driven.dashboard
        assert driven.dashboard.plan_actions.is_busy is False


async def test_the_dialogs_plan_is_frozen(server: ThrowawayServer, tmp_path: Path) -> None:
    """A session that ran a statement behind the dialog is changed, and lives."""
    async with session(server) as one:
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            await driven.press("K")
            await driven.dialog()
            await one.fetchval("SELECT 2")
            await driven.press("y")
            await driven.shows("terminated 0 of 1 session: 1 left alone (changed: in use again, or gone)")
        assert not await is_gone(one)


async def test_an_audit_log_that_cannot_be_written_ends_nobody(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server) as one:
        async with dashboard(server, Path("/dev/full")) as driven:
            await driven.select(one.get_server_pid())
            await driven.press("K")
            await driven.dialog()
            await driven.press("y")
            await driven.shows("cannot write the audit log")
        assert not await is_gone(one)


async def test_s_sweeps_the_stale_and_tags_are_ended_by_k(server: ThrowawayServer, tmp_path: Path) -> None:
    """Space tags; tags survive refresh, sort and filter; S, e and i change the plan; U untags."""
    async with sessions(server, 3, application_name="leak") as leaked:
        async with dashboard(server, tmp_path / "a") as driven:
            for each in leaked[:2]:
                await driven.select(each.get_server_pid())
                await driven.press("space")
            await driven.press("s", "slash", *"nothing-matches", "enter")
            await wait_until(lambda: driven.listed == [])
            await driven.shows("2 tagged, 2 not listed")
            await driven.press("K")
            dialog = await driven.dialog()
            tagged = {victim.backend.pid for victim in dialog.plan.victims}
            assert tagged == {each.get_server_pid() for each in leaked[:2]}
            await driven.press("n")
            await wait_until(lambda: driven.app.screen is driven.dashboard)
            await driven.press("U", "escape")
            await wait_until(lambda: len(driven.listed) >= 4)
            assert not driven.backends.tagged
            pids = {each.get_server_pid() for each in leaked}
            await wait_until(lambda: stale_pids(driven) >= pids)
            await driven.select(leaked[0].get_server_pid())
            await driven.press("space")
            await driven.shows("✓!")
            await driven.press("U", "S")
            dialog = await driven.dialog()
            assert {victim.backend.pid for victim in dialog.plan.victims} >= pids
            before = dialog.plan
            await driven.press("e")
            await wait_until(lambda: dialog.plan is not before and dialog.is_armed)
            assert not dialog.plan.victims
            await driven.press("e")
            await wait_until(lambda: dialog.plan.victims and dialog.is_armed)
            await driven.press("i")
            await wait_until(
                lambda: dialog.plan.policy.include_idle_in_transaction_seconds is not None and dialog.is_armed
            )
            await driven.press("y")
            await driven.shows("terminated", "O details")
        for each in leaked:
            assert await is_gone(each)


def stale_pids(driven: Driven) -> set[int]:
    shown = driven.shown
    assert shown is not None
    return {row.pid for row in shown.backends if (row.idle_seconds(shown.taken_at) or 0) > 1}


async def test_c_cancels_and_the_session_lives(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one:
        sleeping = asyncio.ensure_future(one.fetchval("SELECT pg_sleep(60)"))
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.select(one.get_server_pid())
            await driven.press("C")
            await driven.dialog()
            await driven.press("y")
            await driven.shows("cancelled 1 query")
        with pytest.raises(asyncpg.QueryCanceledError):
            await sleeping
        assert not await is_gone(one)


async def test_keys_that_look(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 2, application_name="web"), dashboard(server, tmp_path / "a") as driven:
        table, screen = driven.backends, driven.dashboard
        await driven.press("s")
        assert table.sort_column is SortColumn.SESSION_AGE
        await driven.press("r")
        assert table.sort_reversed
        await driven.press("g")
        assert screen.query_one(GroupsTable).by is GroupBy.USER
        await driven.press("g", "g", "g", "g")
        assert screen.query_one(GroupsTable).by is GroupBy.APPLICATION
        graph = screen.query_one(ConnectionGraph)
        before = graph.window_seconds
        await driven.press("right_square_bracket")
        assert graph.window_seconds > before
        await driven.press("left_square_bracket")
        assert graph.window_seconds == before
        await driven.press("plus")
        assert screen.poller.interval_seconds == 0.5
        await driven.press("plus", "minus")
        assert screen.poller.interval_seconds == 0.5
        await driven.press("f1")
        assert isinstance(driven.app.screen, HelpScreen)
        await driven.press("escape")
        await driven.press("question_mark", "q")
        assert driven.app.screen is screen


async def test_pause_stands_still(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.press("p")
        await driven.shows("paused")
        shown, seen = driven.shown, driven.dashboard.state.snapshot
        async with session(server) as late:
            await wait_until(lambda: driven.dashboard.state.snapshot is not seen)
            assert driven.shown is shown
            drawn = driven.dashboard.panels.graph.history
            assert drawn is not driven.dashboard.state.history
            assert drawn.latest is not None
            assert shown is not None
            assert drawn.latest.at == shown.taken_at
            await driven.press("p")
            await wait_until(lambda: late.get_server_pid() in driven.listed)


async def test_enter_shows_all_of_a_backend_and_filters_by_group(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    query = "SELECT '" + "x" * 500 + "-the-end'"
    async with session(server, application_name="needle") as one, session(server):
        await one.fetchval(query)
        async with dashboard(server, tmp_path / "a", size=(120, 60)) as driven:
            await driven.select(one.get_server_pid())
            await driven.press("enter")
            assert isinstance(driven.app.screen, DetailScreen)
            await driven.shows("needle", "-the-end", "locks")
            await driven.press("escape", "tab")
            table = driven.dashboard.query_one(GroupsTable)
            await wait_until(lambda: driven.dashboard.focused is not None)
            driven.dashboard.set_focus(table)
            key = next(row.key for row in table.rows if row.application == "needle")
            table.move_to(key)
            await driven.press("enter")
            await wait_until(lambda: driven.listed == [one.get_server_pid()])
            await driven.press("escape")
            await wait_until(lambda: len(driven.listed) > 1)


async def test_the_filter_keeps_what_matches(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        session(server, application_name="needle") as one,
        session(server),
        dashboard(server, tmp_path / "a") as driven,
    ):
        await driven.press("slash", *"app:needle")
        await wait_until(lambda: driven.listed == [one.get_server_pid()])
        await driven.press("enter", "escape")
        await wait_until(lambda: len(driven.listed) > 1)


async def test_the_cursor_stays_on_its_session(server: ThrowawayServer, tmp_path: Path) -> None:
    """A session that runs a statement goes to another line, and the cursor with it."""
    async with sessions(server, 4) as opened, dashboard(server, tmp_path / "a") as driven:
        pid = opened[0].get_server_pid()
        await driven.select(pid)
        line = driven.listed.index(pid)
        await opened[0].fetchval("SELECT 1")
        await wait_until(lambda: driven.listed.index(pid) != line)
        row = driven.backends.cursor_row
        assert row is not None
        assert row.pid == pid


async def test_copy_palette_and_quit(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one, dashboard(server, tmp_path / "a") as driven:
        await driven.select(one.get_server_pid())
        await driven.press("c")
        assert f"pid {one.get_server_pid()}" in driven.app.clipboard
        await driven.press("ctrl+p", *"graph window")
        await driven.shows("key [", "key ]")
        await driven.press("escape")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        await driven.press("ctrl+p", *"pause", "enter")
        await wait_until(lambda: driven.dashboard.state.paused)
        await driven.press("q")
        await wait_until(lambda: not driven.app.is_running)


async def test_the_buttons_stay_on_a_screen_that_shrinks(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 30), dashboard(server, tmp_path / "a") as driven:
        await wait_until(lambda: len(driven.listed) > 30)
        for pid in driven.listed:
            await driven.select(pid)
            await driven.press("space")
        await driven.press("K")
        dialog = await driven.dialog()
        for width, height in ((80, 24), (80, 14), (120, 40)):
            await driven.pilot.resize_terminal(width, height)
            await wait_until(lambda: buttons_in_sight(dialog), 10, "the buttons are out of sight")
        await wait_until(lambda: dialog.query_one("#dialog-list").region.height > 20)
        await driven.press("escape")


def buttons_in_sight(dialog: PlanDialog) -> bool:
    places = [button.region for button in dialog.query(Button)]
    return all(place.height and dialog.region.contains_region(place) for place in places)


HOSTILE = [
    "[bold red]x[/]",
    "[@click=app.quit]y[/]",
    "\x1b[2J\x1b]52;c;AAAA\x07",
    "\x9b31m\u202eevil\u202c \u200b",
    "\U0001f600 e\u0301",
    "z" * 10_000,
]


@pytest.mark.parametrize("opened_by", ["slash", "ctrl+p"])
async def test_hostile_text_that_is_pasted_stays_text(
    server: ThrowawayServer, tmp_path: Path, opened_by: str
) -> None:
    """Into the filter and into the command palette."""
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.press(opened_by)
        await wait_until(lambda: isinstance(driven.app.focused, Input))
        driven.app.post_message(events.Paste("a\x1b[2J\u202eb\x9b31m\nc"))
        await driven.shows("a·[2J·b·31m c")
        assert_clean(driven)


async def test_hostile_text_stays_text(server: ThrowawayServer, tmp_path: Path) -> None:
    """Markup, escapes, C1, bidi, emoji and long lines are shown, never obeyed: lists, dialog and detail."""
    async with session(server, application_name="[@click=app.quit]a[/]") as one:
        for hostile in HOSTILE:
            await one.execute(f"SELECT $q${hostile}$q$")
        hostile_query = " ".join(HOSTILE)
        await one.execute(f"SELECT $q${hostile_query}$q$")
        async with dashboard(server, tmp_path / "a", size=(200, 60)) as driven:
            pid = one.get_server_pid()
            await driven.select(pid)
            await driven.shows("[@click=app.quit]a[/]", "[bold red]x[/]")
            await driven.press("enter")
            await driven.shows("[@click=app.quit]y[/]")
            assert_clean(driven)
            await driven.press("escape", "K")
            await driven.dialog()
            assert_clean(driven)
            await driven.press("escape", "slash", *"[bold]")
            await driven.pilot.pause()
            assert_clean(driven)
            await driven.press("escape")
            line = driven.listed.index(pid) + 2
            for x in range(4, 196, 6):
                await driven.pilot.click(driven.backends, offset=(x, line))
            assert driven.app.is_running


def assert_clean(driven: Driven) -> None:
    """No control, bidi or invisible character reached the screen, and the SVG is whole."""
    text = driven.text
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (20, 5), (10, 3)])
async def test_every_size_is_drawn(server: ThrowawayServer, tmp_path: Path, size: tuple[int, int]) -> None:
    async with sessions(server, 5), dashboard(server, tmp_path / "a", size=size) as driven:
        if size[0] >= 80:
            await driven.shows("of", "slots", "sessions:", "quit")
        for key in ("f1", "escape", "S", "escape", "enter", "escape"):
            await driven.press(key)
            await driven.pilot.pause(0.1)
        assert driven.app.is_running


async def test_eighty_columns_leave_out_the_least_needed_columns(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(server, tmp_path / "a", size=(80, 24)) as driven:
        await driven.shows("sessions:")
        (titles,) = [line for line in driven.text.splitlines() if "PID" in line and "idle age" in line]
        left_out = {column.key for column in SessionsTable.COLUMNS if column.title not in titles}
        assert left_out == {"wait", "database", "client", "xact"}


async def test_k_on_a_group_means_all_its_sessions(server: ThrowawayServer, tmp_path: Path) -> None:
    """Those that the filter hides, too: the row counts them. A tag goes before."""
    async with (
        sessions(server, 3, application_name="group-a") as a,
        sessions(server, 2, application_name="group-b") as b,
        dashboard(server, tmp_path / "audit", idle_after_seconds=300.0) as driven,
    ):
        await driven.shows("group-a", "group-b")
        groups = driven.dashboard.panels.groups
        groups.focus()
        row = next(each for each in groups.rows if each.key.application_name == "group-a")
        assert groups.move_to(row.key)
        await driven.press("K")
        dialog = await driven.dialog()
        assert {each.backend.pid for each in dialog.plan.victims} == {each.get_server_pid() for each in a}
        await driven.press("n")
        await driven.shows("K terminate group")
        await driven.select(b[0].get_server_pid())
        driven.backends.focus()
        await driven.press("space")
        groups.focus()
        await driven.press("K")
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == [b[0].get_server_pid()]
        await driven.press("n")


async def test_a_star_tags_all_that_are_listed(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        sessions(server, 3, application_name="group-a") as a,
        sessions(server, 2, application_name="group-b"),
        dashboard(server, tmp_path / "audit", idle_after_seconds=300.0) as driven,
    ):
        await driven.shows("group-a", "group-b")
        await driven.press("slash", *"group-a", "enter")
        await wait_until(lambda: len(driven.listed) == 3)
        await driven.press("asterisk")
        pids = {each.get_server_pid() for each in a}
        assert {each.pid for each in driven.backends.tagged} == pids
        await driven.press("escape")
        await driven.press("K")
        dialog = await driven.dialog()
        assert {each.backend.pid for each in dialog.plan.victims} == pids
        await driven.press("n", "U")
        assert not driven.backends.tagged


async def test_a_plan_from_a_paused_display_says_how_old_it_is(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """And what has changed since is left alone, as ever."""
    async with sessions(server, 2) as (one, other), dashboard(server, tmp_path / "a") as driven:
        await driven.select(one.get_server_pid())
        await driven.press("p", "K")
        await driven.dialog()
        assert "The display is paused" not in driven.text, "it is still of now"
        await driven.press("n")
        shown = driven.dashboard.state.shown
        assert shown is not None
        await other.execute("SELECT pg_sleep(3)")
        await wait_until(lambda: driven.dashboard.state.age_of(shown) > 3)
        await one.execute("SELECT 1")
        await driven.press("K")
        await driven.dialog()
        await driven.shows("The display is paused: this is as of ", "s ago")
        await driven.press("y")
        await driven.shows("1 left alone (changed: ")
        assert not await is_gone(one)
        await driven.press("S")
        await driven.dialog()
        await driven.shows("The display is paused: this is as of ")
        await driven.press("n", "p")
        await driven.press("S")
        await driven.dialog()
        assert "The display is paused" not in driven.text
