"""`B` on the host of a full server: room without a login, and the connection that it freed."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.plan import ReapPolicy
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.postgres.conninfo.target import Endpoint, Target
from pgtop.postgres.host import sockets
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.state import host_watch as glass_module
from pgtop.tui.state.host_watch import HostWatch
from pgtop.wiring import wire
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, wait_until
from tests.support.dashboards import Driven, waiting_dashboard
from tests.support.filling import full, stalled_in_authentication
from tests.support.targets import target_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="break-glass reads Linux's /proc")

SETTINGS = {"max_connections": "8", "superuser_reserved_connections": "2"}


@pytest.fixture(params=[15, 17, 18], ids=["pg15", "pg17", "pg18"])
async def tiny(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server with six ordinary slots, and the roles `app` and `watcher`."""
    server = server_factory(SETTINGS, version=request.param)
    await execute(server, "CREATE ROLE app LOGIN", "CREATE ROLE watcher LOGIN", "GRANT pg_monitor TO watcher")
    return server


@asynccontextmanager
async def no_slot_left(server: ThrowawayServer) -> AsyncIterator[list[asyncpg.Connection]]:
    """Every slot taken, the superusers' too: one busy session, and idle ones of both kinds."""
    async with (
        session(server, user="app") as busy,
        full(server, 3) as over_tcp,
        full(server, 2, over_socket=True) as over_socket,
        full(server, 2, user="postgres") as superusers,
    ):
        running = asyncio.create_task(busy.fetchval("SELECT pg_sleep(600)"))
        yield [busy, *over_tcp, *over_socket, *superusers]
        assert not running.done()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("over_socket", [False, True], ids=["tcp", "socket"])
async def test_one_b_and_y_get_it_in_and_nothing_but_idle_sessions_is_ended(
    tiny: ThrowawayServer, tmp_path: Path, over_socket: bool
) -> None:
    flags = {"host": str(tiny.socket_dir)} if over_socket else {}
    async with no_slot_left(tiny) as taken:
        target = target_of(tiny, user="watcher", **flags)
        async with glass_dashboard(target, tmp_path / "a") as driven:
            await driven.shows("including the superusers'", "free slots")
            dialog = await broken(driven, 3)
            victims = {victim.backend.pid for victim in dialog.plan.victims}
            assert victims <= {each.get_server_pid() for each in taken[1:]}
            await driven.press("y")
            await driven.shows("live", "of 6 slots", f"terminated {len(victims)} sessions")
        ended = [line for line in driven.audited() if line["event"] == "outcome"]
        assert {line["pid"] for line in ended} == victims
        assert {line["outcome"] for line in ended} == {"terminated"}
        assert {(line["trigger"], line["role"], line["face"], line["decided_by"]) for line in ended} == {
            ("break-glass", None, "dashboard", "person")
        }
    log = tiny.log_path.read_text()
    assert "crash of another server process" not in log
    assert "terminated by signal" not in log


@asynccontextmanager
async def glass_dashboard(target: Target, audit: Path, **settings: object) -> AsyncIterator[Driven]:
    async with waiting_dashboard(target, audit, emergency_idle_after_seconds=1.0, **settings) as driven:
        yield driven


async def broken(driven: Driven, least: int) -> PlanDialog:
    """The dialog of `B`, once so many sessions have been seen to be idle for long enough."""
    host_watch = driven.dashboard.host_watch
    assert host_watch is not None

    def is_enough() -> bool:
        plan = host_watch.plan()
        return plan is not None and len(plan.victims) >= least and plan.usage_after < plan.warn_at

    await wait_until(is_enough, 20, "nobody is seen to be idle for long enough")
    await driven.press("B")
    return await driven.dialog()


