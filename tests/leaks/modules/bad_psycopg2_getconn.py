from psycopg2.pool import ThreadedConnectionPool

pool = ThreadedConnectionPool(1, 10, "dbname=jobs")


def count():
    conn = pool.getconn()  # finds: not-in-finally
    with conn.cursor() as cur:
        cur.execute("SELECT count(*) FROM jobs")
        found = cur.fetchone()
    pool.putconn(conn)
    return found


def in_a_with():
    with pool.getconn() as conn:  # finds: with-getconn
        conn.cursor().execute("SELECT 1")


def named():
    conn = pool.getconn()  # finds: with-getconn
    with conn:
        conn.cursor().execute("SELECT 1")


def forgotten():
    conn = pool.getconn()  # finds: never-closed
    conn.cursor().execute("SELECT 1")
