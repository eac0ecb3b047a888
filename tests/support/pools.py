"""A pool's connections as tests take, lose and count them."""

import asyncpg

from pgtop.demo.server import ThrowawayServer
from tests.servers import fetch_value


async def take(pool: asyncpg.Pool) -> asyncpg.pool.PoolConnectionProxy:
    """Take a connection, and leave the giving back to the caller."""
    return await pool.acquire()


async def lose(pool: asyncpg.Pool) -> None:
    """Take a connection, and forget it."""
    await pool.acquire()


async def names_on(server: ThrowawayServer, like: str) -> list[str]:
    """Return the application names on a server that match a pattern of LIKE, in alphabetical order."""
    query = (
        "SELECT coalesce(array_agg(application_name ORDER BY application_name), '{}') "
        "FROM pg_stat_activity WHERE application_name LIKE $1"
    )
    found: list[str] = await fetch_value(server, query, like)  # type: ignore[assignment]
    return found
