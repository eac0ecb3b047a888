from fastapi import Depends
from sqlmodel import Session, create_engine, select

engine = create_engine("postgresql:///jobs")


def get_session():
    with Session(engine) as session:
        yield session


def count(session: Session = Depends(get_session)):
    return session.exec(select(1)).one()
