"""What fills a server: sessions, clients that never finish their login, and clients that never say a word."""

import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from pgtop.demo.server import HOST, ThrowawayServer
from tests.servers import Role, close, session

PROTOCOL_3 = 196_608

SMALL = {"max_connections": "6", "superuser_reserved_connections": "3"}
"""Three ordinary slots."""


@asynccontextmanager
async def full(
    server: ThrowawayServer, count: int = 3, **options: Any
) -> AsyncIterator[list[asyncpg.Connection]]:
    """The ordinary slots of a server, taken by its role `app` unless the options name another."""
    options = {"user": "app", "application_name": "leaky", **options}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(session(server, **options)) for _ in range(count)]


async def leave(sessions: list[asyncpg.Connection], number: int = 2) -> None:
    """Ends some of them."""
    for _ in range(number):
        await close(sessions.pop())


@contextmanager
def stalled_login(port: int, **parameters: str) -> Iterator[socket.socket]:
    """A client that has said who it is, and never a word more, whatever it is asked."""
    said = {"user": "postgres", "database": "postgres", **parameters}
    words = b"".join(word.encode() + b"\0" for pair in said.items() for word in pair) + b"\0"
    with socket.create_connection((HOST, port)) as client:
        client.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL_3) + words)
        yield client


@contextmanager
def stalled_in_authentication(port: int, role: Role, number: int) -> Iterator[None]:
    """Clients that say who they are, are asked for the password, and never answer."""
    with ExitStack() as stack:
        for _ in range(number):
            client = stack.enter_context(stalled_login(port, user=role.name))
            assert client.recv(1) == b"R"
        yield


@contextmanager
def silent_clients() -> Iterator[list[socket.socket]]:
    """Clients that connect and say nothing: an empty list; who is put on it is closed at the end."""
    clients: list[socket.socket] = []
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def connect_silently(port: int) -> socket.socket:
    """One more client that says nothing."""
    return socket.create_connection((HOST, port))
