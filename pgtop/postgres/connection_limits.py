"""The CONNECTION LIMITs of a server's roles and databases, read now and then over the held connection."""

import math
from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import MOST_CONNECTIONS, ConnectionLimit
from pgtop.core.server_encodings import UTF8
from pgtop.postgres.errors.network_and_driver import NOT_TEXT
from pgtop.postgres.queries.connection_limits import CONNECTION_LIMITS, CONNECTION_LIMITS_UNCONVERTED
from pgtop.postgres.row_decoding import MARGIN, decoded
from pgtop.postgres.session.own_connection import OwnConnection

READ_EVERY_SECONDS: Final = 10.0
"""Seconds for which limits count as known: somebody may raise one during an incident."""
_decoder = msgspec.json.Decoder(tuple[ConnectionLimit, ...])


class KnownLimits:
    """The CONNECTION LIMITs of the roles and databases that have sessions."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self._own_connection = own_connection
        self._limits: tuple[ConnectionLimit, ...] = ()
        self._read_at = -math.inf

    def forget(self) -> None:
        """Read them anew for the next poll: it may be of another server."""
        self._limits, self._read_at = (), -math.inf

    async def at(self, clock: float) -> tuple[ConnectionLimit, ...]:
        """Return the limits as they were at most READ_EVERY_SECONDS before `clock` (seconds, monotonic).

        They are none where the role may not read them. Raises what the connection raises.
        """
        if clock - self._read_at >= READ_EVERY_SECONDS:
            try:
                self._limits = await self._read()
                self._read_at = clock
            except asyncpg.InsufficientPrivilegeError:
                # Each refusal is a line in the server's log: it is not asked again over this connection.
                self._limits, self._read_at = (), math.inf
        return self._limits

    async def _read(self) -> tuple[ConnectionLimit, ...]:
        encoding = UTF8
        try:
            row = await self._own_connection.fetchrow(CONNECTION_LIMITS)
        except NOT_TEXT:
            row = await self._own_connection.fetchrow(CONNECTION_LIMITS_UNCONVERTED)
            encoding = self._own_connection.encoding
        return decoded(row and row.get("limits"), _decoder, 2 * (MOST_CONNECTIONS + MARGIN), encoding)
