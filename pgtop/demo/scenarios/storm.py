"""The scenario `storm`: no pool, and more and more requests at once."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import CONNECT_SECONDS, GONE, Clients, between, browse, hosts, one_of, rest

_HOSTS = 4
_SHARE = 0.9
_SECONDS_OF_CALM = 16.0


async def play(clients: Clients) -> None:
    """Answer each request through a session of its own, which is closed after a few statements.

    The first quarter of a minute is calm. Then the sessions of shop-front, none older than a few seconds,
    fill the server, and whatever is terminated is there again at once.
    """
    calls = clients.parameters.pool_size(_SHARE, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        places = hosts(_HOSTS)
        for nth in range(calls):
            calm = 0.0 if nth < calls // 10 else _SECONDS_OF_CALM
            tasks.create_task(_request_after(clients, places[nth % _HOSTS], calm + between(0, 4)))


async def _request_after(clients: Clients, host: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    while True:
        try:
            connection = await clients.open("shop-front", "web", host)
            try:
                for _ in range(3):
                    await connection.execute(one_of(schema.WEB))
                    await rest(connection, between(0.2, 1.5))
                await connection.close(timeout=CONNECT_SECONDS)
            finally:
                connection.terminate()
        except GONE:
            await asyncio.sleep(between(0.5, 1.5))
