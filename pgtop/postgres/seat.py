"""The seat: the one connection that pgtop takes, holds, and never lets go while it runs.

One statement at a time. What was begun is never cancelled, since a cancel opens a second connection: where
its asker has gone, it is answered to nobody; where no answer comes within its limit, the connection is
dropped, and the server's own limits end the statement.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import asyncpg

from pgtop.core.activity import PGTOP_PREFIX
from pgtop.core.text import printable
from pgtop.postgres.faults import DRIVER_ERRORS, SeatLostError
from pgtop.postgres.login import STATEMENT_TIMEOUT_SECONDS, Connection, Session, log_in
from pgtop.postgres.outages import TIMEOUT
from pgtop.postgres.target import Target

LIMIT_SECONDS: Final = STATEMENT_TIMEOUT_SECONDS + 1.0
"""How long a statement is waited for, unless told otherwise: a little longer than the server lets it run, so
that a slow statement doesn't cost the connection."""

_GOODBYE_SECONDS: Final = 0.25
_LONGEST_NAME: Final = 63
_FATAL: Final = frozenset({"FATAL", "PANIC"})

T = TypeVar("T")


def seat_name(face: str, host: str) -> str:
    """The application_name of a seat: at most 63 ASCII characters, no matter the host's name.

    >>> seat_name("dashboard", "jump1")
    'pgtop dashboard@jump1'
    """
    name = f"{PGTOP_PREFIX}{face}@{host}"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)[:_LONGEST_NAME]


class Seat:
    """One connection to a target, for one face (`dashboard`, `snapshot`, `reap`, `daemon`, …)."""

    def __init__(self, target: Target, face: str, *, unset: frozenset[str] = frozenset()) -> None:
        """Nothing is connected yet. `unset` are settings that the session leaves as the server gives them."""
        self.target = target
        """Where the seat is; a new one counts from the next `take`."""
        self.application_name = seat_name(face, socket.gethostname())
        """`pgtop <face>@<host>`: how one pgtop knows another."""
        self._unset = unset
        self._session: Session | None = None
        self._last: Session | None = None
        self._lock = asyncio.Lock()

    @property
    def is_held(self) -> bool:
        """True while there is a connection to ask on."""
        return self._session is not None and not self._session.connection.is_closed()

    @property
    def own_pid(self) -> int:
        """The process id of the seat's backend; 0 before the first `take`."""
        return self._last.own_pid if self._last else 0

    @property
    def pooled(self) -> bool:
        """True where a pooler sits in between: what answers is then not always the same backend."""
        return self._last.pooled if self._last else False

    @property
    def address(self) -> tuple[str, int]:
        """Host (or socket directory) and port in use; of the first host before the first `take`."""
        endpoint = self._last.endpoint if self._last else self.target.endpoints[0]
        return endpoint.host, endpoint.port

    async def take(self) -> None:
        """Connects, unless the seat is held.

        Raises FullError where the server has no slot left, and ConnectError for all else, within the
        target's `connect_timeout_seconds`.
        """
        async with self._lock:
            if not self.is_held:
                self.drop()
                self._session = self._last = await log_in(self.target, self.application_name, self._unset)

    async def fetch(
        self, query: str, *args: object, limit_seconds: float = LIMIT_SECONDS
    ) -> list[asyncpg.Record]:
        """All rows of one statement, in a transaction of its own.

        Raises SeatLostError where the connection is gone, or no answer came within the limit, and
        asyncpg.PostgresError where the server refuses the statement and the seat is still held.
        """
        return await self._ask(lambda connection: connection.fetch(query, *args), limit_seconds)

    async def fetchrow(
        self, query: str, *args: object, limit_seconds: float = LIMIT_SECONDS
    ) -> asyncpg.Record | None:
        """The first row of one statement, or None. Raises as `fetch` does."""
        return await self._ask(lambda connection: connection.fetchrow(query, *args), limit_seconds)

    async def release(self) -> None:
        """Says goodbye to the server, or drops the connection where it is busy or doesn't answer."""
        session, self._session = self._session, None
        if session is None:
            return
        try:
            if not self._lock.locked():
                with contextlib.suppress(*DRIVER_ERRORS):
                    await session.connection.close(timeout=_GOODBYE_SECONDS)
        finally:
            session.connection.terminate()

    def drop(self) -> None:
        """Ends the connection at once, without waiting for anything."""
        session, self._session = self._session, None
        if session is not None:
            session.connection.terminate()

    def _held(self) -> Connection:
        session = self._session
        if session is None or session.connection.is_closed():
            self.drop()
            raise SeatLostError(f"the connection to {self._label} was lost", "it has to be taken again")
        return session.connection

    @property
    def _label(self) -> str:
        return (self._last.endpoint if self._last else self.target.endpoints[0]).label

    async def _ask(self, work: Callable[[Connection], Coroutine[Any, Any, T]], limit: float) -> T:
        """Runs one statement when its turn comes; an asker that goes away meanwhile doesn't cost the seat."""
        await self._lock.acquire()
        try:
            connection = self._held()
        except SeatLostError:
            self._lock.release()
            raise
        # A task of its own, so that a caller's cancellation never reaches the driver, which would cancel.
        asked = asyncio.ensure_future(self._bounded(connection, work(connection), limit))
        asked.add_done_callback(lambda _: self._lock.release())
        return await asyncio.shield(asked)

    async def _bounded(self, connection: Connection, work: Coroutine[Any, Any, T], limit: float) -> T:
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=limit)
        except asyncio.CancelledError:  # the loop is being closed
            self.drop()
            task.add_done_callback(_forget)
            raise
        if not task.done():
            self.drop()
            task.add_done_callback(_forget)
            raise SeatLostError(
                f"{self._label} did not answer within {limit:g} s", "the connection was dropped", TIMEOUT
            )
        try:
            return task.result()
        except DRIVER_ERRORS as error:
            if connection.is_closed() or _is_fatal(error):
                self.drop()
                text = printable(str(error)) or type(error).__name__
                raise SeatLostError(
                    f"the connection to {self._label} was lost ({text})", "it has to be taken again"
                ) from error
            raise


def _is_fatal(error: BaseException) -> bool:
    return getattr(error, "severity_en", None) in _FATAL


def _forget(task: "asyncio.Task[Any]") -> None:
    """Takes note of what became of a statement that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
