"""Sessions at work whose title still says `idle`, seen from the server's own host."""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtop.core.break_glass_plan import Ask
from pgtop.core.plan import Outcome, Plan
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.host import sockets
from tests.servers import execute, session, wait_until
from tests.support.filling import stalled_login
from tests.support.hosting import HostFace, face_on_host, process_of, replaced, title_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

A_SECOND = Ask(count=1000, older_than_seconds=1.0)
"""The least age that can be asked for."""

ROWS = 40_000
LONG = f"INSERT INTO filled VALUES {','.join(['(%r)' % ('x' * 500)] * ROWS)}"
"""20 MB: the server reads and parses it for about a second, and its title says `idle` for as long."""


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_session_whose_statement_is_being_parsed_lives(
    server: ThrowawayServer, tmp_path: Path, over_socket: bool
) -> None:
    """At several moments of the parsing, by a plan made before it, and by one made meanwhile."""
    await execute(server, "DROP TABLE IF EXISTS filled", "CREATE TABLE filled (line text)")
    face = face_on_host(server, tmp_path / "a")
    seen_idle = 0
    for moment in range(6):
        async with session(server, over_socket=over_socket) as one:
            await one.fetchval("SELECT 1")
            plan = await idle_for_a_second(face, one.get_server_pid())
            writing = asyncio.ensure_future(one.execute(LONG))
            await asyncio.sleep(0.05 + 0.08 * moment)
            meanwhile = await face.plan(A_SECOND)
            seen_idle += title_of(one.get_server_pid()).endswith(" idle")
            assert one.get_server_pid() not in {each.backend.pid for each in meanwhile.victims}
            report = await face.run(plan)
            assert [each.outcome for each in report.results] == [Outcome.CHANGED]
            assert await writing == f"INSERT 0 {ROWS}"
    assert seen_idle > 1, "no moment of the parsing was hit"


async def test_a_session_that_has_sent_half_a_statement_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The server has read it, and waits for the rest: over TCP the kernel tells that it has not answered."""
    face = face_on_host(server, tmp_path / "a")
    with client(server) as (one, pid):
        before = await idle_for_a_second(face, pid)
        statement = b"SELECT 7\0"
        one.sendall(b"Q" + struct.pack("!i", len(statement) + 4) + statement[:4])
        await wait_until(lambda: asleep(pid))
        meanwhile = await face.plan(A_SECOND)
        assert pid not in {each.backend.pid for each in meanwhile.victims}
        report = await face.run(before)
        assert [each.outcome for each in report.results] == [Outcome.CHANGED]
        one.sendall(statement[4:])
        assert b"SELECT 1\0" in until_ready(one)


async def test_a_session_that_answered_while_it_was_looked_at_lives(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement runs after the kernel was asked of its socket: its title says idle before and after."""
    face = face_on_host(server, tmp_path / "a")
    with client(server) as (one, pid):
        plan = await idle_for_a_second(face, pid)
        ask_the_kernel = sockets.tcp_sockets

        def with_a_statement_after(local_port: int = 0, remote_port: int = 0) -> list[sockets.TcpSocket]:
            told = list(ask_the_kernel(local_port, remote_port))
            if not local_port:  # not asked about this session
                return told
            statement = b"SELECT 7\0"
            one.sendall(b"Q" + struct.pack("!i", len(statement) + 4) + statement)
            assert b"SELECT 1\0" in until_ready(one)
            return told

        monkeypatch.setattr(sockets, "tcp_sockets", with_a_statement_after)
        report = await face.run(plan)
        assert [(each.outcome, each.detail) for each in report.results] == [
            (Outcome.CHANGED, "it has run a query since")
        ]


def asleep(pid: int) -> bool:
    process = process_of(pid)
    return process is not None and not process.is_at_work


@contextmanager
def client(server: ThrowawayServer) -> Iterator[tuple[socket.socket, int]]:
    """A session over TCP that speaks the protocol by hand; gives the pid of its backend."""
    with stalled_login(server.port) as one:
        one.settimeout(20)
        said = until_ready(one)
        mark = b"K\0\0\0\x0c"
        yield one, int.from_bytes(said.partition(mark)[2][:4], "big")


def until_ready(one: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"Z\0\0\0\x05I"):
        data = one.recv(65536)
        assert data, said
        said += data
    return said


async def idle_for_a_second(face: HostFace, pid: int) -> Plan:
    """The plan that ends this session alone, which has been idle for a second by then."""

    async def meant() -> Plan | None:
        plan = await face.plan(A_SECOND)
        victims = tuple(each for each in plan.victims if each.backend.pid == pid)
        return replaced(plan, victims) if victims else None

    plan = await wait_until(meant)
    assert isinstance(plan, Plan)
    return plan
