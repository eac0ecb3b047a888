"""Every SQL text that pgtop sends, with what it returns and on which versions (all run on 14 to 18).

Times cross as integers of microseconds since the Unix epoch, so that a guard gets back exactly what a poll
showed. JSON crosses as `textsend(...)`, bytes: a statement of another database may hold bytes that are not
valid text in this one, and must not make the whole poll fail. Where it fails in the server already, which
converts and counts characters, there is a second text that takes them as they are.

Every function, operator, type, relation and collation is qualified with pg_catalog. Through a pooler, or in
the database of a hostile owner, another schema may come first in `search_path`, or hold an overload that fits
the arguments better: it would then run with the rights of whoever looks. For the same reason there is no
LIKE, IN, BETWEEN, NULLIF, USING, IS DISTINCT FROM or CASE with an operand: PostgreSQL looks their operators
up by name. No parameter or column is an array of integers: for that type the driver sends statements of its
own, which are not qualified; pids cross as text, `{1,2}`.
Source: PostgreSQL documentation, CREATE FUNCTION, "Writing SECURITY DEFINER Functions Safely", and Type
Conversion, Functions; src/backend/parser/parse_expr.c (make_distinct_op, transformAExprNullIf).
"""

from typing import Final


def microseconds(expression: str) -> str:
    """Return SQL for a timestamp as whole microseconds since the Unix epoch."""
    return f"(pg_catalog.date_part('epoch', {expression}) OPERATOR(pg_catalog.*) 1e6)::bigint"


def _bytes(name: str) -> str:
    """A name as bytes: if it were not text, the driver could not decode the whole answer."""
    return f"pg_catalog.textsend({name}::pg_catalog.text)"


_PROVIDER_RESERVED: Final = "pg_catalog.current_setting('rds.rds_superuser_reserved_connections', true)"

ABOUT_SERVER: Final = f"""
SELECT pg_catalog.current_setting('server_version_num')::int AS version_num,
       pg_catalog.current_setting('max_connections')::int AS max_connections,
       pg_catalog.current_setting('superuser_reserved_connections')::int AS superuser_reserved_connections,
       coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS reserved_connections,
       CASE WHEN {_PROVIDER_RESERVED} OPERATOR(pg_catalog.<>) '' THEN {_PROVIDER_RESERVED}::int ELSE 0 END
         AS provider_reserved_connections,
       {microseconds("pg_catalog.pg_postmaster_start_time()")} AS postmaster_start,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.pg_backend_pid() AS own_pid
"""
"""One row, read when a seat is taken: what stays so until the server restarts.
`reserved_connections` exists from 16 on."""

SYSTEM_IDENTIFIER: Final = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()"
"""One row. Fails with 42501 where a service has revoked it."""

SERVER_END: Final = """
SELECT pg_catalog.host(pg_catalog.inet_server_addr()) AS address, pg_catalog.inet_server_port() AS port
"""
"""One row: the server's own end of this connection; both are null over a Unix socket. Behind a balancer or a
translated address it is another one than the client connected to."""

UNCONVERTED: Final = "pg_catalog.set_config('client_encoding', 'SQL_ASCII', true) IS NOT NULL"
"""A condition that lets the server send what it has, for the length of the statement."""


_IS_SUPERUSER: Final = "pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'"

_ABOUT_POLL: Final = f"""
  'now', {microseconds("pg_catalog.clock_timestamp()")},
  'in_recovery', pg_catalog.pg_is_in_recovery(),
  'postmaster_start', {microseconds("pg_catalog.pg_postmaster_start_time()")},
  'own_pid', pg_catalog.pg_backend_pid(),
  'privileges', pg_catalog.json_build_object(
    'role', current_user,
    'is_superuser', {_IS_SUPERUSER},
    'may_signal', pg_catalog.pg_has_role('pg_signal_backend'::pg_catalog.name, 'USAGE'))"""

_CLIENT_BACKENDS: Final = """
WHERE a.backend_type OPERATOR(pg_catalog.=) 'client backend'
   OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL)"""


def _backend(role: str, database: str, is_superuser: str, statement: str) -> str:
    return f"""pg_catalog.json_build_array(
             a.pid,
             {microseconds("a.backend_start")},
             {microseconds("a.state_change")},
             {microseconds("a.xact_start")},
             {microseconds("a.query_start")},
             a.state,
             a.application_name,
             {role},
             {database},
             pg_catalog.host(a.client_addr),
             a.client_port,
             a.wait_event_type,
             a.wait_event,
             coalesce({is_superuser}, false),
             {statement})"""


def _poll(statement: str, condition: str) -> str:
    return f"""
SELECT pg_catalog.textsend(pg_catalog.json_build_object({_ABOUT_POLL},
  'backends', coalesce((
    SELECT pg_catalog.json_agg({_backend("r.rolname", "d.datname", "r.rolsuper", statement)})
    FROM pg_catalog.pg_stat_get_activity(NULL) a
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
    {_CLIENT_BACKENDS}
  ), '[]'::pg_catalog.json))::pg_catalog.text) AS poll
WHERE {condition}
"""


POLL: Final = _poll("pg_catalog.left(a.query, 200)", "true")
"""One row of one value: JSON in bytes, decoded by `probe.py`; the order of a backend's values is that of
`core.activity.Backend`'s fields. Rows whose backend_type is hidden from this role and that have a database
and a role are taken for client backends: an upper bound (parallel workers and logical walsenders are among
them)."""

