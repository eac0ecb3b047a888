"""The same queries for a role from which a catalog was withdrawn: its facts through functions.

A function reads the catalogs as the server does, so it can be called where the views may not be read. No
function returns a CONNECTION LIMIT or a role's INHERIT.
"""

import re
from functools import cache
from typing import Final

from pgtop.postgres.queries.fragments import database_name, is_role_superuser, role_inherits

_JOINED: Final = re.compile(
    r"pg_catalog\.(?P<catalog>pg_roles|pg_database) (?P<alias>\w+) (?P<clause>ON|WHERE) "
    r"(?P=alias)\.oid OPERATOR\(pg_catalog\.=\) (?P<oid>\w+\.\w+)"
)
_VIEWS: Final = {
    "pg_catalog.pg_locks ": "pg_catalog.pg_lock_status() ",
    "pg_catalog.pg_settings": "pg_catalog.pg_show_all_settings()",
    "pg_catalog.pg_prepared_xacts ": (
        "(SELECT x.transaction, x.gid, x.prepared, pg_catalog.pg_get_userbyid(x.ownerid) AS owner, "
        f"{database_name('x.dbid')} AS database FROM pg_catalog.pg_prepared_xact() x) "
    ),
}
_CATALOGS: Final = re.compile(r"\bpg_(roles|database) ")


@cache
def through_functions(query: str) -> str:
    """Return the query that asks functions; the query itself if it needs a column that none returns.

    >>> through_functions("SELECT l.pid FROM pg_catalog.pg_locks l")
    'SELECT l.pid FROM pg_catalog.pg_lock_status() l'
    """
    other = _JOINED.sub(_from_functions, query.replace(role_inherits(), "NULL::pg_catalog.bool"))
    if _CATALOGS.search(other):
        return query
    for view, function in _VIEWS.items():
        other = other.replace(view, function)
    return other


def _from_functions(found: re.Match[str]) -> str:
    """Return the one row of a role or a database, in place of a join with all of them."""
    oid, alias = found["oid"], found["alias"]
    if found["catalog"] == "pg_database":
        columns = f"{database_name(oid)} AS datname"
    else:
        name = f"pg_catalog.pg_get_userbyid({oid}) AS rolname"
        columns = f"{name}, {is_role_superuser(oid)} AS rolsuper"
    row = f"(SELECT {columns}) {alias}"
    return f"LATERAL {row} ON true" if found["clause"] == "ON" else f"{row} WHERE true"
