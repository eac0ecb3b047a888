"""The demo's workload: owns real sessions with habits of their own, one of which leaks.

It runs as a process of its own (`python -m pgtop.demo.workload`). Its parameters are the first line of its
stdin, as JSON; it prints `ready` once the shop is set up, and ends when its stdin does. Terminated
sessions come back after a pause, except those of the leaky worker, which has forgotten them.
"""

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import msgspec

from pgtop.demo import schema


class Parameters(msgspec.Struct, frozen=True):
    """The message that the process gets on its stdin."""

    admin_uri: str
    """The superuser's login, to set up the shop."""
    admin_password: str
    """The superuser's password, if one is asked for."""
    host: str
    port: int
    password: str
    """The password of every role but the superuser."""
    version: int
    """The server's major version."""
    slots: int
    """The number of slots that ordinary roles can use; the pools are sized by it."""
    leak_every_seconds: float

    @property
    def web_sessions(self) -> int:
        """The size of the web server's pool."""
        return max(2, min(8, self.slots // 6))

    @property
    def api_sessions(self) -> int:
        """The number of sessions that a burst of the API takes."""
        return max(2, min(5, self.slots // 10))


Habit = Callable[[asyncpg.Connection], Awaitable[None]]

GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""The errors that a lost session, a refused login or a stopped server raises."""

_CONNECT_SECONDS = 10.0
_REPORT_SECONDS = 25
_LOCK_HELD_SECONDS = 40.0


def between(shortest: float, longest: float) -> float:
    """Return a random number of seconds between two limits."""
    return random.uniform(shortest, longest)  # noqa: S311 (a pace, not a secret)


def one_of(queries: Sequence[str]) -> str:
    """Return one of the queries at random."""
    return random.choice(queries)  # noqa: S311 (variety, not a secret)


class Workload:
    """All sessions of the demo."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._row_is_held = asyncio.Event()
        self._forgotten: list[asyncpg.Connection] = []
        """The leaked connections, kept from the garbage collector, which would close them."""

    async def run(self) -> None:
        """Work until the process ends."""
        pool = self._parameters.web_sessions
        async with asyncio.TaskGroup() as tasks:
            for _ in range(pool):
                tasks.create_task(self._keep("web", "web", self._browse))
            for _ in range(2):
                tasks.create_task(self._keep("reports", "reporting", self._report))
            tasks.create_task(self._keep("batch", "batch", self._hold_a_row))
            tasks.create_task(self._keep("batch", "batch", self._wait_for_the_row))
            tasks.create_task(self._burst())
            tasks.create_task(self._leak())

    async def _open(self, application: str, role: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=self._parameters.host,
            port=self._parameters.port,
            user=role,
            password=self._parameters.password,
            database=schema.DATABASE,
            server_settings={"application_name": application},
            ssl=False,
            timeout=_CONNECT_SECONDS,
        )

    async def _keep(self, application: str, role: str, habit: Habit) -> None:
        """Keep one session with a habit open; whenever it is lost, open it again after a pause."""
        while True:
            try:
                connection = await self._open(application, role)
                try:
                    await habit(connection)
                finally:
                    connection.terminate()
            except GONE:
                await asyncio.sleep(between(1, 3))

    async def _browse(self, connection: asyncpg.Connection) -> None:
        while True:
            await connection.execute(one_of(schema.WEB))
            await rest(connection, between(0.1, 0.9))

    async def _report(self, connection: asyncpg.Connection) -> None:
        while True:
            seconds = between(_REPORT_SECONDS / 2, _REPORT_SECONDS)
            await connection.execute(schema.REPORT.format(seconds=round(seconds)))
            await rest(connection, between(1, 4))

    async def _hold_a_row(self, connection: asyncpg.Connection) -> None:
        while True:
            try:
                async with connection.transaction():
                    await connection.execute(schema.BATCH_LOCK)
                    self._row_is_held.set()
                    await rest(connection, _LOCK_HELD_SECONDS)
            finally:
                self._row_is_held.clear()
            await rest(connection, between(2, 4))

    async def _wait_for_the_row(self, connection: asyncpg.Connection) -> None:
        while True:
            await self._row_is_held.wait()
            await connection.execute(schema.BATCH_WAIT)
            await rest(connection, 1)

    async def _burst(self) -> None:
        while True:
            calls = (self._serve_calls() for _ in range(self._parameters.api_sessions))
            await asyncio.gather(*calls)
            await asyncio.sleep(between(3, 6))

    async def _serve_calls(self) -> None:
        try:
            connection = await self._open("api", "api")
            try:
                for _ in range(12):
                    await connection.execute(one_of(schema.API))
                    await rest(connection, between(0.1, 0.5))
                await connection.close(timeout=_CONNECT_SECONDS)
            finally:
                connection.terminate()
        except GONE:
            await asyncio.sleep(between(0.5, 1.5))

    async def _leak(self) -> None:
        while True:
            try:
                connection = await self._open("leaky-worker", "worker")
                self._forgotten.append(connection)
                await connection.execute(one_of(schema.LEAK))
            except GONE as error:
                # The server is full, or the session was terminated in mid-query: go on at the same pace.
                sys.stderr.write(f"leaky-worker: {error}\n")
            self._forgotten = [one for one in self._forgotten if not one.is_closed()]
            await asyncio.sleep(self._parameters.leak_every_seconds)


async def rest(connection: asyncpg.Connection, seconds: float) -> None:
    """Do nothing for a while; raise ConnectionResetError as soon as the session is terminated meanwhile."""
    lost = asyncio.Event()

    def note(_: object) -> None:
        lost.set()

    connection.add_termination_listener(note)
    try:
        if not connection.is_closed():
            async with asyncio.timeout(seconds):
                await lost.wait()
    except TimeoutError:
        return
    finally:
        connection.remove_termination_listener(note)
    raise ConnectionResetError("the session was terminated")


async def set_up(parameters: Parameters) -> None:
    """Create roles, database and tables."""
    admin = await _as_superuser(parameters, None)
    try:
        for statement in schema.role_statements(parameters.password, parameters.version):
            await admin.execute(statement)
        await admin.execute(f"CREATE DATABASE {schema.DATABASE}")
    finally:
        await admin.close()
    owner = await _as_superuser(parameters, schema.DATABASE)
    try:
        await owner.execute(schema.TABLES)
    finally:
        await owner.close()


async def _as_superuser(parameters: Parameters, database: str | None) -> asyncpg.Connection:
    return await asyncpg.connect(
        parameters.admin_uri,
        database=database,
        # The socket asks for no password. A server that another user put in its place is told this one, which
        # opens nothing else, and not one that the driver would find in the environment or a password file.
        password=parameters.admin_password,
        passfile=os.devnull,
        ssl=False,
        timeout=_CONNECT_SECONDS,
    )


def end_with_stdin() -> None:
    """End this process as soon as its parent ends, whatever it is doing."""
    sys.stdin.buffer.read()
    os._exit(0)


async def work(parameters: Parameters) -> None:
    """Set up the shop, print `ready`, and run the workload."""
    await set_up(parameters)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await Workload(parameters).run()


def main() -> None:
    """Run the workload until stdin ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the parent in the terminal, which ends this process
    parameters = msgspec.json.decode(sys.stdin.buffer.readline(), type=Parameters)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    asyncio.run(work(parameters))


if __name__ == "__main__":
    main()
