from flask import Flask
from sqlalchemy import create_engine, text

app = Flask(__name__)


@app.route("/jobs")
def jobs():
    engine = create_engine("postgresql:///jobs")  # finds: pool-per-call
    with engine.connect() as conn:
        return conn.execute(text("SELECT 1")).scalar()
