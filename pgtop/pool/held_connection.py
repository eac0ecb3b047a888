"""The connection as an application holds it: asyncpg's proxy, which can be garbage-collected."""

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncpg.connection import Connection
from asyncpg.pool import PoolConnectionProxy

from pgtop.pool.places import Call, Place

if TYPE_CHECKING:
    from asyncpg import Record

    AsyncpgProxy = PoolConnectionProxy[Record]
else:
    AsyncpgProxy = PoolConnectionProxy


class HeldConnection(AsyncpgProxy):
    """A connection between `acquire` and `release`; it does all that asyncpg's own does.

    asyncpg's pool keeps its own proxy alive for as long as the connection is out. This one is kept alive
    only by the application, so that its end shows that no one can give the connection back any more.
    """

    __slots__ = ("__weakref__", "checkout", "inner")

    inner: Any
    """The proxy that asyncpg's pool knows."""
    checkout: "Checkout"
    """The record of the leak watch."""

    def __init__(self, inner: AsyncpgProxy) -> None:
        """Stand before a proxy; the connection goes on to know that one alone."""
        self.inner = inner

    @property
    def _con(self) -> Any:
        return self.inner._con

    @property
    def _holder(self) -> Any:  # type: ignore[override]
        return self.inner._holder

    def _detach(self) -> Any:
        return self.inner._detach()


class Checkout(weakref.ref[HeldConnection]):
    """One connection that is out: it is dead once the application has lost its `HeldConnection`."""

    __slots__ = ("call", "inner", "is_logged", "since")

    inner: Any
    """The proxy that asyncpg's pool knows."""
    call: Call
    """The call that took it."""
    since: float
    """Seconds of the event loop's clock when it was taken."""
    is_logged: bool
    """True once it was logged for being held for too long."""

    @property
    def place(self) -> Place:
        """The place in the code that took it."""
        return Place(*self.call)

    @property
    def is_out(self) -> bool:
        """False once the connection is back, or was closed or lost: asyncpg has given up the proxy."""
        return self.inner._con is not None


def _kept_alive(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that keeps its connection from being collected until it is done."""

    # asyncpg's own hands out a coroutine that knows the bare connection only, and in
    # `await (await pool.acquire()).fetch(…)` there is nothing else that holds on to the proxy.
    @functools.wraps(method)
    async def call(self: HeldConnection, *arguments: Any, **options: Any) -> Any:
        return await method(self, *arguments, **options)

    return call


for _name, _method in inspect.getmembers(Connection, inspect.iscoroutinefunction):
    if not _name.startswith("_"):
        setattr(HeldConnection, _name, _kept_alive(getattr(PoolConnectionProxy, _name)))
