import asyncpg


async def count():
    conn = await asyncpg.connect("postgresql:///jobs")
    try:
        return await conn.fetchval("SELECT count(*) FROM jobs")
    finally:
        await conn.close()


async def ping():
    conn = None
    try:
        conn = await asyncpg.connect("postgresql:///jobs")
        return await conn.fetchval("SELECT 1")
    finally:
        if conn is not None:
            await conn.close()


async def can_connect():
    conn = await asyncpg.connect("postgresql:///jobs")
    await conn.close()
    return True
