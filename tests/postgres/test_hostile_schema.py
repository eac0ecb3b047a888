"""Nothing that pgtop sends is found by search_path: no owner of a database gets to run as whoever looks."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.plan import ReapPolicy
from pgtop.core.policy import plan_terminate
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres import queries
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.checkup import check_up
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.lock_queue import lock_queue
from pgtop.postgres.queries.checkup import account_query
from pgtop.postgres.queries.through_functions import through_functions
from pgtop.postgres.session import session_settings as settings
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.session_settings import SETTINGS
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import Role, execute, fetch_value, session, wait_until
from tests.support.hostile_schema import SPRUNG, drop, functions_called, hostile_database, looked_up
from tests.support.pooler import pooler
from tests.support.running import run
from tests.support.targets import refusal, target_of

OPTIONAL_RIGHTS = ("pg_roles", "pg_database", "pg_db_role_setting", "pg_show_all_settings")
"""The rights without which a checkup asks for less."""
QUERIES = [import_module(each.name) for each in iter_modules(queries.__path__, f"{queries.__name__}.")]
TEXTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": text
    for module in (*QUERIES, settings)
    for name, text in vars(module).items()
    if isinstance(text, str) and name.isupper() and not name.startswith("_") and "SELECT" in text
}
"""Every statement that pgtop has, by its name."""
for _name, _text in tuple(TEXTS.items()):
    if through_functions(_text) != _text:
        TEXTS[f"through_functions.{_name.rpartition('.')[2]}"] = through_functions(_text)
for _name in OPTIONAL_RIGHTS:
    TEXTS[f"without_{_name}.ACCOUNT"] = account_query(frozenset({_name}))
TEXTS["without_all.ACCOUNT"] = account_query(frozenset(OPTIONAL_RIGHTS))

POOL_MODES = ("session", "transaction", "statement")
IGNORED = f"ignore_startup_parameters = {', '.join(SETTINGS)}"
NAMES = ["pg_signal_backend"]
SOME_DAY = datetime(2020, 1, 1, tzinfo=UTC)

ARGUMENTS: dict[str, tuple[object, ...]] = {
    "POLL_CHANGES": (SOME_DAY,),
    "POLL_CHANGES_HIDDEN": (SOME_DAY,),
    "WHOLE_QUERIES": ("{1,2}", 1000),
    "WHOLE_QUERIES_UNCONVERTED": ("{1,2}", 1000),
    "TERMINATE_IF_STATE_UNCHANGED": (1, SOME_DAY, SOME_DAY, False, "idle", SOME_DAY),
    "TERMINATE_IF_SAME_TRANSACTION": (1, SOME_DAY, SOME_DAY, False, SOME_DAY),
    "TERMINATE_IF_SAME_SESSION": (1, SOME_DAY, SOME_DAY, False),
    "CANCEL_IF_SAME_STATEMENT": (1, SOME_DAY, SOME_DAY, False, SOME_DAY),
    "STILL_THERE": ("{1,2}",),
    "BACKEND_DETAIL": (1, SOME_DAY),
    "BACKEND_DETAIL_HIDDEN": (1, SOME_DAY),
    "BACKEND_LOCKS": (1,),
    "TAKE_KEY": (1, 2),
    "GIVE_KEYS": (-1,),
    "ACCOUNT": (["max_connections"], NAMES, ["work_mem"], NAMES),
    "ACCOUNT_UNCONVERTED": (["max_connections"], NAMES, ["work_mem"], NAMES),
}
"""What the statements with parameters are asked with."""


@pytest.mark.parametrize("name", TEXTS)
def test_a_statement_looks_nothing_up_by_search_path(name: str) -> None:
    assert looked_up(TEXTS[name]) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT left(a.query, 2) FROM pg_catalog.pg_roles a", "left()"),
        ("SELECT 1 FROM pg_roles r", "relation pg_roles"),
        ("SELECT 1 WHERE a = b", "operator ="),
        ("SELECT a::text", "type text"),
        ("SELECT 1 WHERE a IN (1)", "IN ("),
        ("SELECT 1 WHERE a IS DISTINCT FROM b", "DISTINCT FROM"),
        ('SELECT a COLLATE "C"', "a collation"),
    ],
)
def test_unqualified_names_are_found(statement: str, found: str) -> None:
    """The check above can fail."""
    assert found in looked_up(statement)


@asynccontextmanager
async def trapped(server: ThrowawayServer) -> AsyncIterator[tuple[str, Role]]:
    """A hostile database on a server, and its owner."""
    functions = set().union(*map(functions_called, TEXTS.values())) | {"set_config", "pg_is_in_recovery"}
    name, mallory = await hostile_database(server, functions)
    try:
        yield name, mallory
    finally:
        await drop(server, name, mallory)


@asynccontextmanager
async def unpinned_connection(target: Target) -> AsyncIterator[OwnConnection]:
    """A session that takes every setting from its database, as through a pooler that is not noticed."""
    own_connection = OwnConnection(target, "test", unset=frozenset(SETTINGS))
    await own_connection.take()
    try:
        yield own_connection
    finally:
        await own_connection.release()


async def test_the_traps_are_sprung_by_what_is_not_qualified(every_server: ThrowawayServer) -> None:
    """The tests below can fail: each kind of trap works."""
    careless = (
        "SELECT 1 WHERE 1::bigint = 1::bigint",
        "SELECT current_setting('port'::varchar)",
        "SELECT pg_has_role('postgres'::pg_catalog.text, 'USAGE'::pg_catalog.text)",
        "SELECT 'x'::text",
        "SELECT rolname FROM pg_roles",
        "SELECT min('a'::pg_catalog.text)",
    )
    async with trapped(every_server) as (name, _):
        target = msgspec.structs.replace(target_of(every_server), database=name)
        async with unpinned_connection(target) as own_connection:
            for statement in careless:
                with pytest.raises(asyncpg.RaiseError, match="sprung"):
                    await own_connection.fetch(statement)


async def test_no_statement_springs_a_trap(every_server: ThrowawayServer) -> None:
    """Asked by a superuser, with nothing pinned, in the database of a hostile owner."""
    async with trapped(every_server) as (name, _):
        target = msgspec.structs.replace(target_of(every_server), database=name)
        async with unpinned_connection(target) as own_connection:
            for title, text in TEXTS.items():
                await own_connection.fetch(text, *ARGUMENTS.get(title.rpartition(".")[2], ()))


async def test_no_overload_in_public_is_preferred(every_server: ThrowawayServer) -> None:
    """A plain role that may create in public, as everybody may up to PostgreSQL 14, lays its traps there."""
    async with trapped(every_server) as (name, mallory):
        await execute(every_server, f"GRANT CREATE ON SCHEMA public TO {mallory.name}", database=name)
        await execute(
            every_server, f"ALTER DATABASE {name} SET search_path = pg_catalog, evil, public", database=name
        )
        target = msgspec.structs.replace(target_of(every_server), database=name)
        async with unpinned_connection(target) as own_connection:
            for title, text in TEXTS.items():
                await own_connection.fetch(text, *ARGUMENTS.get(title.rpartition(".")[2], ()))


async def everything(own_connection: OwnConnection, victim: int) -> None:
    """All that the faces ask: look, look again, all of one session, who blocks, the doctor's checkup."""
    probe = Probe(own_connection)
    for _ in range(3):
        seen = await probe.poll()
        assert isinstance(seen, Snapshot), seen
    backend = next(each for each in seen.backends if each.pid == victim)
    assert await backend_detail(own_connection, backend.id) is not None
    await lock_queue(own_connection)
    await check_up(own_connection)


