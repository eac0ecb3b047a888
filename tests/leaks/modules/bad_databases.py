from databases import Database


async def count():
    database = Database("postgresql:///jobs")  # finds: never-closed
    await database.connect()
    return await database.fetch_val("SELECT count(*) FROM jobs")
