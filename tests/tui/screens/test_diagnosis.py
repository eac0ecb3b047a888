"""The diagnosis in the dashboard: the line below the head, the screen of `d`, and its key that acts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from textual import events

from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.plan import Act
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard

SMALL = {"max_connections": "43"}
"""40 slots, so that five sessions are enough for a finding."""


@asynccontextmanager
async def lock_queue(server: ThrowawayServer) -> AsyncIterator[tuple[int, int, list[asyncio.Future[str]]]]:
    """The root's pid, the head's pid, and the waiting statements: the head's first, six readers behind it."""
    await execute(server, "CREATE TABLE IF NOT EXISTS orders (id int)")
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(session(server, application_name="pg_dump"))
        await root.execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE")
        head = await stack.enter_async_context(session(server, application_name="deploy"))
        crowd = await stack.enter_async_context(sessions(server, 6, application_name="web"))
        queued = [asyncio.ensure_future(head.execute("ALTER TABLE orders ADD x int"))]
        await waiting(server, 1)
        queued += [asyncio.ensure_future(each.execute("SELECT * FROM orders")) for each in crowd]
        await waiting(server, 7)
        try:
            yield root.get_server_pid(), head.get_server_pid(), queued
        finally:
            await root.execute("ROLLBACK")
            await asyncio.gather(*queued, return_exceptions=True)


async def waiting(server: ThrowawayServer, number: int) -> None:
    """Wait until that many sessions wait for a lock."""
    async with session(server, application_name="looking") as looking:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

        async def enough() -> bool:
            return bool(await looking.fetchval(asked) >= number)

        await wait_until(enough, 20)


async def opened(driven: Driven) -> DiagnosisScreen:
    """Open the diagnosis, and wait for it."""
    await driven.press("d")
    await wait_until(lambda: isinstance(driven.app.screen, DiagnosisScreen), 15)
    screen = driven.app.screen
    assert isinstance(screen, DiagnosisScreen)
    return screen


async def test_a_lock_queue_is_ended_by_its_head_alone(server_factory: ServerFactory, tmp_path: Path) -> None:
    """`d` explains it, and `K` there cancels the head: the others go on, the root lives."""
    server = server_factory(SMALL)
    async with lock_queue(server) as (root, head, queued), dashboard(server, tmp_path / "audit") as driven:
        await driven.shows(f"▲ lock queue: 6 wait behind pid {head}", "d, then K: cancel it")
        await opened(driven)
        await driven.shows("certain: the server says so", "SET lock_timeout", f"K cancel the query of {head}")
        await driven.press("K")
        dialog = await driven.dialog()
        assert dialog.plan.act is Act.CANCEL
        assert [each.backend.pid for each in dialog.plan.victims] == [head]
        await driven.shows("Cancel 1 query (diagnosis: lock queue); its session stays connected")
        await driven.shows("The 6 behind it go on", f"pid {root}")
        await driven.press("y")
        results = await asyncio.gather(*queued, return_exceptions=True)
        assert isinstance(results[0], asyncpg.QueryCanceledError)
        assert not any(isinstance(each, Exception) for each in results[1:])
        await wait_until(lambda: not driven.dashboard.state.shown_findings, 15)


