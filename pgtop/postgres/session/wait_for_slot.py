"""Getting in within a limit: what a command that asks once does at a full server."""

import asyncio
import time
from collections.abc import Callable

from pgtop.core.text import duration, plural
from pgtop.postgres.errors import FullError, LimitReachedError
from pgtop.postgres.session.seat import Seat


async def enter(seat: Seat, wait_seconds: float, tell: Callable[[str], None] = lambda _: None) -> None:
    """Take the seat, trying again for `wait_seconds` while it is refused for lack of a slot.

    `tell` hears once that it goes on trying. Raises what `Seat.take` raises, of which FullError and
    LimitReachedError only when the time is up: they say then how often it was tried.
    """
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            await seat.take()
        except (FullError, LimitReachedError) as error:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                if wait_seconds > 0:
                    tried = plural(seat.tries.count, "try", "tries")
                    error.problem += f"; {tried} refused in {seat.tries.seconds:.1f}s"
                raise
            if not told:
                told = True
                tell(f"{error.problem}: retrying for {duration(wait_seconds)}")
            await asyncio.sleep(min(seat.pause_seconds, remaining))
        else:
            return
