"""Questions that block, asked in threads that nobody waits for when the program ends."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

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
