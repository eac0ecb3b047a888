from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, Request


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool("postgresql:///jobs")
    try:
        yield
    finally:
        await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


async def get_connection(request: Request):
    async with request.app.state.pool.acquire() as conn:
        yield conn


@app.get("/jobs")
async def jobs(request: Request):
    async with request.app.state.pool.acquire() as conn:
        return await conn.fetch("SELECT * FROM jobs")