_BEGINNING: Final = "pg_catalog.encode(pg_catalog.substring(pg_catalog.textsend(a.query), 1, 200), 'escape')"
_SHORT: Final = f"""CASE WHEN pg_catalog.octet_length(a.query) OPERATOR(pg_catalog.<=) 1024
                  THEN a.query ELSE {_BEGINNING} END"""

POLL_UNCONVERTED: Final = _poll(_SHORT, UNCONVERTED)
"""The same with every text in the encoding of whoever wrote it: for a server that fails at bytes that are not
valid text to it (22021, 22P05). Such a server cannot count characters either: statements of up to 1024 bytes,
which are all by default, come whole, and the beginning of longer ones with its odd bytes as `\\nnn`."""

_AT_REST: Final = (
    "a.state_change OPERATOR(pg_catalog.<=) $1::pg_catalog.timestamptz "
    "AND pg_catalog.starts_with(a.state, 'idle')"
)


def _poll_changes(statement: str) -> str:
    role = "(SELECT r.{} FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) a.usesysid)"
    database = "(SELECT d.datname FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) a.datid)"
    backend = _backend(role.format("rolname"), database, role.format("rolsuper"), statement)
    return f"""
SELECT pg_catalog.textsend(pg_catalog.json_build_object({_ABOUT_POLL},
  'backends', coalesce(pg_catalog.json_agg({backend}) FILTER (WHERE ({_AT_REST}) IS NOT TRUE),
                       '[]'::pg_catalog.json))::pg_catalog.text) AS poll,
  pg_catalog.array_send(pg_catalog.array_agg(a.pid) FILTER (WHERE {_AT_REST})) AS pids,
  pg_catalog.array_send(pg_catalog.array_agg(a.state_change) FILTER (WHERE {_AT_REST})) AS state_changes
FROM pg_catalog.pg_stat_get_activity(NULL) a {_CLIENT_BACKENDS}
"""


POLL_CHANGES: Final = _poll_changes("pg_catalog.left(a.query, 200)")
"""One row: `poll` as in POLL, but without the sessions that are idle, in a transaction or not, since `$1` or
longer; of those the pids and, in the same order, their state_change, each an int4[] or timestamptz[] in its
binary form, NULL for none. Reading roles and databases for the few that are sent costs the server a third of
what joining them to all does."""

_BEGINS_WITH_LISTEN: Final = (
    """COLLATE pg_catalog."C" OPERATOR(pg_catalog.~*) '^[[:space:]]*listen([^[:alnum:]_]|$)'"""
)
"""In this collation, since I is not a capital i in Turkish."""

_HIDDEN: Final = f"CASE WHEN pg_catalog.left(a.query, 200) {_BEGINS_WITH_LISTEN} THEN 'LISTEN' END"

POLL_HIDDEN: Final = _poll(_HIDDEN, "true")
"""The poll without statements: of one, only whether it is a LISTEN leaves the server."""

POLL_HIDDEN_UNCONVERTED: Final = _poll(
    f"CASE WHEN {_BEGINNING} {_BEGINS_WITH_LISTEN} THEN 'LISTEN' END",
    UNCONVERTED,
)
"""The same for a server that fails at bytes that are not valid text to it."""

POLL_CHANGES_HIDDEN: Final = _poll_changes(_HIDDEN)
"""As POLL_CHANGES, and as POLL_HIDDEN."""


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
  AND ({_IS_SUPERUSER} OR NOT coalesce(r.rolsuper, false))
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


def _backend_detail(statement: str) -> str:
    return f"""
SELECT {microseconds("pg_catalog.clock_timestamp()")} AS now,
       a.pid, {microseconds("a.backend_start")} AS backend_start,
       {microseconds("a.state_change")} AS state_change, {microseconds("a.xact_start")} AS xact_start,
       {microseconds("a.query_start")} AS query_start,
       a.state, a.application_name, {_bytes("r.rolname")} AS usename,
       {_bytes("d.datname")} AS datname, pg_catalog.host(a.client_addr) AS client_addr,
       pg_catalog.textsend(a.client_hostname) AS client_hostname, a.client_port,
       a.wait_event_type, a.wait_event,
       a.backend_xid::pg_catalog.text AS backend_xid, a.backend_xmin::pg_catalog.text AS backend_xmin,
       a.ssl, a.sslversion, a.leader_pid, coalesce(r.rolsuper, false) AS is_superuser,
       pg_catalog.textsend({statement}) AS query
FROM pg_catalog.pg_stat_get_activity($1::int) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
WHERE a.backend_start OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz
"""


BACKEND_DETAIL: Final = _backend_detail("coalesce(a.query, '')")
"""At most one row: all of one backend, while it is that same session."""

BACKEND_DETAIL_HIDDEN: Final = _backend_detail("''")
"""The same without its statement."""

BACKEND_LOCKS: Final = f"""
SELECT l.locktype, l.mode, l.granted, {_bytes("d.datname")} AS datname,
       pg_catalog.textsend(
         CASE WHEN l.relation IS NULL THEN NULL
              WHEN l.database OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                THEN l.relation::pg_catalog.regclass::pg_catalog.text
              ELSE l.relation::pg_catalog.text END) AS relation,
       l.page, l.tuple, l.virtualxid, l.transactionid::pg_catalog.text AS transactionid,
       l.classid::pg_catalog.text AS classid, l.objid::pg_catalog.text AS objid
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
SELECT {_bytes("p.gid")} AS gid, {_bytes("p.owner")} AS owner, {_bytes("p.database")} AS database,
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
