from typing import cast

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker


class SessionManager:
    def make_session(self, engine):
        registry = scoped_session(sessionmaker())
        registry.configure(bind=engine)
        return cast(Session, registry())


def get_session():
    return SessionManager().make_session(create_engine("postgresql:///jobs"))


def count():
    session = get_session()  # finds: never-closed
    return session.execute(select(1)).scalar()
