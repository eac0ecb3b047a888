"""The SQL of pgtop's advisory keys, with what it returns and on which versions (all run on 14 to 18).

A key of two integers shows in pg_locks as classid and objid, with objsubid 2. The first is pgtop's, the
second its holder's. Everything is qualified: nothing here is looked up by search_path.
Source: PostgreSQL documentation, pg_locks, and Functions: Advisory Lock Functions.
"""

from typing import Final

from pgtop.postgres.queries.fragments import UNCONVERTED, microseconds

REAPER_CLASS: Final = 0x7067746F
"""`pgto`: held by whoever reaps by itself, or stands by to. The low PROMISE_BITS of the second integer are
the seconds within which the holder's session will be heard of again, the others are drawn at random."""
RULES_CLASS: Final = 0x7067726C
"""`pgrl`: held beside that key; the second integer is a digest of the holder's rules."""
OWN_SESSION_CLASS: Final = 0x70677365
"""`pgse`: held by every session of pgtop's, whatever the face; the second integer is drawn at random."""

PROMISE_BITS: Final = 12


def _equal(left: str, right: str) -> str:
    return f"{left} OPERATOR(pg_catalog.=) {right}"


def _is_class(number: int) -> str:
    of_class = _equal("l.classid", f"{number}::pg_catalog.int4::pg_catalog.oid")
    return f"({of_class} AND {_equal('l.objsubid', '2::pg_catalog.int2')})"


_OF_PGTOP: Final = (
    f"({_is_class(REAPER_CLASS)} OR {_is_class(RULES_CLASS)} OR {_is_class(OWN_SESSION_CLASS)})"
)
_GRANTED_ADVISORY: Final = (
    f"{_equal('l.locktype', chr(39) + 'advisory' + chr(39) + '::pg_catalog.text')} AND l.granted"
)
_IS_SHARED: Final = _equal("l.mode", "'ShareLock'::pg_catalog.text")
_MAY_SIGNAL: Final = (
    "pg_catalog.pg_has_role(a.usesysid, 'pg_signal_backend'::pg_catalog.name, 'USAGE'::pg_catalog.text)"
)
"""True for a superuser, too."""
_IS_SAME_ROLE: Final = f"""EXISTS (
    SELECT FROM pg_catalog.pg_roles o WHERE {_equal("o.oid", "a.usesysid")}
    AND ({_equal("o.rolname", "CURRENT_USER")} OR {_equal("o.rolname", "SESSION_USER")}))"""
"""Of two sessions, pg_stat_activity shows the role that logged in; SET ROLE changes CURRENT_USER alone."""

TAKE_KEY: Final = (
    "SELECT pg_catalog.pg_try_advisory_lock_shared($1::pg_catalog.int4, $2::pg_catalog.int4) AS taken"
)
"""One row of one boolean: whether the session holds the key by now. False where another holds it exclusively.
Works in a read-only transaction and on a hot standby."""

GIVE_KEYS: Final = f"""
SELECT pg_catalog.pg_advisory_unlock_shared(l.classid::pg_catalog.int4, l.objid::pg_catalog.int4) AS given
FROM pg_catalog.pg_locks l
WHERE {_GRANTED_ADVISORY} AND {_IS_SHARED}
  AND {_equal("l.pid", "pg_catalog.pg_backend_pid()")}
  AND ({_is_class(REAPER_CLASS)} OR {_is_class(RULES_CLASS)})
  AND l.objid::pg_catalog.int8 OPERATOR(pg_catalog.<>) $1::pg_catalog.int8
"""
"""Give back all keys of reaping that the session holds, but for those with this second integer (0 to
2^32 - 1);
a row for each. What an asker that was cancelled did not hear of is given back as well."""


def _reaper_keys(condition: str) -> str:
    return f"""
SELECT pg_catalog.textsend(pg_catalog.json_build_object(
  'now', {microseconds("pg_catalog.clock_timestamp()")},
  'keys', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'pid', h.pid, 'is_shared', h.is_shared, 'key', h.key, 'rules', h.rules,
      'backend_start', {microseconds("a.backend_start")},
      'state_change', {microseconds("a.state_change")},
      'application_name', a.application_name, 'usename', r.rolname,
      'may_signal', coalesce({_MAY_SIGNAL}, false),
      'is_same_role', {_IS_SAME_ROLE}))
    FROM (
      SELECT l.pid, {_IS_SHARED} AS is_shared,
             pg_catalog.max(l.objid::pg_catalog.int8) FILTER (WHERE {_is_class(REAPER_CLASS)}) AS key,
             pg_catalog.max(l.objid::pg_catalog.int8) FILTER (WHERE {_is_class(RULES_CLASS)}) AS rules
      FROM pg_catalog.pg_locks l
      WHERE {_GRANTED_ADVISORY} AND l.pid IS NOT NULL
        AND ({_is_class(REAPER_CLASS)} OR {_is_class(RULES_CLASS)})
      GROUP BY l.pid, {_IS_SHARED}
    ) h
    CROSS JOIN LATERAL pg_catalog.pg_stat_get_activity(h.pid) a
    LEFT JOIN pg_catalog.pg_roles r ON {_equal("r.oid", "a.usesysid")}
    WHERE h.key IS NOT NULL
  ), '[]'::pg_catalog.json))::pg_catalog.text) AS seen
WHERE {condition}
"""


REAPER_KEYS: Final = _reaper_keys("true")
"""One row of one value, JSON in bytes: `now`, and in `keys` an object for each session, of any database, that
holds keys of REAPER_CLASS, one more where it holds some of them exclusively. `backend_start` is null where
this role cannot see that session. In bytes, since a role's name may hold bytes that are not valid text in
this database, and must not keep any pgtop from reaping."""

REAPER_KEYS_UNCONVERTED: Final = _reaper_keys(UNCONVERTED)
"""The same, every text in the encoding of whoever wrote it."""

HELD_LOCKS: Final = f"""
WITH l AS MATERIALIZED (
  SELECT l.pid, {_OF_PGTOP} AS is_key, {_IS_SHARED} AS is_shared
  FROM pg_catalog.pg_locks l
  WHERE {_GRANTED_ADVISORY} AND l.pid IS NOT NULL
)
SELECT l.pid, true AS holds_other, false AS is_own FROM l WHERE NOT l.is_key GROUP BY l.pid
UNION ALL
SELECT k.pid, false, true
FROM (SELECT l.pid FROM l WHERE l.is_key AND l.is_shared GROUP BY l.pid) k
CROSS JOIN LATERAL pg_catalog.pg_stat_get_activity(k.pid) a
WHERE pg_catalog.starts_with(a.application_name, 'pgtop '::pg_catalog.text)
  AND ({_MAY_SIGNAL} OR {_IS_SAME_ROLE})
"""
"""A row for each session, of any database, that holds an advisory lock, and one for each that is pgtop's.
pg_locks does not tell session-level locks from those of a transaction, but an idle session can only hold the
former. A key of pgtop's classes is not a reason to spare its holder; its session is pgtop's where its role
and its name are right, too."""
