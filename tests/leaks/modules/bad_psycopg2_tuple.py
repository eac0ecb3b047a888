import psycopg2


def get_conn_and_cursor():
    conn = psycopg2.connect("dbname=jobs")
    return conn, conn.cursor()


def count():
    conn, cur = get_conn_and_cursor()  # finds: not-in-finally
    cur.execute("SELECT count(*) FROM jobs")
    conn.close()
    return cur.fetchone()


def names():
    _, cur = get_conn_and_cursor()  # finds: never-closed
    cur.execute("SELECT name FROM jobs")
    return cur.fetchall()
