"""`python -m tests.bench.crowd URI COUNT STATE CHANGING`: sessions in a process of their own.

They are of seven applications. STATE is `idle` or `transaction`; the share CHANGING of them runs a statement
every 2 s. Says `ready` when all are there, and ends them when its standard input is closed.
"""

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

CHANGE_EVERY_SECONDS = 2.0


@contextmanager
def crowd(uri: str, count: int, state: str, changing: float = 0.0) -> Iterator[None]:
    """The sessions of such a process, from when all are there."""
    command = [sys.executable, "-m", "tests.bench.crowd", uri, str(count), state, str(changing)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"ready\n", "the sessions could not be opened"
            yield
        finally:
            process.stdin.close()
            process.wait()


async def _open(uri: str, number: int, state: str) -> asyncpg.Connection:
    settings = {"application_name": f"application-{number % 7}"}
    connection = await asyncpg.connect(uri, server_settings=settings, ssl=False, statement_cache_size=0)
    if state == "transaction":
        await connection.execute("BEGIN")
    await connection.execute(f"SELECT {number} AS a_statement_of_some_length, now() AS at")
    return connection


async def _change(connections: list[asyncpg.Connection]) -> None:
    number = 0
    while True:
        for connection in connections:
            number += 1
            await connection.execute(f"SELECT {number} AS another_statement_of_some_length")
        await asyncio.sleep(CHANGE_EVERY_SECONDS)


async def main(uri: str, count: int, state: str, changing: float) -> None:
    """Opens them, and holds them."""
    opened = [await _open(uri, number, state) for number in range(count)]
    busy = asyncio.ensure_future(_change(opened[: round(count * changing)]))
    print("ready", flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    busy.cancel()
    for connection in opened:
        connection.terminate()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
