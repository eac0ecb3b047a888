"""A name with several addresses, some of which say nothing: the others are tried, as libpq does."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import msgspec
import pytest

from pgtop.core.outage import OutageKind
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session import reachability
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.reachability import reach
from tests.support.targets import connection_on, is_told, refusal, resolving, target_of

SILENT = "127.0.0.2"
MUTE = "127.0.0.3"

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="its loopback has one address")


@contextlib.contextmanager
def silent(port: int, *addresses: str) -> Iterator[None]:
    """Listeners whose queue is full: the kernel answers none that connects, as behind a firewall."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(2):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((address, port))
        yield


@contextlib.contextmanager
def mute(port: int, address: str) -> Iterator[None]:
    """A listener that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        yield


def named(server: ThrowawayServer, options: str = "") -> Target:
    return msgspec.structs.replace(target_of(server, options), hosts=("db1",))


@pytest.mark.parametrize("options", ["", "connect_timeout=1", "connect_timeout=1&sslmode=disable"])
async def test_a_silent_address_does_not_hide_the_next(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    """One that takes no connection, and one that takes them and stays mute."""
    resolving(monkeypatch, SILENT, MUTE, HOST)
    target = named(server, options)
    if not options:
        target = msgspec.structs.replace(target, connect_timeout_seconds=3.0)
    with silent(server.port, SILENT), mute(server.port, MUTE):
        async with connection_on(target) as own_connection:
            assert own_connection.peer == (HOST, server.port)


async def test_each_address_has_the_whole_connect_timeout(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are: the time for all of them together is never shorter than that of one."""
    resolving(monkeypatch, SILENT, MUTE, HOST)
    limits: list[float | None] = []
    timeout = asyncio.timeout

    def noted(seconds: float | None) -> asyncio.Timeout:
        limits.append(seconds)
        return timeout(seconds if seconds is None else min(seconds, 0.2) if len(limits) < 4 else seconds)

    with silent(server.port, SILENT), mute(server.port, MUTE), monkeypatch.context() as patched:
        patched.setattr(asyncio, "timeout", noted)
        async with connection_on(named(server, "connect_timeout=7")) as own_connection:
            assert own_connection.is_held
    assert limits == [7.0] * 4  # the look-up, and three addresses


async def test_all_silent_addresses_are_told_once(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, SILENT, MUTE)
    target = msgspec.structs.replace(named(server), connect_timeout_seconds=0.4)
    with silent(server.port, SILENT), mute(server.port, MUTE):
        error = await refusal(target)
    is_told(error, OutageKind.TIMEOUT, "db1", "does not answer in time")
    assert error.problem.count("does not answer") == 1


async def test_a_host_is_reached_at_the_address_that_answers(server: ThrowawayServer) -> None:
    with silent(server.port, SILENT):
        assert await reach([SILENT, HOST], server.port) == HOST
        assert await reach([HOST, SILENT], server.port) == HOST
        assert await reach([MUTE, SILENT, HOST], server.port) == HOST  # the first one refuses
    with pytest.raises(ConnectionRefusedError):
        await reach([SILENT, MUTE], server.port)


async def test_a_refused_address_is_asked_again_beside_a_silent(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server comes up at the one while the other goes on saying nothing."""
    monkeypatch.setattr(reachability, "EVERY_SECONDS", 0.05)
    with silent(server.port, SILENT):
        looking = asyncio.ensure_future(reach([SILENT, MUTE], server.port))
        done, _ = await asyncio.wait({looking}, timeout=0.2)
        assert not done
        with mute(server.port, MUTE):
            assert await looking == MUTE


async def test_a_lost_server_is_found_beside_a_silent_address(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check whether a host that fell silent is there again comes before the login."""
    resolving(monkeypatch, SILENT, HOST)
    own_connection = OwnConnection(named(server, "connect_timeout=1"), "test")
    try:
        with silent(server.port, SILENT):
            for _ in range(2):
                await own_connection.take()
                assert own_connection.peer == (HOST, server.port)
                own_connection.drop()
    finally:
        await own_connection.release()
