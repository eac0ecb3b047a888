"""Targets and connections on the suite's servers."""

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import psutil
import pytest

from pgtop.core.outage import OutageKind
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import ConnectError, PgtopError
from pgtop.exit_codes import ExitCode
from pgtop.postgres.conninfo.rescue_role import with_rescue
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import FullError, outage
from pgtop.postgres.session.own_connection import OwnConnection
from tests.servers import wait_until_sync


def target_of(server: ThrowawayServer, options: str = "", *, user: str = "postgres", **flags: str) -> Target:
    """A target on a server, over TCP; `options` are further parameters of its URI."""
    uri = server.uri(user=user)
    return resolve(f"{uri}?{options}", flags, {"HOME": "/nonexistent"})


@asynccontextmanager
async def connection_on(target: Target, face: str = "test") -> AsyncIterator[OwnConnection]:
    """A connection that is held, and given up at the end."""
    own_connection = OwnConnection(target, face)
    try:
        await own_connection.take()
        yield own_connection
    finally:
        await own_connection.release()


async def refusal(target: Target) -> PgtopError:
    """The error of connecting."""
    own_connection = OwnConnection(target, "test")
    try:
        await own_connection.take()
    except PgtopError as error:
        assert not own_connection.is_held
        return error
    finally:
        await own_connection.release()
    raise AssertionError("a connection was made")


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of the loopback where somebody listens, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Gives each name these addresses; returns the names that are asked for from now on."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs until the block is left."""
    os.kill(pid, signal.SIGSTOP)
    # It runs once more to stop, which whoever looks whether it has run must not meet.
    # One that was just ending is a zombie for good where its parent is stopped too: it runs no more.
    wait_until_sync(lambda: psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def is_told(error: PgtopError, kind: str, *said: str) -> None:
    """Whether an error is one that a person can act on, and the outage that follows from it."""
    assert isinstance(error, FullError if kind == OutageKind.FULL else ConnectError)
    assert error.exit_code == (ExitCode.FULL if kind == OutageKind.FULL else ExitCode.CANNOT_CONNECT)
    assert error.mend
    assert str(error).isprintable()
    for each in said:
        assert each in str(error)
    value = outage(error)
    assert value.kind == kind
    assert value.message == str(error)


def rescued(server: ThrowawayServer, user: str = "watcher", rescue: str = "user=postgres") -> Target:
    """A target of one role on a server, with a rescue role beside it."""
    return with_rescue(target_of(server, user=user), rescue, "--rescue", {"HOME": "/nonexistent"})
