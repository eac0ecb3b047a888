"""The scenario `locks`: a schema change behind a dump, and everybody else behind the schema change."""

import asyncio
import contextlib
import os
from pathlib import Path

import asyncpg

from pgtop.demo import schema
from pgtop.demo.clients import Clients, Pool, hosts, rest

_HOSTS = 4
_SHARE = 0.8
_REQUESTS_A_SECOND = 6.0
_SECONDS_BEFORE = 4.0
_SECONDS_BETWEEN_TRIES = 30.0


async def play(clients: Clients) -> None:
    """Dump a table for long, and let a migration change it meanwhile.

    The ALTER TABLE waits for pg_dump, and each reader waits for the ALTER TABLE. Once that is cancelled, the
    readers go on; the migration tries again later.
    """
    size = clients.parameters.pool_size(_SHARE, _HOSTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.keep("pg_dump", "backup", _dump))
        tasks.create_task(clients.keep("migration", "batch", _migrate))
        for host in hosts(_HOSTS):
            pool = Pool(clients, "web", "web", host, size)
            tasks.create_task(pool.run())
            tasks.create_task(pool.work(schema.ORDERS, _REQUESTS_A_SECOND))


async def _dump(connection: asyncpg.Connection) -> None:
    async with connection.transaction(isolation="repeatable_read"):
        await connection.copy_from_query(schema.DUMP, output=Path(os.devnull))


async def _migrate(connection: asyncpg.Connection) -> None:
    await rest(connection, _SECONDS_BEFORE)
    while True:
        with contextlib.suppress(asyncpg.QueryCanceledError):
            await connection.execute(schema.MIGRATION)
        await rest(connection, _SECONDS_BETWEEN_TRIES)
