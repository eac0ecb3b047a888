"""pgtop: see which sessions hold a PostgreSQL server's connections, and terminate exactly those."""

__version__ = "0.1.0"
