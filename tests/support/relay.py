"""A relay before a server, on a port of its own, and all that a network can do to a connection.

It runs in the test's own event loop: what it does to data happens between two steps of the test.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.postgres.conninfo.target import Target
from tests.support.targets import target_of

_BACKLOG_FILLERS = 4


class Relay:
    """Passes connections on to one server, or to another from some moment on."""

    def __init__(self, server: ThrowawayServer) -> None:
        self._server = server
        self._flows = asyncio.Event()
        self._flows.set()
        self._discards = False
        self._listener: asyncio.Server | None = None
        self._hole: list[socket.socket] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        """Where it listens; the same from the first `listen` on."""
        self.connections = 0
        """How many it has taken so far."""

    def target(self, **options: str) -> Target:
        """How pgtop gets to the server through it."""
        return msgspec.structs.replace(target_of(self._server, **options), ports=(self.port,))

    async def listen(self) -> None:
        """Takes connections (again), and passes on what comes, and what was held."""
        self._fill_hole()
        self._discards = False
        self._flows.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def stall(self) -> None:
        """Holds all data, of the connections there are and of new ones."""
        self._flows.clear()

    def swallow(self) -> None:
        """Loses all data from now on, of the connections there are and of new ones."""
        self._discards = True

    def refuse(self) -> None:
        """Breaks all connections and takes none: nobody listens."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._break()

    def black_hole(self) -> None:
        """Answers nothing at all: data are held, and a new connection is not even refused.

        A listener whose queue is full; the kernel drops what asks for more.
        """
        self.stall()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        hole = socket.socket()
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind((HOST, self.port))
        hole.listen(0)
        self._hole = [hole]
        for _ in range(_BACKLOG_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect((HOST, self.port))
            self._hole.append(filler)

    def switch(self, server: ThrowawayServer) -> None:
        """Leads to another server from now on, and breaks all connections: a failover."""
        self._server = server
        self._break()

    def balance(self, server: ThrowawayServer) -> None:
        """Leads new connections to another server, and leaves those there are, as a balancer does."""
        self._server = server

    async def close(self) -> None:
        """Ends it, and all connections."""
        self.refuse()
        self._fill_hole()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fill_hole(self) -> None:
        for one in self._hole:
            one.close()
        self._hole.clear()

    def _break(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            await self._flows.wait()
            back_reader, back_writer = await asyncio.open_connection(HOST, self._server.port)
            self._open.add(back_writer)
            try:
                await asyncio.gather(self._pass_on(reader, back_writer), self._pass_on(back_reader, writer))
            finally:
                self._open.discard(back_writer)
                back_writer.transport.abort()
        self._open.discard(writer)
        writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._discards:
                continue
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def relay(server: ThrowawayServer) -> AsyncIterator[Relay]:
    """A relay before a server that passes everything on."""
    opened = Relay(server)
    await opened.listen()
    try:
        yield opened
    finally:
        await opened.close()
