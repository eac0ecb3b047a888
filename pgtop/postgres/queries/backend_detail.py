"""The queries asked on demand: all of one backend, its locks, and which sessions block which."""

from typing import Final

from pgtop.postgres.queries.fragments import as_bytes, locked_object, microseconds


def _backend_detail(statement: str) -> str:
    return f"""
SELECT {microseconds("pg_catalog.clock_timestamp()")} AS now,
       a.pid, {microseconds("a.backend_start")} AS backend_start,
       {microseconds("a.state_change")} AS state_change, {microseconds("a.xact_start")} AS xact_start,
       {microseconds("a.query_start")} AS query_start,
       a.state, a.application_name, {as_bytes("r.rolname")} AS usename,
       {as_bytes("d.datname")} AS datname, pg_catalog.host(a.client_addr) AS client_addr,
       pg_catalog.textsend(a.client_hostname) AS client_hostname, a.client_port,
       a.wait_event_type, a.wait_event,
       a.backend_xid::pg_catalog.text AS backend_xid, a.backend_xmin::pg_catalog.text AS backend_xmin,
       a.ssl, a.sslversion, a.leader_pid, coalesce(r.rolsuper, false) AS is_superuser,
       pg_catalog.textsend({statement}) AS query
FROM pg_catalog.pg_stat_get_activity($1::int) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
WHERE coalesce(a.backend_start, 'epoch') OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz
"""


BACKEND_DETAIL: Final = _backend_detail("coalesce(a.query, '')")
"""At most one row: all of one backend, while it is that same session. One whose start is hidden from this
role is identified by its pid alone."""

BACKEND_DETAIL_HIDDEN: Final = _backend_detail("''")
"""The same without its statement."""

BACKEND_LOCKS: Final = f"""
SELECT l.mode, l.granted, {locked_object("l", "d")}
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) l.database
WHERE l.pid OPERATOR(pg_catalog.=) $1::int
ORDER BY l.granted, l.locktype, l.relation, l.mode
LIMIT 200
"""
"""Up to 200 locks that a backend holds or waits for, those it waits for first; a relation of another
database by its number."""

BLOCKERS: Final = """
SELECT a.pid, pg_catalog.pg_blocking_pids(a.pid)::pg_catalog.text AS blocked_by
FROM pg_catalog.pg_stat_get_activity(NULL) a
WHERE a.wait_event_type OPERATOR(pg_catalog.=) 'Lock'
"""
"""A row for each session that waits for a heavyweight lock, with the pids that block it (0 for a prepared
transaction, a pid several times where parallel workers wait) as the array's text: the driver makes room for
as many elements as an array claims. `pg_blocking_pids` takes exclusive access to the lock manager: asked for
on demand, never in a poll.
Source: PostgreSQL documentation, System Information Functions."""


def _same(column: str) -> str:
    """The same in `h` and `w`, or NULL in both: IS NOT DISTINCT FROM without its look-up of an operator."""
    equal = f"h.{column} OPERATOR(pg_catalog.=) w.{column}"
    return f"({equal} OR (h.{column} IS NULL AND w.{column} IS NULL))"


_LOCK_COLUMNS: Final = (
    *("database", "relation", "page", "tuple", "virtualxid"),
    *("transactionid", "classid", "objid", "objsubid"),
)

PREPARED_BLOCKERS: Final = f"""
SELECT {as_bytes("p.gid")} AS gid, {as_bytes("p.owner")} AS owner, {as_bytes("p.database")} AS database,
       {microseconds("p.prepared")} AS prepared,
       pg_catalog.array_agg(DISTINCT w.pid)::pg_catalog.text AS waiting_pids
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_locks h ON h.pid IS NULL AND h.granted
  AND h.locktype OPERATOR(pg_catalog.=) w.locktype
  AND {" AND ".join(map(_same, _LOCK_COLUMNS))}
JOIN pg_catalog.pg_locks x ON x.pid IS NULL AND x.granted
  AND x.locktype OPERATOR(pg_catalog.=) 'transactionid'
  AND x.virtualtransaction OPERATOR(pg_catalog.=) h.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts p ON p.transaction OPERATOR(pg_catalog.=) x.transactionid
WHERE NOT w.granted AND w.pid IS NOT NULL
GROUP BY p.gid, p.owner, p.database, p.prepared
ORDER BY p.prepared
"""
"""A row for each prepared transaction that holds what somebody waits for. A prepared transaction's locks
have no pid; they share a virtualtransaction with the lock on its own transaction id.
Source: PostgreSQL, src/backend/access/transam/twophase.c (MarkAsPreparingGuts)."""
