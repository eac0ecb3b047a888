"""The dashboard with read_only: no key, no click and no command of the palette leads to an action."""

import asyncio
import io
import string
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from textual.pilot import OutOfBounds

from pgtop.commands.break_glass.run import Prepared, carry_out
from pgtop.commands.reap.run import reap
from pgtop.core.plan import DecidedBy
from pgtop.daemon.daemon import Daemon
from pgtop.daemon.log import DaemonLog
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import ReadOnlyError
from pgtop.reaping.automatic import AutomaticReaper
from pgtop.reaping.reaper import Reaper
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import dashboard as dashboard_module
from pgtop.tui import opening
from pgtop.tui.actions.available_actions import ACTING
from pgtop.tui.lines.keys import READ_ONLY_SAID
from pgtop.tui.state.host_watch import HostWatch
from pgtop.wiring import Wiring
from tests.conftest import ServerFactory
from tests.servers import fetch_value, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard
from tests.support.reaping import face_on
from tests.support.targets import target_of

QUITTING = frozenset({"q", "ctrl+c", "ctrl+q"})
ALL_KEYS = [
    *string.ascii_letters.replace("q", ""),
    *string.digits,
    *(f"f{number}" for number in range(1, 13)),
    *(f"ctrl+{letter}" for letter in string.ascii_lowercase if letter not in "cqz"),
    *("space", "enter", "tab", "shift+tab", "delete", "backspace", "up", "down", "home", "end"),
    *("slash", "question_mark", "plus", "minus", "left_square_bracket", "right_square_bracket"),
]


class Victims:
    """Sessions in every state, of which none may be ended, and no statement cancelled."""

    def __init__(self, server: ThrowawayServer, idle: list[asyncpg.Connection], running: asyncio.Task[Any]):
        self._server = server
        self.idle = idle
        self._running = running

    async def are_untouched(self) -> None:
        """Nobody ended or cancelled anything, says the server, and its log."""
        assert not self._running.done()
        for each in self.idle:
            assert await each.fetchval("SELECT 1") == 1
        log = self._server.log_path.read_text()
        for word in ("terminating connection", "canceling statement"):
            assert word not in log


