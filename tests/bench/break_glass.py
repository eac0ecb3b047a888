"""`python -m tests.bench.break_glass [COUNT]`: how soon break-glass signals where COUNT (500) sessions are.

From the start of the command's process until the first victim's client sees its connection end, all of them
over TCP; beside it, A B A B, a loop in a fresh Python that reads the titles below the postmaster and sends
SIGTERM to the first idle one, with no look at its age, no guard and no audit log. Prints the medians, and the
median of the ratios.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from pgtop.demo.server import ThrowawayServer
from tests.bench.sessions import open_sessions
from tests.servers import default_binaries
from tests.support.hosting import host_server
from tests.support.running import command, environment

ROUNDS = 5

BARE = """
import os, signal, sys
for name in os.listdir("/proc"):
    if name.isdecimal():
        try:
            title = open(f"/proc/{name}/cmdline", "rb").read().rstrip(b"\\0")
            parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == sys.argv[1] and title.endswith(b") idle"):
            os.kill(int(name), signal.SIGTERM)
            break
"""


async def first_end(arguments: list[str], home: Path, sessions: list[asyncpg.Connection]) -> float:
    """Seconds from the start of a process until one of the sessions is seen to end."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[float] = loop.create_future()

    def note(_: asyncpg.Connection) -> None:
        if not ended.done():
            ended.set_result(time.perf_counter())

    for each in sessions:
        each.add_termination_listener(note)
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *arguments, env=environment(home), stdout=asyncio.subprocess.PIPE
    )
    taken = await asyncio.wait_for(ended, 30) - started
    await process.communicate()
    for each in sessions:
        each.remove_termination_listener(note)
    return taken


async def main(count: int) -> None:
    """Measures, and prints."""
    settings = {"max_connections": str(count + 20), "superuser_reserved_connections": "3"}
    with (
        tempfile.TemporaryDirectory() as home,
        ThrowawayServer(default_binaries(), settings=settings) as server,
    ):
        host_watch = command(
            *(
                "break-glass",
                "--data-dir",
                str(server.data_dir),
                "--count",
                "1",
                "--older-than",
                "1s",
                "--yes",
            )
        )
        bare = [sys.executable, "-c", BARE, str(host_server(server).pid)]
        taken: dict[str, list[float]] = {"glass": [], "bare": []}
        sessions = await open_sessions(server, count)
        await asyncio.sleep(1.5)
        for _ in range(ROUNDS):
            for name, arguments in (("glass", host_watch), ("bare", bare)):
                living = [each for each in sessions if not each.is_closed()]
                taken[name].append(await first_end(arguments, Path(home), living))
        for each in sessions:
            each.terminate()
        ratios = [one / other for one, other in zip(taken["glass"], taken["bare"], strict=True)]
        for name, text in (("glass", "break-glass"), ("bare", "bare signal")):
            print(f"{text}: {statistics.median(taken[name]) * 1000:.0f} ms")  # noqa: T201 - a bench's output
        print(f"ratio: {statistics.median(ratios):.1f}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
