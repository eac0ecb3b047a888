"""The dashboard on a full server: it opens, says what refuses it, and gets in when there is room."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pgtop import login_watch
from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit
from pgtop.demo.server import ThrowawayServer
from pgtop.login_watch import LoginWatch
from pgtop.poller import Poller
from pgtop.postgres import snapshot_probe as probe
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session import login_probe
from pgtop.postgres.session.login_probe import LoginProbe
from pgtop.postgres.session.own_connection import OwnConnection
from tests.conftest import ServerFactory
from tests.servers import Role, create_role, execute, fetch_value, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard, waiting_dashboard
from tests.support.filling import (
    THREE_SLOTS,
    connect_silently,
    full,
    leave,
    silent_clients,
    stalled_in_authentication,
)
from tests.support.targets import rescued, target_of


@pytest.fixture(params=[15, 18], ids=["pg15", "pg18"])
async def tiny(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server with three ordinary slots, and the roles `app` and `watcher`."""
    server = server_factory(THREE_SLOTS, version=request.param)
    await execute(
        server,
        "CREATE ROLE app LOGIN",
        "CREATE ROLE watcher LOGIN",
        "GRANT pg_monitor, pg_signal_backend TO watcher",
    )
    return server


def watcher(server: ThrowawayServer, **flags: str) -> Target:
    return target_of(server, user="watcher", **flags)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)])
