from contextlib import closing

from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

engine = create_engine("postgresql:///jobs")


def count():
    with engine.connect() as conn:
        return conn.execute(text("SELECT count(*) FROM jobs")).scalar()


def in_autocommit():
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM jobs"))


def copy(path):
    with closing(engine.raw_connection()) as conn:
        conn.cursor().copy_expert("COPY jobs TO STDOUT", path)


def rolled_back():
    conn = engine.connect().execution_options(schema_translate_map={None: "jobs"})
    try:
        session = sessionmaker(bind=conn)()
        session.execute(text("SELECT 1"))
    finally:
        conn.close()


def begun():
    with engine.begin() as conn:
        conn.execute(text("SELECT 1"))
