"""A database whose owner lays traps: overloads of whatever pgtop may call, in a schema searched first.

Each trap raises an error when it is called. So a statement that still succeeds has called none, and what an
attacker could have run in a trap's place, with the rights of whoever looks, has not run either.
"""

import contextlib
import re
import secrets
from typing import Final

import asyncpg

from pgtop.demo.server import ThrowawayServer
from tests.servers import Role, create_role, execute, session

SPRUNG: Final = "a trap was sprung"

_OPERATORS: Final = """
DO $do$
DECLARE each record; number int := 0;
BEGIN
  FOR each IN SELECT oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r,
                     format_type(oprresult, NULL) AS result
              FROM pg_catalog.pg_operator
              WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0 AND oprright <> 0
  LOOP
    number := number + 1;
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql IMMUTABLE AS $f$'
        'BEGIN RAISE EXCEPTION $m$sprung: operator$m$; END $f$', number, each.l, each.r, each.result);
      EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)',
        each.oprname, each.l, each.r, number);
    EXCEPTION WHEN OTHERS THEN NULL;  -- of a pseudo-type: nobody can make one
    END;
  END LOOP;
END $do$
"""

_FUNCTIONS: Final = """
DO $do$
DECLARE each record;
BEGIN
  FOR each IN SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
                     pg_get_function_result(p.oid) AS result, p.proargtypes
              FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
                AND p.proname = ANY('{NAMES}')
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql IMMUTABLE AS $f$'
        'BEGIN RAISE EXCEPTION $m$sprung: %I$m$; END $f$', each.proname,
        (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n)
         FROM unnest(each.proargtypes) WITH ORDINALITY a(t, n)),
        CASE WHEN each.result LIKE 'SETOF record' OR each.result LIKE 'TABLE%' THEN 'SETOF record'
             ELSE each.result END, each.proname);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END $do$
"""
"""Overloads of the same types as the server's own."""

_CLOSER: Final = (
    "pg_has_role(text, text) RETURNS boolean",
    "pg_has_role(unknown_text text, privilege name) RETURNS boolean",
    "current_setting(varchar) RETURNS text",
    "date_part(text, timestamptz) RETURNS double precision",
    "json_build_object(VARIADIC text[]) RETURNS json",
    "json_build_array(VARIADIC text[]) RETURNS json",
    "json_build_array(text, text) RETURNS json",
    "json_build_array(name, text) RETURNS json",
    "textsend(varchar) RETURNS bytea",
    'left("char", int) RETURNS text',
    "unnest(text[]) RETURNS SETOF text",
    "array_send(int[]) RETURNS bytea",
    "array_send(timestamptz[]) RETURNS bytea",
    "pg_terminate_backend(int) RETURNS boolean",
    "pg_cancel_backend(bigint) RETURNS boolean",
    "set_config(text, text, boolean) RETURNS text",
    "quote_ident(name) RETURNS text",
    "split_part(text, varchar, int) RETURNS text",
    "starts_with(text, varchar) RETURNS boolean",
)
"""Overloads that fit what pgtop passes better than the server's own do, whatever the order of the schemas."""

_AGGREGATES: Final = (
    ("json_agg(json)", "json"),
    ("array_agg(int)", "int[]"),
    ("array_agg(timestamptz)", "timestamptz[]"),
    ("min(text)", "text"),
)

_RELATIONS: Final = (
    "pg_locks",
    "pg_roles",
    "pg_database",
    "pg_settings",
    "pg_db_role_setting",
    "pg_prepared_xacts",
)
_TYPES: Final = ("text", "oid", "json", "name", "timestamptz", "regclass", "bool", "int4", "int8", "float8")


