"""Names that others read: a DSN without its secrets, the application's name, and that with a place in it."""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pgtop.pool.places import Call, Place

LONGEST_NAME: Final = 63
"""Bytes of an application_name; PostgreSQL drops the rest."""

_SHOWN_PARAMETERS: Final = ("host", "port", "user", "dbname", "database")


def shown_dsn(dsn: str) -> str:
    """Return a DSN without its password: it is put together from the parts that are known to hold none.

    >>> shown_dsn("postgresql://app:secret@db1:5433/shop?sslmode=require&password=secret")
    'postgresql://app@db1:5433/shop'
    >>> shown_dsn("postgresql:///shop?host=/run/postgresql")
    'postgresql:///shop?host=/run/postgresql'
    >>> shown_dsn("postgresql://app:half/a@secret@db1/shop")
    'postgresql://…'
    """
    parts = _parts(dsn)
    # A password with an unquoted slash ends the address early, and would stand where host and path are.
    if (
        parts is None
        or not parts.scheme.startswith("postgres")
        or "@" in parts.path + parts.query + parts.fragment
    ):
        return "postgresql://…"
    user, at, hosts = parts.netloc.rpartition("@")
    shown = [(key, value) for key, value in parse_qsl(parts.query) if key in _SHOWN_PARAMETERS]
    query = f"?{urlencode(shown, safe='/,')}" if shown else ""
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}{query}"


def refuse_unreadable(dsn: str) -> None:
    """Raise ValueError on a DSN that asyncpg cannot read: its own error may quote a part of the password."""
    if _parts(dsn) is None:
        raise ValueError("the DSN cannot be read: in a password, write / ? # @ : [ ] % as %2F, %3F and so on")


def _parts(dsn: str) -> SplitResult | None:
    """Return the parts of a DSN; None if its address, a port or its query cannot be read."""
    try:
        parts = urlsplit(dsn)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
        if parts.query:
            parse_qsl(parts.query, strict_parsing=True)
    except ValueError:
        return None
    return parts


def application_name(dsn: str, server_settings: Mapping[str, str]) -> str:
    """Return the application_name of a pool's sessions: as set, as in the DSN, `PGAPPNAME`, the program's."""
    given = dict(parse_qsl(urlsplit(dsn).query)).get("application_name")
    found = server_settings.get("application_name") or given or os.environ.get("PGAPPNAME")
    return found or fitting(program_name(), LONGEST_NAME)


def program_name() -> str:
    """Return the name of the program: its file's, or the folder's where that is run as a module."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.name
    return "python" if name in ("", "-c", "-m") else name


def fitting(text: str, bytes_at_most: int) -> str:
    """Return a name that PostgreSQL neither changes nor cuts, and that needs no quoting.

    >>> fitting("bücher-\\tdienst's", 12)
    'b?cher-?dien'
    """
    plain = "".join(each if " " <= each <= "~" and each not in "'\\" else "?" for each in text)
    return plain[:bytes_at_most]


@lru_cache(maxsize=1024)
def tag_statement(application: str, call: Call) -> str:
    """Return the statement that names a place in application_name: `app@file:line`, cut before the place."""
    place = Place(*call)
    where = f"@{place.file_name}:{place.line}"
    where = fitting(where, len(where))[-LONGEST_NAME:]
    return name_statement(fitting(application, LONGEST_NAME - len(where)) + where)


def name_statement(name: str) -> str:
    """Return the statement that sets application_name: one round trip, and no prepared statement."""
    quoted = name.replace("'", "''").replace("\\", "\\\\")
    return f"SET application_name TO E'{quoted}'"
