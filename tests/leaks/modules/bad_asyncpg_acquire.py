import asyncpg


async def work(pool: asyncpg.Pool):
    conn = await pool.acquire()  # finds: not-in-finally
    await conn.execute("UPDATE jobs SET state = 'done'")
    await pool.release(conn)


async def forgotten(pool: asyncpg.Pool):
    conn = await pool.acquire()  # finds: never-closed
    await conn.execute("UPDATE jobs SET state = 'done'")


async def left_early(pool: asyncpg.Pool, job):
    conn = await pool.acquire()  # finds: not-in-finally
    if job is None:
        return
    await pool.release(conn)
