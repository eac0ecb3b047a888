import asyncpg


async def count():
    conn = await asyncpg.connect("postgresql:///jobs")  # finds: never-closed
    return await conn.fetchval("SELECT count(*) FROM jobs")


async def names():
    conn = await asyncpg.connect("postgresql:///jobs")  # finds: not-in-finally
    rows = await conn.fetch("SELECT name FROM jobs")
    await conn.close()
    return rows


async def ping():
    return await (await asyncpg.connect("postgresql:///jobs")).fetchval("SELECT 1")  # finds: never-closed
