import psycopg2


def get_conn_and_cursor():
    conn = psycopg2.connect("dbname=jobs")
    return conn, conn.cursor()


def count():
    conn, cur = get_conn_and_cursor()
    try:
        cur.execute("SELECT count(*) FROM jobs")
        return cur.fetchone()
    finally:
        conn.close()


def both():
    pair = get_conn_and_cursor()
    return pair
