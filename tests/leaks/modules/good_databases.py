from databases import Database

database = Database("postgresql:///jobs")


async def startup():
    await database.connect()


async def shutdown():
    await database.disconnect()


async def count():
    async with Database("postgresql:///jobs") as own:
        return await own.fetch_val("SELECT count(*) FROM jobs")