async def test_a_session_that_turns_active_under_the_dialog_lives(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    async with (
        no_slot_left(tiny) as taken,
        glass_dashboard(target_of(tiny, user="watcher"), tmp_path / "a") as driven,
    ):
        dialog = await broken(driven, 3)
        victims = {victim.backend.pid for victim in dialog.plan.victims}
        awake = [each for each in taken if each.get_server_pid() in victims][:2]
        assert [await each.fetchval("SELECT 1") for each in awake] == [1, 1]
        await driven.press("y")
        await driven.shows("2 left alone (changed: ")
        await driven.press("O")
        await driven.shows("changed", "Esc close")
        assert [await each.fetchval("SELECT 1") for each in awake] == [1, 1]


async def test_esc_ends_nobody(tiny: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        no_slot_left(tiny) as taken,
        glass_dashboard(target_of(tiny, user="watcher"), tmp_path / "a") as driven,
    ):
        await broken(driven, 3)
        await driven.press("escape")
        await driven.shows("free slots", "still trying")
        assert not (tmp_path / "a").exists()
        assert [await each.fetchval("SELECT 1") for each in taken[1:]] == [1] * 7


async def test_read_only_offers_no_b(tiny: ThrowawayServer, tmp_path: Path) -> None:
    async with full(tiny, 6):
        target = target_of(tiny, user="watcher")
        async with glass_dashboard(target, tmp_path / "a", read_only=True) as driven:
            await driven.shows("no slot is left")
            await wait_until(
                lambda: driven.dashboard.host_watch and driven.dashboard.host_watch.view, 15, "no look"
            )
            await driven.press("B")
            await driven.shows("F1 help")
            assert "free slots" not in driven.text
            assert driven.app.screen is driven.dashboard


async def test_a_tunnel_on_this_host_is_not_the_servers_host(tiny: ThrowawayServer, tmp_path: Path) -> None:
    """Its other end may be anywhere: whoever would be ended here need not be of that server."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, tiny.port)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    async with full(tiny, 6), await asyncio.start_server(tunnel, HOST) as listening:
        port = listening.sockets[0].getsockname()[1]
        target = target_of(tiny, user="watcher", port=str(port))
        async with glass_dashboard(target, tmp_path / "a") as driven:
            await driven.shows("no slot is left", "on the server's own host: pgtop break-glass")
            host_watch = driven.dashboard.host_watch
            assert host_watch is not None
            seen = driven.dashboard.state
            await wait_until(lambda: seen.outage and seen.outage.seconds > 2, 15, "it does not go on")
            assert not host_watch.is_here
            await driven.press("B")
            assert driven.app.screen is driven.dashboard


async def test_the_clients_that_are_still_connecting_are_listed(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SETTINGS, version=15, auth="scram-sha-256")
    operator, app = await create_role(server, "operator"), await create_role(server)
    target = target_of(server, user=operator.name)
    with stalled_in_authentication(server.port, app, 8):
        async with glass_dashboard(target, tmp_path / "a") as driven:
            await driven.shows("still connecting: 8", "authentication", app.name, "including the superusers'")
            await driven.shows("8 clients are logging in", "--stalled-logins 10s")


def test_leaving_does_not_wait_for_a_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name server that is dead, or a host that is short of everything, may keep a look for long."""
    looking, over = threading.Event(), threading.Event()

    def endless(_: Endpoint) -> None:
        looking.set()
        over.wait(60)

    monkeypatch.setattr(glass_module, "server_at", endless)

    async def leave_while_looking() -> None:
        host_watch = glass_of(Target(("db",), (5432,), "app", "postgres"), tmp_path)
        host_watch.want(True)
        running = asyncio.create_task(host_watch.run(lambda: None))
        await wait_until(looking.is_set)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    leaving = threading.Thread(target=asyncio.run, args=(leave_while_looking(),), daemon=True)
    leaving.start()
    try:
        leaving.join(15)
        assert not leaving.is_alive()
    finally:
        over.set()


def glass_of(target: Target, folder: Path) -> HostWatch:
    return HostWatch(target, ReapPolicy(), wire(target, Config(audit_log=folder / "a"), "dashboard").reaper)


async def test_a_kernel_without_socket_facts_is_a_problem_that_is_told(
    server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked what it does not know of."""
    server = server_factory()
    host_watch = glass_of(target_of(server, host=str(server.socket_dir)), tmp_path)
    monkeypatch.setattr(sockets, "BY_FAMILY", 99)
    assert "does not list sockets" in await problem_of(host_watch)


async def test_any_fault_of_a_look_is_told_as_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody has thought of all that others may lay on a host: the dashboard goes on."""

    def surprised(_: Endpoint) -> None:
        raise TypeError("bytes\x1b[2J")

    monkeypatch.setattr(glass_module, "server_at", surprised)
    host_watch = glass_of(Target(("db",), (5432,), "app", "postgres"), tmp_path)
    assert await problem_of(host_watch) == "bytes·[2J"


async def problem_of(host_watch: HostWatch) -> str:
    host_watch.want(True)
    running = asyncio.create_task(host_watch.run(lambda: None))
    try:
        await wait_until(lambda: running.done() or host_watch.problem, complaint="no problem is told")
        assert not running.done()
        assert not host_watch.is_here
        return host_watch.problem
    finally:
        running.cancel()
