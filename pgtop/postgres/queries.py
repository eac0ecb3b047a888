"""Every SQL text that pgtop sends, with what it returns and on which versions (all run on 14 to 18).

Times cross as integers of microseconds since the Unix epoch, so that a guard gets back exactly what a poll
showed. JSON crosses as `textsend(...)`, bytes: a statement of another database may hold bytes that are no
valid text in this one, and must not make the whole poll fail. Where it fails in the server already, which
converts and counts characters, there is a second text that takes them as they are.
"""

from typing import Final


def _microseconds(expression: str) -> str:
    return f"(date_part('epoch', {expression}) * 1e6)::int8"


ABOUT_SERVER: Final = f"""
SELECT current_setting('server_version_num')::int AS version_num,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS superuser_reserved_connections,
       coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved_connections,
       coalesce(nullif(current_setting('rds.rds_superuser_reserved_connections', true), '')::int, 0)
         AS provider_reserved_connections,
       {_microseconds("pg_postmaster_start_time()")} AS postmaster_start,
       pg_is_in_recovery() AS in_recovery,
       pg_backend_pid() AS own_pid
"""
"""One row, read when a seat is taken: what stays so until the server restarts.
`reserved_connections` exists from 16 on."""

SYSTEM_IDENTIFIER: Final = "SELECT system_identifier::text FROM pg_control_system()"
"""One row. Fails with 42501 where a service has revoked it."""

UNCONVERTED: Final = "set_config('client_encoding', 'SQL_ASCII', true) IS NOT NULL"
"""A condition that lets the server send what it has, for the length of the statement."""


_ABOUT_POLL: Final = f"""
  'now', {_microseconds("clock_timestamp()")},
  'in_recovery', pg_is_in_recovery(),
  'postmaster_start', {_microseconds("pg_postmaster_start_time()")},
  'own_pid', pg_backend_pid(),
  'privileges', json_build_object(
    'role', current_user,
    'is_superuser', current_setting('is_superuser') = 'on',
    'sees_all', pg_has_role('pg_read_all_stats', 'USAGE'),
    'may_signal', pg_has_role('pg_signal_backend', 'USAGE'))"""

_CLIENT_BACKENDS: Final = """
WHERE a.backend_type = 'client backend'
   OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL)"""


def _backend(role: str, database: str, is_superuser: str, statement: str) -> str:
    return f"""json_build_array(
             a.pid,
             {_microseconds("a.backend_start")},
             {_microseconds("a.state_change")},
             {_microseconds("a.xact_start")},
             {_microseconds("a.query_start")},
             a.state,
             a.application_name,
             {role},
             {database},
             host(a.client_addr),
             a.client_port,
             a.wait_event_type,
             a.wait_event,
             coalesce({is_superuser}, false),
             {statement})"""


def _poll(statement: str, condition: str) -> str:
    return f"""
SELECT textsend(json_build_object({_ABOUT_POLL},
  'backends', coalesce((
    SELECT json_agg({_backend("r.rolname", "d.datname", "r.rolsuper", statement)})
    FROM pg_stat_get_activity(NULL) a
    LEFT JOIN pg_roles r ON r.oid = a.usesysid
    LEFT JOIN pg_database d ON d.oid = a.datid
    {_CLIENT_BACKENDS}
  ), '[]'::json))::text) AS poll
WHERE {condition}
"""


POLL: Final = _poll("left(a.query, 200)", "true")
"""One row of one value: JSON in bytes, decoded by `probe.py`; the order of a backend's values is that of
`core.activity.Backend`'s fields. Rows whose backend_type is hidden from this role and that have a database
and a role are taken for client backends: an upper bound (parallel workers and logical walsenders are among
them)."""

POLL_UNCONVERTED: Final = _poll("a.query", UNCONVERTED)
"""The same with whole statements, and every text in the encoding of whoever wrote it: for a server that fails
at bytes which are no text to it (22021, 22P05)."""

_AT_REST: Final = "a.state_change <= $1::timestamptz AND a.state LIKE 'idle%'"


def _poll_changes(statement: str) -> str:
    return f"""
SELECT textsend(json_build_object({_ABOUT_POLL},
  'backends', coalesce(json_agg({
        _backend(
            "(SELECT r.rolname FROM pg_roles r WHERE r.oid = a.usesysid)",
            "(SELECT d.datname FROM pg_database d WHERE d.oid = a.datid)",
            "(SELECT r.rolsuper FROM pg_roles r WHERE r.oid = a.usesysid)",
            statement,
        )
    }) FILTER (WHERE ({_AT_REST}) IS NOT TRUE), '[]'::json))::text) AS poll,
  array_send(array_agg(a.pid) FILTER (WHERE {_AT_REST})) AS pids,
  array_send(array_agg(a.state_change) FILTER (WHERE {_AT_REST})) AS state_changes
FROM pg_stat_get_activity(NULL) a {_CLIENT_BACKENDS}
"""


