import psycopg2


def get_db_connection():
    return psycopg2.connect("dbname=jobs")


def count(con=None):
    con = con or get_db_connection()  # finds: never-closed
    with con.cursor() as cur:
        cur.execute("SELECT count(*) FROM jobs")
        return cur.fetchone()


def names():
    con = get_db_connection()  # finds: not-in-finally
    cur = con.cursor()
    cur.execute("SELECT name FROM jobs")
    con.close()
    return cur.fetchall()


def chosen(con=None):
    con = con if con else get_db_connection()  # finds: never-closed
    con.cursor().execute("SELECT 1")
