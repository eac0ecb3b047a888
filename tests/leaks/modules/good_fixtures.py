import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

Session = sessionmaker(create_engine("postgresql:///jobs"))


@pytest.fixture
def connection():
    conn = psycopg2.connect("dbname=jobs")
    conn.autocommit = True
    yield conn
    conn.close()


@pytest.fixture
def session(request):
    session = Session()
    request.addfinalizer(session.close)
    return session


@pytest.fixture
def lent():
    with Session() as session:
        yield session
