import psycopg2
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker


def get_conn():
    return psycopg2.connect("dbname=jobs")


def project_engine():
    engine = create_engine("postgresql:///jobs")
    return engine, sessionmaker(engine)
