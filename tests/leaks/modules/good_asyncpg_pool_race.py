import asyncio

import asyncpg

POOL = None
LOCK = asyncio.Lock()


async def get_pool():
    global POOL
    async with LOCK:
        if POOL is None:
            POOL = await asyncpg.create_pool("postgresql:///jobs")
    return POOL


async def checked_twice():
    global POOL
    if POOL is None:
        async with LOCK:
            if POOL is None:
                POOL = await asyncpg.create_pool("postgresql:///jobs")
    return POOL
