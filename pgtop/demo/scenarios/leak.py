"""The scenario `leak`: a worker opens a session for each job, and forgets it."""

import asyncio
import random
import sys

import asyncpg

from pgtop.demo import schema
from pgtop.demo.clients import GONE, HOME, Clients, between, browse, rest
from pgtop.demo.parameters import Parameters
from pgtop.demo.scenarios.leaky_worker import JOBS

_REPORT_SECONDS = 25
_LOCK_HELD_SECONDS = 40.0


async def play(clients: Clients) -> None:
    """Run a shop in order: pages, an API, reports, a batch; and beside it the worker that leaks.

    The idle sessions of leaky-worker become more and more, and each rests from its first statement on.
    After a sweep it leaks on.
    """
    shop = _Shop(clients)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients.parameters.web_sessions):
            tasks.create_task(clients.keep("web", "web", browse))
        for _ in range(2):
            tasks.create_task(clients.keep("reports", "reporting", shop.report))
        tasks.create_task(clients.keep("batch", "batch", shop.hold_a_row))
        tasks.create_task(clients.keep("batch", "batch", shop.wait_for_the_row))
        tasks.create_task(shop.call_the_api())
        tasks.create_task(shop.leak())


class _Keeping(Clients):
    """Clients whose connections outlive the code that forgets them.

    In an application, a cache, a traceback or a cycle of references keeps them; the garbage collector would
    close them.
    """

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._kept: list[asyncpg.Connection] = []

    async def open(self, application: str, role: str, host: str = HOME) -> asyncpg.Connection:
        connection = await super().open(application, role, host)
        self._kept.append(connection)
        return connection

    def drop_closed(self) -> None:
        """Forget the connections that the server has ended."""
        self._kept = [each for each in self._kept if not each.is_closed()]


class _Shop:
    """All habits of the shop's applications."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._row_is_held = asyncio.Event()

    async def report(self, connection: asyncpg.Connection) -> None:
        while True:
            seconds = between(_REPORT_SECONDS / 2, _REPORT_SECONDS)
            await connection.execute(schema.REPORT.format(seconds=round(seconds)))
            await rest(connection, between(1, 4))

    async def hold_a_row(self, connection: asyncpg.Connection) -> None:
        while True:
            try:
                async with connection.transaction():
                    await connection.execute(schema.BATCH_LOCK)
                    self._row_is_held.set()
                    await rest(connection, _LOCK_HELD_SECONDS)
            finally:
                self._row_is_held.clear()
            await rest(connection, between(2, 4))

    async def wait_for_the_row(self, connection: asyncpg.Connection) -> None:
        while True:
            await self._row_is_held.wait()
            await connection.execute(schema.BATCH_WAIT)
            await rest(connection, 1)

    async def call_the_api(self) -> None:
        while True:
            number = self._clients.parameters.api_sessions
            serve = self._clients.run_once
            await asyncio.gather(*(serve("api", "api", schema.API, 12, (0.1, 0.5)) for _ in range(number)))
            await asyncio.sleep(between(3, 6))

    async def leak(self) -> None:
        clients = _Keeping(self._clients.parameters)
        while True:
            try:
                await random.choice(JOBS)(clients)  # noqa: S311 (variety, not a secret)
            except GONE as error:
                # The server is full, or the session was terminated in mid-query: go on at the same pace.
                sys.stderr.write(f"leaky-worker: {error}\n")
            clients.drop_closed()
            await asyncio.sleep(between(0.5, 1.5) * self._clients.parameters.leak_every_seconds)
