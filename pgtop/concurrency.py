"""Waiting: for a thread that may block, for work that must not be cut off, or no longer at all."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

Answer = TypeVar("Answer")


async def unawaited_at_exit(question: Callable[[], Answer]) -> Answer:
    """The answer to a question that blocks, from a thread that nobody waits for when the program ends.

    asyncio's own threads would keep it from ending for as long as a dead name server does not answer. Raises
    what the question raises, and RuntimeError where no thread can be had.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def tell(answer: Answer | None, error: BaseException | None) -> None:
        if answered.done():
            return
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(cast("Answer", answer))

    def ask() -> None:
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = question()
        except Exception as error:  # noqa: BLE001 - handed on to who asked
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile
            loop.call_soon_threadsafe(tell, answer, failure)

    threading.Thread(target=ask, name="question", daemon=True).start()
    return await answered


def forget(task: "asyncio.Future[Any]") -> None:
    """Consume the outcome of abandoned work, so that asyncio does not report its error."""
    if not task.cancelled():
        task.exception()


async def outlast(work: "asyncio.Future[Any]", when_cancelled: Callable[[], None] = lambda: None) -> bool:
    """Wait until work is done, whatever cancels the caller meanwhile; return whether something did.

    The caller has to raise CancelledError then, and to look at the work's own outcome. `when_cancelled` is
    called at the first cancellation.
    """
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            if not is_cancelled:
                when_cancelled()
            is_cancelled = True
    return is_cancelled


async def undisturbed(question: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer; the question goes on to its end also where nobody waits for it any more.

    A statement that is broken off costs pgtop its connection, and a full server gives no other.
    """
    asking = asyncio.ensure_future(question)
    asking.add_done_callback(forget)
    return await asyncio.shield(asking)
