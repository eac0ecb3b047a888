"""A role that may not read the catalogs, or that inherits nothing: what it can see is shown all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from pgtop.postgres.queries.through_views import through_views
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import Role, create_role, execute, session
from tests.support.hostile_schema import looked_up
from tests.support.pooler import pooler
from tests.support.running import run
from tests.support.targets import connection_on, target_of

CATALOGS = ("pg_roles", "pg_database", "pg_roles, pg_catalog.pg_database")
VIEWS = "pg_user, pg_catalog.pg_stat_database"


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


async def test_the_remedy_names_the_grant_that_helps(server: ThrowawayServer, tmp_path: Path) -> None:
    """And helps."""
    relations = f"pg_roles, pg_catalog.{VIEWS}"
    async with withdrawn(server, relations) as (target, role):
        uri = server.uri(user=role.name, password=role.password, database=target.database)
        for face in ("snapshot", "doctor", "reap"):
            done = await asyncio.to_thread(run, tmp_path, face, uri)
            assert done.returncode == ExitCode.NOT_PERMITTED
            mend = f"GRANT SELECT ON pg_catalog.pg_roles TO {role.name};"
            assert mend in done.stderr
        await execute(server, mend, database=target.database)
        assert (await asyncio.to_thread(run, tmp_path, "snapshot", uri)).returncode == ExitCode.DONE


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
    assert through_views(query) != query
    assert looked_up(through_views(query)) == []
