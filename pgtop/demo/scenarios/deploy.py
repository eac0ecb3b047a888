"""The scenario `deploy`: the processes of an old release hang at their end, and keep their sessions."""

import asyncio
from itertools import count

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, browse, hosts

_HOSTS = 3
_SHARE = 0.47
_REQUESTS_A_SECOND = 12.0
_SECONDS_OF_A_RELEASE = 12.0


async def play(clients: Clients) -> None:
    """Deploy one release of a web application after the other; the next one waits until there is room.

    The addresses of the old release fall silent with all their sessions open, and as many new addresses do
    its work. Once the old sessions are terminated, the next deploy begins.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("batch", "batch", browse))
        old: list[Pool] = []
        ended: list[asyncio.Task[None]] = []
        for release in count():
            new = _pools(clients, release % 250)
            ends = [tasks.create_task(pool.run()) for pool in new]
            for pool in new:
                tasks.create_task(pool.work(schema.WEB, _REQUESTS_A_SECOND))
            # The load balancer goes over to the new release; the old processes hang in their shutdown.
            for pool in old:
                pool.hang()
            if ended:
                await asyncio.wait(ended)
            old, ended = new, ends
            await asyncio.sleep(_SECONDS_OF_A_RELEASE)


def _pools(clients: Clients, release: int) -> list[Pool]:
    size = clients.parameters.pool_size(_SHARE, _HOSTS)
    return [Pool(clients, "web", "web", host, size) for host in hosts(_HOSTS, release)]
