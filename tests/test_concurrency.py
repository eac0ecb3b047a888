"""Threads that nobody waits for at the end, and questions that go on when nobody waits for their answer."""

import asyncio
import threading

import pytest

from pgtop.concurrency import unawaited_at_exit


async def test_a_thread_that_fails_fails_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await unawaited_at_exit(fail)


async def test_a_wait_that_is_given_up_leaves_the_thread_alone() -> None:
    release = threading.Event()
    waiting = asyncio.ensure_future(unawaited_at_exit(release.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
