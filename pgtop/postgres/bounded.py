"""One statement on one connection, bounded in time, never cancelled: a cancel opens a second connection."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from pgtop.core.text import printable
from pgtop.postgres.faults import DRIVER_ERRORS, SeatLostError
from pgtop.postgres.login import Connection
from pgtop.postgres.outages import TIMEOUT

_FATAL: Final = frozenset({"FATAL", "PANIC"})

T = TypeVar("T")


async def bounded(
    connection: Connection, work: Coroutine[Any, Any, T], limit_seconds: float, label: str
) -> T:
    """What the statement gives.

    Raises SeatLostError where the connection is gone, or no answer came within the limit: it is then to be
    dropped, as it is where this is cancelled. `label` is the server's, safe to print.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit_seconds)
    except asyncio.CancelledError:  # the loop is being closed
        task.add_done_callback(forget)
        raise
    if not task.done():
        task.add_done_callback(forget)
        raise SeatLostError(
            f"{label} did not answer within {limit_seconds:g} s", "the connection was dropped", TIMEOUT
        )
    try:
        return task.result()
    except (*DRIVER_ERRORS, AttributeError) as error:  # the last where it is closed between two steps
        if connection.is_closed() or getattr(error, "severity_en", None) in _FATAL:
            text = printable(str(error)) or type(error).__name__
            raise SeatLostError(
                f"the connection to {label} was lost ({text})", "it has to be taken again"
            ) from error
        raise


def forget(task: "asyncio.Future[Any]") -> None:
    """Takes note of what became of a statement that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
