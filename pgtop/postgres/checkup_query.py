"""The SQL of a checkup, with what it returns and on which versions (run on 14 to 18).

Its answer is JSON in bytes, as a poll's: names of other databases may hold bytes that are no text here.
"""

from typing import Final

from pgtop.postgres.queries import UNCONVERTED

_NEEDED: Final = """(VALUES
    ('EXECUTE', 'FUNCTION pg_catalog.pg_stat_get_activity(integer)',
     has_function_privilege('pg_catalog.pg_stat_get_activity(integer)', 'EXECUTE')),
    ('EXECUTE', 'FUNCTION pg_catalog.pg_terminate_backend(integer, bigint)',
     has_function_privilege('pg_catalog.pg_terminate_backend(integer,bigint)', 'EXECUTE')),
    ('EXECUTE', 'FUNCTION pg_catalog.pg_lock_status()',
     has_function_privilege('pg_catalog.pg_lock_status()', 'EXECUTE')),
    ('SELECT', 'pg_catalog.pg_locks', has_table_privilege('pg_catalog.pg_locks', 'SELECT')))"""
"""What pgtop uses to see and to end sessions, and what a service may have revoked."""


def _identifier(name: str) -> str:
    return f"json_build_array({name}, quote_ident({name}))"


def _membership(role: str, group: str) -> str:
    """Null where there is no such group."""
    return f"""(SELECT json_build_array(pg_has_role({role}, oid, 'USAGE'), pg_has_role({role}, oid, 'MEMBER'))
     FROM pg_roles WHERE rolname = '{group}')"""


_SETTING: Final = (
    "json_build_array(s.name, s.reset_val::int8, s.setting::int8, coalesce(s.unit, ''), s.source)"
)


def _account(condition: str) -> str:
    return f"""
WITH o AS (
  SELECT r.rolname, d.datname, c.setting
  FROM pg_db_role_setting s
  CROSS JOIN LATERAL unnest(s.setconfig) c(setting)
  LEFT JOIN pg_roles r ON r.oid = s.setrole
  LEFT JOIN pg_database d ON d.oid = s.setdatabase
  WHERE split_part(c.setting, '=', 1) = ANY($3::text[]))
SELECT textsend(json_build_object(
  'login', {_identifier("session_user")},
  'acting', {_identifier("current_user")},
  'database', {_identifier("current_database()")},
  'is_superuser', l.rolsuper,
  'acts_as_superuser', a.rolsuper,
  'login_inherits', l.rolinherit,
  'acting_inherits', a.rolinherit,
  'login_limit', l.rolconnlimit,
  'database_limit', (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
  'reserved', {_membership("session_user", "pg_use_reserved_connections")},
  'provider', {_membership("session_user", "rds_superuser")},
  'is_managed', EXISTS (
    SELECT FROM pg_roles WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')),
  'sight', {_membership("current_user", "pg_read_all_stats")},
  'signal', {_membership("current_user", "pg_signal_backend")},
  'missing', coalesce((
    SELECT json_agg(json_build_array(n.privilege, n.name)) FROM {_NEEDED} n(privilege, name, held)
    WHERE NOT n.held), '[]'::json),
  'over_socket', inet_client_addr() IS NULL,
  'settings', coalesce((
    SELECT json_agg({_SETTING}) FROM pg_settings s WHERE s.name = ANY($1::text[])), '[]'::json),
  'limited_roles', (SELECT count(*) FROM pg_roles WHERE rolconnlimit >= 0 AND rolcanlogin AND NOT rolsuper),
  'roles', coalesce((
    SELECT json_agg(json_build_array(
      {_identifier("r.rolname")}, r.rolconnlimit, r.rolsuper,
      coalesce(pg_has_role(r.oid, g.oid, 'USAGE'), false),
      (SELECT min(split_part(o.setting, '=', 2)) FROM o
       WHERE o.rolname = r.rolname AND o.datname IS NULL
         AND split_part(o.setting, '=', 1) = 'idle_session_timeout')))
    FROM pg_roles r LEFT JOIN pg_roles g ON g.rolname = 'pg_use_reserved_connections'
    WHERE r.rolname = ANY($2::text[])), '[]'::json),
  'overrides', coalesce((
    SELECT json_agg(json_build_array(o.rolname, o.datname, o.setting))
    FROM (SELECT * FROM o
          ORDER BY o.rolname IS NOT NULL AND o.rolname <> ALL($2::text[]), o.rolname, o.datname, o.setting
          LIMIT 20) o), '[]'::json),
  'overrides_in_all', (SELECT count(*) FROM o)
)::text) AS account
FROM pg_roles l, pg_roles a
WHERE l.rolname = session_user AND a.rolname = current_user AND {condition}
"""


ACCOUNT: Final = _account("true")
"""One row of one value, JSON in bytes that are those of `core.checkup.Account`. Takes the names of the
settings to read, of the roles to tell of, and of the settings that roles and databases may have of their own.

`reset_val`, not `setting`: a keepalive's `setting` is what the socket has (nought over a Unix socket), and
that of 0 is the system's own value. Both are what the session began with: whatever a startup packet set hides
the server's value, and no column tells it (nor may others than superusers read pg_file_settings), so the
session must set none of them. ALTER ROLE and ALTER DATABASE hide it as well, and `source` tells which.
`session_user` is who logged in; privileges to see and end are those of `current_user`."""

ACCOUNT_UNCONVERTED: Final = _account(UNCONVERTED)
"""The same, every text in the encoding of whoever wrote it."""
