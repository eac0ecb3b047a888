"""The query for the lock tree: the sessions that wait for locks, and those that block them."""

from typing import Final

from pgtop.postgres.queries.fragments import as_bytes, locked_object, microseconds

MOST_ASKED: Final = 500
"""The most waiting sessions that the server is asked about, the longest waiting first."""
MOST_BLOCKERS: Final = 64
"""The most blockers of one waiting session that are named."""
MOST_SESSIONS: Final = 4_000
"""The most sessions of an answer."""

_OBJECT: Final = """pg_catalog.array_to_string(ARRAY[{0}.locktype, {0}.database::pg_catalog.text,
    {0}.relation::pg_catalog.text, {0}.page::pg_catalog.text, {0}.tuple::pg_catalog.text, {0}.virtualxid,
    {0}.transactionid::pg_catalog.text, {0}.classid::pg_catalog.text, {0}.objid::pg_catalog.text,
    {0}.objsubid::pg_catalog.text], '/', '-')"""
"""A locked object as one text, so that equal ones are found by a hash."""

_COLUMNS: Final = (
    "{0}.pid, {0}.granted, {0}.waitstart, {0}.mode, {0}.locktype, {0}.database, {0}.relation, {0}.page, "
    "{0}.tuple, {0}.virtualxid, {0}.transactionid, {0}.classid, {0}.objid, {0}.objsubid"
)
_STRONGEST_FIRST: Final = """pg_catalog.array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock',
    'ShareRowExclusiveLock', 'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock',
    'AccessShareLock'], h.mode)"""


_MEANT: Final = f"""locks AS MATERIALIZED (
  SELECT {_COLUMNS.format("l")} FROM pg_catalog.pg_locks l
  WHERE l.pid IS NOT NULL AND l.mode OPERATOR(pg_catalog.<>) 'SIReadLock'
), waiting AS MATERIALIZED (
  SELECT DISTINCT ON (l.pid) l.*, {_OBJECT.format("l")} AS object FROM locks l WHERE NOT l.granted
), asked AS MATERIALIZED (
  SELECT e.pid, pg_catalog.pg_blocking_pids(e.pid) AS pids
  FROM (SELECT w.pid FROM waiting w ORDER BY w.waitstart NULLS LAST, w.pid LIMIT {MOST_ASKED}) e
), meant AS MATERIALIZED (
  SELECT s.pid FROM asked s
  UNION
  SELECT b.pid FROM asked s, pg_catalog.unnest(s.pids[1:{MOST_BLOCKERS}]) b(pid)
  WHERE b.pid OPERATOR(pg_catalog.<>) 0
)"""
"""The sessions of an answer: those that wait, and the blockers that the server names for them."""

_SHOWN_LOCKS: Final = f"""wanted AS MATERIALIZED (
  SELECT {_COLUMNS.format("h")} FROM locks h
  WHERE h.granted AND h.pid OPERATOR(pg_catalog.=) ANY (SELECT m.pid FROM meant m)
    AND {_OBJECT.format("h")} OPERATOR(pg_catalog.=) ANY (SELECT w.object FROM waiting w)
), held AS MATERIALIZED (
  SELECT DISTINCT ON (h.pid) h.* FROM wanted h ORDER BY h.pid, {_STRONGEST_FIRST}
), shown AS MATERIALIZED (
  SELECT {_COLUMNS.format("w")} FROM waiting w
  UNION ALL
  SELECT h.* FROM held h
  WHERE NOT h.pid OPERATOR(pg_catalog.=) ANY (SELECT w.pid FROM waiting w)
)"""
"""The lock of each: the one that it waits for, or the strongest that it holds and others wait for."""

_LOCK_COLUMNS: Final = f"""s.pids[1:{MOST_BLOCKERS}]::pg_catalog.text AS blocked_by,
       coalesce(pg_catalog.cardinality(s.pids), 0) AS blockers,
       l.granted, {microseconds("l.waitstart")} AS wait_start, l.mode,
       m.pid OPERATOR(pg_catalog.=) ANY (
         SELECT h.pid FROM wanted h WHERE h.locktype OPERATOR(pg_catalog.=) 'advisory') AS keeps_advisory,
       {locked_object("l", "k")}"""


def _session_columns(statement: str) -> str:
    """Return the columns of a session; `statement` is the expression for what it runs."""
    return f"""m.pid, {microseconds("a.backend_start")} AS backend_start,
       {microseconds("a.state_change")} AS state_change, {microseconds("a.xact_start")} AS xact_start,
       {microseconds("a.query_start")} AS query_start, a.state,
       pg_catalog.textsend(a.application_name) AS application_name,
       {as_bytes("r.rolname")} AS usename, {as_bytes("d.datname")} AS datname,
       pg_catalog.host(a.client_addr) AS client_addr, a.client_port, a.wait_event_type, a.wait_event,
       a.backend_type, coalesce(r.rolsuper, false) AS is_superuser,
       pg_catalog.substring(pg_catalog.textsend({statement}), 1, 1000) AS query"""


def _lock_queue(statement: str) -> str:
    return f"""
WITH {_MEANT}, {_SHOWN_LOCKS}
SELECT {microseconds("pg_catalog.clock_timestamp()")} AS now,
       (SELECT pg_catalog.count(*) FROM waiting) AS waiting,
       {_session_columns(statement)},
       {_LOCK_COLUMNS}
FROM meant m
LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid OPERATOR(pg_catalog.=) m.pid
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
LEFT JOIN asked s ON s.pid OPERATOR(pg_catalog.=) m.pid
LEFT JOIN shown l ON l.pid OPERATOR(pg_catalog.=) m.pid
LEFT JOIN pg_catalog.pg_database k ON k.oid OPERATOR(pg_catalog.=) l.database
ORDER BY l.granted, l.waitstart, m.pid
LIMIT {MOST_SESSIONS}
"""


LOCK_QUEUE: Final = _lock_queue("coalesce(a.query, '')")
"""A row for each session that waits for a lock or blocks one that does, with the lock that it waits for, or
the strongest one that it holds and others wait for. `waiting` is the number of all that wait, and
`keeps_advisory` tells that a session holds an advisory lock that others wait for.

The lock manager is read once for all; `pg_blocking_pids`, which takes it exclusively, is asked for waiting
sessions only, and for at most 500. The blockers are the array's text: the driver makes room for as many
elements as an array claims. 0 stands for a prepared transaction.
Source: PostgreSQL documentation, System Information Functions and pg_locks."""

LOCK_QUEUE_HIDDEN: Final = _lock_queue("''")
"""The same without statements."""
