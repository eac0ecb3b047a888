"""The scenario `limit`: a role is held back by its own CONNECTION LIMIT, while the server has room."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, browse, hosts

_HOSTS = 2
_REQUESTS_A_SECOND = 5.0


async def play(clients: Clients) -> None:
    """Run a billing service on two hosts, whose pools together are larger than what its role may open.

    The role's sessions stay at the limit, logins of the second host are refused, and all other applications
    are well.
    """
    size = schema.BILLING_LIMIT // _HOSTS + 1
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients.parameters.web_sessions):
            tasks.create_task(clients.keep("web", "web", browse))
        for host in hosts(_HOSTS):
            pool = Pool(clients, "billing", "billing", host, size)
            tasks.create_task(pool.run())
            tasks.create_task(pool.work(schema.ORDERS, _REQUESTS_A_SECOND))
