"""The leak watch: which connections are out, since when and from where; logs the late and the lost ones."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from pgtop.pool.held_connection import AsyncpgProxy, Checkout, HeldConnection
from pgtop.pool.places import Call
from pgtop.pool.report import PlaceReport

LOGGER: Final = logging.getLogger("pgtop.pool")
"""The logger of everything in `pgtop.pool`."""


class Checkouts:
    """The connections of one pool that are out, the longest held first."""

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        leak_after: float | None,
        give_back: Callable[[AsyncpgProxy], Awaitable[None]],
    ) -> None:
        """Watch over a pool. `leak_after` is in seconds, None for never; `give_back` returns a connection."""
        self._name = name
        self._loop = loop
        self._leak_after = leak_after
        self._give_back = give_back
        self._out: dict[int, Checkout] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._on_collected = self._collected
        self.is_inherited = False
        """True in a forked child: nothing here belongs to it."""

    def add(self, inner: AsyncpgProxy, call: Call) -> HeldConnection:
        """Begin a checkout, and return what the application gets."""
        held = HeldConnection(inner)
        held.checkout = checkout = Checkout(held, self._on_collected)
        checkout.inner, checkout.call, checkout.is_logged = inner, call, False
        checkout.since = now = self._loop.time()
        self._out[id(checkout)] = checkout
        # One timer a pool instead of one a checkout; it stays when what it was set for is back.
        if self._timer is None and self._leak_after is not None:
            self._timer = self._loop.call_at(now + self._leak_after, self._look)
        return held

    def returned(self, checkout: Checkout) -> None:
        """End a checkout: the application has given the connection back."""
        if self._out.pop(id(checkout), None) is not None and checkout.is_logged:
            LOGGER.warning(
                "%s: a connection taken at %s was returned after %.0f s",
                self._name,
                checkout.place,
                self._loop.time() - checkout.since,
            )

    def by_place(self) -> tuple[PlaceReport, ...]:
        """Return the connections that are out by the place that took them, the most first."""
        now, ages = self._loop.time(), defaultdict[str, list[float]](list)
        for checkout in self._still_out():
            ages[str(checkout.place)].append(now - checkout.since)
        found = [PlaceReport(place, len(each), max(each)) for place, each in ages.items()]
        return tuple(sorted(found, key=lambda each: (-each.count, -each.oldest)))

    def stop(self) -> None:
        """Look no more: the pool is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _still_out(self) -> list[Checkout]:
        """Return those that are out, and forget those whose connection was closed or lost meanwhile."""
        for key, checkout in list(self._out.items()):
            if not checkout.is_out:
                self._out.pop(key, None)
        return list(self._out.values())

    def _look(self) -> None:
        """Log each connection that is held for too long, once, and come back for the next."""
        self._timer = None
        if self._leak_after is None:
            return
        now, next_at = self._loop.time(), None
        for checkout in self._still_out():
            late_at = checkout.since + self._leak_after
            if late_at <= now and not checkout.is_logged:
                checkout.is_logged = True
                LOGGER.warning(
                    "%s: a connection taken at %s has been held for %.0f s",
                    self._name,
                    checkout.place,
                    now - checkout.since,
                )
            elif not checkout.is_logged and next_at is None:
                next_at = late_at
        if next_at is not None:
            self._timer = self._loop.call_at(next_at, self._look)

    def _collected(self, checkout: Checkout) -> None:
        """Note that no one holds a connection any more; the garbage collector may say so in any thread."""
        if self.is_inherited or id(checkout) not in self._out:
            return
        try:
            self._loop.call_soon_threadsafe(self._take_back, checkout)
        except RuntimeError:  # the loop is closed, and the connection with it
            self._out.pop(id(checkout), None)

    def _take_back(self, checkout: Checkout) -> None:
        """Give a connection back that the application has lost."""
        if self._out.pop(id(checkout), None) is None or not checkout.is_out:
            return
        LOGGER.warning(
            "%s: a connection taken at %s was never returned and is garbage after %.0f s: given back",
            self._name,
            checkout.place,
            self._loop.time() - checkout.since,
        )
        task = asyncio.ensure_future(self._give_back(checkout.inner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
