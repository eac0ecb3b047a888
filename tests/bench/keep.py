"""`python -m tests.bench.keep [MINUTES]`: is a leaking server kept under the line (10 minutes)?

A server of 100 slots, an application that leaks a session every 2 s, 20 well-behaved clients that work all
the time, and `pgtop reap --watch` at its defaults but for `--idle-after 30s`. Prints the peak of the usage,
how many errors the well-behaved clients saw, and whether the audit log accounts for each that was ended.
"""

import asyncio
import collections
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from pgtop.demo.server import ThrowawayServer
from tests.servers import default_binaries

WELL_BEHAVED = 20
LEAK_EVERY_SECONDS = 2.0


async def work(server: ThrowawayServer, number: int, end: float, errors: list[str]) -> None:
    """A client that asks something every second or so, over one connection."""
    connection = await asyncpg.connect(server.uri(), server_settings={"application_name": "web"}, ssl=False)
    while time.monotonic() < end:
        try:
            await connection.fetchval("SELECT pg_sleep(0.01)")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            errors.append(str(error))
            return
        await asyncio.sleep(0.5 + number % 7 / 5)
    await connection.close()


async def leak(server: ThrowawayServer, end: float, held: list[asyncpg.Connection]) -> None:
    """A client that opens sessions and forgets them."""
    settings = {"application_name": "leaky"}
    while time.monotonic() < end:
        held.append(await asyncpg.connect(server.uri(), server_settings=settings, ssl=False))
        await asyncio.sleep(LEAK_EVERY_SECONDS)


async def watch_usage(server: ThrowawayServer, end: float, usages: list[float]) -> None:
    """The usage each half second, the observer's own session left out."""
    connection = await asyncpg.connect(server.uri(), ssl=False)
    counted = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
    while time.monotonic() < end:
        usages.append(await connection.fetchval(counted) / 100)
        await asyncio.sleep(0.5)
    await connection.close()


async def run(server: ThrowawayServer, place: Path, seconds: float) -> None:
    """Runs it all, and prints what came of it."""
    audit, log = place / "audit.jsonl", place / "log"
    arguments = ("reap", server.uri(), "--watch", "--idle-after", "30s", "--audit-log", str(audit))
    with log.open("wb") as stream:
        environ = {**os.environ, "HOME": str(place)}
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pgtop", *arguments, env=environ, stderr=stream
        )
    end = time.monotonic() + seconds
    errors: list[str] = []
    held: list[asyncpg.Connection] = []
    usages: list[float] = []
    await asyncio.gather(
        *(work(server, number, end, errors) for number in range(WELL_BEHAVED)),
        leak(server, end, held),
        watch_usage(server, end, usages),
    )
    daemon.send_signal(signal.SIGTERM)
    await daemon.wait()
    ended = sum(connection.is_closed() for connection in held)
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in audit.read_bytes().splitlines():
        entry = json.loads(line)
        if entry["event"] == "outcome":
            outcomes[entry["application_name"], entry["outcome"]] += 1
    above = sum(usage > 0.8 for usage in usages) / len(usages)
    print(  # noqa: T201
        f"{seconds / 60:g} min: peak {max(usages):.0%}, above the line {above:.1%} of the time; "
        f"{len(held)} leaked, {ended} ended, audit log {dict(outcomes)}; errors of others {len(errors)}; "
        f"daemon's exit {daemon.returncode}"
    )
    for connection in held:
        connection.terminate()


async def main(minutes: float) -> None:
    """Prints what came of it."""
    settings = {"max_connections": "103", "superuser_reserved_connections": "3"}
    with (
        tempfile.TemporaryDirectory() as place,
        ThrowawayServer(default_binaries(), settings=settings) as server,
    ):
        await run(server, Path(place), minutes * 60)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
