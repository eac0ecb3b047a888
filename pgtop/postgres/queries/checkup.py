"""The query of a checkup: what doctor needs to know of the account, the settings and the roles."""

from typing import Final

from pgtop.postgres.queries.fragments import UNCONVERTED, database_name, is_role_superuser

_READ: Final = ("pg_roles", "pg_database", "pg_db_role_setting")
_CALLED: Final = {
    "pg_stat_get_activity(integer)": True,
    "pg_terminate_backend(integer, bigint)": True,
    "pg_lock_status()": True,
    "pg_postmaster_start_time()": True,
    "pg_is_in_recovery()": True,
    "pg_has_role(pg_catalog.oid, pg_catalog.text)": True,
    "pg_has_role(pg_catalog.name, pg_catalog.text)": True,
    "pg_cancel_backend(integer)": False,
    "pg_blocking_pids(integer)": False,
    "pg_show_all_settings()": False,
}
"""Functions, and whether pgtop needs them to see and to terminate sessions. A view over one needs it too."""


def _rights() -> str:
    rows = [
        f"('SELECT', 'pg_catalog.{name}', false, "
        f"pg_catalog.has_table_privilege('pg_catalog.{name}', 'SELECT'))"
        for name in _READ
    ]
    rows += [
        f"('EXECUTE', 'FUNCTION pg_catalog.{name}', {str(is_needed).lower()}, "
        f"pg_catalog.has_function_privilege('pg_catalog.{name}', 'EXECUTE'))"
        for name, is_needed in _CALLED.items()
    ]
    listed = ",\n    ".join(rows)
    return f"""
SELECT n.privilege, n.name, n.is_needed
FROM (VALUES
    {listed}) n(privilege, name, is_needed, held)
WHERE NOT n.held
"""


MISSING_RIGHTS: Final = _rights()
"""A row for each right that this role lacks and that a service may have revoked: privilege and object, as
GRANT names them. What is not `is_needed` costs a check or a face's detail, and no more."""


_PROVIDERS: Final = ("rds_superuser", "cloudsqlsuperuser", "azure_pg_admin")


def _identifier(name: str) -> str:
    return f"pg_catalog.json_build_array({name}, pg_catalog.quote_ident({name}))"


def _oid(role: str) -> str:
    """The oid of a role, by an expression for its quoted name; null if there is none. Reads no catalog."""
    return f"pg_catalog.to_regrole({role})::pg_catalog.oid"


def _membership(role: str, group: str) -> str:
    """Null if the group does not exist."""
    oid = _oid(f"'{group}'")
    has = f"pg_catalog.pg_has_role({role}, {oid}, {{}})"
    return f"""(SELECT pg_catalog.json_build_array({has.format("'USAGE'")}, {has.format("'MEMBER'")})
     WHERE {oid} IS NOT NULL)"""


_SETTING: Final = (
    "pg_catalog.json_build_array("
    "s.name, s.reset_val::bigint, s.setting::bigint, coalesce(s.unit, ''), s.source)"
)


def _name_of(setting: str) -> str:
    """The part before the first `=` of a setting as ALTER ROLE keeps it."""
    return f"pg_catalog.split_part({setting}, '=', 1)"


_SHORTENED: Final = "pg_catalog.left(pg_catalog.regexp_replace(c.setting, '[[:space:]]+', ' ', 'g'), 200)"
"""Each role may give itself a timeout of megabytes, in blanks or noughts: too long an answer is not read."""


def _row_of(name: str, *, is_readable: bool) -> str:
    """The row of one role, by an expression for its name."""
    if is_readable:
        return f"(SELECT * FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) {name})"
    return f"""(SELECT {is_role_superuser(name)} AS rolsuper,
      NULL::pg_catalog.bool AS rolinherit, NULL::pg_catalog.int4 AS rolconnlimit)"""


