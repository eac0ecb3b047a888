"""The scenario `silent`: the network loses some of the hosts of an application."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, browse, hosts

_HOSTS = 4
_LOST = 2
_SHARE = 0.85
_REQUESTS_A_SECOND = 15.0
_SECONDS_BEFORE = 12.0


async def play(clients: Clients) -> None:
    """Run a web application on several hosts, of which half fall silent after a while.

    All sessions of the silent hosts rest since one moment, and the other hosts work on. The server would
    notice only when its keepalives fail, two hours later. Once those sessions are terminated, the hosts are
    back.
    """
    size = clients.parameters.pool_size(_SHARE, _HOSTS)
    places = hosts(_HOSTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        for host in places[_LOST:]:
            pool = Pool(clients, "web", "web", host, size)
            tasks.create_task(pool.run())
            tasks.create_task(pool.work(schema.WEB, _REQUESTS_A_SECOND))
        while True:
            lost = [Pool(clients, "web", "web", host, size) for host in places[:_LOST]]
            ends = [tasks.create_task(pool.run()) for pool in lost]
            for pool in lost:
                tasks.create_task(pool.work(schema.WEB, _REQUESTS_A_SECOND))
            await asyncio.sleep(_SECONDS_BEFORE)
            for pool in lost:
                pool.hang()
            await asyncio.wait(ends)
