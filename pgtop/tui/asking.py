"""Asking the server on behalf of a screen that may be closed before the answer comes."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def undisturbed(question: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer; the question goes on to its end also where nobody waits for it any more.

    A statement that is broken off costs the seat its connection, and a full server gives no other.
    """
    asking = asyncio.ensure_future(question)
    asking.add_done_callback(_forget)
    return await asyncio.shield(asking)


def _forget(asking: "asyncio.Future[Any]") -> None:
    """Takes note of an error that nobody waits for."""
    if not asking.cancelled():
        asking.exception()
