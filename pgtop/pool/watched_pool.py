"""The pool itself: asyncpg's, with a bounded wait for a connection and a watch on those that are out."""

import asyncio
import functools
import os
import socket
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.connection import Connection
from asyncpg.pool import Pool, PoolAcquireContext

from pgtop.pool.checkouts import LOGGER, Checkouts
from pgtop.pool.errors import AcquireTimeoutError
from pgtop.pool.held_connection import AsyncpgProxy, HeldConnection
from pgtop.pool.limits import Limits, refuse_impossible
from pgtop.pool.names import (
    application_name,
    name_statement,
    refuse_unreadable,
    shown_dsn,
    tag_statement,
)
from pgtop.pool.places import Call, calling_place
from pgtop.pool.report import PoolReport

if TYPE_CHECKING:
    AsyncpgPool = Pool[asyncpg.Record]
    AcquireContext = PoolAcquireContext[asyncpg.Record]
else:
    AsyncpgPool = Pool
    AcquireContext = PoolAcquireContext

DRIVER_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""The errors of a connection; a timeout is an OSError."""

_PAUSES_SECONDS: Final = (0.05, 1.0)
"""Between two tries on a full server, the first and the longest."""

_alive: "weakref.WeakSet[WatchedPool]" = weakref.WeakSet()


class WatchedPool(AsyncpgPool):
    """A pool of asyncpg that knows who holds its connections; made by `get_pool` alone."""

    _loop: asyncio.AbstractEventLoop
    _holders: list[Any]
    _queue: Any
    _setup: Any
    _generation: int
    _closed: bool

    def __init__(self, dsn: str, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        """Set a pool up; it connects when it is awaited. Raises ValueError on limits that cannot be, and on
        a DSN that cannot be read.
        """
        refuse_unreadable(dsn)
        refuse_impossible(limits)
        options: dict[str, Any] = {
            "max_queries": 50_000,
            "connection_class": Connection,
            "record_class": asyncpg.Record,
            **limits,
        }
        self._acquire_timeout: float | None = options.pop("acquire_timeout")
        leak_after: float | None = options.pop("leak_after")
        self._tags_places: bool = options.pop("tag_sites")
        settings: Mapping[str, str] = options.get("server_settings") or {}
        self._application = application_name(dsn, settings)
        options["server_settings"] = {**settings, "application_name": self._application}
        if self._tags_places:
            options["reset"] = functools.partial(self._reset_and_restore, options.get("reset"))
        self.name = shown_dsn(dsn)
        """The DSN without its password."""
        self._checkouts = Checkouts(self.name, loop, leak_after, self._give_back)
        self._waiting = 0
        super().__init__(dsn, loop=loop, **options)
        _alive.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def acquire(self, *, timeout: float | None = None) -> AcquireContext:
        """Take a connection: `async with pool.acquire() as connection`, or `await` and `release`.

        `timeout` is in seconds, and the pool's `acquire_timeout` if None. Raises AcquireTimeoutError. On a
        server without a free slot it goes on trying for that time.
        """
        return _Acquiring(self, timeout, calling_place())

    async def release(
        self,
        connection: AsyncpgProxy,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Give a connection back; nothing happens if it is back already.

        Raises asyncpg.InterfaceError on a connection of another pool.
        """
        # All of it happens once it is awaited: the watch goes on over one whose release is not.
        if type(connection) is HeldConnection:
            inner = connection.inner
            if inner._holder._pool is self:
                self._checkouts.returned(connection.checkout)
            await super().release(inner, timeout=timeout)
        else:
            await super().release(connection, timeout=timeout)

    def report(self) -> PoolReport:
        """Return the pool at this moment: how many connections are held, idle, waited for, and from where."""
        by_place = self._checkouts.by_place()
        return PoolReport(
            max_size=self.get_max_size(),
            held=sum(each.count for each in by_place),
            idle=self.get_idle_size(),
            waiting=self._waiting,
            oldest=max((each.oldest for each in by_place), default=0.0),
            by_place=by_place,
        )

    async def close(self) -> None:
        """Close the pool once all connections are back; `close_pool` waits for a limited time."""
        try:
            await super().close()
        finally:
            self._checkouts.stop()

    def terminate(self) -> None:
        """Close all connections at once, also those that are held."""
        super().terminate()
        self._checkouts.stop()

    @property
    def is_stranded(self) -> bool:
        """True once the event loop is closed: nothing can be awaited any more."""
        return self._loop.is_closed()

    def end(self) -> None:
        """Close all connections at once, in whatever state the pool and its event loop are."""
        if not self.is_stranded:
            with suppress(asyncpg.InterfaceError):  # it never opened one
                self.terminate()
            return
        for connection in self._open_connections():
            transport = connection._transport
            connection._aborted = True
            with suppress(OSError, TypeError, AttributeError):  # not each loop's socket can be shut down
                transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """Give up the pool in a forked child; the sockets stay the parent's.

        A connection that counts as open would, when it is collected, be taken off the parent's selector.
        """
        for connection in self._open_connections():
            connection._aborted = True
        self._checkouts.is_inherited = True

    async def run(self, call: Call, method: str, arguments: Any, options: Any) -> Any:
        """Call a method of a connection that is taken for it alone."""
        async with _Acquiring(self, None, call) as connection:
            return await getattr(connection, method)(*arguments, **options)

    async def check_out(self, asked: "_Acquiring") -> HeldConnection:
        """Take a connection for a place in the code."""
        timeout = asked.timeout
        if self._checkouts.is_inherited or asyncio.get_running_loop() is not self._loop:
            raise self._is_elsewhere()
        if self._has_one_ready():
            inner = await super()._acquire(None)  # type: ignore[misc]
        else:
            inner = await self._waited_for(self._acquire_timeout if timeout is None else timeout)
        holder: Any = inner._holder
        # The limit of its release, as in asyncpg; but a release cannot be had without waiting.
        holder._timeout = timeout if timeout is None or timeout > 0 else None
        held = self._checkouts.add(inner, asked.call)
        if not asked.done:
            asked.connection = held
        if self._tags_places:
            await self._tag(held, asked.call)
        return held

    def _has_one_ready(self) -> bool:
        """Return whether a connection can be had without waiting, and so without a timer.

        A timer costs more than the leak watch does.
        """
        ready = self._queue._queue
        if not ready or self._setup is not None:
            return False
        holder = ready[-1]
        return bool(holder.is_connected() and holder._generation == self._generation)

    async def _waited_for(self, limit: float | None) -> Any:
        """Take a connection within a limit in seconds, None for none. Raises AcquireTimeoutError."""
        refusals: list[str] = []
        self._waiting += 1
        try:
            async with asyncio.timeout(limit):
                return await self._taken(refusals if limit is not None else None)
        except TimeoutError as error:
            raise self._timed_out(limit, refusals) from error
        finally:
            self._waiting -= 1

    async def _taken(self, refusals: list[str] | None) -> AsyncpgProxy:
        """Take a connection from asyncpg's pool; with a list for refusals, go on trying on a full server."""
        pause, longest = _PAUSES_SECONDS
        while True:
            try:
                return await super()._acquire(None)  # type: ignore[misc, no-any-return]
            except asyncpg.TooManyConnectionsError as full:
                if refusals is None:
                    raise
                refusals[:] = [f"the server has no room for another: {full}"]
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _timed_out(self, limit: float | None, refusals: list[str]) -> AcquireTimeoutError:
        """Return the error that names the holders, and the reason if the pool is not just used up."""
        report = self.report()
        reason = "".join(refusals)
        if not reason and report.held < report.max_size:
            reason = "the server did not answer a new connection in time"
        return AcquireTimeoutError(self.name, limit or 0.0, report, reason)

    def _is_elsewhere(self) -> asyncpg.InterfaceError:
        """Return the error of a forked child and of another event loop: both have a pool of their own."""
        owner = "the parent process" if self._checkouts.is_inherited else "another event loop"
        return asyncpg.InterfaceError(
            f"the pool of {self.name} belongs to {owner}: call get_pool() in this one"
        )

    async def _tag(self, held: HeldConnection, call: Call) -> None:
        """Name the place in application_name; where that is refused, go on without."""
        try:
            await held.execute(tag_statement(self._application, call))
        except asyncpg.PostgresError as error:
            LOGGER.warning("%s: cannot tag a session with its place: %s", self.name, error)
        except BaseException:
            await self.release(held)
            raise

    async def _reset_and_restore(
        self, reset: Callable[[Any], Awaitable[None]] | None, connection: Any
    ) -> None:
        """Reset a connection and give it its name back, in one round trip unless the reset is the user's.

        `RESET ALL` alone would restore the name that a pooler's own session to the server began with.
        """
        restored = name_statement(self._application)
        if reset is None:
            await connection.execute(f"{connection.get_reset_query()}\n{restored}")
        else:
            await reset(connection)
            await connection.execute(restored)

    async def _give_back(self, inner: AsyncpgProxy) -> None:
        """Return a connection that the application has lost; asyncpg closes it if that fails."""
        with suppress(*DRIVER_ERRORS):
            await super().release(inner)

    async def _get_new_connection(self) -> Any:
        """Open a connection; one that is there only after the end of the pool is closed."""
        connection = await super()._get_new_connection()  # type: ignore[misc]
        if self._closed:
            connection.terminate()
            raise asyncpg.InterfaceError("pool is closed")
        return connection

    def _open_connections(self) -> list[Any]:
        """Return asyncpg's connections."""
        return [holder._con for holder in self._holders if holder._con is not None]


