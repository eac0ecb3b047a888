"""The clients of the demo: sessions from several hosts of a pretended network, and pools that hold them.

A host is an address of the loopback, 127.0.0.2 and so on, which the socket is bound to before it connects.
"""

import asyncio
import random
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final, cast

import asyncpg

from pgtop.demo import schema
from pgtop.demo.parameters import Parameters

Habit = Callable[[asyncpg.Connection], Awaitable[None]]
"""The use that a client makes of a session."""

GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""The errors that a lost session, a refused login or a stopped server raises."""

HOME: Final = "127.0.0.1"
"""The host of clients for which it does not matter."""

CONNECT_SECONDS: Final = 10.0

_POOLS_PAUSE: Final = (0.1, 0.5)
"""A pool does not wait for long until it opens what it has lost."""

_NO_PORT_YET: Final = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT, which Python names from 3.12 on."""


def hosts(number: int, release: int = 0) -> list[str]:
    """Return the addresses of the hosts of one release of an application.

    >>> hosts(2), hosts(1, release=3)
    (['127.0.0.2', '127.0.0.3'], ['127.0.3.2'])
    """
    return [f"127.0.{release}.{2 + nth}" for nth in range(number)]


def between(shortest: float, longest: float) -> float:
    """Return a random number of seconds between two limits."""
    return random.uniform(shortest, longest)  # noqa: S311 (a pace, not a secret)


def one_of(queries: Sequence[str]) -> str:
    """Return one of the queries at random."""
    return random.choice(queries)  # noqa: S311 (variety, not a secret)


class LoopOfHost:
    """The running event loop, but its connections come from one address: the driver has no option for it."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> Any:
        """Connect as the loop does, from the address."""
        connected = await connected_from(self._address, host, port)
        return await self._loop.create_connection(factory, sock=connected)


async def connected_from(address: str, host: str, port: int) -> socket.socket:
    """Return a socket that is connected to a server from an address of this host."""
    made = socket.socket()
    try:
        made.setblocking(False)
        if sys.platform == "linux":
            # The port is then chosen together with the server's, and never one that was used a moment ago.
            made.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        made.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


class Clients:
    """The way in for all clients of the demo."""

    def __init__(self, parameters: Parameters) -> None:
        """Keep the parameters; nothing is opened yet."""
        self.parameters = parameters

    async def open(self, application: str, role: str, host: str = HOME) -> asyncpg.Connection:
        """Return a new session."""
        loop = None if host == HOME else cast("asyncio.AbstractEventLoop", LoopOfHost(host))
        return await asyncpg.connect(
            host=self.parameters.host,
            port=self.parameters.port,
            user=role,
            password=self.parameters.password,
            database=schema.DATABASE,
            server_settings={"application_name": application},
            ssl=False,
            timeout=CONNECT_SECONDS,
            loop=loop,
        )

    async def keep(
        self,
        application: str,
        role: str,
        habit: Habit,
        host: str = HOME,
        *,
        goes_on: Callable[[], bool] = lambda: True,
        pause: tuple[float, float] = (1.0, 3.0),
    ) -> None:
        """Keep one session with a habit open; whenever it is lost, open it again after a pause."""
        while goes_on():
            try:
                connection = await self.open(application, role, host)
                try:
                    await habit(connection)
                finally:
                    connection.terminate()
            except GONE:
                await asyncio.sleep(between(*pause))

    async def run_once(
        self,
        application: str,
        role: str,
        statements: Sequence[str],
        number: int,
        pause: tuple[float, float],
        host: str = HOME,
    ) -> None:
        """Open a session, run some of the statements with pauses, and close it; a lost one is forgotten."""
        try:
            connection = await self.open(application, role, host)
            try:
                for _ in range(number):
                    await connection.execute(one_of(statements))
                    await rest(connection, between(*pause))
                await connection.close(timeout=CONNECT_SECONDS)
            finally:
                connection.terminate()
        except GONE:
            await asyncio.sleep(between(0.5, 1.5))


class Pool:
    """The pool of one host, which keeps all its sessions open."""

    def __init__(
        self,
        clients: Clients,
        application: str,
        role: str,
        host: str,
        size: int,
        *,
        last_first: bool = False,
    ) -> None:
        """Set up the pool. With `last_first` a request gets the session that was given back last."""
        self._clients = clients
        self._name = (application, role)
        self._host = host
        self._size = size
        self._last_first = last_first
        self._idle: list[asyncio.Future[Habit]] = []
        self._hangs = False

    async def run(self) -> None:
        """Keep the sessions open; end once the host hangs and all of them are lost."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._size):
                tasks.create_task(
                    self._clients.keep(
                        *self._name,
                        self._serve,
                        self._host,
                        goes_on=lambda: not self._hangs,
                        pause=_POOLS_PAUSE,
                    )
                )

    async def work(self, requests: Sequence[str], a_second: float) -> None:
        """Serve requests, each a statement, until the host hangs."""

        async def run(statement: str, connection: asyncpg.Connection) -> None:
            await connection.execute(statement)

        for number in count():
            if self._hangs:
                return
            statement = requests[number % len(requests)]
            self.take(lambda connection, statement=statement: run(statement, connection))  # type: ignore[misc]
            await asyncio.sleep(between(0.5, 1.5) / a_second)

    async def call(self, request: Habit, a_second: float) -> None:
        """Serve the same request again and again, until the host hangs."""
        while not self._hangs:
            self.take(request)
            await asyncio.sleep(between(0.5, 1.5) / a_second)

    def take(self, request: Habit) -> bool:
        """Give a request to an idle session; return False, and forget the request, if there is none."""
        while self._idle:
            waiting = self._idle.pop(-1 if self._last_first else 0)
            if not waiting.done():
                waiting.set_result(request)
                return True
        return False

    def hang(self) -> None:
        """Stop all work and close nothing, as a host does that crashed or was cut off."""
        self._hangs = True
        self._idle.clear()

    async def _serve(self, connection: asyncpg.Connection) -> None:
        while True:
            waiting: asyncio.Future[Habit] = asyncio.get_running_loop().create_future()
            with told_of_the_end(connection, waiting):
                self._idle.append(waiting)
                request = await waiting
            await request(connection)


@contextmanager
def told_of_the_end(connection: asyncpg.Connection, waiting: "asyncio.Future[Any]") -> Iterator[None]:
    """Let a future raise ConnectionResetError as soon as the session is terminated."""

    def note(_: object) -> None:
        if not waiting.done():
            waiting.set_exception(ConnectionResetError("the session was terminated"))

    if connection.is_closed():
        note(connection)
    connection.add_termination_listener(note)
    try:
        yield
    finally:
        connection.remove_termination_listener(note)


async def rest(connection: asyncpg.Connection, seconds: float) -> None:
    """Do nothing for a while; raise ConnectionResetError as soon as the session is terminated meanwhile."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with told_of_the_end(connection, waiting):
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            return


async def browse(connection: asyncpg.Connection) -> None:
    """Look at one page of the shop after the other."""
    while True:
        await connection.execute(one_of(schema.WEB))
        await rest(connection, between(0.1, 0.9))