@pytest.mark.parametrize("mode", POOL_MODES)
@pytest.mark.parametrize("more", ["", IGNORED], ids=["refuses settings", "ignores settings"])
async def test_a_pooler_gets_nobody_to_run_a_trap(
    every_server: ThrowawayServer, mode: str, more: str
) -> None:
    """Whoever looks through a pooler asks safely, or is told to go to the server itself."""
    async with trapped(every_server) as (name, _), session(every_server, database=name) as one:
        with pooler(every_server, more, mode=mode) as port:
            target = msgspec.structs.replace(target_of(every_server), ports=(port,), database=name)
            if mode == "statement":
                error = await refusal(target)
                assert "does not allow transactions" in error.problem
                assert error.mend == "connect to the server directly"
                return
            own_connection = OwnConnection(target, "test")
            await own_connection.take()
            try:
                assert own_connection.pooled
                await everything(own_connection, one.get_server_pid())
            finally:
                await own_connection.release()


@pytest.mark.parametrize("mode", POOL_MODES)
async def test_a_superuser_who_looks_makes_nobody_a_superuser(
    every_server: ThrowawayServer, tmp_path: Path, mode: str
) -> None:
    """The commands, through a pooler that ignores search_path, against the attack as it was reported."""
    async with trapped(every_server) as (name, mallory):
        async with session(
            every_server, user=mallory.name, database=name, password=mallory.password
        ) as owner:
            await owner.execute("DROP FUNCTION evil.pg_has_role(pg_catalog.text, pg_catalog.text)")
            await owner.execute(
                "CREATE FUNCTION evil.pg_has_role(pg_catalog.text, pg_catalog.text) RETURNS boolean "
                f"LANGUAGE plpgsql AS $f$ BEGIN ALTER ROLE {mallory.name} SUPERUSER; "
                "RETURN pg_catalog.pg_has_role($1::pg_catalog.name, $2); END $f$"
            )
        with pooler(every_server, IGNORED, mode=mode) as port:
            conninfo = f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
            for words in (("snapshot", "--json"), ("doctor",), ("reap", "--always", "--dry-run")):
                done = await asyncio.to_thread(run, tmp_path, words[0], conninfo, *words[1:])
                assert "Traceback" not in done.stderr
                assert SPRUNG not in done.stderr
                if mode == "statement" or words[0] == "reap":
                    assert done.returncode == 3
                    assert "connect to the server directly" in done.stderr
        of_role = "SELECT rolsuper FROM pg_roles WHERE rolname = $1"
        assert await fetch_value(every_server, of_role, mallory.name) is False


