"""No kill from data older than an outage: a plan, a question or a choice made before it counts no more."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.plan import ReapPolicy
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import PgtopError
from pgtop.postgres.session.session_settings import SETTINGS
from pgtop.postgres.terminate import SqlTerminator
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from tests.conftest import ServerFactory
from tests.servers import execute, fetch_value, session, sessions, wait_until
from tests.support.dashboards import Driven
from tests.support.filling import TWENTY_SLOTS
from tests.support.outages import dashboard_on, is_back, is_live, unfolded
from tests.support.reaping import face_on, found
from tests.support.relay import Relay, relay
from tests.support.targets import target_of

Outage = Callable[[Driven, ThrowawayServer], Awaitable[None]]


async def connection_is_ended(driven: Driven, server: ThrowawayServer) -> None:
    """An outage so short that no poll failed: the next one connected again."""
    own_connection = driven.own_connection
    before = own_connection.own_pid
    await fetch_value(server, "SELECT pg_terminate_backend($1)", before)
    await wait_until(lambda: own_connection.is_held and own_connection.own_pid != before, 30)


async def polls_fail(driven: Driven, server: ThrowawayServer) -> None:
    """An outage in which the connection is kept: the server ends the poll, which takes too long."""
    async with session(server) as locking, locking.transaction():
        await locking.execute("LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
        await wait_until(lambda: driven.dashboard.state.outage is not None, 30)
    await wait_until(lambda: driven.dashboard.state.outage is None, 30)


@asynccontextmanager
async def victim(server: ThrowawayServer, key: str) -> AsyncIterator[asyncpg.Connection]:
    """Whom a key means: an idle session, or for C one that runs a statement."""
    async with session(server, application_name="victim") as one:
        if key != "C":
            await one.fetchval("SELECT 1")
            yield one
            return
        running = asyncio.ensure_future(one.fetchval("SELECT 'done' FROM pg_sleep(60)"))
        try:
            yield one
        finally:
            await fetch_value(server, "SELECT pg_cancel_backend($1)", one.get_server_pid())
            with pytest.raises(asyncpg.QueryCanceledError):
                await running


async def is_untouched(server: ThrowawayServer, driven: Driven, one: asyncpg.Connection, key: str) -> None:
    """The session lives, its statement runs on, and the audit log tells of nothing."""
    query = "SELECT state FROM pg_stat_activity WHERE pid = $1"
    state = await fetch_value(server, query, one.get_server_pid())
    assert state == ("active" if key == "C" else "idle")
    assert not driven.audit.exists()


@pytest.mark.parametrize("outage", [connection_is_ended, polls_fail])
@pytest.mark.parametrize("key", ["K", "C", "S"])
async def test_a_plan_that_is_open_over_an_outage_takes_no_yes_any_more(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, outage: Outage
) -> None:
    """And says why; the key makes a new one afterwards, which does."""
    monkeypatch.setitem(SETTINGS, "statement_timeout", "300ms")
    async with victim(server, key) as one, dashboard_on(target_of(server), tmp_path) as driven:
        await driven.select(one.get_server_pid())
        await asyncio.sleep(0.6 if key == "S" else 0)  # it has to be stale
        await driven.press(key)
        dialog = await driven.dialog()
        assert one.get_server_pid() in {each.backend.pid for each in dialog.plan.victims}
        await outage(driven, server)
        await wait_until(lambda: "the connection was lost after planning" in unfolded(driven))
        assert not dialog.query_one("#confirm").display
        assert await driven.dialog() is dialog  # armed again, and a yes would count
        await driven.press("y", "e", "i")
        assert driven.app.screen is dialog
        assert dialog.is_armed
        await driven.press("escape")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        await is_untouched(server, driven, one, key)
        await is_live(driven)
        await driven.select(one.get_server_pid())
        await driven.press(key)
        await driven.dialog()
        await driven.press("n")


@pytest.mark.parametrize("key", ["K", "C", "S"])
async def test_no_plan_is_made_from_data_older_than_an_outage(
    server_factory: ServerFactory, tmp_path: Path, key: str
) -> None:
    """Neither while it goes on, nor after it from a picture that is paused."""
    server = server_factory()
    async with dashboard_on(target_of(server), tmp_path) as driven:
        async with session(server, application_name="victim") as one:
            await driven.select(one.get_server_pid())
            await driven.press("p")
            server.stop()
            await driven.shows("✗ ", " old")
            await refuses(driven, key)
        server.start()
        await wait_until(lambda: driven.dashboard.state.outage is None, 30)
        await refuses(driven, key)
        assert not driven.audit.exists()
        await driven.press("p")
        await is_live(driven)


async def refuses(driven: Driven, key: str) -> None:
    await driven.press(key)
    await driven.shows("the data is from before an outage")
    assert driven.app.screen is driven.dashboard
    await driven.press("escape")
    await wait_until(lambda: "the data is from before" not in driven.text)


async def test_the_reaper_itself_refuses_a_plan_older_than_an_outage(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Also where nobody noticed, and the session is exactly what it was."""
    async with face_on(server, tmp_path / "a") as face, session(server, application_name="victim") as one:
        await one.fetchval("SELECT 1")
        plan = await wait_until(lambda: planned(face, one))
        face.own_connection.drop()
        await face.own_connection.take()
        with pytest.raises(PgtopError, match="lost after planning"):
            await face.run(plan)
        assert not face.audit.exists()
        with pytest.raises(PgtopError, match="lost after planning"):
            await SqlTerminator(face.own_connection).termination(plan)
        snapshot = await face.snapshot()
        again = await face.reaper.plan_terminate(snapshot, ReapPolicy(), [found(snapshot, one).id])
        await face.run(again)
        await wait_until(lambda: one.is_closed())


