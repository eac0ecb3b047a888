import psycopg2


def get_db_connection():
    conn = psycopg2.connect("dbname=jobs")
    return conn


def count(con=None):
    own = con is None
    con = con if con else get_db_connection()
    try:
        with con.cursor() as cur:
            cur.execute("SELECT count(*) FROM jobs")
            return cur.fetchone()
    finally:
        if own:
            con.close()


def close_quietly(conn):
    try:
        conn.close()
    except Exception:
        pass


def ping():
    con = get_db_connection()
    try:
        con.cursor().execute("SELECT 1")
    finally:
        close_quietly(con)
