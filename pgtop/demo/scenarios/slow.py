"""The scenario `slow`: a statement that lost its index, and clients that try again."""

import asyncio

import asyncpg

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, between, browse, hosts

_HOSTS = 3
_SHARE = 0.85
_REQUESTS_A_SECOND = 1.0
_SLOW_SECONDS = (60.0, 120.0)


async def play(clients: Clients) -> None:
    """Search orders by a column without an index; whoever gives up tries again beside the first search.

    More and more sessions of search run one statement, each with other values in it.
    """
    size = clients.parameters.pool_size(_SHARE, _HOSTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        for host in hosts(_HOSTS):
            pool = Pool(clients, "search", "api", host, size)
            tasks.create_task(pool.run())
            tasks.create_task(pool.call(_search, _REQUESTS_A_SECOND))


async def _search(connection: asyncpg.Connection) -> None:
    total, seconds = round(between(500, 9000)), round(between(*_SLOW_SECONDS))
    try:
        await connection.execute(schema.SEARCH.format(total=total, seconds=seconds))
    except asyncpg.QueryCanceledError:
        return
