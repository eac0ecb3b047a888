from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

engine = create_engine("postgresql:///jobs")
SessionLocal = sessionmaker(engine)
db_session = scoped_session(SessionLocal)


def get_db():
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


def count():
    with SessionLocal() as session:
        return session.execute(select(1)).scalar()


def begun():
    with SessionLocal.begin() as session:
        session.execute(select(1))


def shared():
    return db_session().execute(select(1)).scalar()


class UnitOfWork:
    def __enter__(self):
        self.session = SessionLocal()
        return self

    def __exit__(self, *exc):
        self.session.close()


def migrate(connection):
    session = Session(bind=connection)
    session.execute(select(1))


def upgrade(op):
    bind = op.get_bind()
    session = Session(bind=bind)
    session.execute(select(1))
    session.commit()
