import psycopg2


class Store:
    def __init__(self, dsn):
        self.conn = psycopg2.connect(dsn)  # finds: never-closed

    def count(self):
        with self.conn.cursor() as cur:
            cur.execute("SELECT count(*) FROM jobs")
            return cur.fetchone()
