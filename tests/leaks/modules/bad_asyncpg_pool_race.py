import asyncpg

POOL = None


async def get_pool():
    global POOL
    if POOL is None:
        POOL = await asyncpg.create_pool("postgresql:///jobs")  # finds: pool-race
    return POOL


class Store:
    def __init__(self):
        self.pool = None

    async def connect(self):
        if not self.pool:
            self.pool = await asyncpg.create_pool("postgresql:///jobs")  # finds: pool-race

    async def close(self):
        await self.pool.close()
