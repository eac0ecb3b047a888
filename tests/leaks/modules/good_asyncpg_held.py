import asyncio

import asyncpg
import httpx


async def post(pool: asyncpg.Pool):
    async with pool.acquire() as conn:
        row = await conn.fetchrow("SELECT url FROM hooks")
    async with httpx.AsyncClient() as client:
        await client.post(row["url"])


async def gives_way(pool: asyncpg.Pool):
    async with pool.acquire() as conn:
        await conn.execute("SELECT 1")
        await asyncio.sleep(0)


async def later(pool: asyncpg.Pool):
    async with pool.acquire() as conn:

        async def wait():
            await asyncio.sleep(5)

        await conn.execute("SELECT 1")
    return wait