@pytest.mark.parametrize("keys", [("d", "K"), ("d", "d", "K"), ("d", "tab", "d", "f9")])
async def test_d_and_then_k_always_means_the_diagnosis(
    server_factory: ServerFactory, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """Typed in one go, also where it is open already: never the session that is selected in the list."""
    server = server_factory(SMALL)
    async with lock_queue(server) as (root, head, _), dashboard(server, tmp_path / "audit") as driven:
        await driven.shows(f"▲ lock queue: 6 wait behind pid {head}")
        await driven.select(root)
        for key in keys:
            driven.app.post_message(events.Key(key, key))
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == [head]
        await driven.press("escape")


async def test_a_leak_is_terminated_session_by_session(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Its sessions and no others, and the verdict comes back while it goes on."""
    server = server_factory(SMALL)
    faster = Thresholds(compression=60.0)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sessions(server, 6, application_name="web"))
        driven = await stack.enter_async_context(
            dashboard(server, tmp_path / "audit", thresholds=faster, idle_after_seconds=300.0)
        )

        async def leak() -> None:
            while True:
                with contextlib.suppress(asyncpg.TooManyConnectionsError):
                    lost = await stack.enter_async_context(session(server, application_name="worker"))
                    await lost.execute("SELECT 'job'")
                await asyncio.sleep(0.2)  # its pace: sessions are told apart by their ages

        leaking = asyncio.ensure_future(leak())
        try:
            await driven.shows("▲ leak in worker since")
            await wait_until(lambda: len(driven.dashboard.state.shown_findings[0].backends) >= 20, 30)
            await opened(driven)
            await driven.press("K")
            dialog = await driven.dialog()
            assert {each.backend.application_name for each in dialog.plan.victims} == {"worker"}
            assert len(dialog.plan.victims) >= 20
            assert {each.reason for each in dialog.plan.victims} == {"diagnosis: leak"}
            await driven.press("y")
            await driven.shows("terminated")
            await driven.shows("pgtop terminated", "before")
        finally:
            leaking.cancel()
            await asyncio.gather(leaking, return_exceptions=True)


async def test_sessions_of_a_surge_are_not_terminated_here(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """They do work, and come back: `K` says so and opens nothing."""
    server = server_factory(SMALL)
    async with (
        sessions(server, 30, application_name="web") as crowd,
        dashboard(server, tmp_path / "audit") as driven,
    ):
        await asyncio.gather(*(each.execute("SELECT 1") for each in crowd))
        await driven.shows("▲ surge of web: 30 new sessions after the server's start")
        screen = await opened(driven)
        await driven.shows("Put a pooler in between")
        assert "K terminate 30 sessions" not in driven.text
        await driven.press("K")
        await driven.shows("Terminating sessions won't hold: they are used")
        assert driven.app.screen is screen


async def test_a_diagnosis_follows_the_server(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    async with dashboard(server, tmp_path / "audit") as driven:
        await opened(driven)
        await driven.shows("Nothing fills this server")
        async with lock_queue(server) as (_, head, _):
            await driven.shows(f"lock queue: 6 wait behind pid {head}")
        await driven.shows("Nothing fills this server")
        await driven.press("escape")
        await wait_until(lambda: driven.app.screen is driven.dashboard, 15)


async def test_read_only_shows_it_and_does_not_act(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    async with lock_queue(server), dashboard(server, tmp_path / "audit", read_only=True) as driven:
        await driven.shows("▲ lock queue")
        screen = await opened(driven)
        await driven.shows("copy SQL")
        assert "cancel the query" not in driven.text
        await driven.press("K")
        assert driven.app.screen is screen


async def test_c_copies_one_statement_at_a_time(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    async with lock_queue(server) as (root, head, _), dashboard(server, tmp_path / "audit") as driven:
        await driven.shows("▲ lock queue")
        await opened(driven)
        await driven.press("c")
        assert driven.app.clipboard == f"SELECT pg_cancel_backend({head});"
        await driven.press("c")
        assert driven.app.clipboard == f"SELECT pg_terminate_backend({root});", "never both together"


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (120, 40), (60, 12)])
async def test_no_line_moves_when_a_finding_comes(
    server_factory: ServerFactory, tmp_path: Path, size: tuple[int, int]
) -> None:
    server = server_factory(SMALL)
    async with dashboard(server, tmp_path / "audit", size=size) as driven:
        head = driven.dashboard.query_one("#head")
        await wait_until(lambda: head.region.height > 0, 15)
        before = head.region
        async with lock_queue(server):
            await wait_until(lambda: driven.dashboard.state.shown_findings, 15)
            await driven.pilot.pause()
            assert head.region == before


async def test_a_paused_display_keeps_its_findings(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    async with dashboard(server, tmp_path / "audit") as driven:
        async with lock_queue(server):
            await driven.shows("▲ lock queue")
            await driven.press("p")
            (shown,) = driven.dashboard.state.shown_findings
        state = driven.dashboard.state
        await wait_until(lambda: not state.findings, 15)
        assert state.shown_findings == (shown,)
        await driven.press("p")
        await wait_until(lambda: not state.shown_findings, 15)


async def test_the_wall_says_it_too(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    for size in ((80, 24), (120, 40), (40, 7)):
        async with (
            lock_queue(server) as (_, head, _),
            dashboard(server, tmp_path / "audit", wall=True, size=size) as driven,
        ):
            await driven.shows("lock queue: 6" if size[0] == 40 else f"lock queue: 6 wait behind pid {head}")


@pytest.mark.skipif("sys.platform != 'linux'", reason="its loopback has one address")
async def test_a_sweep_says_that_pools_refill(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Two hosts with pools that are too large together: the dialog says it before anything is done."""
    server = server_factory(SMALL)
    async with (
        sessions(server, 17, application_name="web", from_address="127.0.0.2"),
        sessions(server, 17, application_name="web", from_address="127.0.0.3"),
        dashboard(server, tmp_path / "audit", idle_after_seconds=0.1) as driven,
    ):
        await driven.shows("pools of web too large together")
        await wait_until(lambda: count_stale(driven.shown) == 34)
        await driven.press("S")
        dialog = await driven.dialog()
        assert len(dialog.plan.victims) == 34
        await driven.shows("Terminating sessions won't hold: 2 pools refill at once")
        await driven.shows("87% → 2%", "All of these come back at once: expect 87%, not 2%")
        await driven.press("n")
        await driven.press("space", "K")
        dialog = await driven.dialog()
        await driven.shows("1 selected session", "It comes back at once: expect 87%, not 85%")
        await driven.press("n")


async def test_an_act_that_a_pool_undoes_is_told_and_not_promised_again(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Sessions that are opened again at once are told below the head, and in the next dialog."""
    server = server_factory(SMALL)
    async with dashboard(server, tmp_path / "audit") as driven:
        async with sessions(server, 34, application_name="pool"):
            await driven.shows("most are of pool, the reason is not clear yet")
            await driven.press("asterisk", "K")
            await driven.dialog()
            assert "come back at once" not in driven.text
            await driven.press("y")
            await driven.shows("terminated 34 sessions")
        async with sessions(server, 34, application_name="pool"):
            await driven.shows("· pool reopened 34 of 34 terminated at ")
            await driven.press("asterisk", "K")
            await driven.dialog()
            await driven.shows("All of these come back at once: expect 8")
