from sqlalchemy import create_engine, text

engine = create_engine("postgresql:///jobs")


def count():
    conn = engine.connect()  # finds: never-closed
    return conn.execute(text("SELECT count(*) FROM jobs")).scalar()


def copy(path):
    conn = engine.raw_connection()  # finds: not-in-finally
    cur = conn.cursor()
    cur.copy_expert("COPY jobs TO STDOUT", path)
    conn.close()


def inner():
    driver = engine.raw_connection().connection  # finds: never-closed
    driver.cursor().execute("SELECT 1")


def check():
    engine.connect()  # finds: never-closed


def elsewhere(store):
    conn = store.index._engine.connect()  # finds: never-closed
    return conn.execute(text("SELECT 1")).scalar()
