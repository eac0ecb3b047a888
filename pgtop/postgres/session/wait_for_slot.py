"""Getting in within a limit: what a command that asks once does at a full server."""

import asyncio
import time
from collections.abc import Callable

from pgtop.core.text import plural, span
from pgtop.postgres.errors.kinds import FullError, LimitReachedError
from pgtop.postgres.session.own_connection import OwnConnection


async def enter(
    own_connection: OwnConnection, wait_seconds: float, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Connect, trying again for `wait_seconds` while the login is refused for lack of a slot.

    `tell` hears once that it goes on trying. Raises what `OwnConnection.take` raises, of which FullError and
    LimitReachedError only when the time is up: they say then how often it was tried.
    """
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            await own_connection.take()
        except (FullError, LimitReachedError) as error:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                if wait_seconds > 0:
                    tried = plural(own_connection.tries.count, "try", "tries")
                    error.problem += f"; {tried} refused in {own_connection.tries.seconds:.1f}s"
                raise
            if not told:
                told = True
                tell(f"{error.problem}: retrying for {span(wait_seconds)}")
            await asyncio.sleep(min(own_connection.pause_seconds, remaining))
        else:
            return
