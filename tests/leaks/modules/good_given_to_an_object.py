import psycopg2


class Index:
    def __init__(self, conn):
        self.conn = conn

    def run(self):
        self.conn.cursor().execute("SELECT 1")

    def close(self):
        self.conn.close()


def build():
    conn = psycopg2.connect("dbname=jobs")
    index = Index(conn)
    try:
        index.run()
    finally:
        index.close()
