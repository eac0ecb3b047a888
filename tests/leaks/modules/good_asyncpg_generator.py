from contextlib import aclosing, asynccontextmanager

import asyncpg

pool: asyncpg.Pool


async def get_connection():
    async with pool.acquire() as conn:
        yield conn


async def to_the_end():
    async for conn in get_connection():
        for row in await conn.fetch("SELECT * FROM jobs"):
            if row is None:
                break


async def closed():
    async with aclosing(get_connection()) as connections:
        async for conn in connections:
            return await conn.fetchrow("SELECT 1")


@asynccontextmanager
async def connection():
    async with pool.acquire() as conn:
        yield conn


async def managed():
    async with connection() as conn:
        return await conn.fetchrow("SELECT 1")
