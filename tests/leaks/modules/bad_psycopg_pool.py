import requests
from psycopg_pool import AsyncConnectionPool, ConnectionPool

pool = ConnectionPool("dbname=jobs", open=False)


def count():
    conn = pool.getconn()  # finds: not-in-finally
    found = conn.execute("SELECT count(*) FROM jobs").fetchone()
    pool.putconn(conn)
    return found


def in_a_with():
    with pool.getconn() as conn:  # finds: with-getconn
        conn.execute("SELECT 1")


async def made_and_forgotten():
    own = AsyncConnectionPool("dbname=jobs")  # finds: never-closed
    async with own.connection() as conn:
        await conn.execute("SELECT 1")


def held():
    with ConnectionPool("dbname=jobs") as own:
        conn = own.getconn()  # finds: never-closed
        conn.execute("SELECT 1")
