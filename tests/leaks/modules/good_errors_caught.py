import logging

import psycopg2


def count():
    found = None
    conn = psycopg2.connect("dbname=jobs")
    try:
        cur = conn.cursor()
        cur.execute("SELECT count(*) FROM jobs")
        found = cur.fetchone()
    except Exception:
        logging.exception("no count")
    conn.close()
    return found


def closed_either_way():
    conn = psycopg2.connect("dbname=jobs")
    try:
        conn.cursor().execute("SELECT 1")
    except Exception:
        conn.close()
        raise
    conn.close()
