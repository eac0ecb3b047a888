import aiopg
from aiopg.sa import create_engine


async def count():
    async with aiopg.create_pool("dbname=jobs") as pool:
        async with pool.acquire() as conn, conn.cursor() as cur:
            await cur.execute("SELECT count(*) FROM jobs")


async def once():
    async with aiopg.connect("dbname=jobs") as conn, conn.cursor() as cur:
        await cur.execute("SELECT 1")


async def startup(app):
    app["db"] = await create_engine("dbname=jobs")


async def cleanup(app):
    app["db"].close()
    await app["db"].wait_closed()
