from contextlib import contextmanager

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

engine = create_engine("postgresql:///jobs")


@contextmanager
def existing_or_new(session=None):
    if session:
        yield session
    else:
        with Session(engine) as session:
            yield session


def count(session):
    with existing_or_new(session) as session:
        return session.execute(select(1)).scalar()


def check(session=None):
    if session is None:
        session = Session(engine)  # finds: never-closed
    return count(session)
