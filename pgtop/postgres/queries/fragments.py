"""The pieces of SQL that several queries are put together from."""

from typing import Final


def microseconds(expression: str) -> str:
    """Return SQL for a timestamp as whole microseconds since the Unix epoch."""
    return f"(pg_catalog.date_part('epoch', {expression}) OPERATOR(pg_catalog.*) 1e6)::bigint"


def as_bytes(name: str) -> str:
    """A name as bytes: if it were not text, the driver could not decode the whole answer."""
    return f"pg_catalog.textsend({name}::pg_catalog.text)"


UNCONVERTED: Final = "pg_catalog.set_config('client_encoding', 'SQL_ASCII', true) IS NOT NULL"
"""A condition that lets the server send what it has, for the length of the statement."""


def role_inherits() -> str:
    """Return SQL that is true if this session's role inherits. No function returns that."""
    return """(
      SELECT i.rolinherit FROM pg_catalog.pg_roles i
      WHERE i.rolname OPERATOR(pg_catalog.=) CURRENT_USER)"""


IS_SUPERUSER: Final = "pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'"


def is_role_superuser(role: str) -> str:
    """Return SQL that is true if a role, by name or oid, is a superuser; for roles whose row may not be read.

    Nobody but a superuser has this privilege on a system catalog, whatever was granted.
    Source: PostgreSQL, pg_class_aclmask() in src/backend/catalog/aclchk.c.
    """
    return f"pg_catalog.has_table_privilege({role}, 'pg_catalog.pg_authid', 'INSERT')"


def database_name(oid: str) -> str:
    """Return SQL for a database's name, without reading pg_database; NULL if there is no such database."""
    address = (
        f"pg_catalog.pg_identify_object_as_address('pg_catalog.pg_database'::pg_catalog.regclass, {oid}, 0)"
    )
    return f"(SELECT (i.object_names)[1] FROM {address} i)"


def locked_object(lock: str, database: str) -> str:
    """Return SQL for the columns that tell the object of a lock: those of `postgres.lock_queue.LockColumns`.

    `lock` is an alias of pg_locks, `database` that of the row of pg_database for its database. A relation of
    another database has its number, since only pgtop's own has names to ask for.
    """
    return f"""{lock}.locktype, {as_bytes(f"{database}.datname")} AS lock_database,
       {lock}.database OPERATOR(pg_catalog.=) 0::pg_catalog.oid
         OR {database}.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AS is_here,
       pg_catalog.textsend(
         CASE WHEN {lock}.database OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                OR {database}.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              THEN {lock}.relation::pg_catalog.regclass::pg_catalog.text
              ELSE {lock}.relation::pg_catalog.text END) AS relation,
       {lock}.page, {lock}.tuple, {lock}.virtualxid,
       {lock}.transactionid::pg_catalog.text AS transactionid,
       {lock}.classid::pg_catalog.text AS classid, {lock}.objid::pg_catalog.text AS objid"""
