"""The pieces of SQL that several queries are put together from."""

from typing import Final


def microseconds(expression: str) -> str:
    """Return SQL for a timestamp as whole microseconds since the Unix epoch."""
    return f"(pg_catalog.date_part('epoch', {expression}) OPERATOR(pg_catalog.*) 1e6)::bigint"


def as_bytes(name: str) -> str:
    """A name as bytes: if it were not text, the driver could not decode the whole answer."""
    return f"pg_catalog.textsend({name}::pg_catalog.text)"


UNCONVERTED: Final = "pg_catalog.set_config('client_encoding', 'SQL_ASCII', true) IS NOT NULL"
"""A condition that lets the server send what it has, for the length of the statement."""


IS_SUPERUSER: Final = "pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'"
