"""Statements that are asked again and again: parsed and planned once for each connection."""

from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from pgtop.postgres.session.login import Connection

_GONE: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)


class Prepared:
    """The prepared statements of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        """The connection that the statements are prepared on."""
        self._statements: dict[str, PreparedStatement[asyncpg.Record]] = {}
        self._may = True

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row, or None; raises what the driver raises.

        A pooler that pgtop could not tell may give each statement to another backend, which does not know
        what was prepared: the connection is then asked in the plain way from there on.
        """
        if not self._may:
            return await self.connection.fetchrow(query, *args)
        try:
            statement = self._statements.get(query)
            if statement is None:
                # Named: the driver's unnamed statement is parsed and planned anew for each execution.
                name = f"pgtop_{len(self._statements)}"
                statement = await self.connection.prepare(query, name=name)
                self._statements[query] = statement
            return await statement.fetchrow(*args)
        except _GONE:
            self._may = False
            self._statements.clear()
            return await self.connection.fetchrow(query, *args)
