"""Statements on one connection: bounded in time and never cancelled, and prepared once where they recur.

A cancel would open a second connection.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from pgtop.concurrency import forget
from pgtop.core.outage import OutageKind
from pgtop.errors import PgtopError
from pgtop.postgres.errors.kinds import ConnectionLostError, UnreadableError, text_of
from pgtop.postgres.session.login import Connection, Session

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


_SAID: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""The errors that a server, a network or the driver reports; any other is an answer the driver can't read."""

_FATAL: Final = frozenset({"FATAL", "PANIC"})

T = TypeVar("T")


async def bounded(
    session: Session, work: Coroutine[Any, Any, T], limit_seconds: float, limit_bytes: int, label: str
) -> T:
    """Return the result of the statement.

    Raises ConnectionLostError if the connection is gone, or no answer came within the limit; UnreadableError
    if the answer is not one that a server gives. Drop the connection then, as also when this is
    cancelled. `label` is the server's, safe to print.
    """
    session.traffic.expect(limit_bytes)
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit_seconds)
    except asyncio.CancelledError:  # the loop is being closed
        task.add_done_callback(forget)
        raise
    if not task.done():
        task.add_done_callback(forget)
        raise ConnectionLostError(
            f"{label} did not answer within {limit_seconds:g} s",
            "the connection was dropped",
            OutageKind.TIMEOUT,
        )
    try:
        return task.result()
    except PgtopError:
        raise
    except Exception as error:
        if session.traffic.problem:
            raise UnreadableError(session.traffic.problem) from error
        if session.connection.is_closed() or getattr(error, "severity_en", None) in _FATAL:
            raise ConnectionLostError(
                f"the connection to {label} was lost ({text_of(error)})", "pgtop has to reconnect"
            ) from error
        if not isinstance(error, _SAID):
            raise UnreadableError(text_of(error)) from error
        raise
