"""The same queries for a role from which pg_roles or pg_database was withdrawn: names through other views.

`pg_user` and `pg_stat_database` read the catalogs as their owner, and may be read by everyone unless they
were withdrawn as well. `pg_user` has the roles that may log in, as those of sessions do.
"""

from functools import cache
from typing import Final

_INSTEAD: Final = {
    "pg_catalog.pg_roles ": (
        "(SELECT u.usesysid AS oid, u.usename AS rolname, u.usesuper AS rolsuper FROM pg_catalog.pg_user u) "
    ),
    "pg_catalog.pg_database ": "(SELECT s.datid AS oid, s.datname FROM pg_catalog.pg_stat_database s) ",
}
_IN_NO_VIEW: Final = ("rolinherit", "rolconnlimit", "datconnlimit")


@cache
def through_views(query: str) -> str:
    """Return the query that asks these views; the query itself if it needs a column that they lack.

    >>> through_views("SELECT datname FROM pg_catalog.pg_database d")
    'SELECT datname FROM (SELECT s.datid AS oid, s.datname FROM pg_catalog.pg_stat_database s) d'
    """
    if any(column in query for column in _IN_NO_VIEW):
        return query
    for catalog, view in _INSTEAD.items():
        query = query.replace(catalog, view)
    return query
