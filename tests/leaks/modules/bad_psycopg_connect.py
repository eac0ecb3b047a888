import psycopg


def count():
    conn = psycopg.connect("dbname=jobs")  # finds: never-closed
    return conn.execute("SELECT count(*) FROM jobs").fetchone()


async def names():
    conn = await psycopg.AsyncConnection.connect("dbname=jobs")  # finds: not-in-finally
    cur = await conn.execute("SELECT name FROM jobs")
    rows = await cur.fetchall()
    await conn.close()
    return rows


def dropped():
    psycopg.connect("dbname=jobs").execute("SELECT 1")  # finds: never-closed