async def hostile_database(server: ThrowawayServer, functions: set[str]) -> tuple[str, Role]:
    """A database of a plain role that has laid its traps, and that role. `functions` are names to imitate."""
    mallory = await create_role(server, name=f"mallory_{secrets.token_hex(3)}")
    name = f"hostile_{secrets.token_hex(3)}"
    await execute(server, f"CREATE DATABASE {name} OWNER {mallory.name}")
    async with session(server, user=mallory.name, database=name, password=mallory.password) as owner:
        await owner.execute("CREATE SCHEMA evil")
        await owner.execute(_OPERATORS)
        await owner.execute(_FUNCTIONS.replace("{NAMES}", "{" + ",".join(sorted(functions)) + "}"))
        for signature in _CLOSER:
            await _plant(owner, f"CREATE FUNCTION evil.{signature} LANGUAGE plpgsql IMMUTABLE AS {_body()}")
        for signature, kind in _AGGREGATES:
            step = f"evil.step_{secrets.token_hex(4)}"
            of = signature[signature.index("(") + 1 : -1]
            await owner.execute(
                f"CREATE FUNCTION {step}({kind}, {of}) RETURNS {kind} LANGUAGE plpgsql IMMUTABLE AS {_body()}"
            )
            await owner.execute(f"CREATE AGGREGATE evil.{signature} (SFUNC = {step}, STYPE = {kind})")
        await owner.execute(f"CREATE FUNCTION evil.spring() RETURNS boolean LANGUAGE plpgsql AS {_body()}")
        for relation in _RELATIONS:
            await owner.execute(
                f"CREATE VIEW evil.{relation} AS SELECT * FROM pg_catalog.{relation} WHERE evil.spring()"
            )
        for kind in _TYPES:
            await owner.execute(f"CREATE DOMAIN evil.{kind} AS pg_catalog.{kind} CHECK (evil.spring())")
        await owner.execute("""CREATE COLLATION evil."C" FROM pg_catalog."POSIX" """)
        await owner.execute(f"ALTER DATABASE {name} SET search_path = evil, pg_catalog, public")
        await owner.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
        await owner.execute(f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    return name, mallory


def _body() -> str:
    return f"$f$ BEGIN RAISE EXCEPTION '{SPRUNG}'; END $f$"


async def _plant(owner: asyncpg.Connection, statement: str) -> None:
    with contextlib.suppress(asyncpg.DuplicateFunctionError):  # it has the types of the server's own
        await owner.execute(statement)


async def drop(server: ThrowawayServer, database: str, owner: Role) -> None:
    """Removes the database and its owner."""
    await execute(server, f"DROP DATABASE {database} WITH (FORCE)", f"DROP ROLE {owner.name}")


# What a statement looks up by search_path

_KEYWORDS: Final = frozenset(
    [
        "all",
        "and",
        "any",
        "as",
        "cast",
        "coalesce",
        "exists",
        "filter",
        "from",
        "in",
        "join",
        "lateral",
        "not",
        "on",
        "or",
        "over",
        "select",
        "values",
        "when",
        "where",
        "with",
        "row",
        "array",
        "then",
        "else",
        "case",
    ]
)
_LITERAL: Final = re.compile(r"'[^']*'")
_CALL: Final = re.compile(r'(?<![\w."])([a-z_][a-z0-9_]*)\s*\(')
_BARE_OPERATOR: Final = re.compile(r"(?<!\.)[-+/<>=~!@#%^&|`?]+|(?<![.(,\s])\*")
_CAST: Final = re.compile(r"::(?!pg_catalog\.|int\b|bigint\b|boolean\b)(\w+)")
_RELATION: Final = re.compile(
    r"\b(?:FROM|JOIN)\s+(?:LATERAL\s+)?(?!pg_catalog\.|LATERAL\b)([a-z_]\w*)", re.IGNORECASE
)
_CTE: Final = re.compile(r"(?:\bWITH|\),)\s+(\w+)\s+AS\s+(?:MATERIALIZED\s*)?\(", re.IGNORECASE)
_LOOKS_UP: Final = re.compile(
    r"\b(LIKE|ILIKE|SIMILAR|BETWEEN|NULLIF|USING|OVERLAPS|DISTINCT\s+FROM|CASE\s+(?!WHEN\b))|\bIN\s*\(",
    re.IGNORECASE,
)


def looked_up(statement: str) -> list[str]:
    """What in a statement is found by search_path, and so may be another's; empty where nothing is."""
    text = _LITERAL.sub("''", statement)
    found = [
        f"{match[1]}()"
        for match in _CALL.finditer(text)
        if match[1] not in _KEYWORDS and not _is_alias(text, match)
    ]
    text = re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)", " ", text)
    found += [f"type {match[1]}" for match in _CAST.finditer(text)]
    text = text.replace("::", " ").replace("count(*)", "")
    found += [f"operator {match[0]}" for match in _BARE_OPERATOR.finditer(text)]
    own = set(_CTE.findall(text))  # what the statement itself defines comes before every relation
    found += [f"relation {name}" for name in _RELATION.findall(text) if name not in own]
    found += [match[0] for match in _LOOKS_UP.finditer(text)]
    if "COLLATE" in text and "COLLATE pg_catalog." not in text:
        found.append("a collation")
    if "\\" in statement:
        found.append("a backslash, which standard_conforming_strings gives its meaning")
    return found


def _is_alias(text: str, match: "re.Match[str]") -> bool:
    """Whether the name is that of columns, as in `unnest(...) c(setting)`."""
    return bool(re.search(r"\)\s*$", text[: match.start()]))


def functions_called(statement: str) -> set[str]:
    """The names of the functions of pg_catalog that a statement calls."""
    return set(re.findall(r"pg_catalog\.([a-z_][a-z0-9_]*)\s*\(", statement))
