import logging

import psycopg2


def some():
    conn = psycopg2.connect("dbname=jobs")  # finds: not-in-finally
    try:
        conn.cursor().execute("SELECT 1")
    except psycopg2.OperationalError:
        logging.exception("not there")
    conn.close()


def returned():
    conn = psycopg2.connect("dbname=jobs")  # finds: not-in-finally
    try:
        if conn.closed:
            return None
        conn.cursor().execute("SELECT 1")
    except Exception:
        logging.exception("not there")
    conn.close()
    return True


def closed_in_the_body():
    conn = psycopg2.connect("dbname=jobs")  # finds: not-in-finally
    try:
        conn.cursor().execute("SELECT 1")
        conn.close()
    except Exception:
        logging.exception("not there")


def all_in_the_body():
    try:
        conn = psycopg2.connect("dbname=jobs")  # finds: not-in-finally
        conn.cursor().execute("SELECT 1")
        conn.close()
    except Exception:
        logging.exception("not there")
