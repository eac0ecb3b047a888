"""Several servers behind one target: what one of them refuses says nothing about the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from pgtop.core.outage import Limit
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.login_watch import LoginWatch
from pgtop.poller import Poller
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session import login_probe
from pgtop.postgres.session.login_probe import LoginProbe, probe_login
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import execute, wait_until
from tests.support.filling import THREE_SLOTS, full, leave
from tests.support.hostile import message, startup
from tests.support.relay import Relay, relay
from tests.support.targets import connection_on, resolving, target_of

OTHER_ADDRESS = "127.0.0.2"
FULL = message("E", b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0RInitProcess\0\0")


@pytest.fixture
async def tiny(server_factory: ServerFactory) -> ThrowawayServer:
    """A server with three ordinary slots and the role `app`."""
    server = server_factory(THREE_SLOTS)
    await execute(server, "CREATE ROLE app LOGIN")
    return server


@pytest.fixture
async def roomy(server: ThrowawayServer) -> ThrowawayServer:
    """Another one, which is not full, with the same role."""
    await execute(server, "DROP ROLE IF EXISTS app", "CREATE ROLE app LOGIN")
    return server


def both(first: Relay, second: ThrowawayServer) -> Target:
    """A target of two hosts."""
    target = target_of(second, user="app")
    return msgspec.structs.replace(target, hosts=(HOST, HOST), ports=(first.port, second.port))


async def test_a_full_host_is_not_knocked_at_by_whoever_sits_at_the_next(
    tiny: ThrowawayServer, roomy: ThrowawayServer
) -> None:
    """It was down when pgtop connected, and is the first of the target."""
    async with full(tiny), relay(tiny) as first:
        target = both(first, roomy)
        first.refuse()
        async with connection_on(target) as own_connection:
            assert own_connection.address[1] == roomy.port
            await first.listen()
            assert await probe_login(own_connection) == LoginProbe(None)
            assert first.connections == 0


async def test_a_login_probe_says_nothing_once_the_connection_has_moved(
    tiny: ThrowawayServer, roomy: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in = login_probe.log_in
    async with relay(tiny) as first, connection_on(both(first, roomy)) as own_connection:

        async def moving(*arguments: Any, **rest: Any) -> Any:
            session = await log_in(*arguments, **rest)
            first.refuse()
            await wait_until(lambda: not own_connection.is_held)
            await own_connection.take()
            return session

        monkeypatch.setattr(login_probe, "log_in", moving)
        assert await probe_login(own_connection) == LoginProbe(None, is_known=False)
        assert own_connection.address[1] == roomy.port


async def test_facts_of_one_host_are_forgotten_at_the_next(
    tiny: ThrowawayServer, roomy: ThrowawayServer
) -> None:
    """A connection moved by a failover would else end sessions of the one for what the other refused."""
    async with relay(tiny) as first, connection_on(both(first, roomy)) as own_connection:
        probe = Probe(own_connection)
        watch = LoginWatch(Poller(probe, 3600), 0)
        async with full(tiny, 2):
            await watch.knock()
            assert watch.limit is not None
            first.refuse()
            await wait_until(lambda: not own_connection.is_held)
            await own_connection.take()
            assert own_connection.address[1] == roomy.port
            assert not await watch.settle(await probe.snapshot())
            assert watch.limit is None


async def test_the_refusal_of_another_server_is_not_taken_over(
    tiny: ThrowawayServer, roomy: ThrowawayServer
) -> None:
    """Nor while the ordinary role asks for its connection back; where that gets in, all is seen anew."""
    rescue = target_of(roomy)
    target = msgspec.structs.replace(target_of(tiny, user="app"), rescue=rescue)
    async with full(tiny) as sessions, connection_on(target) as own_connection:
        assert own_connection.is_rescue
        assert (own_connection.address[1], own_connection.refused) == (roomy.port, None)
        assert await probe_login(own_connection) == LoginProbe(None, is_known=False)
        await own_connection.give_back()
        assert (own_connection.is_rescue, own_connection.refused) == (True, None)
        interruptions = own_connection.interruptions
        await leave(sessions)

        async def given_back() -> bool:
            await own_connection.give_back()
            return not own_connection.is_rescue

        await wait_until(given_back)
        assert own_connection.address[1] == tiny.port
        assert own_connection.interruptions > interruptions


async def test_the_refusal_of_the_same_server_is_taken_over(
    tiny: ThrowawayServer,
) -> None:
    """Over TCP and over a Unix socket, by whatever name that is called."""
    link = tiny.socket_dir / "link"
    link.symlink_to(tiny.socket_dir)
    tcp = target_of(tiny, user="app")
    places = [(tcp, ("localhost",)), (tcp, (HOST,))]
    places += [(msgspec.structs.replace(tcp, hosts=(str(tiny.socket_dir),)), (str(link),))]
    async with full(tiny):
        for ordinary, hosts in places:
            rescue = msgspec.structs.replace(ordinary, user="postgres", hosts=hosts)
            async with connection_on(msgspec.structs.replace(ordinary, rescue=rescue)) as own_connection:
                assert own_connection.refused in (Limit.ORDINARY, Limit.RESERVED)
                assert await probe_login(own_connection) == LoginProbe(own_connection.refused)
                await own_connection.give_back()
                assert own_connection.refused is not None


@asynccontextmanager
async def full_at_another_address(port: int) -> AsyncIterator[None]:
    """A server at the same port of another address, that refuses each login for lack of a slot."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(FULL)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(refuse, OTHER_ADDRESS, port)
    async with listener:
        yield


@pytest.mark.skipif("sys.platform != 'linux'", reason="its loopback has one address")
async def test_a_connection_does_not_probe_another_address_of_its_name(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, OTHER_ADDRESS, HOST)
    target = msgspec.structs.replace(target_of(server, "sslmode=disable"), hosts=("db1",))
    async with connection_on(target) as own_connection, full_at_another_address(server.port):
        assert await probe_login(own_connection) == LoginProbe(None)


async def test_a_name_is_looked_up_once_in_a_thread_nobody_awaits(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers once and no more would else keep a command from ending."""
    asked = resolving(monkeypatch, OTHER_ADDRESS, HOST)
    for mode in ("disable", "prefer", "allow"):
        target = msgspec.structs.replace(target_of(server, f"sslmode={mode}"), hosts=("db1",))
        async with connection_on(target) as own_connection:
            assert own_connection.is_held
            assert await probe_login(own_connection) == LoginProbe(None)
    assert asked == ["db1"] * 3


async def test_an_address_that_is_not_the_servers_own_is_told_from_its_own(server: ThrowawayServer) -> None:
    """As behind a balancer; asked once a connection."""
    tcp = target_of(server)
    unix = msgspec.structs.replace(tcp, hosts=(str(server.socket_dir),))
    for target in (tcp, unix, msgspec.structs.replace(tcp, hosts=("localhost",))):
        async with connection_on(target) as own_connection:
            assert await own_connection.is_direct()
    async with relay(server) as balancer, connection_on(balancer.target()) as own_connection:
        assert not await own_connection.is_direct()
