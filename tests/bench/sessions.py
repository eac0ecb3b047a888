"""`python -m tests.bench.sessions [COUNT]`: does the dashboard keep pace with COUNT sessions (4,000)?

Opens the sessions on a throw-away server, runs the dashboard over them at 120x40, and prints for a refresh
what the poll takes, and what taking it in and painting takes, beside the interval of 2 s.
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

from pgtop.core.activity import Snapshot
from pgtop.demo.server import ThrowawayServer
from tests.servers import default_binaries
from tests.support.dashboards import dashboard

REFRESHES = 15
INTERVAL_SECONDS = 2.0


async def open_sessions(server: ThrowawayServer, count: int) -> list[asyncpg.Connection]:
    """That many idle sessions of seven applications."""
    opened = []
    for number in range(count):
        settings = {"application_name": f"application-{number % 7}"}
        connection = await asyncpg.connect(server.uri(), server_settings=settings, ssl=False)
        await connection.execute(f"SELECT {number} AS a_statement_of_some_length, now() AS at")
        opened.append(connection)
    return opened


async def measure(server: ThrowawayServer, audit: Path) -> tuple[list[float], list[float]]:
    """Seconds of each poll, and of taking in and painting it."""
    polls, paints = [], []
    async with dashboard(server, audit, interval_seconds=INTERVAL_SECONDS) as driven:
        probe = driven.dashboard.poller.probe
        for _ in range(REFRESHES):
            snapshot = await probe.poll()
            assert isinstance(snapshot, Snapshot)
            polls.append(snapshot.poll_seconds)
            started = time.perf_counter()
            driven.dashboard.take(snapshot)
            await driven.pilot.pause()
            paints.append(time.perf_counter() - started)
    return polls, paints


async def main(count: int) -> None:
    """Prints the figures."""
    settings = {"max_connections": str(count + 20), "shared_buffers": "16MB"}
    with (
        tempfile.TemporaryDirectory() as place,
        ThrowawayServer(default_binaries(), settings=settings) as server,
    ):
        opened = await open_sessions(server, count)
        try:
            polls, paints = await measure(server, Path(place) / "audit.jsonl")
        finally:
            for connection in opened:
                connection.terminate()
    poll, paint = statistics.median(polls) * 1000, statistics.median(paints) * 1000
    part = (poll + paint) / INTERVAL_SECONDS / 10
    print(f"{count} sessions: poll {poll:.0f} ms, take in and paint {paint:.0f} ms; {part:.1f}% of 2 s")  # noqa: T201


if __name__ == "__main__":
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, files[1]), files[1]))
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000))
