"""The seat: the one connection that pgtop takes, holds, and never lets go while it runs.

One statement at a time. What was begun is never cancelled, since a cancel opens a second connection: where
its asker has gone, it is answered to nobody; where no answer comes within its limit, the connection is
dropped, and the server's own limits end the statement.

Where the ordinary role is refused for want of a slot, the rescue role takes the seat, and gives it back as
soon as the ordinary one gets in.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import asyncpg
from msgspec.structs import replace

from pgtop.core.activity import PGTOP_PREFIX
from pgtop.core.refusal import Limit
from pgtop.core.text import printable
from pgtop.errors import FullError, PgtopError
from pgtop.postgres.faults import DRIVER_ERRORS, SeatLostError
from pgtop.postgres.login import STATEMENT_TIMEOUT_SECONDS, Connection, Session, log_in, say_goodbye
from pgtop.postgres.outages import (
    REFUSED,
    RETRY_AFTER_SECONDS,
    TIMEOUT,
    LimitReachedError,
    refusing_limit,
)
from pgtop.postgres.prepared import Prepared
from pgtop.postgres.target import Target
from pgtop.postgres.tls import Pins
from pgtop.postgres.tries import Tries

LIMIT_SECONDS: Final = STATEMENT_TIMEOUT_SECONDS + 1.0
"""How long a statement is waited for, unless told otherwise: a little longer than the server lets it run, so
that a slow statement doesn't cost the connection."""

