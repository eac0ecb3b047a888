import asyncpg
from fastapi import FastAPI

app = FastAPI()


@app.get("/jobs")
async def jobs():
    async with asyncpg.create_pool("postgresql:///jobs") as pool:  # finds: pool-per-call
        return await pool.fetch("SELECT * FROM jobs")


async def every(dsns):
    for dsn in dsns:
        async with asyncpg.create_pool(dsn) as pool:  # finds: pool-per-call
            await pool.execute("ANALYZE")
