from .db import get_conn, project_engine


def count():
    conn = get_conn()  # finds: never-closed
    cur = conn.cursor()
    cur.execute("SELECT count(*) FROM jobs")
    return cur.fetchone()


def names():
    _, make = project_engine()
    session = make()  # finds: never-closed
    return session.execute("SELECT name FROM jobs").all()
