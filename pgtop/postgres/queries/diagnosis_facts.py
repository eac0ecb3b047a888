"""The queries for the facts of a diagnosis."""

from typing import Final

KEEPALIVE: Final = """
SELECT (SELECT reset_val::pg_catalog.int8 FROM pg_catalog.pg_settings
        WHERE name OPERATOR(pg_catalog.=) 'tcp_keepalives_idle') AS seconds
"""
"""One row. `reset_val`, since over a Unix socket `setting` is 0; 0 leaves it to the operating system."""

LOGINS: Final = """
SELECT (SELECT pg_catalog.sum(sessions)::pg_catalog.int8 FROM pg_catalog.pg_stat_database) AS logins
"""
"""One row: the sessions established since the statistics were reset, over all databases (from 14 on)."""
