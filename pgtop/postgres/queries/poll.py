"""The one query of a poll: every session of the server, or those that changed."""

from typing import Final

from pgtop.postgres.queries.fragments import IS_SUPERUSER, UNCONVERTED, microseconds, role_inherits


def _has_role(group: str, privilege: str) -> str:
    return f"pg_catalog.pg_has_role('{group}'::pg_catalog.name, '{privilege}')"


def _inherits(group: str) -> str:
    return f"{_has_role(group, 'USAGE')} OR NOT {_has_role(group, 'MEMBER')}"


def _may_call(function: str) -> str:
    return f"pg_catalog.has_function_privilege('pg_catalog.{function}', 'EXECUTE')"


_ABOUT_POLL: Final = f"""
  'now', {microseconds("pg_catalog.clock_timestamp()")},
  'in_recovery', pg_catalog.pg_is_in_recovery(),
  'postmaster_start', {microseconds("pg_catalog.pg_postmaster_start_time()")},
  'own_pid', pg_catalog.pg_backend_pid(),
  'privileges', pg_catalog.json_build_object(
    'role', current_user,
    'is_superuser', {IS_SUPERUSER},
    'may_signal', {_has_role("pg_signal_backend", "USAGE")},
    'inherits', {_inherits("pg_read_all_stats")},
    'inherits_signal', {_inherits("pg_signal_backend")},
    'role_inherits', {role_inherits()},
    'may_call_terminate', {_may_call("pg_terminate_backend(integer,bigint)")},
    'may_call_cancel', {_may_call("pg_cancel_backend(integer)")})"""

_CLIENT_BACKENDS: Final = """
WHERE a.backend_type OPERATOR(pg_catalog.=) 'client backend'
   OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL)"""


CLIENT_BACKEND_PIDS: Final = f"""
SELECT a.pid, {microseconds("pg_catalog.statement_timestamp()")} AS listed_at
FROM pg_catalog.pg_stat_get_activity(NULL) a {_CLIENT_BACKENDS}
"""
"""The sessions that a poll would show now."""


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
             {statement},
             coalesce(pg_catalog.pg_has_role(a.usesysid, 'USAGE'), false))"""


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
"""One row of one value: JSON in bytes, decoded by `snapshot_probe`; the order of a backend's values is that
of `core.activity.Backend`'s fields. Rows whose backend_type is hidden from this role and that have a database
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
