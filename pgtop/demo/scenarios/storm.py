"""The scenario `storm`: no pool, and more and more requests at once."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import Clients, between, browse, hosts

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
        await clients.run_once("shop-front", "web", schema.WEB, 3, (0.2, 1.5), host)
