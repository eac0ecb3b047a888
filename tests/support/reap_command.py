"""`pgtop reap` as a process, and sessions for it to end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from pgtop.demo.server import ThrowawayServer
from tests.servers import session, sessions, wait_until
from tests.support.running import run

STALE = ("--idle-after", "1s", "--emergency-idle-after", "1s")


@asynccontextmanager
async def stale(
    server: ThrowawayServer, count: int, **options: Any
) -> AsyncIterator[list[asyncpg.Connection]]:
    """`count` sessions, each idle for longer than a second by the server's clock; no other slot is taken."""
    async with sessions(server, count, **options) as opened, session(server) as clock:
        pids = [each.get_server_pid() for each in opened]
        enough = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1) AND now() - state_change > '1.1s'"

        async def is_enough() -> bool:
            return bool(await clock.fetchval(enough, pids) == len(pids))

        await wait_until(is_enough)
        pid = clock.get_server_pid()
        await clock.close()
        await wait_until(lambda: not psutil.pid_exists(pid))
        yield opened


async def reap(place: Path, server: ThrowawayServer, *arguments: str, uri: str = "") -> Any:
    """Runs the command, while this loop keeps its sessions alive."""
    audit = ("--audit-log", str(place / "audit.jsonl"))
    return await asyncio.to_thread(run, place, "reap", uri or server.uri(), *audit, *arguments)


async def answer(place: Path, server: ThrowawayServer, *arguments: str, uri: str = "") -> dict[str, Any]:
    """What it prints as JSON; its exit status as `status`."""
    done = await reap(place, server, "--json", *arguments, uri=uri)
    assert done.stderr == ""
    return {**json.loads(done.stdout), "status": done.returncode}


async def alive(opened: list[asyncpg.Connection]) -> list[bool]:
    """Return of each session whether it is still open."""

    async def one(connection: asyncpg.Connection) -> bool:
        try:
            return await connection.fetchval("SELECT 1") == 1
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False

    return [await one(each) for each in opened]
