from contextlib import contextmanager

import psycopg


@contextmanager
def cursor():
    conn = psycopg.connect("dbname=jobs")  # finds: not-in-finally
    with conn.cursor() as cur:
        yield cur
    conn.close()


@contextmanager
def lent():
    conn = psycopg.connect("dbname=jobs")  # finds: never-closed
    yield conn
