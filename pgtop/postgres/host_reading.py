"""The server of a connection as its own host shows it, if that is this one: who else holds a slot?

Every poll asks, so that all faces count the same. Where the host is another one, or closed to this user,
nothing is known, and only a refused login tells of such slots.
"""

import asyncio
import sys
import time
from typing import Final

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import Snapshot
from pgtop.errors import Peer, PgtopError
from pgtop.postgres.conninfo.target import Endpoint
from pgtop.postgres.host.server_at_address import server_at
from pgtop.postgres.host.unlisted_clients import UnlistedClients
from pgtop.postgres.session.own_connection import OwnConnection

READ_SECONDS: Final = 2.0
"""The longest time that a poll waits for the host."""

AGAIN_SECONDS: Final = 60.0
"""Seconds before a host that could not be read is tried again."""


class HostReading:
    """The reading of the host that the server of one connection may run on."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self._own_connection = own_connection
        self._clients: UnlistedClients | None = None
        self._rests_until = 0.0
        self._peer: Peer | None = None

    def forget(self) -> None:
        """Look for the server again at the next reading, since the connection is a new one."""
        self._clients, self._rests_until = None, 0.0

    async def unlisted(self, snapshot: Snapshot) -> int:
        """Return the number of clients that hold a slot and are not in a snapshot just taken."""
        listed = frozenset(backend.pid for backend in snapshot.backends)
        return await self.beside(listed, snapshot.taken_at) or 0

    async def beside(self, listed: frozenset[int], listed_at: int) -> int | None:
        """Return the number of clients that hold a slot and are not among the `listed` pids.

        `listed_at` is the time of the list, in microseconds by the server's clock. None if the host cannot be
        read within READ_SECONDS. Never raises for what a host can do.
        """
        own_connection = self._own_connection
        if own_connection.peer != self._peer:
            self._peer = own_connection.peer
            self.forget()
        if sys.platform != "linux" or own_connection.pooled or time.monotonic() < self._rests_until:
            return None
        endpoint, own_pid, clients = own_connection.here.endpoints[0], own_connection.own_pid, self._clients
        self._rests_until = time.monotonic() + AGAIN_SECONDS  # unless it succeeds

        def read() -> tuple[UnlistedClients, int] | None:
            found = clients or _clients_at(endpoint, own_pid)
            return None if found is None else (found, found.number(listed, own_pid, listed_at))

        try:
            async with asyncio.timeout(READ_SECONDS):
                answer = await unawaited_at_exit(read)
        except (TimeoutError, PgtopError, OSError, ValueError, RuntimeError):
            self._clients = None
            return None
        if answer is None:
            return None
        self._rests_until = 0.0
        self._clients, number = answer
        return number


def _clients_at(endpoint: Endpoint, session: int) -> UnlistedClients | None:
    server = server_at(endpoint, session)
    return None if server is None else UnlistedClients(server)
