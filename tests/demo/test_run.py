"""The demo: crosses the line, fills, leaks on after a sweep, and ends clean by whatever signal."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from pgtop.demo.clients import GONE
from pgtop.demo.parameters import Parameters
from pgtop.demo.run import Demo, check, running_demo
from pgtop.demo.workload import set_up
from pgtop.errors import UsageError
from tests.servers import default_binaries, session, wait_until
from tests.support.processes import DEMO, NOBODY, program, python_for, wait_until_no_trace

COUNT = """
SELECT json_object_agg(application_name, n) FROM (
    SELECT application_name, count(*) AS n FROM pg_stat_activity
    WHERE backend_type = 'client backend' GROUP BY application_name) counted
"""

SIGNAL_AT_EACH_MOMENT = """
import signal, sys
from pgtop.demo.run import running_demo, wait_for_signal

def wait(demo, moment):
    steps = []
    def step(frame, event, called):
        if steps or getattr(called, "__name__", "") == "flush":
            steps.append(event)
        if len(steps) == moment:
            signal.raise_signal(signal.SIGTERM)
    sys.setprofile(step)
    wait_for_signal(demo)
    sys.setprofile(None)

with running_demo(max_connections=30, leak_every_seconds=10) as demo:
    for moment in range(1, 11):
        wait(demo, moment)
"""
"""Waits once for each of the first steps of the wait, and is sent the signal at that step."""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """A demo that fills within seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGTOP_PG_BIN", str(default_binaries()))
        with running_demo(max_connections=40, leak_every_seconds=0.1) as running:
            yield running


@pytest.fixture
async def operator(demo: Demo) -> AsyncIterator[asyncpg.Connection]:
    """A session of the role that the demo gives to pgtop, taken before the server is full."""
    connection = await wait_until(lambda: _enter(demo), limit=60)
    yield connection
    await connection.close()


async def _enter(demo: Demo) -> asyncpg.Connection | None:
    try:
        return await asyncpg.connect(
            demo.uri, ssl=False, timeout=10, server_settings={"application_name": "looker"}
        )
    except asyncpg.TooManyConnectionsError:
        await _end_the_leaked(demo)
        return None


async def _end_the_leaked(demo: Demo) -> None:
    async with session(demo.server, over_socket=True) as admin:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leaky-worker'"
        )


async def counted(connection: asyncpg.Connection) -> Counter[str]:
    """How many client backends each application has."""
    return Counter(json.loads(await connection.fetchval(COUNT)))


async def make_room(connection: asyncpg.Connection, counts: Counter[str]) -> None:
    """Ends what has leaked before it keeps the others out."""
    if counts["leaky-worker"] >= 10:
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'leaky-worker' AND state = 'idle'"""
        )


async def test_every_application_is_there_by_its_name(operator: asyncpg.Connection) -> None:
    seen: set[str] = set()

    async def all_seen() -> bool:
        counts = await counted(operator)
        seen.update(counts)
        await make_room(operator, counts)
        return seen >= {"web", "api", "reports", "batch", "leaky-worker"}

    await wait_until(all_seen, limit=60)


async def test_left_alone_it_fills_until_a_login_is_refused(demo: Demo, operator: asyncpg.Connection) -> None:
    reserved = 3 + (2 if demo.server.version >= 16 else 0)
    slots = 40 - reserved

    async def crossed() -> bool:
        return (await counted(operator)).total() >= 0.8 * slots

    async def refused() -> bool:
        try:
            async with session(demo.server, user="worker", password=worker_password(demo), database="shop"):
                return False
        except asyncpg.TooManyConnectionsError:
            return True

    await wait_until(crossed, limit=60)
    await wait_until(refused, limit=60)


def worker_password(demo: Demo) -> str:
    """All roles but the superuser have one password, which stands in the URI."""
    return demo.uri.split(":")[2].split("@")[0]


async def test_after_a_sweep_it_leaks_on(operator: asyncpg.Connection) -> None:
    async def leaked(least: int) -> bool:
        return (await counted(operator))["leaky-worker"] >= least

    await wait_until(lambda: leaked(5), limit=60)
    ended = await operator.fetchval(
        """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
           WHERE application_name = 'leaky-worker' AND state = 'idle'"""
    )
    assert ended >= 4
    await wait_until(lambda: leaked(5), limit=60)


async def test_batch_holds_a_row_and_blocks_one_other_of_its_own(operator: asyncpg.Connection) -> None:
    async def blocked() -> bool:
        rows = await operator.fetch(
            """SELECT waiter.state AS waiter, holder.state AS holder, waiter.wait_event_type AS waits_for
               FROM pg_stat_activity waiter
               JOIN pg_stat_activity holder ON holder.pid = ANY (pg_blocking_pids(waiter.pid))
               WHERE waiter.application_name = 'batch' AND holder.application_name = 'batch'"""
        )
        return [tuple(row) for row in rows] == [("active", "idle in transaction", "Lock")]

    await wait_until(blocked, limit=90)


async def test_reports_are_long_active_queries(operator: asyncpg.Connection) -> None:
    async def long_and_active() -> bool:
        return True is await operator.fetchval(
            """SELECT bool_or(state = 'active' AND now() - query_start > interval '2 s')
               FROM pg_stat_activity WHERE application_name = 'reports'"""
        )

    await wait_until(long_and_active, limit=60)


async def test_pools_that_lose_their_sessions_come_back(operator: asyncpg.Connection) -> None:
    before = set(await wait_until(lambda: _pids(operator, "web"), limit=60))
    await operator.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE application_name IN ('web', 'batch', 'reports', 'leaky-worker')"""
    )

    async def all_new() -> bool:
        counts = await counted(operator)
        await make_room(operator, counts)
        new = set(await _pids(operator, "web"))
        return bool(new) and not new & before and counts["batch"] == 2 and counts["reports"] == 2

    await wait_until(all_new, limit=60)


