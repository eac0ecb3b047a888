from contextlib import closing

import psycopg2


def count():
    with closing(psycopg2.connect("dbname=jobs")) as conn, conn, conn.cursor() as cur:
        cur.execute("SELECT count(*) FROM jobs")
        return cur.fetchone()


def by_hand():
    conn = psycopg2.connect("dbname=jobs")
    try:
        with conn, conn.cursor() as cur:
            cur.execute("SELECT 1")
    finally:
        conn.close()


def named_first():
    conn = psycopg2.connect("dbname=jobs")
    with closing(conn):
        conn.cursor().execute("SELECT 1")
