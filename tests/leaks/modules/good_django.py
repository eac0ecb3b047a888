from django.db import connection, connections


def count():
    with connection.cursor() as cur:
        cur.execute("SELECT count(*) FROM jobs")
        return cur.fetchone()


def other():
    conn = connections.create_connection("default")
    try:
        conn.cursor().execute("SELECT 1")
    finally:
        conn.close()
