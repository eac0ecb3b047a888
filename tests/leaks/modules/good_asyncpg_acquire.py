import asyncpg


async def work(pool: asyncpg.Pool):
    async with pool.acquire() as conn:
        await conn.execute("UPDATE jobs SET state = 'done'")


async def by_hand(pool: asyncpg.Pool):
    conn = await pool.acquire()
    try:
        await conn.execute("UPDATE jobs SET state = 'done'")
    finally:
        await pool.release(conn)
