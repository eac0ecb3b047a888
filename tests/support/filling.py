"""Helpers that fill a server: with sessions, or with clients that stall in their login or never begin it."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import pytest

from pgtop.demo.server import HOST, ThrowawayServer
from tests.servers import Role, close, session

PROTOCOL_3 = 196_608

FIRST_PACKET = struct.pack("!ii", 41, PROTOCOL_3) + b"user\0postgres\0database\0postgres\0\0"
"""The superuser's."""

THREE_SLOTS = {"max_connections": "6", "superuser_reserved_connections": "3"}
SEVENTEEN_SLOTS = {"max_connections": "20", "superuser_reserved_connections": "3"}
"""Over the line from 14 sessions on."""
TWENTY_SLOTS = {"max_connections": "23", "superuser_reserved_connections": "3"}
"""On the line with 16 sessions."""


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
    with socket.create_connection((HOST, port)) as client:
        client.sendall(_first_packet(parameters))
        yield client


@contextmanager
def stalled_over_socket(server: ThrowawayServer, **parameters: str) -> Iterator[socket.socket]:
    """The same over the server's Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{server.socket_dir}/.s.PGSQL.{server.port}")
        client.sendall(_first_packet(parameters))
        yield client


def _first_packet(parameters: dict[str, str]) -> bytes:
    said = {"user": "postgres", "database": "postgres", **parameters}
    words = b"".join(word.encode() + b"\0" for pair in said.items() for word in pair) + b"\0"
    return struct.pack("!ii", len(words) + 8, PROTOCOL_3) + words


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


OTHER_HOST = "127.0.0.2"
"""Another address of this host, where a server of a test may listen too."""

_LOCAL_PORT_RANGE = 51
_NO_PORT_YET = 24


def twin(port: int, client_port: int) -> socket.socket:
    """A connection to the server's other address, from the very address and port of another client.

    Any user may have one. The kernel chooses the port when it connects, among the only one that it may take.
    """
    one = socket.socket()
    try:
        one.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        one.setsockopt(socket.IPPROTO_IP, _LOCAL_PORT_RANGE, struct.pack("=HH", client_port, client_port))
    except OSError:
        one.close()
        pytest.skip("needs Linux 6.3 or newer")
    one.bind((HOST, 0))
    one.connect((OTHER_HOST, port))
    assert one.getsockname() == (HOST, client_port)
    return one


@contextmanager
def walsender(server: ThrowawayServer, kind: str) -> Iterator[int]:
    """A replication connection that has begun nothing; gives the pid of its backend."""
    mark = b"K\0\0\0\x0c"
    with stalled_login(server.port, replication=kind) as client:
        said = b""
        while len(said.partition(mark)[2]) < 8:
            said += client.recv(4096)
        yield int.from_bytes(said.partition(mark)[2][:4], "big")


@contextmanager
def socket_open_to_others(server: ThrowawayServer) -> Iterator[str]:
    """The path of the server's Unix socket, which every user may reach meanwhile, as Debian's may be."""
    modes = {
        place: place.stat().st_mode
        for place in (server.socket_dir, server.socket_dir.parent, server.socket_dir.parent.parent)
    }
    try:
        for place, mode in modes.items():
            place.chmod(mode | 0o011)
        yield f"{server.socket_dir}/.s.PGSQL.{server.port}"
    finally:  # the next test gets this server too
        for place, mode in modes.items():
            place.chmod(mode)


_SILENT_PROCESS = """
import ctypes, encodings.idna, os, socket, sys
where, first_packet, uid, keeps_rank, is_apart = sys.argv[1:6]
os.setgroups([])
if int(is_apart) and ctypes.CDLL(None).unshare(0x40000000):
    sys.exit("no network of its own")
(os.seteuid if int(keeps_rank) else os.setuid)(int(uid))
if where.isdecimal():
    one = socket.create_connection(("127.0.0.1", int(where)))
else:
    one = socket.socket(socket.AF_UNIX)
    one.connect(where)
os.seteuid(0 if int(keeps_rank) else int(uid))
one.sendall(bytes.fromhex(first_packet))
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def silent_process(
    name: str,
    where: int | str,
    first_packet: bytes = b"",
    uid: int = 0,
    *,
    keeps_rank: bool = False,
    is_apart: bool = False,
) -> Iterator[int]:
    """A process that calls itself `name`, connects to a port or a Unix socket, and stays; gives its pid.

    The connection is made by the user; the process is that user's too, unless it keeps its rank: it is then
    like one of root's that was handed the connection. One that is apart is in a network of its own, as in a
    container. Root alone can start one.
    """
    command = [name, "-c", _SILENT_PROCESS, str(where), first_packet.hex(), str(uid)]
    command += [str(int(flag)) for flag in (keeps_rank, is_apart)]
    home = {**os.environ, "PYTHONHOME": sys.base_prefix}  # by that name it would not find its own library
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, executable=sys.executable, env=home, cwd="/", **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process.pid
