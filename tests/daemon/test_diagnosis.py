"""The daemon and the diagnosis: it says what fills the server, and acts on the causes asked for only."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.activity import Backend
from pgtop.core.diagnosis.findings import Kind
from pgtop.daemon.daemon import Daemon
from pgtop.daemon.log import DaemonLog
from pgtop.demo.server import ThrowawayServer
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.settings.defaults_and_bounds import Config
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.daemons import FAST, watching
from tests.support.leaking import QUICK, leaked
from tests.support.reap_command import alive, stale
from tests.support.targets import target_of


@asynccontextmanager
async def used_and_stale(server: ThrowawayServer, number: int) -> AsyncIterator[list[asyncpg.Connection]]:
    """New sessions of `web` that were in use a second ago: right after a server's start that is a surge."""
    async with sessions(server, number, application_name="web") as opened:
        for each in opened:
            await each.fetchval("SELECT 1")
        async with session(server, application_name="clock") as clock:
            rest = "SELECT min(clock_timestamp() - state_change) > '1.1s' FROM pg_stat_activity"
            await wait_until(lambda: clock.fetchval(f"{rest} WHERE application_name = 'web'"))
        yield opened


ONE_CAUSE = ("--only", "leak,silent_clients")


@pytest.mark.parametrize(("number", "usage"), [(16, "over the line"), (19, "no slot is left")])
async def test_its_hands_are_off_a_surge(
    small: ThrowawayServer, tmp_path: Path, number: int, usage: str
) -> None:
    """It says why, once, and nobody is terminated although all of them are stale."""
    async with used_and_stale(small, number) as opened:
        with watching(tmp_path, small.uri(), *FAST, *ONE_CAUSE) as daemon:
            await daemon.says("only of findings: leak, silent_clients", "surge of web: ")
            await daemon.says(f"{usage}, and what fills it is a surge: --only leak,silent_clients")
            async with session(small, application_name="pgtop"):
                polls = daemon.log.count("\n")
                await execute(small, *["SELECT pg_sleep(0.3)"] * 4)
                assert daemon.log.count("\n") == polls, "said once, not at each poll"
            assert all(await alive(opened))
            daemon.end()
        assert not daemon.audited()
        assert "sweep:" not in daemon.log


async def test_it_says_first_that_a_sweep_will_not_hold(small: ThrowawayServer, tmp_path: Path) -> None:
    async with used_and_stale(small, 16):
        with watching(tmp_path, small.uri(), *FAST) as daemon:
            await daemon.says("sweep: terminated 16 of 16")
            daemon.end()
    said = (
        "surge of web: ",
        "sweeping will not hold: a surge of web comes back at once",
        "sweep: terminated",
    )
    places = [daemon.log.index(words) for words in said]
    assert places == sorted(places)
    assert [daemon.log.count(words) for words in said] == [1, 1, 1]


async def test_a_finding_s_statements_are_logged_only_if_asked(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    await execute(small, "CREATE TABLE orders (id int)")
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(session(small))
        await root.execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE")
        crowd = await stack.enter_async_context(sessions(small, 7))
        queued = [asyncio.ensure_future(crowd[0].execute("ALTER TABLE orders ADD x int"))]
        await waits(small, 1)
        queued += [asyncio.ensure_future(each.execute("SELECT * FROM orders")) for each in crowd[1:]]
        await waits(small, 7)
        for flags, is_shown in (((), False), (("--log-queries",), True)):
            place = tmp_path / str(is_shown)
            with watching(place, small.uri(), *FAST, "--warn-at", "0.99", *flags) as daemon:
                await daemon.says("lock queue: 6 wait behind pid ")
                daemon.end()
            assert ("ALTER TABLE orders" in daemon.log) == is_shown
            assert ("(…, waiting " in daemon.log) != is_shown
        await root.execute("ROLLBACK")
        await asyncio.gather(*queued)


async def waits(server: ThrowawayServer, number: int) -> None:
    """Wait until so many sessions wait for a lock."""
    async with session(server) as looking:
        asked = f"SELECT count(*) >= {number} FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await wait_until(lambda: looking.fetchval(asked), 20)


async def test_a_leak_goes_and_the_diagnosis_is_told_of_it(
    server_factory: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real leak beside a pool that is as stale: only the leak's sessions are terminated."""
    told: list[int] = []

    def swept(_: DiagnosisWatch, ended: Iterable[Backend]) -> None:
        told.extend(each.pid for each in ended)

    monkeypatch.setattr(DiagnosisWatch, "swept", swept)
    server, stream = server_factory({"max_connections": "43"}), io.StringIO()
    config = Config(
        audit_log=tmp_path / "a", idle_after_seconds=1, every_seconds=1, interval_seconds=0.2, warn_at=0.6,
        findings=(Kind.LEAK,), login_probe_seconds=0,
    )  # fmt: skip
    target = target_of(server)
    daemon = Daemon(target, config, DaemonLog(stream), read_config=lambda: (config, target), thresholds=QUICK)
    async with stale(server, 18, application_name="web") as pool:
        running = asyncio.ensure_future(daemon.run())
        async with leaked(server, 14, application_name="leaky"):
            await wait_until(lambda: "sweep: terminated" in stream.getvalue(), 30, stream.getvalue())
            signal.raise_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running, 30) == 0
        assert all(await alive(pool))
    assert stream.getvalue().count("leak in leaky since ") == 1
    gone = [line for line in audited(tmp_path / "a") if line["event"] == "outcome"]
    assert {line["application_name"] for line in gone} == {"leaky"}
    assert sorted(told) == sorted(line["pid"] for line in gone)
