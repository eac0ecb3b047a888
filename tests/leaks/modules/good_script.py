import psycopg2

conn = psycopg2.connect("dbname=jobs")
with conn, conn.cursor() as cur:
    cur.execute("SELECT 1")


def main():
    own = psycopg2.connect("dbname=jobs")
    own.cursor().execute("SELECT 1")


if __name__ == "__main__":
    main()
