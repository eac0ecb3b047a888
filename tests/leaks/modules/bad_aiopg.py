import aiopg
from aiopg.sa import create_engine


async def count():
    pool = await aiopg.create_pool("dbname=jobs")  # finds: never-closed
    conn = await pool.acquire()  # finds: never-closed
    cur = await conn.cursor()
    await cur.execute("SELECT count(*) FROM jobs")


async def names(engine):
    conn = await engine.acquire()  # finds: not-in-finally
    await conn.execute("SELECT name FROM jobs")
    engine.release(conn)


async def start():
    return await create_engine("dbname=jobs")
