import asyncio

import psycopg


def count():
    with psycopg.connect("dbname=jobs") as conn:
        return conn.execute("SELECT count(*) FROM jobs").fetchone()


async def names():
    async with await psycopg.AsyncConnection.connect("dbname=jobs") as conn:
        cur = await conn.execute("SELECT name FROM jobs")
        return await cur.fetchall()


async def named():
    conn = await psycopg.AsyncConnection.connect("dbname=jobs")
    async with conn:
        await conn.execute("SELECT 1")


async def heartbeat():
    async with await psycopg.AsyncConnection.connect("dbname=jobs", autocommit=True) as conn:
        while True:
            await conn.execute("SELECT 1")
            await asyncio.sleep(10)
