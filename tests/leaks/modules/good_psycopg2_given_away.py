import psycopg2

OPEN = []


def keep():
    conn = psycopg2.connect("dbname=jobs")
    OPEN.append(conn)


def close_all():
    for conn in OPEN:
        conn.close()


def by_name(names):
    return {name: psycopg2.connect(dbname=name) for name in names}


def to_somebody(worker):
    conn = psycopg2.connect("dbname=jobs")
    worker.start(conn)


def factory():
    return lambda: psycopg2.connect("dbname=jobs")


def into(registry):
    registry["jobs"] = conn = psycopg2.connect("dbname=jobs")
    conn.autocommit = True