@asynccontextmanager
async def victims(server: ThrowawayServer) -> AsyncIterator[Victims]:
    async with (
        sessions(server, 3, application_name="web") as idle,
        session(server, application_name="web") as in_transaction,
        session(server, application_name="web") as active,
    ):
        await in_transaction.execute("BEGIN")
        running = asyncio.create_task(active.fetchval("SELECT pg_sleep(600)"))
        yield Victims(server, [*idle, in_transaction], running)
        running.cancel()
        with suppress(asyncio.CancelledError, asyncpg.PostgresError):
            await running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the reapers are asked from now on, by name."""
    found: list[str] = []
    names = [(Reaper, name) for name in vars(Reaper) if name.startswith("plan_") or name == "run"]
    for kind, name in (*names, (AutomaticReaper, "turn"), (AutomaticReaper, "look")):
        whole = getattr(kind, name)

        def noted(*arguments: Any, _whole: Any = whole, _name: str = name, **options: Any) -> Any:
            found.append(_name)
            return _whole(*arguments, **options)

        monkeypatch.setattr(kind, name, noted)
    return found


async def is_stale(server: ThrowawayServer) -> bool:
    query = (
        "SELECT bool_and(state_change < now() - interval '1 s') FROM pg_stat_activity WHERE state = 'idle'"
    )
    return bool(await fetch_value(server, query))


async def back_to_the_list(driven: Driven) -> None:
    while driven.app.screen is not driven.dashboard:
        await driven.press("escape")
    driven.dashboard.panels.drop_filter()
    driven.backends.focus()


async def test_no_key_asks_anybody_to_end_anything(
    server_factory: ServerFactory, tmp_path: Path, asked: list[str]
) -> None:
    """Each key that there is, and each that any part of the screen binds, on both tables."""
    server = server_factory()
    async with (
        victims(server) as some,
        dashboard(server, tmp_path / "a", read_only=True) as driven,
    ):
        await driven.select(some.idle[0].get_server_pid())
        await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 3)
        bound = {key for key in driven.app.active_bindings if key not in QUITTING}
        assert {"space", "p"} <= bound
        for table, keys in (("backends", bound | set(ALL_KEYS)), ("applications", bound)):
            for key in sorted(keys):
                await back_to_the_list(driven)
                driven.dashboard.query_one(f"#{table}").focus()
                await driven.press(key)
                if driven.app.screen is not driven.dashboard:
                    await driven.press("y", "K", "S")
        assert asked == []
        await some.are_untouched()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_no_click_asks_anybody_to_end_anything(
    server_factory: ServerFactory, tmp_path: Path, size: tuple[int, int], asked: list[str]
) -> None:
    """The whole of the keys' line, and every line at its ends and in its middle."""
    server = server_factory()
    width, height = size
    async with (
        victims(server) as some,
        dashboard(server, tmp_path / "a", size=size, read_only=True) as driven,
    ):
        await driven.select(some.idle[0].get_server_pid())
        await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 3)
        everywhere = [(x, y) for y in range(height - 1) for x in (1, width // 2, width - 2)]
        at_keys = [
            (x, height - 1)
            for x in range(0, width, 2)
            if "quit" not in driven.text.splitlines()[-1][x - 3 : x + 6]
        ]
        for x, y in (*at_keys, *everywhere):
            await back_to_the_list(driven)
            with suppress(OutOfBounds):
                await driven.pilot.click(offset=(x, y))
        assert asked == []
        await some.are_untouched()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("opener", ["d", "b", "enter"])
async def test_no_click_on_what_opens_above_leads_to_an_act(
    server: ThrowawayServer, tmp_path: Path, opener: str, asked: list[str]
) -> None:
    """Along its line of keys; and `K` says why it does nothing."""
    async with (
        waiting_for_a_lock(server) as root,
        dashboard(server, tmp_path / "a", size=(80, 24), read_only=True) as driven,
    ):
        await driven.select(root.get_server_pid())
        for x in range(1, 79, 3):
            if driven.app.screen is driven.dashboard:
                await driven.press(opener)
            keys = driven.app.screen.query_one("#lock-keys" if opener == "b" else "#detail-keys")
            with suppress(OutOfBounds):
                await driven.pilot.click(offset=(x, keys.region.y))
        await back_to_the_list(driven)
        await driven.press(opener, "K")
        await driven.shows(READ_ONLY_SAID)
        assert asked == []
    assert not (tmp_path / "a").exists()


@asynccontextmanager
async def waiting_for_a_lock(server: ThrowawayServer) -> AsyncIterator[asyncpg.Connection]:
    """The session that holds a lock which another one waits for."""
    async with sessions(server, 2) as (root, late):
        await root.execute("SELECT pg_advisory_lock(31)")
        stuck = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(31)"))
        query = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = $1"
        await wait_until(lambda: fetch_value(server, query, late.get_server_pid()))
        try:
            yield root
        finally:
            await root.execute("SELECT pg_advisory_unlock(31)")
            await stuck


async def test_no_command_of_the_palette_asks_anybody_to_end_anything(
    server_factory: ServerFactory, tmp_path: Path, asked: list[str]
) -> None:
    """Each that is offered is carried out, and what is not offered cannot be found by typing."""
    server = server_factory()
    async with (
        victims(server) as some,
        dashboard(server, tmp_path / "a", read_only=True) as driven,
    ):
        await driven.select(some.idle[0].get_server_pid())
        await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 3)
        offered = [each for each in driven.app.get_system_commands(driven.dashboard) if each.title != "Quit"]
        assert len(offered) > 10
        for command in offered:
            await back_to_the_list(driven)
            if asyncio.iscoroutine(result := command.callback()):
                await result
            await driven.pilot.pause()
        for word in ("terminate", "cancel", "sweep", "automatic", "break"):
            await back_to_the_list(driven)
            await driven.press("ctrl+p", *word, "down", "enter")
        await back_to_the_list(driven)
        assert asked == []
        await some.are_untouched()
    assert not (tmp_path / "a").exists()


async def test_no_action_by_name_asks_anybody_to_end_anything(
    server: ThrowawayServer, tmp_path: Path, asked: list[str]
) -> None:
    async with (
        sessions(server, 2, application_name="web") as some,
        dashboard(server, tmp_path / "a", read_only=True) as driven,
    ):
        await driven.select(some[0].get_server_pid())
        for action in ACTING:
            assert not await driven.app.run_action(f"screen.{action}")
            assert driven.app.screen is driven.dashboard
        assert asked == []


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_keys_say_nothing_of_what_acts(
    server: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with (
        session(server, application_name="web") as one,
        dashboard(server, tmp_path / "a", size=size, read_only=True) as driven,
    ):
        await driven.select(one.get_server_pid())
        for table in ("Space tag", "Enter its sessions"):
            await driven.shows("read-only", table)
            for word in ("terminate", "cancel", "sweep", "auto", "break"):
                assert word not in driven.text
            await driven.press("tab")
        await driven.press("f1")
        await driven.shows("read-only: nothing can be terminated or cancelled")
        for word in (
            "terminate the",
            "sweep",
            "automatic",
            "cancel their",
            " K ",
            " C ",
            " S ",
            " A ",
            " B ",
        ):
            assert word not in driven.text


@pytest.mark.parametrize("act", ["terminate", "cancel", "sweep"])
async def test_the_reaper_refuses_a_yes_that_gets_through(
    server_factory: ServerFactory, tmp_path: Path, act: str
) -> None:
    """The last guard, should another way to a plan be opened one day."""
    server = server_factory()
    async with (
        victims(server) as some,
        dashboard(server, tmp_path / "a", read_only=True) as driven,
    ):
        pid = await fetch_value(server, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'")
        await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 3)
        await driven.select(int(str(pid)) if act == "cancel" else some.idle[0].get_server_pid())
        getattr(driven.dashboard, f"action_{act}")()
        dialog = await driven.dialog()
        assert dialog.plan.victims
        await driven.press("y")
        await driven.shows("read_only is set")
        await some.are_untouched()
    assert not (tmp_path / "a").exists()


async def test_the_reaper_runs_nothing(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory()
    async with victims(server) as some, face_on(server, tmp_path / "a") as face:
        plan = await face.plan_for(some.idle[0])
        assert plan.victims
        face.reaper.read_only = True
        with pytest.raises(ReadOnlyError):
            await face.run(plan)
        await some.are_untouched()
    assert not (tmp_path / "a").exists()


async def test_the_commands_tell_their_reapers(server: ThrowawayServer, tmp_path: Path) -> None:
    """Also where what refuses them sooner were gone; the daemon from the moment it reads it."""
    config = Config(audit_log=tmp_path / "a", read_only=True, idle_after_seconds=1.0)
    target = target_of(server)
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        await wait_until(lambda: is_stale(server))
        with pytest.raises(ReadOnlyError):
            await reap(target, config, dry_run=False, always=True)
        assert await one.fetchval("SELECT 1") == 1
    nothing = Prepared(None, None, None)  # type: ignore[arg-type]
    with pytest.raises(ReadOnlyError):
        await carry_out(nothing, config, decided_by=DecidedBy.PERSON)
    allowed = msgspec.structs.replace(config, read_only=False)
    daemon = Daemon(target, allowed, DaemonLog(io.StringIO()), read_config=lambda: (config, target))
    assert not daemon.reaper.read_only
    daemon.reload()
    assert daemon.reaper.read_only


@pytest.mark.parametrize("read_only", [True, False])
async def test_the_program_tells_its_reapers(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    """The one with a connection, and the one on the server's own host."""

    host_watches: list[HostWatch] = []

    class Screen:
        def __init__(self, *, wiring: Wiring, host_watch: HostWatch, **_: object) -> None:
            assert wiring.reaper.read_only is read_only
            host_watches.append(host_watch)
            raise LookupError

    monkeypatch.setattr(dashboard_module, "DashboardScreen", Screen)
    with pytest.raises(LookupError):
        await opening.run_dashboard(
            target_of(server), Config(audit_log=tmp_path / "a", history=None, read_only=read_only)
        )
    if sys.platform == "linux":  # break-glass reads Linux's /proc
        (host_watch,) = host_watches
        host_watch.want(True)
        looking = asyncio.ensure_future(host_watch.run(lambda: None))
        on_host = await wait_until(lambda: host_watch.reaper)
        looking.cancel()
        assert on_host.read_only is read_only


async def test_the_session_itself_is_read_only(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "a", read_only=True) as driven:
        own_connection = driven.own_connection
        for setting in ("default_transaction_read_only", "transaction_read_only"):
            row = await own_connection.fetchrow("SELECT current_setting($1)", setting)
            assert row is not None
            assert row[0] == "on"


async def test_without_it_they_are_there(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server), dashboard(server, tmp_path / "a") as driven:
        await driven.shows("K terminate", "S sweep")
        assert "read-only" not in driven.text
        names = {command.title for command in driven.app.get_system_commands(driven.dashboard)}
        assert {"Sweep the stale sessions of the list", "Toggle automatic sweeps"} <= names


async def test_the_palette_and_the_help_know_no_key_that_acts(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server), dashboard(server, tmp_path / "a", read_only=True) as driven:
        names = " ".join(command.title for command in driven.app.get_system_commands(driven.dashboard))
        assert "Pause" in names
        for word in ("Terminate", "Cancel", "Sweep", "Automatic"):
            assert word not in names
        await driven.press("f1")
        await driven.shows("read-only: nothing can be terminated or cancelled")
        assert "terminate the" not in driven.text
