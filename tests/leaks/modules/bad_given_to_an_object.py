import psycopg2


class Index:
    def __init__(self, name, conn):
        self.name = name
        self.conn = conn

    def run(self):
        self.conn.cursor().execute("SELECT 1")


def build():
    conn = psycopg2.connect("dbname=jobs")  # finds: never-closed
    Index("jobs", conn).run()
