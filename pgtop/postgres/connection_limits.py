"""The CONNECTION LIMITs of a server's roles and databases, read now and then over the held connection."""

import math
from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import MOST_CONNECTIONS, ConnectionLimit
from pgtop.core.server_encodings import UTF8
from pgtop.postgres.errors.network_and_driver import NOT_TEXT
from pgtop.postgres.queries import connection_limits as queries
from pgtop.postgres.row_decoding import MARGIN, decoded
from pgtop.postgres.session.own_connection import OwnConnection

READ_EVERY_SECONDS: Final = 10.0
"""Seconds for which limits count as known: somebody may raise one during an incident."""
_BOTH: Final = (queries.CONNECTION_LIMITS, queries.CONNECTION_LIMITS_UNCONVERTED)
_ONE_BY_ONE: Final = (
    (queries.ROLE_LIMITS, queries.ROLE_LIMITS_UNCONVERTED),
    (queries.DATABASE_LIMITS, queries.DATABASE_LIMITS_UNCONVERTED),
)
"""The questions of roles and of databases: of the two catalogs, only one may have been withdrawn."""
_decoder = msgspec.json.Decoder(tuple[ConnectionLimit, ...])


class KnownLimits:
    """The CONNECTION LIMITs of the roles and databases that have sessions."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self._own_connection = own_connection
        self._limits: tuple[ConnectionLimit, ...] = ()
        self._read_at = -math.inf
        self._questions: tuple[tuple[str, str], ...] = (_BOTH,)

    def forget(self) -> None:
        """Read them anew for the next poll: it may be of another server."""
        self._limits, self._read_at = (), -math.inf
        self._questions = (_BOTH,)

    async def at(self, clock: float) -> tuple[ConnectionLimit, ...]:
        """Return the limits as they were at most READ_EVERY_SECONDS before `clock` (seconds, monotonic).

        Those that the role may not read are left out. Raises what the connection raises.
        """
        if clock - self._read_at >= READ_EVERY_SECONDS:
            found: tuple[ConnectionLimit, ...] = ()
            for question in self._questions:
                try:
                    found += await self._read(*question)
                except asyncpg.InsufficientPrivilegeError:
                    # Each refusal is a line in the server's log: it is not asked again over this connection.
                    self._questions = tuple(each for each in self._questions if each != question)
                    if question == _BOTH:
                        self._questions = _ONE_BY_ONE
                        return await self.at(clock)
            self._limits = found
            self._read_at = clock if self._questions else math.inf
        return self._limits

    async def _read(self, query: str, unconverted: str) -> tuple[ConnectionLimit, ...]:
        encoding = UTF8
        try:
            row = await self._own_connection.fetchrow(query)
        except NOT_TEXT:
            row = await self._own_connection.fetchrow(unconverted)
            encoding = self._own_connection.encoding
        return decoded(row and row.get("limits"), _decoder, 2 * (MOST_CONNECTIONS + MARGIN), encoding)
