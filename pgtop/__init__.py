"""pgtop: see who holds a PostgreSQL server's connections, and end exactly the sessions you see."""

__version__ = "0.1.0"
