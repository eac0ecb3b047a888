"""`python -m tests.bench.churn URI SESSIONS`: sessions that come and go, until it is told to end (SIGTERM).

A twentieth of them is replaced each second, some under names that were never seen before, with statements
that nobody ran before; and once a minute all of them leave at a time and come again.
"""

import asyncio
import contextlib
import itertools
import random
import signal
import sys
from collections.abc import Iterator

import asyncpg

from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS

REPLACED_PER_SECOND = 0.05
WAVE_SECONDS = 60.0
AT_A_TIME = 20
APPLICATIONS = 30


class Churn:
    """So many sessions on a server."""

    def __init__(self, uri: str, sessions: int, wave_seconds: float = WAVE_SECONDS) -> None:
        self._uri = uri
        self._sessions = sessions
        self._wave_seconds = wave_seconds
        self._open: list[asyncpg.Connection] = []
        self._numbers: Iterator[int] = itertools.count()
        self._dice = random.Random(5)  # noqa: S311 - no secret

    async def run(self) -> None:
        """Comes and goes for ever."""
        while True:
            while len(self._open) < self._sessions:
                missing = min(AT_A_TIME, self._sessions - len(self._open))
                await asyncio.gather(*(self._come() for _ in range(missing)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wave_seconds):
                    while True:
                        await asyncio.sleep(1 / (self._sessions * REPLACED_PER_SECOND))
                        await self._go()
                        await self._come()
            while self._open:
                await self._go()

    async def _come(self) -> None:
        number = next(self._numbers)
        fresh = self._dice.random() < 0.2
        name = f"job-{number}" if fresh else f"application-{number % APPLICATIONS}"
        with contextlib.suppress(*DRIVER_ERRORS):
            connection = await asyncpg.connect(
                self._uri, server_settings={"application_name": name}, ssl=False, timeout=20
            )
            self._open.append(connection)
            if self._dice.random() < 0.1:
                await connection.execute("BEGIN")
            await connection.execute(f"SELECT {number} AS a_statement_of_some_length, now() AS at")

    async def _go(self) -> None:
        if self._open:
            self._open.pop(self._dice.randrange(len(self._open))).terminate()


async def main(uri: str, sessions: int, wave_seconds: float) -> None:
    """Runs until SIGTERM."""
    work = asyncio.ensure_future(Churn(uri, sessions, wave_seconds).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


if __name__ == "__main__":
    from tests.bench.files import many_files

    many_files()
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else WAVE_SECONDS)
    )
