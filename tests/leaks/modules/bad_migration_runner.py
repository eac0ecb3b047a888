import asyncpg


class Migrations:
    async def upgrade(self, connection):
        await connection.execute("SELECT 1")


async def run_upgrade(migrations: Migrations):
    connection = await asyncpg.connect("postgresql:///jobs")  # finds: never-closed
    return await migrations.upgrade(connection)


async def of_an_instance():
    runner = Migrations()
    connection = await asyncpg.connect("postgresql:///jobs")  # finds: never-closed
    await runner.upgrade(connection)
