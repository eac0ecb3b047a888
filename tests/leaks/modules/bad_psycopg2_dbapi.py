import psycopg2


class Engine:
    module = psycopg2


def make_conn(engine, args):
    conn = engine.module.connect(**args)
    return conn


def prepare(engine, args):
    with make_conn(engine, args) as conn:  # finds: with-psycopg2
        conn.cursor().execute("SELECT 1")
