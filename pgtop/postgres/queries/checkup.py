"""The query of a checkup: what doctor needs to know of the account, the settings and the roles."""

from typing import Final

from pgtop.postgres.queries.fragments import UNCONVERTED

_NEEDED: Final = """(VALUES
    ('EXECUTE', 'FUNCTION pg_catalog.pg_stat_get_activity(integer)',
     pg_catalog.has_function_privilege('pg_catalog.pg_stat_get_activity(integer)', 'EXECUTE')),
    ('EXECUTE', 'FUNCTION pg_catalog.pg_terminate_backend(integer, bigint)',
     pg_catalog.has_function_privilege('pg_catalog.pg_terminate_backend(integer,bigint)', 'EXECUTE')),
    ('EXECUTE', 'FUNCTION pg_catalog.pg_lock_status()',
     pg_catalog.has_function_privilege('pg_catalog.pg_lock_status()', 'EXECUTE')),
    ('SELECT', 'pg_catalog.pg_locks', pg_catalog.has_table_privilege('pg_catalog.pg_locks', 'SELECT')))"""
"""The privileges that pgtop needs to see and to terminate sessions, and that a service may have revoked."""


def _identifier(name: str) -> str:
    return f"pg_catalog.json_build_array({name}, pg_catalog.quote_ident({name}))"


def _membership(role: str, group: str) -> str:
    """Null if the group does not exist."""
    has = f"pg_catalog.pg_has_role({role}, oid, {{}})"
    return f"""(SELECT pg_catalog.json_build_array({has.format("'USAGE'")}, {has.format("'MEMBER'")})
     FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) '{group}')"""


_SETTING: Final = (
    "pg_catalog.json_build_array("
    "s.name, s.reset_val::bigint, s.setting::bigint, coalesce(s.unit, ''), s.source)"
)


def _name_of(setting: str) -> str:
    """The part before the first `=` of a setting as ALTER ROLE keeps it."""
    return f"pg_catalog.split_part({setting}, '=', 1)"


_SHORTENED: Final = "pg_catalog.left(pg_catalog.regexp_replace(c.setting, '[[:space:]]+', ' ', 'g'), 200)"
"""Each role may give itself a timeout of megabytes, in blanks or noughts: too long an answer is not read."""


def _account_query(condition: str) -> str:
    return f"""
WITH o AS (
  SELECT r.rolname, d.datname, {_SHORTENED} AS setting
  FROM pg_catalog.pg_db_role_setting s
  CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(setting)
  LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
  LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
  WHERE {_name_of("c.setting")} OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.text[]))
SELECT pg_catalog.textsend(pg_catalog.json_build_object(
  'login', {_identifier("session_user")},
  'acting', {_identifier("current_user")},
  'database', {_identifier("pg_catalog.current_database()")},
  'is_superuser', l.rolsuper,
  'acts_as_superuser', a.rolsuper,
  'login_inherits', l.rolinherit,
  'acting_inherits', a.rolinherit,
  'login_limit', l.rolconnlimit,
  'database_limit', (
    SELECT datconnlimit FROM pg_catalog.pg_database
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),
  'reserved', {_membership("session_user", "pg_use_reserved_connections")},
  'provider', {_membership("session_user", "rds_superuser")},
  'is_managed', EXISTS (
    SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ANY (
      '{{rds_superuser,cloudsqlsuperuser,azure_pg_admin}}'::pg_catalog.name[])),
  'sight', {_membership("current_user", "pg_read_all_stats")},
  'signal', {_membership("current_user", "pg_signal_backend")},
  'missing', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.privilege, n.name))
    FROM {_NEEDED} n(privilege, name, held) WHERE NOT n.held), '[]'::pg_catalog.json),
  'over_socket', pg_catalog.inet_client_addr() IS NULL,
  'settings', coalesce((
    SELECT pg_catalog.json_agg({_SETTING}) FROM pg_catalog.pg_settings s
    WHERE s.name OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])), '[]'::pg_catalog.json),
  'limited_roles', (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles
    WHERE rolconnlimit OPERATOR(pg_catalog.>=) 0 AND rolcanlogin AND NOT rolsuper),
  'roles', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      {_identifier("r.rolname")}, r.rolconnlimit, r.rolsuper,
      coalesce(pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE'), false),
      (SELECT pg_catalog.min(pg_catalog.split_part(o.setting, '=', 2)) FROM o
       WHERE o.rolname OPERATOR(pg_catalog.=) r.rolname AND o.datname IS NULL
         AND {_name_of("o.setting")} OPERATOR(pg_catalog.=) 'idle_session_timeout')))
    FROM pg_catalog.pg_roles r
    LEFT JOIN pg_catalog.pg_roles g ON g.rolname OPERATOR(pg_catalog.=) 'pg_use_reserved_connections'
    WHERE r.rolname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])), '[]'::pg_catalog.json),
  'limited_databases', (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_database WHERE datconnlimit OPERATOR(pg_catalog.>=) 0),
  'databases', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array({_identifier("d.datname")}, d.datconnlimit))
    FROM pg_catalog.pg_database d
    WHERE d.datconnlimit OPERATOR(pg_catalog.>=) 0
      AND d.datname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.text[])), '[]'::pg_catalog.json),
  'overrides', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(o.rolname, o.datname, o.setting))
    FROM (SELECT * FROM o
          ORDER BY o.rolname IS NOT NULL AND o.rolname OPERATOR(pg_catalog.<>) ALL ($2::pg_catalog.text[]),
                   o.rolname, o.datname, o.setting
          LIMIT 20) o), '[]'::pg_catalog.json),
  'overrides_in_all', (SELECT pg_catalog.count(*) FROM o)
)::pg_catalog.text) AS account
FROM pg_catalog.pg_roles l, pg_catalog.pg_roles a
WHERE l.rolname OPERATOR(pg_catalog.=) session_user AND a.rolname OPERATOR(pg_catalog.=) current_user
  AND {condition}
"""


ACCOUNT: Final = _account_query("true")
"""One row of one value, JSON in bytes that are those of `core.doctor.checkup.Account`. Takes the names of the
settings to read, of the roles to tell of, of the settings that roles and databases may have of their own, and
of the databases to tell of.

`reset_val`, not `setting`: a keepalive's `setting` is what the socket has (nought over a Unix socket), and
that of 0 is the system's own value. Both are what the session began with: whatever a startup packet set hides
the server's value, and no column tells it (nor may others than superusers read pg_file_settings), so the
session must set none of them. ALTER ROLE and ALTER DATABASE hide it as well, and `source` tells which.
`session_user` is who logged in; privileges to see and end are those of `current_user`."""


ACCOUNT_UNCONVERTED: Final = _account_query(UNCONVERTED)
"""The same, every text in the encoding of whoever wrote it."""
