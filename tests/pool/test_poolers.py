"""A PgBouncer between the pool and the server: everything works, and tags show and go."""

import asyncio

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import get_pool
from tests.servers import wait_until
from tests.support.pooler import pooler
from tests.support.pools import names_on, take


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("tag_sites", [False, True])
async def test_a_pooler_in_between_changes_nothing(
    server: ThrowawayServer, mode: str, tag_sites: bool
) -> None:
    with pooler(server, mode=mode) as port:
        pool = await get_pool(
            f"postgresql://postgres@127.0.0.1:{port}/postgres",
            max_size=3 if mode == "transaction" else 1,  # the pooler has one session for it
            statement_cache_size=0,
            tag_sites=tag_sites,
            server_settings={"application_name": "pooled"},
        )
        values = await asyncio.gather(*(pool.fetchval("SELECT $1::int", number) for number in range(30)))
        assert values == list(range(30))
        assert pool.report().held == 0


async def test_a_tag_is_seen_behind_a_pooler_and_taken_off(server: ThrowawayServer) -> None:
    """The pooler's session to the server is named by whoever runs a statement in it."""
    with pooler(server, mode="transaction") as port:
        pool = await get_pool(
            f"postgresql://postgres@127.0.0.1:{port}/postgres",
            statement_cache_size=0,
            tag_sites=True,
            server_settings={"application_name": "pooled"},
        )
        connection = await take(pool)
        tagged = f"pooled@pools.py:{take.__code__.co_firstlineno + 2}"
        async with connection.transaction():
            await connection.execute("SELECT 1")
            assert await names_on(server, "pooled%") == [tagged]
        await pool.release(connection)
        assert await names_on(server, "pooled%") == ["pooled"]
        async with pool.acquire() as plain:
            await plain.execute("SELECT 1")

        async def is_named() -> bool:
            return await names_on(server, "pooled%") == ["pooled"]

        await wait_until(is_named)
