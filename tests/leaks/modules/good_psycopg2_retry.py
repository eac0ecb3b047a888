import time

import psycopg2


def connect():
    conn = None
    for _ in range(3):
        try:
            conn = psycopg2.connect("dbname=jobs")
            break
        except psycopg2.OperationalError:
            time.sleep(1)
    return conn


def until_there():
    conn = None
    while conn is None:
        try:
            conn = psycopg2.connect("dbname=jobs")
        except psycopg2.OperationalError:
            time.sleep(1)
    return conn


def by_a_flag():
    connected = False
    while not connected:
        conn = psycopg2.connect("dbname=jobs")
        connected = True
    return conn
