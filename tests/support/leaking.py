"""A workload that leaks, in seconds instead of minutes: the thresholds are compressed as much."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.demo.server import ThrowawayServer
from tests.servers import session

QUICK = Thresholds(compression=60)
"""One second stands for a minute."""

_GAP_SECONDS = 0.25


@asynccontextmanager
async def leaked(
    server: ThrowawayServer, count: int = 12, **options: Any
) -> AsyncIterator[list[asyncpg.Connection]]:
    """`count` sessions that are opened one after the other, used once, and not given back."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(await stack.enter_async_context(session(server, **options)))
            await opened[-1].fetchval("SELECT count(*) FROM pg_class WHERE relname = 'jobs'")
            await asyncio.sleep(_GAP_SECONDS)
        yield opened
