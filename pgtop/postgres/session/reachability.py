"""Reach: whether a host that fell silent takes connections again, without waiting for the kernel's patience.

The kernel repeats an unanswered attempt to connect after 1, 3, 7, … seconds: an attempt that began while the
network was down finds out long after it is up again. So another one is begun each second.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

EVERY_SECONDS: Final = 1.0
"""Between two attempts; the earlier ones go on, for hosts that are far away."""


async def reach(addresses: Sequence[str], port: int) -> str:
    """Return the first of a host's addresses that takes a TCP connection, which is closed at once.

    All are asked at the same time: one that stays silent keeps none of the others from being found.
    Addresses and no name: each attempt would ask for it in a thread that the program's end waits for. Costs a
    server a process for an instant, and no slot. Raises OSError where all refuse; whoever calls this bounds
    it in time.
    """
    waiting = {asyncio.ensure_future(_taken(each, port)): each for each in addresses}
    refused: dict[str, OSError] = {}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = waiting.pop(task)
                try:
                    await task
                except OSError as error:
                    refused[address] = error
                else:
                    return address
                if refused.keys() == set(addresses):
                    raise refused[address]
                # Another one is silent: meanwhile, the server may come up at this one.
                waiting[asyncio.ensure_future(_taken(address, port, EVERY_SECONDS))] = address
    finally:
        _give_up(waiting)


async def _taken(address: str, port: int, delay_seconds: float = 0.0) -> None:
    """Return once the address takes one of the connections begun each second; OSError if it refuses."""
    await asyncio.sleep(delay_seconds)
    attempts: set[asyncio.Task[None]] = set()
    try:
        while True:
            attempts.add(asyncio.ensure_future(_connect(address, port)))
            done, _ = await asyncio.wait(attempts, timeout=EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return done.pop().result()
    finally:
        _give_up(attempts)


async def _connect(address: str, port: int) -> None:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _give_up(tasks: Iterable["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
        task.add_done_callback(_forget)


def _forget(attempt: "asyncio.Task[None]") -> None:
    """Take note of an error that nobody waits for."""
    if not attempt.cancelled():
        attempt.exception()