POLL_CHANGES: Final = _poll_changes("left(a.query, 200)")
"""One row: `poll` as in POLL, but without the sessions that are idle, in a transaction or not, since `$1` or
longer; of those the pids and, in the same order, their state_change, each an int4[] or timestamptz[] in its
binary form, NULL for none. Reading roles and databases for the few that are sent costs the server a third of
what joining them to all does."""

_BEGINS_WITH_LISTEN: Final = """COLLATE "C" ~* '^[[:space:]]*listen([^[:alnum:]_]|$)'"""
"""In this collation, since I is no capital i in Turkish."""

_HIDDEN: Final = f"CASE WHEN left(a.query, 200) {_BEGINS_WITH_LISTEN} THEN 'LISTEN' END"

POLL_HIDDEN: Final = _poll(_HIDDEN, "true")
"""The poll without statements: of one, only whether it is a LISTEN leaves the server."""

POLL_HIDDEN_UNCONVERTED: Final = _poll(
    "CASE WHEN encode(substring(textsend(a.query) FROM 1 FOR 200), 'escape') "
    f"{_BEGINS_WITH_LISTEN} THEN 'LISTEN' END",
    UNCONVERTED,
)
"""The same for a server that fails at bytes which are no text to it."""

POLL_CHANGES_HIDDEN: Final = _poll_changes(_HIDDEN)
"""As POLL_CHANGES, and as POLL_HIDDEN."""

ADVISORY_LOCK_HOLDERS: Final = """
SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IS NOT NULL
"""
"""Rows of one pid. `pg_locks` shows the locks of every database; it does not tell session-level locks from
those of a transaction, but an idle session can only hold the former."""

WHOLE_QUERIES: Final = f"""
SELECT pid, {_microseconds("backend_start")} AS backend_start, textsend(coalesce(query, '')) AS query
FROM pg_stat_get_activity(NULL) WHERE pid = ANY($1::int[])
"""
"""A row for each of the pids that is still there: its identity and its statement, whole, as bytes."""

WHOLE_QUERIES_UNCONVERTED: Final = f"{WHOLE_QUERIES} AND {UNCONVERTED}"
"""The same, each statement in the encoding of whoever wrote it."""

_GUARD: Final = """
FROM pg_stat_get_activity($1::int) a LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_start = $2::timestamptz
  AND a.backend_type = 'client backend'
  AND a.pid <> pg_backend_pid()
  AND a.application_name NOT LIKE 'pgtop %'
  AND (current_setting('is_superuser') = 'on' OR NOT coalesce(r.rolsuper, false))
  AND pg_postmaster_start_time() = $3::timestamptz
  AND pg_is_in_recovery() = $4::bool
"""

TERMINATE_IF_STATE_UNCHANGED: Final = f"""
SELECT pg_terminate_backend(a.pid) AS signalled {_GUARD}
  AND a.state = $5::text AND a.state_change = $6::timestamptz
"""
"""Ends a session that was shown in a state at rest. `state_change` changes with every statement. No row: the
session is not what was shown. `pg_stat_get_activity(pid)` and not the view, which takes as long as there are
sessions and opens a window of that length between look and signal."""

TERMINATE_IF_SAME_TRANSACTION: Final = f"""
SELECT pg_terminate_backend(a.pid) AS signalled {_GUARD}
  AND a.xact_start = $5::timestamptz
"""
"""Ends a session that was shown in a transaction, while it is in that same transaction."""

TERMINATE_IF_SAME_SESSION: Final = f"""
SELECT pg_terminate_backend(a.pid) AS signalled {_GUARD}
"""
"""Ends a session that was shown active: one that starts statement after statement can still be ended."""

CANCEL_IF_SAME_STATEMENT: Final = f"""
SELECT pg_cancel_backend(a.pid) AS signalled {_GUARD}
  AND a.state = 'active' AND a.query_start = $5::timestamptz
"""
"""Cancels a statement while it is that same statement that runs."""

STILL_THERE: Final = f"""
SELECT pid, {_microseconds("backend_start")} AS backend_start, state,
       {_microseconds("query_start")} AS query_start
FROM pg_stat_get_activity(NULL) WHERE pid = ANY($1::int[])
"""
"""A row for each of the pids that has a session, which may be another's by now: compare `backend_start`."""


