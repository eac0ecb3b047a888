"""A stage for real incidents: a small server, hosts with addresses of their own, and both drivers on them.

A scene is written in the seconds of real life. They pass faster by the factor that divides the times of the
diagnosis too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
import psycopg

from pgtop.commands.diagnose.run import examine
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.demo import schema
from pgtop.demo.clients import GONE, HOME, Clients, Pool, between, connected_from, hosts
from pgtop.demo.parameters import Parameters
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.postgres.conninfo.resolve import resolve
from tests.servers import wait_until

SETTINGS: Final = {"max_connections": "43", "max_prepared_transactions": "2"}
"""40 slots: five sessions are enough for a finding, 32 are on the line."""

FASTER: Final = 60.0
"""A minute of a scene takes a second."""

_OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"

Psycopg = psycopg.AsyncConnection[Any]


class Gateway:
    """A host whose clients cannot choose their address, as libpq's cannot: it passes them on from its own."""

    def __init__(self, port: int, host: str) -> None:
        self._server_port = port
        self._host = host
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def listen(self) -> None:
        """Take connections."""
        self._listener = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break all connections, and take no more."""
        if self._listener is not None:
            self._listener.close()
        for each in self._open:
            each.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected = await connected_from(self._host, HOST, self._server_port)
        inner_reader, inner = await asyncio.open_connection(sock=connected)
        self._open |= {writer, inner}
        for source, sink in ((reader, inner), (inner_reader, writer)):
            task = asyncio.ensure_future(self._pass_on(source, sink))
            self._tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()


class Stage:
    """A server, the applications on it, and the diagnosis of what they do."""

    def __init__(self, server: ThrowawayServer, faster: float = FASTER) -> None:
        self.server = server
        self.faster = faster
        self.clients = Clients(parameters_of(server))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opened: list[asyncpg.Connection] = []
        self._psycopg: list[Psycopg] = []
        self._gateways: dict[str, Gateway] = {}
        self.driver_pools: list[asyncpg.Pool] = []
        """The pools of asyncpg itself; they are ended with the scene."""

    # Time

    async def rest(self, shortest: float, longest: float | None = None) -> None:
        """Let seconds of the scene pass: the rules are about time, so it has to."""
        seconds = shortest if longest is None else between(shortest, longest)
        await asyncio.sleep(seconds / self.faster)

    def sleeping(self, seconds: float) -> str:
        """Return a call that takes the server so many seconds of the scene."""
        return f"pg_sleep({seconds / self.faster:.4f})"

    # Clients

    async def open(self, application: str, role: str = "web", host: str = HOME) -> asyncpg.Connection:
        """Return a session of asyncpg, kept until the end of the scene."""
        connection = await self.clients.open(application, role, host)
        self._opened.append(connection)
        return connection

    async def open_psycopg(
        self, application: str, role: str = "web", host: str = HOME, *, autocommit: bool = True
    ) -> Psycopg:
        """Return a session of psycopg, kept until the end of the scene."""
        if host not in self._gateways:
            self._gateways[host] = Gateway(self.server.port, host)
            await self._gateways[host].listen()
        connection = await psycopg.AsyncConnection.connect(
            host=HOST,
            port=self._gateways[host].port,
            user=role,
            dbname=schema.DATABASE,
            application_name=application,
            autocommit=autocommit,
            sslmode="disable",
        )
        self._psycopg.append(connection)
        return connection

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Let a client work beside the scene; that its session is lost is in order."""
        task = asyncio.ensure_future(_forgiving(work))
        self._tasks.add(task)
        return task

    async def pools(
        self,
        application: str,
        places: Sequence[str],
        size: int,
        *,
        role: str = "web",
        every: float = 10.0,
        last_first: bool = False,
        statements: Sequence[str] = schema.WEB,
    ) -> list[Pool]:
        """Start a pool on each host, with a request each `every` seconds; return once they are open."""
        before = await self.sessions()
        started = []
        for host in places:
            pool = Pool(self.clients, application, role, host, size, last_first=last_first)
            self.spawn(pool.run())
            self.spawn(pool.work(statements, self.faster / every))
            started.append(pool)
        wanted = before + size * len(places)
        await wait_until(lambda: self._has(wanted))
        return started

    async def shop(self, sessions: int = 6) -> None:
        """Start the applications that are in order beside each incident."""
        await self.pools("shop", hosts(1, release=200), sessions, role="batch", every=3)

    async def repeat(self, habit: Callable[[], Awaitable[Any]], shortest: float, longest: float) -> None:
        """Do something again and again, with a pause after each time."""
        while True:
            await habit()
            await self.rest(shortest, longest)

    # The server

    async def ask(self, *statements: str) -> Any:
        """Run statements as the superuser; return the first value of the last one."""
        connection = await asyncpg.connect(self.server.socket_uri(database=schema.DATABASE))
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    async def sessions(self) -> int:
        """Return the number of sessions."""
        return int(await self.ask(f"SELECT count(*) {_OTHERS}"))

    async def _has(self, number: int) -> bool:
        return await self.sessions() >= number

    async def look(self, user: str | None = None) -> tuple[Finding, ...]:
        """Return the diagnosis of one look, as `pgtop diagnose` takes it."""
        uri = self.server.uri(user=user or "postgres", database=schema.DATABASE)
        return (await examine(resolve(uri, {}, {}), 0.8, thresholds=self.thresholds)).findings

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the diagnosis here."""
        return Thresholds(compression=self.faster)

    async def settle(self) -> None:
        """Wait until the server's start is no longer news: after a restart all sessions are new."""
        young = f"now() - pg_postmaster_start_time() > interval '{STANDARD.young / self.faster + 0.1} s'"
        await wait_until(lambda: self.ask(f"SELECT {young}"), limit=30)

    async def end(self) -> None:
        """End all clients, and wait until none is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self.driver_pools:
            pool.terminate()
        for each in self._opened:
            each.terminate()
        for gateway in self._gateways.values():
            await gateway.close()
        for one in self._psycopg:
            await one.close()
        await self.ask(f"SELECT count(pg_terminate_backend(pid)) {_OTHERS}")
        await wait_until(self._is_empty, limit=20)

    async def _is_empty(self) -> bool:
        return await self.sessions() == 0


async def _forgiving(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(*GONE, psycopg.Error, ExceptionGroup):
        await work


def parameters_of(server: ThrowawayServer) -> Parameters:
    """Return the way in to a server that asks for no password."""
    return Parameters(
        admin_uri=server.socket_uri(),
        admin_password="",
        host=HOST,
        port=server.port,
        password="unused",  # noqa: S106
        version=server.version,
        slots=40,
        leak_every_seconds=1.0,
    )
