import asyncpg


class State:
    async def start(self):
        self.listener = await asyncpg.connect("postgresql:///jobs")
