from contextlib import AsyncExitStack, ExitStack, closing

import asyncpg
import psycopg2


def both():
    with ExitStack() as stack:
        first = stack.enter_context(closing(psycopg2.connect("dbname=a")))
        second = psycopg2.connect("dbname=b")
        stack.callback(second.close)
        first.cursor().execute("SELECT 1")
        second.cursor().execute("SELECT 1")


async def all_of(dsns):
    async with AsyncExitStack() as stack:
        for dsn in dsns:
            conn = await asyncpg.connect(dsn)
            stack.push_async_callback(conn.close)
            await conn.execute("SELECT 1")
