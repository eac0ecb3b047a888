"""`python -m tests.bench.full_server_login [ROUNDS]`: seconds to get into a full server against 100 clients.

Twenty ordinary slots, and 100 clients that want them: each tries every 50 ms, holds its slot for a second,
and wants another. Side by side in one run, A B A B: pgtop, and a plain retry each second. Prints the medians
and the median of the ratios within a round.
"""

import asyncio
import random
import statistics
import sys
import time

import asyncpg

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from tests.servers import default_binaries, execute

CLIENTS = 100
SLOTS = 20
HOLD_SECONDS = 1.0
RETRY_SECONDS = 0.05
PLAIN_RETRY_SECONDS = 1.0
LIMIT_SECONDS = 120.0


async def compete(uri: str) -> None:
    """One client that wants a slot again and again."""
    while True:
        try:
            connection = await asyncpg.connect(uri, ssl=False)
        except (asyncpg.PostgresError, OSError):
            await asyncio.sleep(RETRY_SECONDS)
            continue
        await asyncio.sleep(HOLD_SECONDS)
        await connection.close()


async def competition(uri: str) -> None:
    """All of them, until this process is ended."""
    await asyncio.gather(*(compete(uri) for _ in range(CLIENTS)))


async def by_pgtop(uri: str) -> float:
    """Seconds until pgtop is connected."""
    own_connection = OwnConnection(resolve(uri, {}, {"HOME": "/nonexistent"}), "bench")
    started = time.perf_counter()
    await enter(own_connection, LIMIT_SECONDS)
    taken = time.perf_counter() - started
    await own_connection.release()
    return taken


async def by_plain_retry(uri: str) -> float:
    """Seconds until a client that tries each second is in."""
    started = time.perf_counter()
    while True:
        try:
            connection = await asyncpg.connect(uri, ssl=False)
        except asyncpg.PostgresError:
            await asyncio.sleep(PLAIN_RETRY_SECONDS)
        else:
            taken = time.perf_counter() - started
            await connection.close()
            return taken


async def refused(uri: str) -> None:
    """Waits until a login is refused: what is measured begins there, and at no moment of the clients' own."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        try:
            connection = await asyncpg.connect(uri, ssl=False)
        except asyncpg.PostgresError:
            return
        await connection.close()


async def measure(rounds: int) -> None:
    """Fills a server, and prints what was measured."""
    settings = {"max_connections": str(SLOTS + 3), "superuser_reserved_connections": "3"}
    with ThrowawayServer(default_binaries(), settings=settings) as server:
        await execute(server, "CREATE ROLE app LOGIN")
        uri = server.uri(user="app")
        # A process of its own: their work shall not be in the way of what is measured.
        line = (sys.executable, "-m", __spec__.name, "--crowd", uri)
        crowd = await asyncio.create_subprocess_exec(*line)
        try:
            pairs = []
            for _ in range(rounds):
                await refused(uri)
                ours = await by_pgtop(uri)
                await refused(uri)
                pairs.append((ours, await by_plain_retry(uri)))
        finally:
            crowd.kill()
            await crowd.wait()
    median, plain = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    worst = max(one for one, _ in pairs)
    print(  # noqa: T201 - a bench prints
        f"{rounds} rounds, {CLIENTS} clients for {SLOTS} slots: pgtop {median:.2f} s (most {worst:.2f} s), "
        f"a retry each second {plain:.2f} s, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(competition(sys.argv[2]))
    else:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
