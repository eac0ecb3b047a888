"""The one connection that pgtop opens, and keeps for as long as it runs.

It runs one statement at a time. A statement under way is never cancelled, since a cancel opens a second
connection. If its caller has gone, the answer is discarded; if no answer comes within the limit, the
connection is dropped, and the server's own limits end the statement.

If the ordinary role is refused for lack of a slot, the rescue role takes over, and gives it back as soon
as the ordinary one can connect.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import asyncpg
from msgspec.structs import replace

from pgtop.concurrency import forget
from pgtop.core.outage import Limit, OutageKind
from pgtop.errors import Peer, PgtopError
from pgtop.postgres.conninfo.target import SOCKET_MARKS, Target
from pgtop.postgres.errors.kinds import (
    ConnectionLostError,
    FullError,
    LimitReachedError,
    limit_at,
    refusing_limit,
)
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.queries.about_server import SERVER_END
from pgtop.postgres.queries.advisory_keys import OWN_SESSION_CLASS, TAKE_KEY
from pgtop.postgres.queries.through_functions import through_functions
from pgtop.postgres.session.application_name import own_session_name
from pgtop.postgres.session.login import Connection, Session, log_in, say_goodbye
from pgtop.postgres.session.pooler import in_transaction
from pgtop.postgres.session.prepared_statements import Prepared, bounded
from pgtop.postgres.session.received_bytes_limit import ANSWER_BYTES
from pgtop.postgres.session.retry_pauses import LoginRetry
from pgtop.postgres.session.session_settings import (
    ON_DEMAND_SECONDS,
    STATEMENT_TIMEOUT_SECONDS,
    begin_limited,
    begin_pooled,
)

LIMIT_SECONDS: Final = STATEMENT_TIMEOUT_SECONDS + 1.0
"""Seconds to wait for a statement, unless told otherwise: a little longer than the server lets it run, so
that a slow statement doesn't cost the connection."""

_GOODBYE_SECONDS: Final = 0.25
_GIVE_BACK_SECONDS: Final = 2.0
"""Seconds to wait for the ordinary login while the rescue role's session does the work."""
_RESCUE_RESTS_SECONDS: Final = 5.0
"""Seconds between the rescue role's logins after a failure such as a wrong password or a host that does not
answer, which is tried less often than a full server."""
_RESCUE_MEND: Final = "check what --rescue, PGTOP_RESCUE or the file's rescue names"
_ANSWERS: Final = frozenset({OutageKind.REFUSED, OutageKind.STARTING})
"""The kinds of outages in which the server answers, if only with a refusal."""

T = TypeVar("T")


def _is_end(peer: Peer | None, address: str | None, port: int | None) -> bool:
    """Return whether the server's end of a connection is the address that the client connected to.

    >>> _is_end(("10.0.0.1", 5432), "10.0.0.1", 5432), _is_end(("10.0.0.1", 5432), "10.0.0.2", 5432)
    (True, False)
    >>> _is_end(("fe80::1%2", 5432), "fe80::1", 5432), _is_end(("/run/postgresql", 5432), None, None)
    (True, True)
    """
    if peer is None:
        return False
    if address is None or peer[0].startswith(SOCKET_MARKS):
        return address is None and peer[0].startswith(SOCKET_MARKS)
    ends = [ipaddress.ip_address(each.partition("%")[0]) for each in (peer[0], address)]
    return ends[0] == ends[1] and peer[1] == port


def _as_asked(
    session: Session, work: Callable[[Connection], Coroutine[Any, Any, T]], on_demand: bool
) -> Callable[[Connection], Coroutine[Any, Any, T]]:
    """Return the work as it is to be done: through a pooler or `on_demand`, in a transaction of its own."""
    if not session.pooled and not on_demand:
        return work
    seconds = ON_DEMAND_SECONDS if on_demand else None
    version = session.connection.get_server_version().major
    begin = begin_pooled(version, seconds) if session.pooled else begin_limited(ON_DEMAND_SECONDS)
    return lambda connection: in_transaction(connection, begin, work)


