"""A refusal is acted on while the server refuses logins, and not for longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.demo.server import ThrowawayServer
from pgtop.login_watch import BELIEVED_SECONDS, LoginWatch
from pgtop.poller import Poller
from pgtop.postgres.session.login_probe import LoginProbe
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import available, close, execute, wait_until
from tests.support.filling import THREE_SLOTS, full
from tests.support.targets import connection_on, target_of


@dataclass
class Watched:
    """A watch at work, with a clock of its own."""

    own_connection: OwnConnection
    logins: LoginWatch = field(init=False)
    now: float = 1000.0
    knocks: list[LoginProbe] = field(default_factory=list)

    def __post_init__(self) -> None:
        poller = Poller(Probe(self.own_connection), 60.0)
        self.probe = poller.probe
        self.logins = LoginWatch(poller, 0.05, self.knocks.append, clock=lambda: self.now)

    async def comes_to(self, probe_login: LoginProbe) -> None:
        """Waits for the second such knock from now on: the first may have begun before."""
        begun = len(self.knocks)
        await wait_until(lambda: self.knocks[begun:].count(probe_login) >= 2)

    async def settled(self) -> bool:
        """What a poll leads to that shows free slots."""
        seen = await self.probe.snapshot()
        assert isinstance(seen, Snapshot)
        assert seen.counts.total < seen.slots
        return await self.logins.settle(seen)


@pytest.fixture(params=list(available()) or [0], ids=lambda version: f"pg{version}")
def tiny(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server of each version in turn, with three ordinary slots."""
    return server_factory(THREE_SLOTS, version=request.param)


@asynccontextmanager
async def refused(server: ThrowawayServer, kind: str) -> AsyncIterator[Watched]:
    """A watch that was refused while the server was full, and is refused by a limit of that kind since."""
    owner = {"role": "ROLE watcher", "database": "DATABASE watched"}[kind]
    await execute(server, "CREATE ROLE app LOGIN", "CREATE ROLE watcher LOGIN IN ROLE pg_monitor")
    await execute(server, "CREATE DATABASE watched")
    target = msgspec.structs.replace(target_of(server, user="watcher"), database="watched")
    async with connection_on(target) as own_connection, full(server, 2) as taken:
        watched = Watched(own_connection)
        running = asyncio.ensure_future(watched.logins.run())
        try:
            await wait_until(lambda: watched.logins.limit is not None)
            await execute(server, f"ALTER {owner} CONNECTION LIMIT 1")
            for each in taken:
                await close(each)
            yield watched
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_a_login_refused_by_the_database_limit_had_a_slot(tiny: ThrowawayServer) -> None:
    """The slots are looked at first."""
    async with refused(tiny, "database") as watched:
        await watched.comes_to(LoginProbe(None))
        assert watched.logins.limit is None
        assert not await watched.settled()


async def test_a_login_that_the_roles_own_limit_refuses_tells_nothing(tiny: ThrowawayServer) -> None:
    """It is not a refusal to act on, and an older one is believed in for a while only."""
    async with refused(tiny, "role") as watched:
        await watched.comes_to(LoginProbe(None, is_known=False))
        await watched.settled()  # takes what came before
        assert watched.logins.limit_here is None, "slots that sessions have left are not counted as taken"
        await watched.comes_to(LoginProbe(None, is_known=False))
        assert not await watched.settled()
        assert watched.logins.limit is not None
        watched.now += BELIEVED_SECONDS + 1
        await watched.comes_to(LoginProbe(None, is_known=False))
        assert watched.logins.limit is None
        assert not await watched.settled()
