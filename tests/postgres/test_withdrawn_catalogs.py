"""A role that may not read the catalogs, or that inherits nothing: what it can see is shown all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.session_labels import monitor_grant
from pgtop.demo.server import ThrowawayServer
from pgtop.exit_codes import ExitCode
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.queries import backend_detail as details
from pgtop.postgres.queries import poll, terminate
from pgtop.postgres.queries.through_functions import through_functions
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import Role, create_role, execute, session
from tests.support.hostile_schema import looked_up
from tests.support.outages import dashboard_on
from tests.support.pooler import pooler
from tests.support.reaping import as_role
from tests.support.running import run
from tests.support.targets import connection_on, target_of

CATALOGS = ("pg_roles", "pg_database", "pg_roles, pg_catalog.pg_database")
LIMITS = ("pg_roles", "pg_database", "pg_db_role_setting")
"""The catalogs that hold what no function returns."""
EVERYTHING = (
    *LIMITS,
    *("pg_settings", "pg_stat_database", "pg_stat_activity", "pg_auth_members", "pg_user", "pg_shadow"),
    *("pg_locks", "pg_prepared_xacts", "pg_hba_file_rules"),
)


@asynccontextmanager
async def withdrawn(server: ThrowawayServer, relations: str) -> AsyncIterator[tuple[Target, Role]]:
    """A database in which nobody but superusers may read these, and an operator there."""
    role = await create_role(server, "operator")
    name = f"of_{role.name}"
    await execute(server, f"CREATE DATABASE {name}")
    try:
        revoke = f"REVOKE SELECT ON pg_catalog.{relations} FROM PUBLIC"
        await execute(server, revoke, database=name)
        target = target_of(server, user=role.name)
        yield msgspec.structs.replace(target, database=name, password=role.password), role
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {role.name}")


@pytest.mark.parametrize("relations", CATALOGS)
async def test_sessions_are_seen_without_the_catalogs(every_server: ThrowawayServer, relations: str) -> None:
    """With the names of roles and databases, again and again, and in detail."""
    async with (
        withdrawn(every_server, relations) as (target, role),
        connection_on(target) as own_connection,
        session(every_server, application_name="seen") as other,
    ):
        pid = await other.fetchval("SELECT pg_backend_pid()")
        probe = Probe(own_connection)
        for _ in range(3):
            seen = await probe.poll()
            assert isinstance(seen, Snapshot), seen
            found = {each.pid: each for each in seen.backends}
            assert (found[pid].usename, found[pid].datname) == ("postgres", "postgres")
            assert (found[pid].is_superuser, found[seen.own_pid].is_superuser) == (True, False)
            assert (found[seen.own_pid].usename, found[seen.own_pid].datname) == (role.name, target.database)
        detail = await backend_detail(own_connection, found[pid].id)
        assert detail is not None


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooled_session_needs_no_catalog(every_server: ThrowawayServer, mode: str) -> None:
    async with withdrawn(every_server, CATALOGS[-1]) as (target, role):
        with pooler(every_server, mode=mode, user=role.name) as port:
            pooled = msgspec.structs.replace(target, ports=(port,))
            async with connection_on(pooled) as own_connection:
                assert own_connection.pooled
                assert isinstance(await Probe(own_connection).poll(), Snapshot)


@pytest.mark.parametrize("relations", CATALOGS)
async def test_a_sweep_works_without_the_catalogs(
    server_factory: ServerFactory, tmp_path: Path, relations: str
) -> None:
    """What is withdrawn makes nothing terminated that would not be, and nothing spared."""
    server = server_factory()
    await execute(server, "CREATE ROLE app LOGIN")
    async with (
        withdrawn(server, relations) as (target, role),
        session(server, application_name="stale", user="app") as stale,
        session(server, application_name="superuser"),
    ):
        await asyncio.sleep(1.2)  # idle for longer than the least age there is
        uri = server.uri(user=role.name, password=role.password, database=target.database)
        done = await asyncio.to_thread(run, tmp_path, "reap", uri, "--always", "--idle-after", "1s")
        assert done.returncode == ExitCode.DONE, done.stderr
        with pytest.raises(Exception, match=r"terminat|closed"):
            await stale.fetchval("SELECT 1")


@pytest.mark.parametrize("lacking", [*combinations(LIMITS, 1), *combinations(LIMITS, 2), LIMITS, EVERYTHING])
async def test_the_doctor_makes_every_check_that_it_can(
    every_server: ThrowawayServer, tmp_path: Path, lacking: tuple[str, ...]
) -> None:
    """It says which it cannot make, and its grants make all of them."""
    async with withdrawn(every_server, ", pg_catalog.".join(lacking)) as (target, role):
        await execute(
            every_server,
            f"ALTER ROLE {role.name} CONNECTION LIMIT 50",
            f"ALTER ROLE {role.name} SET statement_timeout = '7min'",
            f"ALTER DATABASE {target.database} SET tcp_user_timeout = '9s'",
        )
        uri = every_server.uri(user=role.name, password=role.password, database=target.database)
        whole = await findings(tmp_path, every_server.uri(database=target.database))
        seen = await findings(tmp_path, uri)
        assert list(seen) == list(whole)
        hides_roles, hides_databases, hides_settings = (each in lacking for each in LIMITS)
        hidden = {topic for topic, each in seen.items() if "hidden" in each["said"]}
        assert hidden == {
            *(("role", "role_limits") if hides_roles else ()),
            *(("database", "database_limits") if hides_databases else ()),
            *(("own_settings",) if hides_settings else ()),
            *(("idle_session_timeout",) if hides_settings and hides_roles else ()),
        }
        knows_settings = not (hides_settings and hides_roles)
        assert ("statement_timeout=7min" in seen["own_settings"]["said"]) is knows_settings
        assert ("tcp_user_timeout=9s" in seen["own_settings"]["said"]) is not hides_settings
        needed = seen["optional_rights"]
        assert all(each in needed["said"] for each in LIMITS if each in lacking)
        assert len(needed["mend"].splitlines()) == sum(each in LIMITS for each in lacking)
        await execute(every_server, *needed["mend"].splitlines(), database=target.database)
        mended = await findings(tmp_path, uri)
        assert {topic for topic, each in mended.items() if "hidden" in each["said"]} == set()
        assert "1 of 50 used" in mended["role"]["said"]
        assert mended["optional_rights"]["status"] == "ok"


async def findings(home: Path, uri: str) -> dict[str, dict[str, str]]:
    """Return the doctor's findings by topic."""
    done = await asyncio.to_thread(run, home, "doctor", "--json", uri)
    assert done.stderr == ""
    return {each["topic"]: each for each in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize("face", [("snapshot",), ("reap", "--dry-run", "--always"), ("diagnose",)])
async def test_a_face_needs_no_catalog_at_all(
    every_server: ThrowawayServer, tmp_path: Path, face: tuple[str, ...]
) -> None:
    async with withdrawn(every_server, ", pg_catalog.".join(EVERYTHING)) as (target, role):
        uri = every_server.uri(user=role.name, password=role.password, database=target.database)
        done = await asyncio.to_thread(run, tmp_path, *face, uri)
        assert (done.returncode, done.stderr) == (ExitCode.DONE, "")


async def test_the_dashboard_and_its_wall_need_no_catalog(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        withdrawn(server, ", pg_catalog.".join(EVERYTHING)) as (target, _),
        dashboard_on(target, tmp_path / "a") as driven,
    ):
        await driven.shows("pgtop dashboard@", "operator_", "of_oper", "below the 80% line")
        await driven.press("w")
        await driven.shows("below the 80% line")


@pytest.mark.parametrize("lacking", ["pg_roles", "pg_database"])
async def test_a_limit_is_known_where_its_catalog_may_be_read(
    every_server: ThrowawayServer, lacking: str
) -> None:
    async with withdrawn(every_server, lacking) as (target, role):
        await execute(
            every_server,
            f"ALTER ROLE {role.name} CONNECTION LIMIT 50",
            f"ALTER DATABASE {target.database} CONNECTION LIMIT 60",
        )
        async with connection_on(target) as own_connection:
            limits = (await Probe(own_connection).snapshot()).connection_limits
    mosts = {each.most for each in limits if each.name in (role.name, target.database)}
    assert mosts == ({60} if lacking == "pg_roles" else {50})


async def test_the_remedy_names_every_grant_at_once(server_factory: ServerFactory, tmp_path: Path) -> None:
    """And helps."""
    server = server_factory()
    role = await create_role(server, "operator")
    functions = ("pg_stat_get_activity(int)", "pg_terminate_backend(int, bigint)", "pg_lock_status()")
    await execute(server, *(f"REVOKE EXECUTE ON FUNCTION {each} FROM PUBLIC" for each in functions))
    for face in ("snapshot", "reap", "diagnose"):
        done = await asyncio.to_thread(run, tmp_path, face, role.uri())
        assert done.returncode == ExitCode.NOT_PERMITTED
        assert done.stderr.count("GRANT EXECUTE ON FUNCTION") == len(functions)
    statements = done.stderr.partition("run: ")[2].strip().split(";")[:-1]
    await execute(server, *statements)
    for face in ("snapshot", "reap", "diagnose"):
        assert (await asyncio.to_thread(run, tmp_path, face, role.uri())).returncode == ExitCode.DONE


async def test_the_doctor_sees_what_the_server_shows(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """A member that does not inherit sees states up to PostgreSQL 14, and none from 15 on."""
    role = await create_role(every_server)
    for group in ("pg_monitor", "pg_read_all_stats"):
        await execute(every_server, f"ALTER ROLE {role.name} NOINHERIT", f"GRANT {group} TO {role.name}")
        async with session(every_server), connection_on(as_role(role)) as own_connection:
            is_seen = (await Probe(own_connection).snapshot()).counts.exact
            sight = (await findings(tmp_path, role.uri()))["sight"]
        assert is_seen is (every_server.version < 15)
        assert (sight["status"] == "ok") is is_seen
        await execute(every_server, f"REVOKE {group} FROM {role.name}")


async def test_a_member_without_rights_is_told_to_inherit(every_server: ThrowawayServer) -> None:
    """GRANT alone changes nothing for a role that is a member already."""
    role = await create_role(every_server)
    await execute(every_server, f"ALTER ROLE {role.name} NOINHERIT", f"GRANT pg_monitor TO {role.name}")
    target = msgspec.structs.replace(target_of(every_server, user=role.name), password=role.password)
    for is_mended in (False, True):
        async with session(every_server), connection_on(target) as own_connection:
            seen = await Probe(own_connection).snapshot()
        assert seen.privileges.inherits is is_mended
        # PostgreSQL 14 asks for the membership alone.
        assert seen.counts.exact is (is_mended or every_server.version < 15)
        if not is_mended:
            await execute(every_server, monitor_grant(seen))
    await execute(every_server, f"DROP ROLE {role.name}")


@pytest.mark.parametrize(
    "query",
    [
        *(poll.POLL, poll.POLL_CHANGES, poll.POLL_HIDDEN),
        *(terminate.TERMINATE_IF_STATE_UNCHANGED, details.BACKEND_DETAIL, details.BACKEND_LOCKS),
    ],
)
def test_the_views_are_looked_up_by_their_full_names(query: str) -> None:
    assert through_functions(query) != query
    assert looked_up(through_functions(query)) == []