def _backend_detail(statement: str) -> str:
    return f"""
SELECT {_microseconds("clock_timestamp()")} AS now,
       a.pid, {_microseconds("a.backend_start")} AS backend_start,
       {_microseconds("a.state_change")} AS state_change, {_microseconds("a.xact_start")} AS xact_start,
       {_microseconds("a.query_start")} AS query_start,
       a.state, a.application_name, r.rolname::text AS usename, d.datname::text AS datname,
       host(a.client_addr) AS client_addr, a.client_hostname, a.client_port, a.wait_event_type, a.wait_event,
       a.backend_xid::text AS backend_xid, a.backend_xmin::text AS backend_xmin, a.ssl, a.sslversion,
       a.leader_pid, coalesce(r.rolsuper, false) AS is_superuser, textsend({statement}) AS query
FROM pg_stat_get_activity($1::int) a
LEFT JOIN pg_roles r ON r.oid = a.usesysid
LEFT JOIN pg_database d ON d.oid = a.datid
WHERE a.backend_start = $2::timestamptz
"""


BACKEND_DETAIL: Final = _backend_detail("coalesce(a.query, '')")
"""At most one row: all of one backend, while it is that same session."""

BACKEND_DETAIL_HIDDEN: Final = _backend_detail("''")
"""The same without its statement."""

BACKEND_LOCKS: Final = """
SELECT l.locktype, l.mode, l.granted, d.datname::text AS datname,
       CASE WHEN l.relation IS NULL THEN NULL
            WHEN l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              OR l.database = 0 THEN l.relation::regclass::text
            ELSE l.relation::text END AS relation,
       l.page, l.tuple, l.virtualxid, l.transactionid::text AS transactionid,
       l.classid::text AS classid, l.objid::text AS objid
FROM pg_locks l LEFT JOIN pg_database d ON d.oid = l.database
WHERE l.pid = $1
ORDER BY l.granted, l.locktype, l.relation, l.mode
LIMIT 200
"""
"""Up to 200 locks that a backend holds or waits for, those it waits for first; a relation of another
database by its number."""

BLOCKERS: Final = """
SELECT a.pid, pg_blocking_pids(a.pid) AS blocked_by
FROM pg_stat_get_activity(NULL) a
WHERE a.wait_event_type = 'Lock'
"""
"""A row for each session that waits for a heavyweight lock, with the pids that block it (0 for a prepared
transaction, a pid several times where parallel workers wait). `pg_blocking_pids` takes exclusive access to
the lock manager: asked for on demand, never in a poll.
Source: PostgreSQL documentation, System Information Functions."""

PREPARED_BLOCKERS: Final = f"""
SELECT p.gid, p.owner::text AS owner, p.database::text AS database, {_microseconds("p.prepared")} AS prepared,
       array_agg(DISTINCT w.pid) AS waiting_pids
FROM pg_locks w
JOIN pg_locks h ON h.pid IS NULL AND h.granted
  AND h.locktype = w.locktype
  AND h.database IS NOT DISTINCT FROM w.database AND h.relation IS NOT DISTINCT FROM w.relation
  AND h.page IS NOT DISTINCT FROM w.page AND h.tuple IS NOT DISTINCT FROM w.tuple
  AND h.virtualxid IS NOT DISTINCT FROM w.virtualxid
  AND h.transactionid IS NOT DISTINCT FROM w.transactionid
  AND h.classid IS NOT DISTINCT FROM w.classid AND h.objid IS NOT DISTINCT FROM w.objid
  AND h.objsubid IS NOT DISTINCT FROM w.objsubid
JOIN pg_locks x ON x.pid IS NULL AND x.granted AND x.locktype = 'transactionid'
  AND x.virtualtransaction = h.virtualtransaction
JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE NOT w.granted AND w.pid IS NOT NULL
GROUP BY p.gid, p.owner, p.database, p.prepared
ORDER BY p.prepared
"""
"""A row for each prepared transaction that holds what somebody waits for. A prepared transaction's locks
have no pid; they share a virtualtransaction with the lock on its own transaction id.
Source: PostgreSQL, src/backend/access/transam/twophase.c (MarkAsPreparingGuts)."""

TAKE_REAPER_KEY: Final = "SELECT pg_try_advisory_lock_shared($1::int, $2::int)"
"""One row of one boolean. Shared: several daemons hold the key at once, and the oldest of them reaps."""

GIVE_REAPER_KEY: Final = "SELECT pg_advisory_unlock_shared($1::int, $2::int)"
"""One row of one boolean: whether the session had held it."""

REAPER_KEY_HOLDERS: Final = f"""
SELECT l.pid, {_microseconds("a.backend_start")} AS backend_start, a.application_name
FROM pg_locks l JOIN LATERAL pg_stat_get_activity(l.pid) a ON true
WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.objid = $2::int::oid AND l.objsubid = 2
  AND l.granted AND a.backend_start IS NOT NULL AND a.application_name LIKE 'pgtop %'
ORDER BY a.backend_start, l.pid
"""
"""A row for each pgtop session that holds the key, in whatever database, the oldest first. A key of two
integers has them in classid and objid, and objsubid 2.
Source: PostgreSQL documentation, pg_locks."""
