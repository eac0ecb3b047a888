from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine("postgresql+asyncpg:///jobs")
async_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def get_session():
    async with async_session() as session:
        yield session


@app.get("/count")
async def count(session: Annotated[AsyncSession, Depends(get_session)]):
    return await session.scalar(select(1))


async def begun():
    async with async_session() as session, session.begin():
        await session.execute(select(1))


class Persister:
    def __init__(self, session_factory):
        self._session_factory = session_factory

    async def save(self):
        factory = self._session_factory()
        async with factory() as session:
            await session.execute(select(1))
