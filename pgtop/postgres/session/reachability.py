"""Reach: whether a host that fell silent takes connections again, without waiting for the kernel's patience.

The kernel repeats an unanswered attempt to connect after 1, 3, 7, … seconds: an attempt that began while the
network was down finds out long after it is up again. So another one is begun each second.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

EVERY_SECONDS: Final = 1.0
"""Between two attempts; the earlier ones go on, for hosts that are far away."""


async def reach(addresses: Sequence[str], port: int) -> None:
    """Wait until the host takes a TCP connection at one of its addresses, which is closed at once.

    Addresses and no name: each attempt would ask for it in a thread that the program's end waits for. Costs a
    server a process for an instant, and no slot. Raises OSError where it refuses; whoever calls this bounds
    it in time.
    """
    attempts: set[asyncio.Task[None]] = set()
    try:
        while True:
            attempts.add(asyncio.ensure_future(_connect(addresses, port)))
            done, _ = await asyncio.wait(attempts, timeout=EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return done.pop().result()
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_forget)


async def _connect(addresses: Sequence[str], port: int) -> None:
    refused = OSError("the host has no address")
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError as error:
            refused = error
        else:
            break
    else:
        raise refused
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _forget(attempt: "asyncio.Task[None]") -> None:
    """Take note of an error that nobody waits for."""
    if not attempt.cancelled():
        attempt.exception()
