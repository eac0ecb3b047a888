"""The demo's server restarted from outside: the demo goes on, and its workload comes back."""

import asyncpg
import psutil

from tests.bench.restarts import Server, server_of
from tests.servers import default_binaries, wait_until
from tests.support.processes import DEMO, program, wait_until_no_trace

APPLICATIONS = {"web", "reports", "batch", "leaky-worker"}


async def applications(server: Server) -> set[str]:
    """Whose sessions there are."""
    admin = await asyncpg.connect(server.socket_uri, ssl=False)
    try:
        return {row[0] for row in await admin.fetch("SELECT application_name FROM pg_stat_activity")}
    finally:
        await admin.close()


async def test_the_demo_goes_on_after_a_restart_from_outside_and_ends_clean() -> None:
    with program(DEMO, PGTOP_PG_BIN=str(default_binaries())) as running:
        directory = running.line()
        running.line(), running.line()
        server = server_of(psutil.Process(running.process.pid))

        async def all_there() -> bool:
            return await applications(server) >= APPLICATIONS

        for mode in ("fast", "immediate"):
            await wait_until(all_there, limit=60)
            server.restart(mode)
        await wait_until(all_there, limit=60)
        assert running.process.poll() is None
        running.process.terminate()
        assert server.started is not None
        server.started.wait(30)
        assert running.process.wait(30) == 0
        wait_until_no_trace(directory)
