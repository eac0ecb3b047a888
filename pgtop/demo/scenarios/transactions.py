"""The scenario `transactions`: an API waits for another service while its transaction is open."""

import asyncio

import asyncpg

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, between, browse, hosts, rest

_HOSTS = 3
_SHARE = 0.85
_REQUESTS_A_SECOND = 1.0
_SERVICE_SECONDS = (30.0, 90.0)


async def play(clients: Clients) -> None:
    """Serve calls that begin a transaction, read, and ask a payment service that has become slow.

    More and more sessions of the API are idle in transaction after the same statement, until its pools are
    used up.
    """
    size = clients.parameters.pool_size(_SHARE, _HOSTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        for host in hosts(_HOSTS):
            pool = Pool(clients, "api", "api", host, size)
            tasks.create_task(pool.run())
            tasks.create_task(pool.call(_pay, _REQUESTS_A_SECOND))


async def _pay(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        await connection.execute(schema.PAYMENT)
        await rest(connection, between(*_SERVICE_SECONDS))
