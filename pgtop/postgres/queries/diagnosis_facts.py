"""The queries for the facts of a diagnosis."""

from typing import Final

KEEPALIVE: Final = """
SELECT (SELECT reset_val::pg_catalog.int8 FROM pg_catalog.pg_settings
        WHERE name OPERATOR(pg_catalog.=) 'tcp_keepalives_idle') AS seconds
"""
"""One row. `reset_val`, since over a Unix socket `setting` is 0; 0 leaves it to the operating system."""