async def planned(face, one: asyncpg.Connection):  # type: ignore[no-untyped-def]
    plan = await face.plan_for(one)
    return plan if plan.victims and plan.victims[0].backend.state == "idle" else None


async def test_a_right_that_is_taken_away_under_the_dialog_is_denied(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    role = f"operator_{os.urandom(4).hex()}"
    await execute(
        server,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT pg_monitor, pg_signal_backend TO {role}",
        f"CREATE ROLE {role}_app LOGIN",
    )
    async with (
        session(server, user=f"{role}_app") as one,
        dashboard_on(target_of(server, user=role), tmp_path) as driven,
    ):
        await driven.select(one.get_server_pid())
        await driven.press("K")
        await driven.dialog()
        await execute(server, f"REVOKE pg_signal_backend FROM {role}")
        await driven.press("y")
        await driven.shows("terminated 0 of 1 session: 1 denied")
        assert await one.fetchval("SELECT 1") == 1


# Automatic reaping


async def turned_on(driven: Driven) -> None:
    await driven.press("A")
    await question(driven)
    await driven.press("y")
    await driven.shows("AUTO on")


async def question(driven: Driven) -> None:
    def armed() -> bool:
        screen = driven.app.screen
        return isinstance(screen, AutomaticDialog) and screen.is_armed

    await wait_until(armed, 15)


@asynccontextmanager
async def two_servers(server_factory: ServerFactory) -> AsyncIterator[tuple[Relay, ThrowawayServer]]:
    """A way that leads to an empty server, and another server with a dozen idle sessions."""
    first, other = server_factory(TWENTY_SLOTS), server_factory(TWENTY_SLOTS)
    async with relay(first) as way:
        yield way, other


async def test_automatic_reaping_ends_with_the_cluster_it_was_asked_for(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Also the question about it: nobody said yes to what answers now."""
    async with two_servers(server_factory) as (way, other), sessions(other, 18) as theirs:
        settings = {"warn_at": 0.5, "emergency_idle_after_seconds": 0.1, "every_seconds": 0.1}
        async with dashboard_on(way.target(), tmp_path, **settings) as driven:
            await turned_on(driven)
            way.switch(other)
            await wait_until(lambda: "automatic sweeps are off" in str(driven.dashboard.notices.current), 30)
            await is_back(driven, other)
            assert not driven.dashboard.automatic.is_on
            assert [await each.fetchval("SELECT 1") for each in theirs] == [1] * 18
            assert not driven.audit.exists()


async def test_the_question_about_automatic_reaping_goes_with_its_server(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    async with (
        two_servers(server_factory) as (way, other),
        dashboard_on(way.target(), tmp_path) as driven,
    ):
        await is_live(driven)
        await driven.press("A")
        await question(driven)
        way.switch(other)
        await wait_until(lambda: driven.app.screen is driven.dashboard, 30)
        await driven.press("y")
        await is_back(driven, other)
        assert not driven.dashboard.automatic.is_on


async def test_automatic_reaping_is_not_turned_on_where_nobody_can_be_asked(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A yes in the middle of an outage; and none of the old data is acted on when it is over."""
    server = server_factory(TWENTY_SLOTS)
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        await driven.press("A")
        await question(driven)
        server.stop()
        await wait_until(lambda: driven.dashboard.state.outage is not None, 30)
        await driven.press("y")
        await driven.shows("was lost")
        assert not driven.dashboard.automatic.is_on
        server.start()
        await is_back(driven, server)
        assert not driven.dashboard.automatic.is_on
