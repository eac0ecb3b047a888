from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

engine = create_engine("postgresql:///jobs")
SessionLocal = sessionmaker(engine)


def count():
    session = SessionLocal()  # finds: never-closed
    return session.execute(select(1)).scalar()


def names():
    session = Session(engine)  # finds: not-in-finally
    rows = session.execute(select(1)).all()
    session.close()
    return rows


def own_registry():
    factory = scoped_session(sessionmaker(engine))
    session = factory()  # finds: never-closed
    session.execute(select(1))


class Service:
    def __init__(self):
        self.session = SessionLocal()  # finds: never-closed

    def count(self):
        return self.session.execute(select(1)).scalar()
