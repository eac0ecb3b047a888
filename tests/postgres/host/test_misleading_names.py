"""Sessions whose role or database is called like another process, seen from the server's own host."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from pgtop.core.plan import Guard, Outcome, Victim
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.host import sockets
from pgtop.postgres.host.titles import read_title
from pgtop.postgres.host.watcher import HostWatcher, Mark
from tests.conftest import ServerFactory
from tests.servers import available, execute, session, wait_until
from tests.support.filling import walsender
from tests.support.hosting import face_on_host, forge_mark, process_of, replaced, title_of
from tests.support.reaping import outcomes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

NAMES = (
    "walsender",
    "walsender app",
    "walsender streaming 0/3000148",
    "parallel worker for PID 1",
    "autovacuum worker x",
    "autovacuum launcher",
    "logical replication worker for subscription 1",
    "startup",
    "startup recovering",
    "bgworker: x",
    "[local]",
    "x [local] idle",
    "(5) 10.0.0.1(5)",
    "x 10.0.0.1(5) idle in transaction",
    "idle",
    "authentication",
    "postgres: checkpointer",
    ": checkpointer",
    "main: x: background writer",
    " a  b ",
)


@pytest.mark.parametrize("version", sorted(available()))
async def test_no_name_of_a_role_or_database_hides_a_session(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """Over TCP and Unix sockets all are counted, and ended where that is asked for; walsenders live."""
    server = server_factory({"cluster_name": "main: x", "max_connections": "60"}, version=version)
    for name in NAMES:
        await execute(server, f'CREATE ROLE "{name}" LOGIN')
    await execute(server, 'CREATE DATABASE "walsender x [local] idle"', 'CREATE DATABASE ": checkpointer"')
    face = face_on_host(server, tmp_path / "a")
    databases = ("postgres", "walsender x [local] idle", ": checkpointer")
    with walsender(server, "database") as logical, walsender(server, "true") as physical:
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(
                    session(server, user=name, database=database, over_socket=local)
                )
                for number, name in enumerate(NAMES)
                for local in (False, True)
                for database in (databases[number % len(databases)],)
            ]
            for each in opened:
                await each.fetchval("SELECT 1")
            plan = await face.plan_for(*opened)
            pids = {each.get_server_pid() for each in opened}
            assert {each.pid for each in (await face.look()).snapshot.backends} == pids
            report = await face.run(plan)
            assert {each.outcome for each in report.results} == {Outcome.TERMINATED}
        for pid in (logical, physical):
            assert process_of(pid)


async def test_a_walsender_is_never_signalled(server: ThrowawayServer, tmp_path: Path) -> None:
    """Though a plan names it: as if it had been taken for the session of a role `walsender`."""
    await execute(server, "CREATE ROLE walsender LOGIN")
    face = face_on_host(server, tmp_path / "a")
    async with session(server, user="walsender") as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        with walsender(server, "true") as physical:
            await wait_until(lambda: title_of(physical).endswith(" idle"))
            victim = await asyncio.to_thread(taken_for_a_session, face.watcher, plan.victims[0], physical)
            report = await face.run(replaced(plan, (victim,)))
            assert [each.outcome for each in report.results] == [Outcome.CHANGED]
            assert process_of(physical)
        assert outcomes(await face.run(plan)) == [Outcome.TERMINATED]


def taken_for_a_session(watcher: HostWatcher, model: Victim, pid: int) -> Victim:
    """A victim that is this process, and everything that a look would remember of it."""
    process = process_of(pid)
    assert process is not None
    title = read_title(process.title, watcher.prefix)
    assert title is not None
    assert title.port is not None
    (found,) = sockets.tcp_sockets(watcher.server.port, title.port)
    backend = msgspec.structs.replace(
        model.backend,
        pid=pid,
        backend_start=watcher.started(process),
        state_change=watcher.now - found.sent_milliseconds_ago * 1000,
        client_port=title.port,
    )
    who = (title.names, title.host, title.port)
    mark = Mark(process.started_ticks, who, backend.state_change, inode=found.inode)
    forge_mark(watcher, backend.id, mark)
    return Victim(backend, "forged", Guard.STATE)
