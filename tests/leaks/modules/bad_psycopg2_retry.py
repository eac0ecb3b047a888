import time

import psycopg2


def connect():
    attempt = 0
    conn = None
    while attempt < 3:
        attempt += 1
        try:
            conn = psycopg2.connect("dbname=jobs")  # finds: never-closed
        except psycopg2.OperationalError:
            time.sleep(1)
    return conn
