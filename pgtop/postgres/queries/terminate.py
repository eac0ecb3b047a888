"""The queries that terminate a session or cancel its statement, if it is still what was shown."""

from typing import Final

from pgtop.postgres.queries.fragments import IS_SUPERUSER, UNCONVERTED, microseconds

WHOLE_QUERIES: Final = f"""
SELECT pid, {microseconds("backend_start")} AS backend_start,
       pg_catalog.substring(pg_catalog.textsend(coalesce(query, '')), 1, $2::int) AS query
FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text::int[])
"""
"""A row for each of the pids (`{1,2}`) that is still there: identity, and its statement's first `$2` bytes.
Bounded, since long statements in many sessions could otherwise keep all of them from being ended."""

WHOLE_QUERIES_UNCONVERTED: Final = f"{WHOLE_QUERIES} AND {UNCONVERTED}"
"""The same, each statement in the encoding of whoever wrote it."""

_GUARD: Final = f"""
FROM pg_catalog.pg_stat_get_activity($1::int) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
WHERE a.backend_start OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz
  AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'
  AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
  AND ({IS_SUPERUSER} OR NOT coalesce(r.rolsuper, false))
  AND pg_catalog.pg_postmaster_start_time() OPERATOR(pg_catalog.=) $3::pg_catalog.timestamptz
  AND pg_catalog.pg_is_in_recovery() OPERATOR(pg_catalog.=) $4::boolean
"""

TERMINATE_IF_STATE_UNCHANGED: Final = f"""
SELECT pg_catalog.pg_terminate_backend(a.pid) AS signalled {_GUARD}
  AND a.state OPERATOR(pg_catalog.=) $5::pg_catalog.text
  AND a.state_change OPERATOR(pg_catalog.=) $6::pg_catalog.timestamptz
"""
"""Terminate a session that was shown at rest. `state_change` changes with every statement. No row: the
session is not what was shown. `pg_stat_get_activity(pid)` and not the view, which takes as long as there are
sessions and opens a window of that length between look and signal."""

TERMINATE_IF_SAME_TRANSACTION: Final = f"""
SELECT pg_catalog.pg_terminate_backend(a.pid) AS signalled {_GUARD}
  AND a.xact_start OPERATOR(pg_catalog.=) $5::pg_catalog.timestamptz
"""
"""Terminate a session that was shown in a transaction, while it is in that same transaction."""

TERMINATE_IF_SAME_SESSION: Final = f"""
SELECT pg_catalog.pg_terminate_backend(a.pid) AS signalled {_GUARD}
"""
"""Terminate a session that was shown active, even if it starts statement after statement."""

CANCEL_IF_SAME_STATEMENT: Final = f"""
SELECT pg_catalog.pg_cancel_backend(a.pid) AS signalled {_GUARD}
  AND a.state OPERATOR(pg_catalog.=) 'active'
  AND a.query_start OPERATOR(pg_catalog.=) $5::pg_catalog.timestamptz
"""
"""Cancel a statement while it is that same statement that runs."""

STILL_THERE: Final = f"""
SELECT pid, {microseconds("backend_start")} AS backend_start, state,
       {microseconds("query_start")} AS query_start
FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text::int[])
"""
"""A row for each of the pids (`{1,2}`) that has a session, perhaps another by now: see `backend_start`."""
