import asyncio
import subprocess

import asyncpg
import httpx


async def notify(pool: asyncpg.Pool):
    async with pool.acquire() as conn:  # finds: held-across-network
        await conn.execute("SELECT 1")
        await asyncio.sleep(5)


async def post(pool: asyncpg.Pool):
    async with pool.acquire() as conn, conn.transaction():  # finds: held-across-network
        row = await conn.fetchrow("SELECT url FROM hooks")
        async with httpx.AsyncClient() as client:
            await client.post(row["url"])


async def dump(pool: asyncpg.Pool):
    async with pool.acquire() as conn:  # finds: held-across-network
        subprocess.run(["pg_dump", await conn.fetchval("SELECT current_database()")], check=True)
