import asyncpg

pool: asyncpg.Pool


async def get_connection():
    async with pool.acquire() as conn:
        yield conn


async def first_job():
    async for conn in get_connection():  # finds: generator-left-early
        return await conn.fetchrow("SELECT * FROM jobs")


async def one_job():
    async for conn in get_connection():  # finds: generator-left-early
        await conn.execute("SELECT 1")
        break


async def by_hand():
    conn = await anext(get_connection())  # finds: generator-left-early
    await conn.execute("SELECT 1")
