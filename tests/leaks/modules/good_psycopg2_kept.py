import psycopg2


class Store:
    def __init__(self, dsn):
        self.conn = psycopg2.connect(dsn)

    def close(self):
        self.conn.close()


class Lazy:
    def __init__(self):
        self._conn = None

    def connection(self):
        if self._conn is None:
            self._conn = psycopg2.connect("dbname=jobs")
        return self._conn

    def __exit__(self, *exc):
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


class Test:
    def setUp(self):
        self.db = psycopg2.connect("dbname=jobs")
        self.addCleanup(self.db.close)
