"""`python -m tests.bench.sweep [COUNT]`: how long one sweep of COUNT idle sessions (1,000) takes.

Side by side in one run, A B A B: the shared reaper, with its guards, its audit log and its confirming,
against the bare signals, `pg_terminate_backend` pid by pid over one connection, waited for in the same way.
Prints the medians and the median of the ratios.
"""

import asyncio
import contextlib
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from pgtop.core.plan import Outcome, ReapPolicy
from pgtop.demo.server import ThrowawayServer
from tests.bench.sessions import open_sessions
from tests.servers import default_binaries
from tests.support.reaping import face_on

ROUNDS = 3
EVERYBODY = ReapPolicy(idle_after_seconds=0.0)


async def swept(server: ThrowawayServer, count: int, audit: Path) -> float:
    """Seconds from the plan to the last outcome."""
    async with face_on(server, audit) as face:
        snapshot = await face.snapshot()
        started = time.perf_counter()
        plan = await face.reaper.plan_sweep(snapshot, EVERYBODY)
        report = await face.run(plan)
        taken = time.perf_counter() - started
        assert report.count(Outcome.TERMINATED) == count, report.results[:3]
    return taken


async def bare(server: ThrowawayServer, pids: list[int]) -> float:
    """Seconds from the first signal until none of them is left."""
    connection = await asyncpg.connect(server.uri(), ssl=False, statement_cache_size=0)
    try:
        left = "SELECT count(*) FROM pg_stat_get_activity(NULL) WHERE pid = ANY($1::int[])"
        started = time.perf_counter()
        for pid in pids:
            await connection.fetchval("SELECT pg_terminate_backend($1)", pid)
        while await connection.fetchval(left, pids):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        return time.perf_counter() - started
    finally:
        await connection.close()


async def one_round(server: ThrowawayServer, count: int, audit: Path) -> tuple[float, float]:
    """The reaper's seconds and the bare signals', one after the other on the same server."""
    taken = []
    for with_reaper in (True, False):
        opened = await open_sessions(server, count)
        try:
            pids = [connection.get_server_pid() for connection in opened]
            taken.append(await (swept(server, count, audit) if with_reaper else bare(server, pids)))
        finally:
            for connection in opened:
                connection.terminate()
    return taken[0], taken[1]


async def main(count: int) -> None:
    """Prints the figures."""
    settings = {"max_connections": str(count + 20), "shared_buffers": "16MB"}
    with (
        tempfile.TemporaryDirectory() as place,
        ThrowawayServer(default_binaries(), settings=settings) as server,
    ):
        rounds = [await one_round(server, count, Path(place) / "audit.jsonl") for _ in range(ROUNDS)]
    reaper, signals = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = statistics.median(first / second for first, second in rounds)
    print(f"{count} victims: reaper {reaper:.2f} s, bare signals {signals:.2f} s, ratio {ratio:.2f}")  # noqa: T201


if __name__ == "__main__":
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, files[1]), files[1]))
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
