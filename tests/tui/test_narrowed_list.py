"""The narrowed list: a wrong filter acts on nothing, and a group leads to its sessions and back."""

from pathlib import Path

from pgtop.core.session_groups import GroupBy, key_name
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.plan_dialog import PlanDialog
from tests.servers import create_role, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard


async def test_nothing_acts_while_the_filter_has_an_error(server: ThrowawayServer, tmp_path: Path) -> None:
    """Neither a sweep, nor K and C on tags that are out of sight, nor on a group, nor `*`."""
    async with (
        sessions(server, 3, application_name="app") as opened,
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        await wait_until(lambda: count_stale(driven.shown) >= 3)
        await driven.select(opened[0].get_server_pid())
        await driven.press("space", "slash", *"stat:idle")
        await driven.shows("unknown field stat: (state?)", "1 tagged, 1 not listed")
        await driven.press("enter")
        for key in ("S", "K", "C", "asterisk"):
            await driven.press(key)
            await driven.shows("first correct")
            assert not driven.dashboard.plan_actions.is_busy
            await driven.press("escape")
        driven.dashboard.panels.groups.focus()
        await driven.press("K")
        await driven.shows("first correct")
        assert len(driven.backends.tagged) == 1
        assert driven.app.screen is driven.dashboard
        await driven.press("c", "escape", "slash", "ctrl+u", *"state:idle app:app", "enter")
        await wait_until(lambda: len(driven.listed) == 3)
        await driven.press("K")
        dialog = await driven.dialog()
        assert planned(dialog) == {opened[0].get_server_pid()}
        await driven.press("n")
        assert not driven.audit.exists()
        await driven.press("slash", "ctrl+u", *"app:nobody", "enter")
        await driven.shows("no match · Esc clears")
        await driven.press("S")
        dialog = await driven.dialog()
        assert not dialog.plan.victims
        await driven.shows("Sweep filter app:nobody: 0 of ", "Esc close")
        await driven.press("escape", "escape")
        await wait_until(lambda: len(driven.listed) > 3)


async def test_a_sweep_of_an_age_ends_what_was_shown(server: ThrowawayServer, tmp_path: Path) -> None:
    """A filter by age lists other sessions at each poll; the plan keeps those of its own snapshot."""
    async with (
        sessions(server, 2, application_name="old") as old,
        dashboard(server, tmp_path / "a") as driven,
    ):
        await wait_until(lambda: count_stale(driven.shown) >= 2)
        async with sessions(server, 2, application_name="new") as new:
            await driven.press("slash", *"age>1500ms -app:pgtop", "enter")
            await wait_until(lambda: set(driven.listed) >= {each.get_server_pid() for each in old})
            await driven.press("p", "S")
            dialog = await driven.dialog()
            shown = planned(dialog)
            assert shown <= set(driven.listed)
            await wait_until(lambda: is_past(driven, 4, 1.5))
            await driven.press("y")
            await driven.shows(f"terminated {len(shown)} sessions")
            assert {line["pid"] for line in driven.audited()} == shown
            assert all(each.is_closed() == (each.get_server_pid() in shown) for each in (*old, *new))


async def test_enter_goes_to_a_groups_sessions_and_escape_comes_back(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The later of filter and group is taken back first."""
    async with (
        sessions(server, 3, application_name="alpha"),
        sessions(server, 2, application_name="beta"),
        dashboard(server, tmp_path / "a") as driven,
    ):
        panels = driven.dashboard.panels
        await driven.press("slash", *"state:idle", "enter")
        await wait_until(lambda: len(driven.listed) >= 5)
        panels.groups.focus()
        await choose(driven, "beta")
        assert driven.dashboard.focused is driven.backends
        await wait_until(lambda: len(driven.listed) == 2)
        await driven.press("slash", *" user:nobody", "enter")
        await driven.shows("no match · Esc clears")
        await driven.press("escape")
        await wait_until(lambda: len(driven.listed) == 2)
        assert not panels.filter.value
        await driven.press("escape")
        await wait_until(lambda: len(driven.listed) > 2)
        assert driven.dashboard.focused is panels.groups
        assert panels.groups.chosen is None
        row = panels.groups.cursor_row
        assert row is not None
        assert row.key.application_name == "beta"


async def test_k_on_a_statement_ends_the_sessions_that_ran_it(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Whatever its literals were; and an address is shown with its applications."""
    async with sessions(server, 3, application_name="app") as opened:
        for number, each in enumerate(opened[:2]):
            await each.fetchval(f"SELECT 'evidence', {number}")
        async with dashboard(server, tmp_path / "a") as driven:
            panels = driven.dashboard.panels
            panels.groups.focus()
            await driven.press("g", "g", "g")
            await driven.shows("addresses", "application ", "2 applic")
            await driven.press("g")
            await driven.shows("statements", "SELECT ?, ?")
            row = next(
                row for row in panels.groups.rows if key_name(row.key, panels.groups.by) == "SELECT ?, ?"
            )
            panels.groups.move_to(row.key)
            await driven.press("K")
            expected = {each.get_server_pid() for each in opened[:2]}
            assert planned(await driven.dialog()) == expected
            await driven.press("n")
            await wait_until(lambda: count_stale(driven.shown) >= 3)
            await driven.press("enter", "S")
            await driven.shows("Sweep statement SELECT ?, ?: 2 of ")
            assert planned(await driven.dialog()) == expected
            await driven.press("y")
            await driven.shows("terminated 2 sessions")
            assert {line["pid"] for line in driven.audited()} == expected
            assert not opened[2].is_closed()


async def test_statements_that_are_hidden_are_one_group_that_says_so(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(server, "plain")
    async with sessions(server, 2, application_name="app") as opened:
        for number, each in enumerate(opened):
            await each.fetchval(f"SELECT 'secret', {number}, now()")
        for settings in ({"hide_queries": True}, {"user": role.name, "password": role.password}):
            async with dashboard(server, tmp_path / "a", **settings) as driven:
                await driven.press("g", "g", "g", "g")
                assert driven.dashboard.panels.groups.by is GroupBy.STATEMENT
                await driven.shows("statements", "hidden")
                assert "SELECT ?, ?, now()" not in driven.text


def is_past(driven: Driven, number: int, seconds: float) -> bool:
    """Return whether the last poll, which a paused screen does not show, has that many older sessions."""
    seen = driven.dashboard.state.snapshot
    rows = seen.backends if seen is not None else ()
    now = seen.taken_at if seen is not None else 0
    return sum((row.session_seconds(now) or 0) > seconds for row in rows) > number


def planned(dialog: PlanDialog) -> set[int]:
    """Return the pids of the sessions that a dialog's plan would terminate."""
    return {victim.backend.pid for victim in dialog.plan.victims}


async def choose(driven: Driven, name: str) -> None:
    """Choose an application's group."""
    table = driven.dashboard.panels.groups
    row = next(row for row in table.rows if row.key.application_name == name)
    table.move_to(row.key)
    await driven.press("enter")
    await driven.shows(f"of {name}")