class OwnConnection:
    """One connection to a target, for one face (`dashboard`, `snapshot`, `reap`, `daemon`, …)."""

    def __init__(
        self,
        target: Target,
        face: str,
        *,
        unset: frozenset[str] = frozenset(),
        hides_queries: bool = False,
        marks_itself: bool = True,
    ) -> None:
        """Set up the connection; nothing is connected yet.

        `unset` are settings that the session leaves as the server gives them. One that `marks_itself` holds
        a key by which every pgtop can tell it from a client of the same name.
        """
        self.hides_queries = hides_queries
        """True if the statements of other sessions must not be fetched over this connection."""
        self.target = target
        """The target of the connection; a new one counts from the next `take`."""
        self.application_name = own_session_name(face, socket.gethostname())
        """The name `pgtop <face>@<host>`, by which one pgtop knows another."""
        self.tries = LoginRetry()
        """The logins refused for lack of a slot since the connection was last held."""
        self.pause_seconds = 0.0
        """Seconds to wait after such a refusal before the next `take`."""
        self.refused: Limit | None = None
        """The limit that refused the ordinary role's last login; None if it got in, or was refused at
        a server other than the one the rescue role's session is on."""
        self.is_rescue = False
        """True if the last session is the rescue role's."""
        self.rescue_fault: PgtopError | None = None
        """The error of the rescue role's last login; None if it got in, or lacked one of the server's
        slots."""
        self.interruptions = 0
        """The number of interruptions, such as a new connection: what was seen before one is not acted on."""
        self.on_lost: Callable[[], None] = lambda: None
        """The function to call when the connection is lost unexpectedly."""
        self._rescue_rests_until = 0.0
        self._answered = True
        self._unset = unset
        self._through_functions = False
        self._marks_itself = marks_itself
        self._session: Session | None = None
        self._last: Session | None = None
        self._prepared: Prepared | None = None
        self._direct: tuple[Connection, bool] | None = None
        """A connection, and whether it leads to the server's own address; None until that was asked."""
        self._lock = asyncio.Lock()
        self._steady = 0
        self._refusals = 0

    @property
    def is_held(self) -> bool:
        """True while there is an open connection."""
        return self._session is not None and not self._session.connection.is_closed()

    @property
    def is_busy(self) -> bool:
        """True while a statement or a login is under way."""
        return self._lock.locked()

    @property
    def own_pid(self) -> int:
        """The process id of its backend; 0 before the first `take`."""
        return self._last.own_pid if self._last else 0

    @property
    def pooled(self) -> bool:
        """True if a pooler is in between, so that not always the same backend answers."""
        return self._last.pooled if self._last else False

    def answered_by(self, pid: int) -> None:
        """Take note of the backend that answered: one other than at the login means a pooler."""
        session = self._session
        if session is not None and pid != session.own_pid and not session.pooled:
            self._session = self._last = session._replace(pooled=True)

    @property
    def role(self) -> str:
        """The role of the last session; the ordinary one before the first `take`."""
        return self._last.role if self._last else self.target.user

    def lose_sight(self) -> None:
        """Count an interruption: it is not known what happened at the server meanwhile."""
        self.interruptions += 1

    @property
    def address(self) -> tuple[str, int]:
        """The host (or socket directory) and port in use; those of the first host before the first `take`."""
        endpoint = self._last.endpoint if self._last else self.target.endpoints[0]
        return endpoint.host, endpoint.port

    @property
    def peer(self) -> Peer | None:
        """The server that the last session is on; None before the first `take`."""
        return self._last.peer if self._last else None

    async def refused_here(self) -> Limit | None:
        """Return the limit that refused the ordinary role; None if another server may have refused it.

        Raises what a statement raises.
        """
        return self.refused if self.refused is not None and await self.is_direct() else None

    async def is_direct(self) -> bool:
        """Return whether the address connected to is the server's own.

        If it is not, as behind a load balancer, another server may answer the next login there. Raises as
        `fetch` does.
        """
        connection = self._held().connection
        if self._direct is None or self._direct[0] is not connection:
            row = await self.fetchrow(SERVER_END)
            self._direct = connection, row is not None and _is_end(self.peer, row["address"], row["port"])
        return self._direct[1]

    @property
    def here(self) -> Target:
        """The target, restricted to the server of the last session: no other host, and no other address."""
        if self._last is None:
            return self.target
        endpoint, (address, port) = self._last.endpoint, self._last.peer
        return replace(
            self.target,
            hosts=(endpoint.host,),
            hostaddrs=() if endpoint.is_socket else (address,),
            ports=(port,),
            target_session_attrs="any",
        )

    async def take(self) -> None:
        """Connect, unless the connection is held: as the rescue role if the ordinary one finds no slot.

        It raises FullError if the server has no slot left, LimitReachedError for a role's or a database's
        own limit, and ConnectError for all else, within the target's `connect_timeout_seconds` for each of
        the two roles.
        """
        async with self._lock:
            if self.is_held:
                return
            self.drop()
            self.lose_sight()
            try:
                session = await self._log_in()
                await self._mark(session)
                self._session = self._last = session
            except (FullError, LimitReachedError):
                self._answered = True
                self.pause_seconds = self.tries.refused(self._refusals)
                raise
            except PgtopError as error:
                self._answered = getattr(error, "kind", "") in _ANSWERS
                self.tries.clear()
                raise
            self._session.connection.add_termination_listener(self._terminated)
            self._answered = True
            self.tries.clear()
            self.rescue_fault, self._rescue_rests_until = None, 0.0

    async def _log_in(self) -> Session:
        try:
            session = await log_in(
                self.target,
                self.application_name,
                self._unset,
                reach_first=not self._answered,
            )
        except (FullError, LimitReachedError) as error:
            self.refused, self._refusals = refusing_limit(error), 1
            rescue = self.target.rescue
            if rescue is None:
                self.rescue_fault = None
                raise
            return await self._rescued(rescue, error)
        self.refused, self.is_rescue = None, False
        return session

    async def _mark(self, session: Session) -> None:
        """Take the key that marks a session of pgtop's; the session works without one that is not granted.

        None is taken through a pooler, where it would stay with a backend that serves other clients. Raises
        ConnectionLostError.
        """
        if not self._marks_itself or session.pooled:
            return
        limit, label = min(self.target.connect_timeout_seconds, LIMIT_SECONDS), session.endpoint.label
        # Shared, and of a random number: no other session's key is in the way.
        number = secrets.randbits(31)
        work = session.connection.fetchval(TAKE_KEY, OWN_SESSION_CLASS, number)
        try:
            with contextlib.suppress(*DRIVER_ERRORS):
                await bounded(session, work, limit, ANSWER_BYTES, label)
        except BaseException:
            session.connection.terminate()
            raise

    async def _rescued(self, rescue: Target, refused: FullError | LimitReachedError) -> Session:
        if time.monotonic() >= self._rescue_rests_until:
            try:
                session = await log_in(rescue, self.application_name, self._unset)
            except (FullError, LimitReachedError) as error:
                self._refusals += 1
                self.rescue_fault = None
                if isinstance(refused, LimitReachedError) or isinstance(error, FullError):
                    raise
                self.rescue_fault = error  # its own limit: the server is full all the same
            except PgtopError as error:
                self.rescue_fault = error
                self._rescue_rests_until = time.monotonic() + _RESCUE_RESTS_SECONDS
            else:
                # A target may name several servers: that one is full does not mean that this role's is.
                self.refused, self.is_rescue = limit_at(session.peer, refused), True
                return session
        fault = self.rescue_fault
        if fault is None:
            raise refused
        problem = f"{refused.problem}, and the rescue role can't connect: {fault.problem}"
        if isinstance(refused, LimitReachedError):
            raise LimitReachedError(problem, _RESCUE_MEND, refused.limit) from fault
        raise FullError(problem, _RESCUE_MEND, refused.limit) from fault

    @contextlib.contextmanager
    def steady(self) -> Iterator[None]:
        """Keep the rescue role from giving the connection back meanwhile: a plan made as one role must not be
        carried out as another."""
        self._steady += 1
        try:
            yield
        finally:
            self._steady -= 1

    async def give_back(self) -> None:
        """Let the ordinary role take over from the rescue role if it can connect; change nothing otherwise,
        or while the connection must stay `steady`."""
        if not self.is_rescue or not self.is_held or self._steady:
            return
        try:
            session = await log_in(self.target.within(_GIVE_BACK_SECONDS), self.application_name, self._unset)
        except PgtopError as error:
            self.refused = limit_at(self.peer, error)
            return
        is_taken = False
        try:
            try:
                await self._mark(session)
            except PgtopError:
                return
            async with self._lock:
                old = self._session
                if self._steady or old is None or not self.is_rescue:
                    return
                self._session = self._last = session
                if session.peer != old.peer:
                    self.lose_sight()  # it may be another server
                session.connection.add_termination_listener(self._terminated)
                self.refused, self.is_rescue = None, False
                is_taken = True
        finally:
            if not is_taken:
                session.connection.terminate()
        await say_goodbye(old.connection, _GOODBYE_SECONDS)

    async def fetch(
        self,
        query: str,
        *args: object,
        limit_seconds: float = LIMIT_SECONDS,
        limit_bytes: int = ANSWER_BYTES,
        on_demand: bool = False,
    ) -> list[asyncpg.Record]:
        """Return all rows of one statement, run in a transaction of its own.

        A question asked `on_demand` is ended by the server after ON_DEMAND_SECONDS, so that no poll waits for
        it for longer.
        Raises ConnectionLostError if the connection is gone or no answer came within the limit,
        UnreadableError if the answer is longer than `limit_bytes` or not one that a server gives, and
        asyncpg.PostgresError if the server refuses the statement and the connection is still held.
        """
        return await self._readable(
            query,
            lambda text: self._ask(
                lambda connection: connection.fetch(text, *args),
                limit_seconds,
                limit_bytes,
                on_demand=on_demand,
            ),
        )

    async def fetchrow(
        self,
        query: str,
        *args: object,
        limit_seconds: float = LIMIT_SECONDS,
        limit_bytes: int = ANSWER_BYTES,
    ) -> asyncpg.Record | None:
        """Return the first row of one statement, or None. Raises as `fetch` does."""
        return await self._readable(
            query,
            lambda text: self._ask(
                lambda connection: connection.fetchrow(text, *args), limit_seconds, limit_bytes
            ),
        )

    async def fetchrow_prepared(
        self,
        query: str,
        *args: object,
        limit_seconds: float = LIMIT_SECONDS,
        limit_bytes: int = ANSWER_BYTES,
    ) -> asyncpg.Record | None:
        """Return what `fetchrow` does, for a repeated statement: the server parses and plans it only once."""
        return await self._readable(
            query,
            lambda text: self._ask(
                lambda connection: self._of(connection).fetchrow(text, *args), limit_seconds, limit_bytes
            ),
        )

    async def _readable(self, query: str, ask: Callable[[str], Coroutine[Any, Any, T]]) -> T:
        """Ask in the way that this role may: through functions if a catalog has been withdrawn from it."""
        other = through_functions(query)
        if self._through_functions:
            return await ask(other)
        try:
            return await ask(query)
        except asyncpg.InsufficientPrivilegeError as refused:
            if other == query:
                raise
            try:
                answer = await ask(other)
            except asyncpg.InsufficientPrivilegeError:
                raise refused from None
        self._through_functions = True
        return answer

    def _of(self, connection: Connection) -> Prepared:
        if self._prepared is None or self._prepared.connection is not connection:
            self._prepared = Prepared(connection)
        return self._prepared

    async def release(self) -> None:
        """Say goodbye to the server, or drop the connection if it is busy or the server doesn't answer."""
        session, self._session = self._session, None
        if session is None:
            return
        if self.is_busy:
            session.connection.terminate()
        else:
            await say_goodbye(session.connection, _GOODBYE_SECONDS)

    def drop(self) -> None:
        """End the connection at once, without waiting for anything."""
        session, self._session = self._session, None
        if session is not None:
            self._answered = False
            session.connection.terminate()

    def _terminated(self, connection: object) -> None:
        if self._session is not None and self._session.connection is connection:
            self.on_lost()

    def _held(self) -> Session:
        session = self._session
        if session is None or session.connection.is_closed():
            self.drop()
            raise ConnectionLostError(f"the connection to {self.label} was lost", "pgtop has to reconnect")
        return session

    @property
    def encoding(self) -> str:
        """The encoding of the database, as the server names it; "" if there is no connection."""
        session = self._session
        if session is None or session.connection.is_closed():
            return ""
        return str(getattr(session.connection.get_settings(), "server_encoding", ""))

    @property
    def label(self) -> str:
        """The `host:port` in use, safe to print; that of the first host before the first `take`."""
        return (self._last.endpoint if self._last else self.target.endpoints[0]).label

    async def _ask(
        self,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        limit: float,
        limit_bytes: int,
        *,
        on_demand: bool = False,
    ) -> T:
        """Run one statement when its turn comes; a caller cancelled meanwhile doesn't cost the connection."""
        await self._lock.acquire()
        try:
            session = self._held()
        except ConnectionLostError:
            self._lock.release()
            raise
        # A task of its own, so that a caller's cancellation never reaches the driver, which would send a
        # cancel request.
        asked = asyncio.ensure_future(
            self._bounded(session, _as_asked(session, work, on_demand), limit, limit_bytes)
        )
        asked.add_done_callback(lambda _: self._lock.release())
        asked.add_done_callback(forget)
        return await asyncio.shield(asked)

    async def _bounded(
        self,
        session: Session,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        limit: float,
        limit_bytes: int,
    ) -> T:
        try:
            return await bounded(session, work(session.connection), limit, limit_bytes, self.label)
        except (ConnectionLostError, asyncio.CancelledError):
            self.drop()
            raise
