"""The servers of the suite: which PostgreSQL versions are at hand, and how a test talks to one.

`python -m tests.servers fetch` brings the versions that the machine lacks into `.servers/`.
"""

import asyncio
import inspect
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import asyncpg

from pgtop.demo.binaries import OLDEST_VERSION, VARIABLE, all_binaries, find_binaries, major_version
from pgtop.demo.clients import LoopOfHost
from pgtop.demo.server import SUPERUSER, ThrowawayServer
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS

REPOSITORY = Path(__file__).parent.parent
FETCHED = REPOSITORY / ".servers"
"""The place where `fetch` puts a version: `.servers/<major>/bin`."""

SERVERS_VARIABLE = "PGTOP_TEST_SERVERS"
"""Bin directories, separated as PATH is, that beat what else is found of the same version."""

SERVER_VARIABLE = "PGTOP_TEST_PG"
"""The bin directory, or the major version, of the server that most tests run on."""

NEWEST_VERSION = 18

WAIT_SECONDS = 30.0
"""The usual limit of a wait: a machine that is busy with four workers takes its time."""

_BETWEEN_LOOKS_SECONDS = 0.02
_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 5.0

Result = TypeVar("Result")


def available() -> dict[int, Path]:
    """A bin directory for each major version at hand, oldest first. Starts no server."""
    return dict(_available(*(os.environ.get(name, "") for name in (SERVERS_VARIABLE, VARIABLE, "PATH"))))


@cache
def _available(*_: str) -> dict[int, Path]:
    """Look for them once for each value of the variables that say where; modules ask by the hundred."""
    named = [Path(one) for one in os.environ.get(SERVERS_VARIABLE, "").split(os.pathsep) if one]
    fetched = sorted(FETCHED.glob("*/bin"))
    found = [(major_version(path), path) for path in (*named, *fetched)] + [*all_binaries()]
    newest_last: dict[int, Path] = {}
    for version, path in found:
        if version is not None and OLDEST_VERSION <= version <= NEWEST_VERSION:
            newest_last.setdefault(version, path)
    return dict(sorted(newest_last.items()))


def default_binaries() -> Path:
    """The bin directory that most tests run on: `$PGTOP_TEST_PG`, or the newest at hand."""
    asked_for = os.environ.get(SERVER_VARIABLE, "")
    at_hand = available()
    if asked_for.isdecimal():
        return at_hand[int(asked_for)]
    if asked_for:
        return Path(asked_for)
    return at_hand[max(at_hand)] if at_hand else find_binaries()


class ServerPool:
    """Start one server a version when it is first asked for, and keep it until the end."""

    def __init__(self) -> None:
        self._servers: dict[Path, ThrowawayServer] = {}

    def get(self, bin_dir: Path) -> ThrowawayServer:
        """The pool's server of these programs, running."""
        if bin_dir not in self._servers:
            settings = {"max_connections": "100", "superuser_reserved_connections": "3"}
            server = ThrowawayServer(bin_dir, settings=settings)
            server.start()
            self._servers[bin_dir] = server
        server = self._servers[bin_dir]
        server.start()  # a test may have stopped it
        return server

    def close(self) -> None:
        """Ends them all."""
        while self._servers:
            _, server = self._servers.popitem()
            server.close()


@asynccontextmanager
async def session(
    server: ThrowawayServer,
    *,
    application_name: str = "test",
    user: str = SUPERUSER,
    database: str = "postgres",
    password: str | None = None,
    over_socket: bool = False,
    from_address: str = "",
    **settings: str,
) -> AsyncIterator[asyncpg.Connection]:
    """One open session, of a given name, user and database; closed at the end, whatever became of it.

    `from_address` is the loopback address that it comes from, `""` for the usual one.
    """
    loop = cast("asyncio.AbstractEventLoop", LoopOfHost(from_address)) if from_address else None
    connection = await asyncpg.connect(
        server.socket_uri(user=user, database=database)
        if over_socket
        else server.uri(user=user, database=database, password=password),
        server_settings={"application_name": application_name, **settings},
        ssl=False,
        timeout=_CONNECT_SECONDS,
        loop=loop,
    )
    try:
        yield connection
    finally:
        await close(connection)


@asynccontextmanager
async def sessions(
    server: ThrowawayServer, count: int, **options: Any
) -> AsyncIterator[list[asyncpg.Connection]]:
    """`count` open sessions alike; the options are those of `session`."""
    async with AsyncExitStack() as stack:
        opening = [session(server, **options) for _ in range(count)]
        yield [await stack.enter_async_context(one) for one in opening]


async def close(connection: asyncpg.Connection) -> None:
    """Closes a connection, also one whose backend was ended or stopped."""
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except DRIVER_ERRORS:
        connection.terminate()


async def fetch_value(server: ThrowawayServer, query: str, *arguments: object) -> object:
    """The first value of a query, asked by the superuser in a session of its own."""
    async with session(server, application_name="test admin") as connection:
        return await connection.fetchval(query, *arguments)


async def execute(server: ThrowawayServer, *statements: str, database: str = "postgres") -> None:
    """Run statements as the superuser, each on its own, in a session of their own."""
    async with session(server, application_name="test admin", database=database) as connection:
        for statement in statements:
            await connection.execute(statement)


async def wait_until(predicate: Callable[[], Any], limit: float = WAIT_SECONDS, complaint: str = "") -> Any:
    """Looks, by a plain or an async predicate, until it gives something true, and returns that."""
    deadline = time.monotonic() + limit
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(complaint or f"still {value!r} after {limit} s")
        await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)


def wait_until_sync(
    predicate: Callable[[], Result], limit: float = WAIT_SECONDS, complaint: str = ""
) -> Result:
    """The same where no event loop runs."""
    deadline = time.monotonic() + limit
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(complaint or f"still {value!r} after {limit} s")
        time.sleep(_BETWEEN_LOOKS_SECONDS)
    return value


@dataclass(frozen=True)
class Role:
    """A login role of a test server."""

    name: str
    password: str
    server: ThrowawayServer

    def uri(self, database: str = "postgres") -> str:
        """A connection URI over TCP with the password in it."""
        return self.server.uri(user=self.name, database=database, password=self.password)


KINDS: dict[str, Sequence[str]] = {
    "superuser": (),
    "plain": (),
    "monitor": ("pg_monitor",),
    "signal": ("pg_signal_backend",),
    "operator": ("pg_monitor", "pg_signal_backend"),
}
"""The predefined roles that each kind of role is a member of; from 16 an operator has one more."""


async def create_role(
    server: ThrowawayServer, kind: str = "plain", *, name: str | None = None, connection_limit: int = -1
) -> Role:
    """Create a login role of a kind in KINDS, with a password and a name of its own unless one is given."""
    role = Role(name or f"{kind}_{secrets.token_hex(4)}", secrets.token_hex(8), server)
    quoted = '"' + role.name.replace('"', '""') + '"'
    rank = "SUPERUSER" if kind == "superuser" else "NOSUPERUSER"
    groups = list(KINDS[kind])
    if kind == "operator" and server.version >= 16:
        groups.append("pg_use_reserved_connections")
    await execute(
        server,
        f"CREATE ROLE {quoted} LOGIN {rank} PASSWORD '{role.password}' CONNECTION LIMIT {connection_limit}",
        *(f"GRANT {group} TO {quoted}" for group in groups),
    )
    return role


if __name__ == "__main__":
    from tests.support.fetch import main

    main()