async def _pids(connection: asyncpg.Connection, application: str) -> list[int]:
    rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = $1", application)
    return [row["pid"] for row in rows]


async def test_its_role_sees_and_ends_but_is_not_a_superuser(
    demo: Demo, operator: asyncpg.Connection
) -> None:
    [row] = await operator.fetch(
        """SELECT current_user::text AS name, rolsuper, pg_has_role('pg_monitor', 'MEMBER') AS monitors,
           pg_has_role('pg_signal_backend', 'MEMBER') AS signals FROM pg_roles WHERE rolname = current_user"""
    )
    assert tuple(row) == ("pgtop", False, True, True)
    if demo.server.version >= 16:
        assert await operator.fetchval("SELECT pg_has_role('pg_use_reserved_connections', 'MEMBER')")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(demo.server.uri(password=worker_password(demo)), ssl=False)


async def test_the_socket_uri_gets_the_same_role_in(demo: Demo, operator: asyncpg.Connection) -> None:
    await _end_the_leaked(demo)
    connection = await asyncpg.connect(demo.socket_uri)
    assert await connection.fetchval("SELECT current_user || '@' || current_database()") == "pgtop@shop"
    await connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_without_a_dashboard_it_prints_its_uri_and_ends_clean(number: signal.Signals) -> None:
    with program(DEMO, PGTOP_PG_BIN=str(default_binaries())) as running:
        directory = running.line()
        running.line()
        assert running.line().startswith("postgresql://pgtop:")
        running.process.send_signal(number)
        assert running.process.wait(60) == 0
        wait_until_no_trace(directory)


def test_a_signal_at_any_moment_of_the_wait_ends_it() -> None:
    """One that comes while the wait takes a lock must find a handler that needs none."""
    with program(SIGNAL_AT_EACH_MOMENT, PGTOP_PG_BIN=str(default_binaries())) as running:
        assert running.process.wait(30) == 0


def test_an_ignored_hangup_stays_ignored() -> None:
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + DEMO
    with program(script, PGTOP_PG_BIN=str(default_binaries())) as running:
        running.line(), running.line(), running.line()
        running.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(1)
        running.process.terminate()
        assert running.process.wait(30) == 0


async def test_a_false_socket_gets_no_password_of_the_starter(
    temporary_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root the server runs as `nobody`, and so may another program."""
    passwords = temporary_directory / "passwords"
    passwords.write_text("*:*:*:*:root's own\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGPASSWORD", "root's own")
    told: list[bytes] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        writer.write(b"R" + struct.pack("!ii", 8, 3))
        told.append(await reader.read(1000))
        writer.close()

    parameters = Parameters(
        admin_uri=f"postgresql://postgres@/postgres?host={temporary_directory}&port=5432",
        admin_password="of this demo alone",  # noqa: S106
        host="127.0.0.1",
        port=5432,
        password="x",  # noqa: S106
        version=17,
        slots=10,
        leak_every_seconds=1.0,
    )
    async with await asyncio.start_unix_server(ask, temporary_directory / ".s.PGSQL.5432"):
        with pytest.raises(GONE):
            await set_up(parameters)
    assert told == [b"p" + struct.pack("!i", 23) + b"of this demo alone\0"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_the_workload_has_no_variable_of_the_starters_servers() -> None:
    with program(DEMO, PGTOP_PG_BIN=str(default_binaries()), PGPASSWORD="root's own") as running:
        running.line()
        variables = Path(f"/proc/{int(running.line())}/environ").read_bytes().split(b"\0")
        assert b"PATH" in {each.partition(b"=")[0] for each in variables}
        assert not [each for each in variables if each.startswith(b"PG")]
        running.line()
        running.process.terminate()
        assert running.process.wait(30) == 0


def test_a_server_that_ends_by_itself_ends_the_demo_with_a_word() -> None:
    script = DEMO.replace("    wait_for_signal", "    demo.server.stop()\n    wait_for_signal")
    with program(script, PGTOP_PG_BIN=str(default_binaries())) as running:
        directory = running.line()
        assert running.process.wait(30) == 1
        wait_until_no_trace(directory)


def test_a_workload_that_ends_by_itself_ends_the_demo_with_a_word() -> None:
    """Without it the server would stand there empty, and nobody would know why."""
    with program(DEMO, PGTOP_PG_BIN=str(default_binaries())) as running:
        directory, workload_pid = running.line(), int(running.line())
        running.line()
        os.kill(workload_pid, signal.SIGKILL)
        assert running.process.wait(30) == 1
        wait_until_no_trace(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root to run as another user")
def test_an_ordinary_user_runs_it_too(temporary_directory: Path) -> None:
    python = python_for(NOBODY)
    if python is None:
        pytest.skip("no Python that an ordinary user may run here")
    os.chown(temporary_directory, NOBODY, NOBODY)
    environment = {"TMPDIR": str(temporary_directory), "PGTOP_PG_BIN": str(default_binaries())}
    with program(DEMO, python=python, user=NOBODY, **environment) as running:
        directory = running.line()
        running.line()
        assert running.line().startswith("postgresql://pgtop:")
        running.process.terminate()
        assert running.process.wait(30) == 0
        wait_until_no_trace(directory)


@pytest.mark.parametrize("connections", [19, 0, -1, 2001])
def test_too_few_or_too_many_connections_are_refused_by_name(connections: int) -> None:
    with pytest.raises(UsageError, match=f"--max-connections {connections} "):
        check(connections, 2.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 0.001])
def test_a_pace_that_is_none_is_refused_by_name(seconds: float) -> None:
    with pytest.raises(UsageError, match="--leak-every"):
        check(60, seconds)
