"""A connection pool for applications, which cannot leak unseen: one of each event loop, process and DSN.

It is asyncpg's pool with limits from the start, and with a watch that names the place in the code which holds
a connection. It imports asyncpg and the standard library alone, and nothing else of pgtop.
"""

import asyncio
import os
import threading
from functools import partial
from typing import Final, Unpack

from pgtop.pool.checkouts import LOGGER
from pgtop.pool.errors import PoolCreationError
from pgtop.pool.limits import DEFAULTS, Limits, refuse_other_limits
from pgtop.pool.names import shown_dsn
from pgtop.pool.watched_pool import DRIVER_ERRORS, WatchedPool

CLOSE_SECONDS: Final = 10.0
"""The time that `close_pool` waits for connections that are held."""

_Key = tuple[asyncio.AbstractEventLoop, str]


class _Entry:
    """A pool that is there or being made."""

    def __init__(self, pool: WatchedPool, limits: Limits, task: asyncio.Task[None]) -> None:
        self.pool = pool
        self.limits = limits
        self.task = task

    @property
    def is_usable(self) -> bool:
        """False once its creation has failed or the pool is closed."""
        if not self.task.done():
            return True
        failed = self.task.cancelled() or self.task.exception() is not None
        return not failed and not self.pool.is_closing()


class _Registry:
    """The pools of a process; its lock is held for a moment only, since each thread may have a loop."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[_Key, _Entry] = {}
        self._inherited: list[dict[_Key, _Entry]] = []

    def begin_again(self) -> None:
        """Start without pools in a forked child, and keep the parent's from being collected.

        The lock may have been held by a thread that the child does not have.
        """
        self._inherited.append(self.entries)
        self.lock, self.entries = threading.Lock(), {}


_registry = _Registry()


async def get_pool(dsn: str, **limits: Unpack[Limits]) -> WatchedPool:
    """Return the one pool of this event loop, this process and this DSN; the first caller makes it.

    `limits` are those of `Limits`; what is not given is as in `DEFAULTS`, or as the pool that is there has
    it. A caller that is cancelled takes nothing from the others, and after a failure the next one tries
    again.

    Raises PoolCreationError where the server cannot be reached or refuses, DifferentLimitsError where the
    pool is there with other limits, and ValueError on limits that cannot be and a DSN that cannot be read.
    """
    entry = _entry_for((asyncio.get_running_loop(), dsn), limits)
    if not entry.task.done():
        try:
            await asyncio.shield(entry.task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if entry.task.cancelled() and (current is None or not current.cancelling()):
                raise PoolCreationError(
                    f"the pool of {entry.pool.name} was closed before it was there"
                ) from None
            raise
    else:
        entry.task.result()
    return entry.pool


async def close_pool(dsn: str | None = None, *, timeout: float | None = CLOSE_SECONDS) -> None:  # noqa: ASYNC109
    """Close the pool of a DSN, or all pools of this event loop; a pool that is not there is closed already.

    Connections that are still held after `timeout` seconds (None waits for ever) are logged with their
    places, and closed.
    """
    loop = asyncio.get_running_loop()
    with _registry.lock:
        keys = [key for key in _registry.entries if key[0] is loop and dsn in (None, key[1])]
        entries = [_registry.entries.pop(key) for key in keys]
    for entry in entries:
        entry.task.cancel()
    try:
        for entry in entries:
            await asyncio.wait([entry.task])
            if entry.is_usable:
                await _close(entry.pool, timeout)
    finally:
        for entry in entries:
            _end(entry)


def reset() -> None:
    """Forget all pools of this process and close their connections at once: between two tests."""
    with _registry.lock:
        entries = list(_registry.entries.values())
        _registry.entries.clear()
    for entry in entries:
        _end(entry)


def _entry_for(key: _Key, given: Limits) -> _Entry:
    """Return the pool that is there or being made, and begin to make it where there is none."""
    loop, dsn = key
    _end_abandoned()
    with _registry.lock:
        entry = _registry.entries.get(key)
        if entry is None or not entry.is_usable:
            limits: Limits = {**DEFAULTS, **given}
            pool = WatchedPool(dsn, loop, limits)
            entry = _Entry(pool, limits, loop.create_task(_create(pool)))
            entry.task.add_done_callback(partial(_forget_if_failed, key, entry))
            _registry.entries[key] = entry
        else:
            refuse_other_limits(shown_dsn(dsn), entry.limits, given)
    return entry


def _end_abandoned() -> None:
    """Close the pools whose event loop has ended without `close_pool`."""
    with _registry.lock:
        abandoned = [each for each in _registry.entries if each[0].is_closed()]
        ended = [_registry.entries.pop(each) for each in abandoned]
    for each in ended:
        LOGGER.warning("%s: its event loop has ended without close_pool(): closed", each.pool.name)
        _end(each)


async def _create(pool: WatchedPool) -> None:
    """Open a pool's first connections, or none: those that are open when another fails are closed."""
    try:
        try:
            await pool
        except BaseException:
            pool.end()
            raise
    except DRIVER_ERRORS as error:
        raise PoolCreationError(
            f"cannot open the pool of {pool.name}: {error or type(error).__name__}"
        ) from error


def _forget_if_failed(key: _Key, entry: _Entry, _task: asyncio.Task[None]) -> None:
    """Make room for the next try; asking for the exception also marks it as seen."""
    if not entry.is_usable:
        with _registry.lock:
            if _registry.entries.get(key) is entry:
                del _registry.entries[key]


async def _close(pool: WatchedPool, timeout: float | None) -> None:  # noqa: ASYNC109
    """Close a pool once its connections are back, and at the latest after a time."""
    closing = asyncio.ensure_future(pool.close())
    # It is asked for here even where nothing waits for it any more.
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait([closing], timeout=timeout)
        if not closing.done():
            places = ", ".join(map(str, pool.report().by_place))
            if places:
                LOGGER.warning("%s: closed with connections that are held: %s", pool.name, places)
    finally:
        if not closing.done():
            pool.end()


def _end(entry: _Entry) -> None:
    """Close a pool's connections at once, also while they are being opened."""
    if not entry.pool.is_stranded:
        entry.task.cancel()
    entry.pool.end()


os.register_at_fork(after_in_child=_registry.begin_again)
