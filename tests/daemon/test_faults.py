"""`pgtop reap --watch` through the faults of weeks: none ends it, each is told, and then it reaps again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import execute, fetch_value, session, sessions, wait_until
from tests.support.clusters import make_standby
from tests.support.daemons import FAST, Watch, watching
from tests.support.filling import TWENTY_SLOTS
from tests.support.reap_command import stale
from tests.support.relay import Relay, relay
from tests.support.running import LIMIT_SECONDS
from tests.support.targets import stopped

DAEMON = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pgtop daemon@%'"
Fault = Callable[[ThrowawayServer, Relay, Watch], Awaitable[None]]


async def end_daemon_backend(server: ThrowawayServer) -> None:
    await fetch_value(server, f"SELECT count(pg_terminate_backend(pid)) FROM ({DAEMON}) found")


async def backend_ended(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    """Its own backend, between two polls."""
    await end_daemon_backend(server)


async def backend_hangs(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    """Its own backend, for longer than a poll is waited for; the next login may succeed at once."""
    pid = await fetch_value(server, DAEMON)
    assert isinstance(pid, int)
    with stopped(pid):
        await daemon.says("did not answer within")


async def data_lost(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    """A network that loses all data for a while, and the memory of its connections with them."""
    way.swallow()
    await daemon.says("WARNING no data", "did not answer within")
    await way.listen()


async def database_dropped(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    await execute(server, "DROP DATABASE watched WITH (FORCE)")
    await daemon.says("WARNING no data", 'database "watched" does not exist')
    await execute(server, "CREATE DATABASE watched")


async def password_changed(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    await execute(server, "ALTER ROLE watcher PASSWORD 'another'")
    await end_daemon_backend(server)
    await daemon.says("WARNING no data", 'does not accept the password of "watcher"')
    await execute(server, "ALTER ROLE watcher PASSWORD 'known'")


async def crashed(server: ThrowawayServer, way: Relay, daemon: Watch) -> None:
    """All sessions go at once, and the server comes back without a restart of its postmaster."""
    async with session(server, password=server.password) as one:
        os.kill(one.get_server_pid(), signal.SIGKILL)


@asynccontextmanager
async def watched(server: ThrowawayServer, home: Path) -> AsyncIterator[tuple[Relay, Watch]]:
    """A daemon that came in through a relay, as a role that may."""
    await execute(
        server,
        "CREATE DATABASE watched",
        "CREATE ROLE watcher LOGIN PASSWORD 'known'",
        "GRANT pg_monitor, pg_signal_backend TO watcher",
        "CREATE ROLE app LOGIN PASSWORD 'app'",
        "CHECKPOINT",  # a crash takes along what is not written yet
    )
    async with relay(server) as way:
        conninfo = f"postgresql://watcher:known@127.0.0.1:{way.port}/watched?connect_timeout=2"
        with watching(home, conninfo, *FAST, PGTOP_LOGIN_PROBE="0") as daemon:
            await daemon.says("active: this daemon sweeps")
            yield way, daemon


@pytest.mark.parametrize(
    "fault", [backend_ended, backend_hangs, data_lost, database_dropped, password_changed, crashed]
)
async def test_it_reaps_again_after_the_fault(
    server_factory: ServerFactory, tmp_path: Path, fault: Fault
) -> None:
    server = server_factory(TWENTY_SLOTS, auth="scram-sha-256")
    async with watched(server, tmp_path) as (way, daemon):
        await fault(server, way, daemon)
        await daemon.says("connected to ", times=2)
        await daemon.says("active: this daemon sweeps", times=2)
        async with sessions(server, 3, user="app", password="app"):  # noqa: S106
            await daemon.says("terminated ", times=3)

        async def one_connection() -> bool:
            count = await fetch_value(server, f"SELECT count(*) FROM ({DAEMON}) found")
            return count == 1

        await wait_until(one_connection, LIMIT_SECONDS)
        assert daemon.end() == 0
        assert "Traceback" not in daemon.log
        assert "never retrieved" not in daemon.log


async def test_a_promotion_is_told_as_one(server_factory: ServerFactory, tmp_path: Path) -> None:
    """The connection stays: neither was it opened again, nor is it to another server."""
    server = server_factory(TWENTY_SLOTS)
    await asyncio.to_thread(make_standby, server)
    with watching(tmp_path, server.uri(), *FAST) as daemon:
        await daemon.says("standby, ")
        async with session(server) as admin:
            await admin.execute("SELECT pg_promote(false)")
        await daemon.says("still connected to", "primary", "was promoted: it is a primary now")
        assert daemon.end() == 0
    assert "again, after" not in daemon.log


async def test_it_is_active_once_its_log_can_be_written(small: ThrowawayServer, tmp_path: Path) -> None:
    """Not while each sweep fails for want of an audit log, as on a full disk."""
    audit = tmp_path / "audit"
    audit.symlink_to("/dev/full")
    # Until a session is old enough nothing is written, and nothing fails.
    async with stale(small, 17, application_name="leak"):
        with watching(tmp_path, small.uri(), *FAST, "--audit-log", str(audit)) as daemon:
            await daemon.says("WARNING cannot write the audit log", "No space left")
            await polls(small, 5)
            assert "active:" not in daemon.log
            audit.unlink()
            await daemon.says("active: this daemon sweeps", "sweep")
            assert daemon.end() == 0


async def polls(server: ThrowawayServer, number: int) -> None:
    """Wait until a daemon has asked the server for something that many more times."""
    changed = DAEMON.replace("SELECT pid", "SELECT max(state_change)")
    for _ in range(number):
        last = await fetch_value(server, changed)

        async def moved(before: object = last) -> bool:
            return await fetch_value(server, changed) != before

        await wait_until(moved)