_GOODBYE_SECONDS: Final = 0.25
_GIVE_BACK_SECONDS: Final = 2.0
"""How long the ordinary login is waited for while the rescue role's session does the work."""
_RESCUE_MEND: Final = "check what --rescue, PGTOP_RESCUE or the file's rescue names"
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

    def __init__(
        self,
        target: Target,
        face: str,
        *,
        unset: frozenset[str] = frozenset(),
        hides_queries: bool = False,
    ) -> None:
        """Nothing is connected yet. `unset` are settings that the session leaves as the server gives them."""
        self.hides_queries = hides_queries
        """Whether whoever asks on this seat leaves the statements of others where they are."""
        self.target = target
        """Where the seat is; a new one counts from the next `take`."""
        self.application_name = seat_name(face, socket.gethostname())
        """`pgtop <face>@<host>`: how one pgtop knows another."""
        self.tries = Tries()
        """The logins refused for want of a slot since the seat was last held."""
        self.pause_seconds = 0.0
        """How long to wait after such a refusal before the seat is asked for again."""
        self.refused: Limit | None = None
        """What refused the ordinary role's last login; None where that got in."""
        self.is_rescue = False
        """True where the last session is the rescue role's."""
        self.rescue_fault: PgtopError | None = None
        """Why the rescue role did not get in at its last login, where not for want of one of the server's
        slots."""
        self._rescue_rests_until = 0.0
        self._unset = unset
        self._session: Session | None = None
        self._last: Session | None = None
        self._prepared: Prepared | None = None
        self._lock = asyncio.Lock()
        self._steady = 0
        self._refusals = 0
        self._pins: Pins = {}
        self._rescue_pins: Pins = {}

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
    def role(self) -> str:
        """The role of the last session; the ordinary one before the first `take`."""
        return self._last.role if self._last else self.target.user

    @property
    def address(self) -> tuple[str, int]:
        """Host (or socket directory) and port in use; of the first host before the first `take`."""
        endpoint = self._last.endpoint if self._last else self.target.endpoints[0]
        return endpoint.host, endpoint.port

    async def take(self) -> None:
        """Connects, unless the seat is held: as the rescue role where the ordinary one finds no slot.

        Raises FullError where the server has no slot left, LimitReachedError for a role's or a database's
        own limit, and ConnectError for all else, within the target's `connect_timeout_seconds` for each of
        the two roles.
        """
        async with self._lock:
            if self.is_held:
                return
            self.drop()
            try:
                self._session = self._last = await self._log_in()
            except (FullError, LimitReachedError):
                self.pause_seconds = self.tries.refused(self._refusals)
                raise
            except PgtopError:
                self.tries.clear()
                raise
            self.tries.clear()
            self.rescue_fault, self._rescue_rests_until = None, 0.0
            self._pins.clear()
            self._rescue_pins.clear()

    async def _log_in(self) -> Session:
        try:
            session = await log_in(self.target, self.application_name, self._pins, self._unset)
        except (FullError, LimitReachedError) as error:
            self.refused, self._refusals = refusing_limit(error), 1
            rescue = self.target.rescue
            if rescue is None:
                self.rescue_fault = None
                raise
            return await self._rescued(rescue, error)
        self.refused, self.is_rescue = None, False
        return session

    async def _rescued(self, rescue: Target, refused: FullError | LimitReachedError) -> Session:
        # A wrong password, or a host that does not answer, is not tried as often as a full server is.
        if time.monotonic() >= self._rescue_rests_until:
            try:
                session = await log_in(rescue, self.application_name, self._rescue_pins, self._unset)
            except (FullError, LimitReachedError) as error:
                self._refusals += 1
                self.rescue_fault = None
                if isinstance(refused, LimitReachedError) or isinstance(error, FullError):
                    raise
                self.rescue_fault = error  # its own limit: the server is full all the same
            except PgtopError as error:
                self.rescue_fault = error
                self._rescue_rests_until = time.monotonic() + RETRY_AFTER_SECONDS[REFUSED]
            else:
                self.is_rescue = True
                return session
        fault = self.rescue_fault
        if fault is None:
            raise refused
        problem = f"{refused.problem}, and the rescue role does not get in: {fault.problem}"
        if isinstance(refused, LimitReachedError):
            raise LimitReachedError(problem, _RESCUE_MEND, refused.limit) from fault
        raise FullError(problem, _RESCUE_MEND, refused.limit) from fault

    @contextlib.contextmanager
    def steady(self) -> Iterator[None]:
        """Keeps the seat from being given back by the rescue role meanwhile: what was planned as one role is
        not to be done as another."""
        self._steady += 1
        try:
            yield
        finally:
            self._steady -= 1

    async def give_back(self) -> None:
        """Lets the ordinary role take over from the rescue role, where it gets in; all stays as it is where
        not, and while the seat is to be `steady`."""
        if not self.is_rescue or not self.is_held or self._steady:
            return
        target = self.target
        seconds = min(target.connect_timeout_seconds, _GIVE_BACK_SECONDS)
        try:
            session = await log_in(
                replace(target, connect_timeout_seconds=seconds),
                self.application_name,
                self._pins,
                self._unset,
            )
        except PgtopError as error:
            self.refused = refusing_limit(error)
            return
        is_taken = False
        try:
            async with self._lock:
                old = self._session
                if self._steady or old is None or not self.is_rescue:
                    return
                self._session = self._last = session
                self.refused, self.is_rescue = None, False
                is_taken = True
        finally:
            if not is_taken:
                session.connection.terminate()
        await say_goodbye(old.connection, _GOODBYE_SECONDS)

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

    async def fetchrow_prepared(
        self, query: str, *args: object, limit_seconds: float = LIMIT_SECONDS
    ) -> asyncpg.Record | None:
        """As `fetchrow`, for what is asked again and again: the server parses and plans it once."""
        return await self._ask(lambda connection: self._of(connection).fetchrow(query, *args), limit_seconds)

    def _of(self, connection: Connection) -> Prepared:
        if self._prepared is None or self._prepared.connection is not connection:
            self._prepared = Prepared(connection)
        return self._prepared

    async def release(self) -> None:
        """Says goodbye to the server, or drops the connection where it is busy or doesn't answer."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._lock.locked():
            session.connection.terminate()
        else:
            await say_goodbye(session.connection, _GOODBYE_SECONDS)

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
