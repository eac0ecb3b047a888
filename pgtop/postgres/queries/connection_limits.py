"""The query for the CONNECTION LIMITs of the roles and databases that have sessions."""

from typing import Final

from pgtop.postgres.queries.fragments import UNCONVERTED

_OF_ROLES: Final = """
  SELECT pg_catalog.json_build_array('role', r.rolname, r.rolconnlimit)
  FROM pg_catalog.pg_roles r
  WHERE r.rolconnlimit OPERATOR(pg_catalog.>=) 0 AND NOT r.rolsuper
    AND EXISTS (SELECT FROM a WHERE a.usesysid OPERATOR(pg_catalog.=) r.oid)"""
_OF_DATABASES: Final = """
  SELECT pg_catalog.json_build_array('database', d.datname, d.datconnlimit)
  FROM pg_catalog.pg_database d
  WHERE d.datconnlimit OPERATOR(pg_catalog.>=) 0
    AND EXISTS (SELECT FROM a WHERE a.datid OPERATOR(pg_catalog.=) d.oid)"""


def _limits(condition: str, *parts: str) -> str:
    return f"""
WITH a AS MATERIALIZED (SELECT usesysid, datid FROM pg_catalog.pg_stat_get_activity(NULL))
SELECT pg_catalog.textsend(coalesce(pg_catalog.json_agg(l.found), '[]'::pg_catalog.json)::pg_catalog.text)
  AS limits
FROM ({" UNION ALL ".join(parts)}) l(found)
WHERE {condition}
"""


CONNECTION_LIMITS: Final = _limits("true", _OF_ROLES, _OF_DATABASES)
"""One row of one value: JSON in bytes, each element a `core.activity.ConnectionLimit`. Superusers are not
subject to one. Only who has sessions is named, so the answer is no longer than a poll's."""

CONNECTION_LIMITS_UNCONVERTED: Final = _limits(UNCONVERTED, _OF_ROLES, _OF_DATABASES)
"""The same for a server that fails at bytes that are not valid text to it."""

ROLE_LIMITS: Final = _limits("true", _OF_ROLES)
"""Those of roles alone, for a role that may not read pg_database."""
ROLE_LIMITS_UNCONVERTED: Final = _limits(UNCONVERTED, _OF_ROLES)
DATABASE_LIMITS: Final = _limits("true", _OF_DATABASES)
"""Those of databases alone, for a role that may not read pg_roles."""
DATABASE_LIMITS_UNCONVERTED: Final = _limits(UNCONVERTED, _OF_DATABASES)