def _roles(*, are_readable: bool) -> str:
    """The roles that are asked for."""
    if are_readable:
        return """(SELECT r.oid, r.rolname, r.rolsuper, r.rolconnlimit FROM pg_catalog.pg_roles r
      WHERE r.rolname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[]))"""
    return f"""(SELECT n.oid, n.rolname, {is_role_superuser("n.oid")} AS rolsuper,
             NULL::pg_catalog.int4 AS rolconnlimit
      FROM (SELECT u.name::pg_catalog.name AS rolname, {_oid("pg_catalog.quote_ident(u.name)")} AS oid
            FROM pg_catalog.unnest($2::pg_catalog.text[]) u(name)) n
      WHERE n.oid IS NOT NULL)"""


def _own_settings(withdrawn: frozenset[str]) -> str:
    """The settings of roles and databases; those of roles alone, or none, where no more may be read."""
    if "pg_db_role_setting" not in withdrawn:
        return "pg_catalog.pg_db_role_setting"
    zero = "0::pg_catalog.oid AS setdatabase"
    if "pg_roles" not in withdrawn:
        return f"(SELECT r.oid AS setrole, {zero}, r.rolconfig AS setconfig FROM pg_catalog.pg_roles r)"
    return f"(SELECT 0::pg_catalog.oid AS setrole, {zero}, NULL::pg_catalog.text[] AS setconfig)"


def _owner(catalog: str, withdrawn: frozenset[str]) -> str:
    """The name of the role or of the database that a setting belongs to; null for all of them."""
    oid, column = ("setrole", "rolname") if catalog == "pg_roles" else ("setdatabase", "datname")
    if catalog not in withdrawn:
        return f"""(SELECT n.{column} FROM pg_catalog.{catalog} n
          WHERE n.oid OPERATOR(pg_catalog.=) s.{oid})"""
    if catalog == "pg_database":
        return database_name(f"s.{oid}")
    named = f"s.{oid} OPERATOR(pg_catalog.<>) 0::pg_catalog.oid"
    return f"CASE WHEN {named} THEN pg_catalog.pg_get_userbyid(s.{oid}) END"


_OWN_FACTS: Final = f"""'login', {_identifier("session_user")},
  'acting', {_identifier("current_user")},
  'database', {_identifier("pg_catalog.current_database()")},
  'is_superuser', l.rolsuper,
  'acts_as_superuser', a.rolsuper,
  'login_inherits', l.rolinherit,
  'acting_inherits', a.rolinherit,
  'login_limit', l.rolconnlimit,
  'over_socket', pg_catalog.inet_client_addr() IS NULL"""
"""The pairs of JSON on the login itself; `l` is the row of its role, and `a` that of the role it acts as."""


def _memberships() -> str:
    """Return the pairs of JSON on the roles that give rights, and on who runs the server."""
    managed = " OR ".join(f"{_oid(repr(name))} IS NOT NULL" for name in _PROVIDERS)
    return f"""'reserved', {_membership("session_user", "pg_use_reserved_connections")},
  'provider', {_membership("session_user", "rds_superuser")},
  'is_managed', {managed},
  'sight', {_membership("current_user", "pg_read_all_stats")},
  'signal', {_membership("current_user", "pg_signal_backend")}"""


def _settings(withdrawn: frozenset[str]) -> str:
    """Return the pair of JSON on the server's settings; an empty list where they may not be read."""
    if "pg_show_all_settings" in withdrawn:
        return "'settings', '[]'::pg_catalog.json"
    return f"""'settings', coalesce((
    SELECT pg_catalog.json_agg({_SETTING}) FROM pg_catalog.pg_show_all_settings() s
    WHERE s.name OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])), '[]'::pg_catalog.json)"""


def _role_facts(*, are_readable: bool) -> str:
    """Return the pairs of JSON on the roles: how many have a limit, and the facts of those asked for."""
    limited = """(
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles
    WHERE rolconnlimit OPERATOR(pg_catalog.>=) 0 AND rolcanlogin AND NOT rolsuper)"""
    reserved = _oid("'pg_use_reserved_connections'")
    return f"""'limited_roles', {limited if are_readable else "NULL"},
  'roles', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      {_identifier("r.rolname")}, r.rolconnlimit, r.rolsuper,
      coalesce(pg_catalog.pg_has_role(r.oid, {reserved}, 'USAGE'), false),
      (SELECT pg_catalog.min(pg_catalog.split_part(o.setting, '=', 2)) FROM o
       WHERE o.rolname OPERATOR(pg_catalog.=) r.rolname AND o.datname IS NULL
         AND {_name_of("o.setting")} OPERATOR(pg_catalog.=) 'idle_session_timeout')))
    FROM {_roles(are_readable=are_readable)} r), '[]'::pg_catalog.json)"""


