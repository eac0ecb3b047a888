from django.db import connection, connections


def listen():
    conn = connection.copy()  # finds: never-closed
    conn.cursor().execute("LISTEN jobs")


def other():
    conn = connections.create_connection("default")  # finds: not-in-finally
    conn.cursor().execute("SELECT 1")
    conn.close()
