from sqlmodel import Session, create_engine, select

engine = create_engine("postgresql:///jobs")


def get_session():
    with Session(engine) as session:
        yield session


def count():
    session = Session(engine)  # finds: never-closed
    return session.exec(select(1)).one()


def by_next():
    session = next(get_session())  # finds: generator-left-early
    return session.exec(select(1)).one()