class _Acquiring(AcquireContext):
    """The answer of `acquire`, to await or to enter; it knows the call."""

    __slots__ = ("call",)

    def __init__(self, pool: WatchedPool, timeout: float | None, call: Call) -> None:
        self.pool = pool
        self.timeout = timeout
        self.connection = None
        self.done = False
        self.call = call

    def __aenter__(self) -> Coroutine[Any, Any, HeldConnection]:
        if self.connection is not None or self.done:
            raise asyncpg.InterfaceError("a connection is already acquired")
        pool: Any = self.pool
        return pool.check_out(self)  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, HeldConnection]:
        self.done = True
        pool: Any = self.pool
        return pool.check_out(self).__await__()  # type: ignore[no-any-return]


def _with_place(name: str) -> Callable[..., Any]:
    """Return a method of the pool that takes a connection for one call, and knows its caller at once.

    asyncpg's own are coroutines, and one that a task runs has lost its caller when it begins.
    """

    @functools.wraps(getattr(Pool, name))
    def call(self: WatchedPool, *arguments: Any, **options: Any) -> Any:
        return self.run(calling_place(), name, arguments, options)

    return call


for _name in (
    *("execute", "executemany", "fetch", "fetchval", "fetchrow", "fetchmany"),
    *("copy_from_table", "copy_from_query", "copy_to_table", "copy_records_to_table"),
):
    setattr(WatchedPool, _name, _with_place(_name))


def _leave_all_to_parent() -> None:
    for pool in list(_alive):
        _inherited.append(pool)
        pool.leave_to_parent()
    _alive.clear()


_inherited: list[WatchedPool] = []
"""The parent's pools, in a forked child: kept, since collecting one would touch what is shared."""

os.register_at_fork(after_in_child=_leave_all_to_parent)