def _database_facts(*, are_readable: bool) -> str:
    """Return the pairs of JSON on the databases with a limit, the own one first."""
    if not are_readable:
        return """'database_limit', NULL,
  'limited_databases', NULL,
  'databases', '[]'::pg_catalog.json"""
    return f"""'database_limit', (
    SELECT datconnlimit FROM pg_catalog.pg_database
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),
  'limited_databases', (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_database WHERE datconnlimit OPERATOR(pg_catalog.>=) 0),
  'databases', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array({_identifier("d.datname")}, d.datconnlimit))
    FROM pg_catalog.pg_database d
    WHERE d.datconnlimit OPERATOR(pg_catalog.>=) 0
      AND d.datname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.text[])), '[]'::pg_catalog.json)"""


_OVERRIDES: Final = """'overrides', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(o.rolname, o.datname, o.setting))
    FROM (SELECT * FROM o
          ORDER BY o.rolname IS NOT NULL AND o.rolname OPERATOR(pg_catalog.<>) ALL ($2::pg_catalog.text[]),
                   o.rolname, o.datname, o.setting
          LIMIT 20) o), '[]'::pg_catalog.json),
  'overrides_in_all', (SELECT pg_catalog.count(*) FROM o)"""
"""The pairs of JSON on the settings that roles and databases have of their own, those of the roles asked for
first."""


def account_query(withdrawn: frozenset[str], *, unconverted: bool = False) -> str:
    """Return the query for the facts of an account, without the relations and functions in `withdrawn`.

    They are named as in MISSING_RIGHTS, without schema and arguments. With `unconverted` every text is in the
    encoding of whoever wrote it.
    """
    knows_roles, knows_databases = "pg_roles" not in withdrawn, "pg_database" not in withdrawn
    return f"""
WITH o AS (
  SELECT {_owner("pg_roles", withdrawn)} AS rolname, {_owner("pg_database", withdrawn)} AS datname,
         {_SHORTENED} AS setting
  FROM {_own_settings(withdrawn)} s
  CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(setting)
  WHERE {_name_of("c.setting")} OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.text[])),
all_parameters AS (SELECT $1::pg_catalog.text[], $4::pg_catalog.text[])
SELECT pg_catalog.textsend(pg_catalog.json_build_object(
  {_OWN_FACTS},
  {_memberships()},
  {_settings(withdrawn)},
  {_role_facts(are_readable=knows_roles)},
  {_database_facts(are_readable=knows_databases)},
  {_OVERRIDES}
)::pg_catalog.text) AS account
FROM {_row_of("session_user", is_readable=knows_roles)} l,
     {_row_of("current_user", is_readable=knows_roles)} a
WHERE {UNCONVERTED if unconverted else "true"}
"""


ACCOUNT: Final = account_query(frozenset())
"""One row of one value, JSON in bytes that are those of `core.doctor.checkup.Account`; null is what was
withdrawn. Takes the names of the settings to read, of the roles to tell of, of the settings that roles and
databases may have of their own, and of the databases to tell of.

`reset_val`, not `setting`: a keepalive's `setting` is what the socket has (nought over a Unix socket), and
that of 0 is the system's own value. Both are what the session began with: whatever a startup packet set hides
the server's value, and no column tells it (nor may others than superusers read pg_file_settings), so the
session must set none of them. ALTER ROLE and ALTER DATABASE hide it as well, and `source` tells which.
`session_user` is who logged in; privileges to see and end are those of `current_user`."""


ACCOUNT_UNCONVERTED: Final = account_query(frozenset(), unconverted=True)
"""The same, every text in the encoding of whoever wrote it."""
