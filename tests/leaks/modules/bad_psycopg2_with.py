import psycopg2


def count():
    with psycopg2.connect("dbname=jobs") as conn:  # finds: with-psycopg2
        with conn.cursor() as cur:
            cur.execute("SELECT count(*) FROM jobs")
            return cur.fetchone()


def named():
    conn = psycopg2.connect("dbname=jobs")  # finds: with-psycopg2
    with conn, conn.cursor() as cur:
        cur.execute("SELECT 1")


def closed_late():
    conn = psycopg2.connect("dbname=jobs")  # finds: not-in-finally
    with conn, conn.cursor() as cur:
        cur.execute("SELECT 1")
    conn.close()