async def test_the_driver_sends_nothing_of_its_own(server_factory: ServerFactory) -> None:
    """What the server logs of pgtop's sessions, the driver's own statements included, is qualified."""
    with server_factory(
        {"log_statement": "all", "log_line_prefix": "%a|", "max_prepared_transactions": "2"}
    ) as server:
        await server_is_used(server)
        logged = [
            statement
            for statement in statements_of_pgtop(server.log_path.read_text())
            if not re.match(r"(BEGIN|ROLLBACK|SET|DEALLOCATE)", statement)
        ]
    assert len(set(logged)) > 10
    for statement in set(logged):
        assert looked_up(statement) == [], statement


async def server_is_used(server: ThrowawayServer) -> None:
    async with session(server) as one, session(server, application_name="victim") as other:
        own_connection = OwnConnection(target_of(server, "target_session_attrs=primary"), "test")
        await own_connection.take()
        try:
            await everything(own_connection, one.get_server_pid())
            probe = Probe(own_connection)
            await ends(own_connection, probe, other.get_server_pid())
        finally:
            await own_connection.release()


async def ends(own_connection: OwnConnection, probe: Probe, pid: int) -> None:
    from pgtop.postgres.terminate import SqlTerminator

    terminator = SqlTerminator(own_connection)
    await terminator.held_locks()
    seen = await probe.poll()
    assert isinstance(seen, Snapshot)
    chosen = [each.id for each in seen.backends if each.pid == pid]
    termination = await terminator.termination(plan_terminate(seen, ReapPolicy(), chosen))
    plan = plan_terminate(seen, ReapPolicy(), chosen)
    assert await termination.signal(plan.victims[0]) is None

    async def is_gone() -> bool:
        return not await termination.remaining(plan.victims)

    await wait_until(is_gone)


def statements_of_pgtop(log: str) -> Iterable[str]:
    """The statements that the server logged of sessions of pgtop, each in one line."""
    joined = re.sub(r"\n\t", " ", log)
    for line in joined.splitlines():
        found = re.match(r"pgtop [^|]*\|LOG:\s+(?:statement|execute [^:]*): (.*)", line)
        if found:
            yield " ".join(found[1].split())