async def test_it_opens_says_what_refuses_it_and_gets_in_when_there_is_room(
    tiny: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with full(tiny) as taken, waiting_dashboard(watcher(tiny), tmp_path / "a", size=size) as driven:
        await driven.shows("FULL: no slot is left", "tries refused in", "still trying")
        await driven.shows("reserved"[: size[0]], "F1 help", "q quit")
        assert "K terminate" not in driven.text
        tries = driven.dashboard.state.outage
        assert tries is not None
        await wait_until(lambda: counted(driven) > tries.tries + 2, complaint="it does not go on")
        await leave(taken, 1)
        await wait_until(lambda: driven.shown is not None, 15, "it did not get in")
        await wait_until(lambda: "no slot is left" not in driven.text, 15, "it still says so")
        await driven.shows("of 3 slots")
        await wait_until(lambda: driven.backends.has_focus, 15, "the list has no focus")
        await driven.select(taken[0].get_server_pid())
        await driven.press("K")
        assert len((await driven.dialog()).plan.victims) == 1


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_it_says_why_the_rescue_role_does_not_get_in(
    tiny: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    """It was not refused for lack of a slot, as the ordinary one was."""
    target = rescued(tiny, rescue="user=nobody")
    async with full(tiny), waiting_dashboard(target, tmp_path / "a", size=size) as driven:
        await driven.shows("no slot is left", "the rescue role can't connect", "nobody")
        assert "both roles" not in driven.text


async def test_two_knocks_are_never_made_at_once(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is due, and one that looks whether logins are still refused."""
    begun, ended = 0, 0

    async def slow(_: OwnConnection) -> LoginProbe:
        nonlocal begun, ended
        assert begun == ended
        begun += 1
        await asyncio.sleep(0)
        ended += 1
        return LoginProbe(None)

    monkeypatch.setattr(login_watch, "probe_login", slow)
    watch = LoginWatch(Poller(probe.Probe(OwnConnection(target_of(server), "test")), 1.0), 30.0)
    await asyncio.gather(watch.knock(), watch.knock())
    assert ended == 2


def counted(driven: Driven) -> int:
    outage = driven.dashboard.state.outage
    return outage.tries if outage is not None else 0


async def test_keys_do_nothing_before_there_is_anything_to_see(tiny: ThrowawayServer, tmp_path: Path) -> None:
    async with full(tiny), waiting_dashboard(watcher(tiny), tmp_path / "a") as driven:
        await driven.shows("no slot is left")
        await driven.press(*"KCSAUsrgpbocj/+-[]", "space", "enter", "tab", "escape")
        await driven.shows("no slot is left", "q quit")
        assert driven.app.screen is driven.dashboard
        await driven.press("f1")
        await driven.shows("automatic sweeps")
        await driven.press("escape", "q")
        assert driven.app.return_code == 0


@pytest.mark.parametrize(
    ("statement", "role", "said"),
    [
        (
            "CREATE ROLE limited LOGIN CONNECTION LIMIT 0",
            "limited",
            "REFUSED by the role's own CONNECTION LIMIT",
        ),
        (
            "ALTER DATABASE postgres CONNECTION LIMIT 0",
            "watcher",
            "REFUSED by the database's own CONNECTION LIMIT",
        ),
    ],
)
async def test_a_limit_of_ones_own_is_told_apart_from_a_full_server(
    tiny: ThrowawayServer, tmp_path: Path, statement: str, role: str, said: str
) -> None:
    await execute(tiny, statement)
    async with waiting_dashboard(target_of(tiny, user=role), tmp_path / "a") as driven:
        await driven.shows(said, "still trying", "CONNECTION LIMIT raises it")
        assert "break" not in driven.text
        raised = "ALTER ROLE limited CONNECTION LIMIT 5" if role == "limited" else statement[:-1] + "-1"
        await execute(tiny, raised)
        await wait_until(lambda: driven.shown is not None, 15, "it did not get in")


async def test_a_connection_lost_on_a_full_server_keeps_the_data_on_screen(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    async with full(tiny, 2) as taken, dashboard(tiny, tmp_path / "a", user="watcher") as driven:
        await driven.shows("of 3 slots")
        own = driven.own_connection.own_pid
        await execute(tiny, "ALTER ROLE watcher CONNECTION LIMIT 0", f"SELECT pg_terminate_backend({own})")
        await driven.shows("CONNECTION LIMIT is reached", "still trying", "old")
        assert len(driven.listed) >= len(taken)
        await execute(tiny, "ALTER ROLE watcher CONNECTION LIMIT -1")
        await driven.shows("live")


async def test_the_head_and_the_audit_log_name_the_rescue_role(
    tiny: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "GIVE_BACK_SECONDS", 0.05)
    async with full(tiny) as taken, waiting_dashboard(rescued(tiny), tmp_path / "a") as driven:
        await driven.shows("rescue: postgres", "4 of 3 slots")
        await driven.select(taken[0].get_server_pid())
        await driven.press("K")
        await driven.dialog()
        await leave(taken[1:])
        # Not given back while a plan is open: what was planned as the one is not done as the other.
        polls = [await polled(driven) for _ in range(3)]
        assert all(each.is_rescue for each in polls)
        await driven.press("y")
        await driven.shows("terminated 1 session")
        await wait_until(lambda: not shown(driven).is_rescue, 15, "the connection is not given back")
        assert "rescue: postgres" not in driven.text
        assert [(line["role"], line["rescue"]) for line in driven.audited()] == [("postgres", True)] * 2


def shown(driven: Driven) -> Snapshot:
    snapshot = driven.shown
    assert snapshot is not None
    return snapshot


async def polled(driven: Driven) -> Snapshot:
    """The next snapshot."""
    before = shown(driven)
    await wait_until(lambda: driven.shown is not before, 15, "no poll")
    return shown(driven)


# Slots that no list shows


@asynccontextmanager
async def with_stalled(server: ThrowawayServer, app: Role, idle: int, stalled: int) -> AsyncIterator[None]:
    options = {"user": app.name, "password": app.password, "application_name": "leak"}
    async with sessions(server, idle, **options):
        with stalled_in_authentication(server.port, app, stalled):
            yield


@pytest.mark.parametrize("version", [15, 17])
async def test_the_head_counts_the_slots_of_connecting_clients(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """Up to 17 no view shows them: a login of the dashboard's own finds out, and when it is over."""
    settings = {"max_connections": "12", "superuser_reserved_connections": "2"}
    server = server_factory(settings, version=version, auth="scram-sha-256")
    operator, app = await create_role(server, "operator"), await create_role(server)
    async with dashboard(
        server, tmp_path / "a", user=operator.name, password=operator.password, login_probe_seconds=1.0
    ) as driven:
        async with with_stalled(server, app, idle=3, stalled=6):
            await driven.shows("6 slots are held by clients still connecting", "10 of 10 slots · 100%")
            sample = driven.dashboard.state.history.latest
            assert sample is not None
            assert sample.total == sample.slots == 10
            refusing = await wait_until(lambda: driven.dashboard.refusing, 15, "no login is refused")
            assert refusing is Limit.ORDINARY or version >= 16
        await driven.shows("below the 80% line")
        await wait_until(lambda: driven.dashboard.refusing is None, 15, "still called refused")


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
@pytest.mark.parametrize("version", [15, 17])
async def test_every_figure_counts_what_the_host_shows(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """A superuser's dashboard, which is never refused: the head, both dialogs, the notice and the log."""
    settings = {"max_connections": "15", "superuser_reserved_connections": "5"}
    server = server_factory(settings, version=version, auth="scram-sha-256")
    app = await create_role(server)
    async with (
        dashboard(server, tmp_path / "a", login_probe_seconds=0.0) as driven,
        with_stalled(server, app, idle=3, stalled=7),
    ):
        head = ("11 of 10 slots · 110%", "7 slots are held by clients still connecting")
        await driven.shows("FULL", *head, "still connecting: 7")
        await wait_until(lambda: count_stale(driven.shown) == 3, 15)
        await driven.press("S")
        await driven.dialog()
        await driven.shows("Terminate 3 sessions idle for more than 1s: 110% → 80%")
        await driven.press("n")
        victim = next(each for each in shown(driven).backends if each.application_name == "leak")
        await driven.select(victim.pid)
        await driven.press("K")
        await driven.dialog()
        await driven.shows("Terminate 1 selected session: 110% → 100%")
        await driven.press("y")
        await driven.shows("terminated 1 session · 110% → 100%, still full", "10 of 10 slots · 100%")
        outcome = next(line for line in driven.audited() if line["event"] == "outcome")
        assert (outcome["usage_before"], outcome["usage_after"]) == (1.1, 1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
async def test_a_refusal_gives_no_lower_figure_than_the_host(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """It tells of 16 slots of 16, while 18 are taken: a plan made at once has the figures of the head."""
    settings = {"max_connections": "20", "superuser_reserved_connections": "4"}
    server = server_factory(settings, version=15, auth="scram-sha-256")
    operator, app = await create_role(server, "operator"), await create_role(server)
    async with (
        dashboard(
            server, tmp_path / "a", user=operator.name, password=operator.password, login_probe_seconds=1.0
        ) as driven,
        with_stalled(server, app, idle=4, stalled=13),
    ):
        await wait_until(lambda: driven.dashboard.refusing and count_stale(driven.shown) == 4, 15)
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.shows("18 of 16 slots · 112%", "Terminate 4 sessions idle for more than 1s: 112% → 87%")
        assert dialog.plan.total == shown(driven).taken == 18


async def test_from_18_on_they_are_counted_as_starting(server_factory: ServerFactory, tmp_path: Path) -> None:
    settings = {"max_connections": "12", "superuser_reserved_connections": "2"}
    server = server_factory(settings, version=18, auth="scram-sha-256")
    operator, app = await create_role(server, "operator"), await create_role(server)
    async with (
        dashboard(server, tmp_path / "a", user=operator.name, password=operator.password) as driven,
        with_stalled(server, app, idle=2, stalled=3),
    ):
        await driven.shows("starting 3", "6 of 10 slots")


@pytest.mark.parametrize("version", [15, 18])
async def test_clients_that_say_nothing_are_named_for_what_they_are(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """They hold no slot: what they use up is what the postmaster lets try at once. Their host lists them."""
    server = server_factory(THREE_SLOTS, version=version)
    async with dashboard(server, tmp_path / "a", login_probe_seconds=1.0) as driven:
        dashboard_of = driven.dashboard
        with silent_clients() as silent:

            def refused() -> bool:
                if dashboard_of.refusing is None and len(silent) < 200:
                    silent.append(connect_silently(server.port))
                return dashboard_of.refusing is Limit.CLIENTS

            await wait_until(refused, 30, "logins are not refused")
            await driven.shows("too many clients are still connecting")
            if sys.platform == "linux":
                await driven.shows("still connecting: ", "silent")
        await wait_until(lambda: dashboard_of.refusing is None, 15, "still called refused")
        await driven.shows("below the 80% line")


async def test_the_login_probe_is_one_at_a_time_and_can_be_left_out(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    log_in = login_probe.log_in

    async def counted_log_in(*arguments: Any, **rest: Any) -> Any:
        begun.append(asyncio.get_running_loop().time())
        return await log_in(*arguments, **rest)

    monkeypatch.setattr(login_probe, "log_in", counted_log_in)
    async with dashboard(server, tmp_path / "a", login_probe_seconds=0) as driven:
        for _ in range(5):
            await polled(driven)
        assert not begun
    async with dashboard(server, tmp_path / "a", login_probe_seconds=1.0):
        await wait_until(lambda: len(begun) == 2, 15, "it does not knock")
        name = "pgtop dashboard@%"
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1"
        await wait_until(lambda: is_one(server, query, name), 15, "a knock stayed")


async def is_one(server: ThrowawayServer, query: str, name: str) -> bool:
    return await fetch_value(server, query, name) == 1


async def test_the_probe_is_quiet_where_the_roles_own_limit_refuses(
    tiny: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second session is one too many for the role: that says nothing of the server."""
    await execute(tiny, "ALTER ROLE watcher CONNECTION LIMIT 1")
    async with (
        session(tiny, user="app"),
        dashboard(tiny, tmp_path / "a", user="watcher", login_probe_seconds=1.0) as driven,
    ):
        heard: list[LoginProbe] = []

        async def recorded(own_connection: OwnConnection) -> LoginProbe:
            heard.append(await login_probe.probe_login(own_connection))
            return heard[-1]

        monkeypatch.setattr(login_watch, "probe_login", recorded)
        await wait_until(lambda: heard, 15, "it does not knock")
        assert not heard[0].is_known
        assert driven.dashboard.refusing is None
        assert "FULL" not in driven.text
