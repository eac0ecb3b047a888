from psycopg_pool import AsyncConnectionPool, ConnectionPool

pool = ConnectionPool("dbname=jobs", open=False)


def count():
    with pool.connection() as conn:
        return conn.execute("SELECT count(*) FROM jobs").fetchone()


async def main():
    async with AsyncConnectionPool("dbname=jobs") as own:
        async with own.connection() as conn:
            await conn.execute("SELECT 1")


class Store:
    def __init__(self):
        self.pool = ConnectionPool("dbname=jobs")

    def ping(self):
        conn = self.pool.getconn()
        try:
            conn.execute("SELECT 1")
        finally:
            self.pool.putconn(conn)
