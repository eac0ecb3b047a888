from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine("postgresql+asyncpg:///jobs")
async_session = async_sessionmaker(engine)


async def count():
    session = async_session()  # finds: not-in-finally
    found = await session.scalar(select(1))
    await session.close()
    return found


async def forgotten():
    session = AsyncSession(engine)  # finds: never-closed
    return await session.scalar(select(1))


async def get_session():
    async with async_session() as session:
        yield session


async def first():
    async for session in get_session():  # finds: generator-left-early
        return await session.scalar(select(1))


async def guard(request):
    session = request.app.state["session_maker"]()  # finds: never-closed
    return await session.scalar(select(1))
