"""The scenario `pools`: many hosts with a pool each, sized as if there were one host."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, browse, hosts

_SHARE = 0.85
_REQUESTS_A_SECOND = 3.0


async def play(clients: Clients) -> None:
    """Run a web application on several hosts, whose pools fill the server although hardly any is used.

    All hosts of web hold as many sessions, most of which have never run a statement. What is swept is opened
    again within seconds.
    """
    places = hosts(max(3, min(8, clients.parameters.slots // 6)))
    size = clients.parameters.pool_size(_SHARE, len(places))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        for host in places:
            pool = Pool(clients, "web", "web", host, size, last_first=True)
            tasks.create_task(pool.run())
            tasks.create_task(pool.work(schema.WEB, _REQUESTS_A_SECOND))
