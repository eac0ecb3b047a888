"""Reach: whether a host that fell silent takes connections again, without waiting for the kernel's patience.

The kernel repeats an unanswered attempt to connect after 1, 3, 7, … seconds: an attempt that began while the
network was down finds out long after it is up again. So another one is begun each second.
"""

import asyncio
import contextlib
from typing import Final

EVERY_SECONDS: Final = 1.0
"""Between two attempts; the earlier ones go on, for hosts that are far away."""


async def reach(address: str, port: int) -> None:
    """Waits until the host takes a TCP connection, which is closed at once.

    Costs a server a process for an instant, and no slot. Raises OSError where it refuses; whoever calls this
    bounds it in time.
    """
    attempts: set[asyncio.Task[None]] = set()
    try:
        while True:
            attempts.add(asyncio.ensure_future(_connect(address, port)))
            done, _ = await asyncio.wait(attempts, timeout=EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return done.pop().result()
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_forget)


async def _connect(address: str, port: int) -> None:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _forget(attempt: "asyncio.Task[None]") -> None:
    """Takes note of an error that nobody waits for."""
    if not attempt.cancelled():
        attempt.exception()
