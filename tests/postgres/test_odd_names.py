"""Names that hold bytes which are not text where pgtop looks: nobody is kept from looking or reaping."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import asyncpg
import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.json_text import json_line
from pgtop.core.lock_tree import LockQueue
from pgtop.core.plan import LONGEST_QUERY_BYTES, Outcome, ReapPolicy, SparedFor
from pgtop.core.policy import plan_sweep, plan_terminate
from pgtop.core.session_patterns import Patterns
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.advisory_keys import ReaperKeys
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.checkup import check_up
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.lock_queue import lock_queue
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.automatic import AutomaticReaper
from tests.conftest import ServerFactory
from tests.servers import close, create_role, execute, session, sessions, wait_until
from tests.support.reaping import face_on, found, hold_key
from tests.support.targets import connection_on, target_of

ODD = "convert_from('\\x6dff616c'::bytea, 'SQL_ASCII')"
"""`m`, a byte that is not UTF-8, `al`: as text where the server does not look."""
SHOWN = "m\ufffdal"


@asynccontextmanager
async def odd_database(server: ThrowawayServer) -> AsyncIterator[str]:
    """A database without an encoding."""
    name = f"raw_{secrets.token_hex(3)}"
    await execute(
        server,
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    try:
        yield name
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def run_there(server: ThrowawayServer, database: str, template: str) -> None:
    """Runs a statement with the odd name in place of `%I` or `%L`."""
    body = f"DO $do$ BEGIN EXECUTE format('{template}', {ODD}); END $do$"
    await execute(server, body, database=database)


@asynccontextmanager
async def japanese_database(server: ThrowawayServer) -> AsyncIterator[str]:
    """A database of an encoding that the server converts for pgtop."""
    name = f"euc_{secrets.token_hex(3)}"
    await execute(
        server,
        f"CREATE DATABASE {name} ENCODING 'EUC_JP' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    try:
        yield name
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def named_there(server: ThrowawayServer, database: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """A session whose role has a name in that database's encoding by now."""
    role = await create_role(server)
    async with session(server, user=role.name, password=role.password) as connection:
        await execute(server, f'ALTER ROLE {role.name} RENAME TO "{name}"', database=database)
        try:
            yield connection
        finally:
            await close(connection)
            await execute(server, f'DROP ROLE "{name}"', database=database)


@asynccontextmanager
async def oddly_named(server: ThrowawayServer, database: str) -> AsyncIterator[asyncpg.Connection]:
    """A session whose role has the odd name by now."""
    role = await create_role(server)
    async with session(
        server, application_name="pgtop daemon@x", user=role.name, password=role.password, database=database
    ) as connection:
        await run_there(server, database, f"ALTER ROLE {role.name} RENAME TO %I")
        try:
            yield connection
        finally:
            await close(connection)
            await run_there(server, database, "DROP OWNED BY %I")
            await run_there(server, database, "DROP ROLE %I")


async def test_a_key_of_an_oddly_named_role_stops_no_reaper(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """It is seen, and passed over like any other that may not end sessions."""
    async with (
        odd_database(every_server) as name,
        oddly_named(every_server, name) as hostile,
        face_on(every_server, tmp_path / "audit") as face,
    ):
        await hold_key(hostile)
        assert [key.usename for key in (await ReaperKeys(face.own_connection).seen()).keys] == [SHOWN]
        auto = AutomaticReaper(face.reaper, face.own_connection, ReapPolicy())
        turn = await auto.turn(await face.snapshot())
        assert turn.is_active
        assert SHOWN in "".join(each.said for each in turn.passed_over)
        await auto.stop()


async def test_a_server_that_cannot_convert_a_name_is_asked_again(every_server: ThrowawayServer) -> None:
    """In a database of an encoding that pgtop's client encoding is converted to, such a name is an error."""
    async with (
        japanese_database(every_server) as converts,
        odd_database(every_server) as name,
        oddly_named(every_server, name) as hostile,
        connection_on(in_database(every_server, converts)) as own_connection,
    ):
        await hold_key(hostile)
        assert [key.pid for key in (await ReaperKeys(own_connection).seen()).keys] == [
            hostile.get_server_pid()
        ]
        polled = await Probe(own_connection).poll()
        assert isinstance(polled, Snapshot)
        assert set((await check_up(own_connection)).role) == {"postgres"}


def in_database(server: ThrowawayServer, name: str) -> Target:
    return msgspec.structs.replace(target_of(server), database=name)


async def test_no_statement_takes_a_protection_off_that_is_by_name(every_server: ThrowawayServer) -> None:
    """In a database of another encoding, one that is not text keeps the server from converting names."""
    async with (
        japanese_database(every_server) as converts,
        named_there(every_server, converts, "経理") as precious,
        session(every_server, database=converts) as there,
        session(every_server) as hostile,
        connection_on(in_database(every_server, converts)) as own_connection,
    ):
        probe = Probe(own_connection)
        protected = ReapPolicy(idle_after_seconds=0.0, protected=Patterns(users=("経理",)))
        await there.execute("SELECT '帳簿'")
        for statement, shown in (("SELECT 1", "SELECT 1"), ("SELECT 'é日'", "\ufffd")):
            await hostile.execute(statement)
            seen = await probe.snapshot()
            assert shown in (found(seen, hostile).query or "")
            assert found(seen, there).query == "SELECT '帳簿'"
            assert found(seen, precious).usename == "経理"
            fates = {each.backend.pid: each.spared_for for each in plan_sweep(seen, protected).spared}
            assert fates[precious.get_server_pid()] is SparedFor.PROTECTED
        meant = [found(seen, each).id for each in (there, hostile)]
        termination = await SqlTerminator(own_connection).termination(plan_terminate(seen, protected, meant))
        assert termination.queries[meant[0]] == "SELECT '帳簿'"
        assert "\ufffd" in termination.queries[meant[1]]


async def test_a_name_beside_an_odd_one_is_read_as_ever(every_server: ThrowawayServer) -> None:
    """By whoever looks for keys, and by the doctor."""
    async with (
        japanese_database(every_server) as converts,
        odd_database(every_server) as name,
        named_there(every_server, converts, "経理") as there,
        oddly_named(every_server, name) as hostile,
        connection_on(in_database(every_server, converts)) as own_connection,
    ):
        for each in (there, hostile):
            await hold_key(each)
        assert {key.usename for key in (await ReaperKeys(own_connection).seen()).keys} == {"経理", SHOWN}
        await run_there(every_server, name, "ALTER ROLE %I SET statement_timeout = 5000")
        checkup = await check_up(own_connection)
        assert SHOWN in {each.role for each in checkup.account.overrides}
        assert set(checkup.role) == {"postgres", "経理"}


async def test_an_oddly_named_session_is_looked_at(server_factory: ServerFactory) -> None:
    """Its role, a relation that it locks, and a prepared transaction that others wait for."""
    with server_factory({"max_prepared_transactions": "2"}) as server:
        async with odd_database(server) as name, oddly_named(server, name) as one:
            await run_there(server, name, "CREATE TABLE public.%I ()")
            await run_there(server, name, "GRANT ALL ON public.%1$I TO %1$I")
            await one.execute("BEGIN")
            await one.execute(f"DO $do$ BEGIN EXECUTE format('LOCK TABLE public.%I', {ODD}); END $do$")
            target = target_of(server)
            async with connection_on(target) as own_connection:
                seen = await Probe(own_connection).poll()
                assert isinstance(seen, Snapshot)
                row = next(each for each in seen.backends if each.pid == one.get_server_pid())
                detail = await backend_detail(own_connection, row.id)
                assert detail is not None
                assert detail.backend.usename == row.usename == SHOWN
            await one.execute("ROLLBACK; BEGIN; SELECT pg_advisory_xact_lock(7)")
            await one.execute("PREPARE TRANSACTION 'hostile'")
            async with session(server, database=name) as other, connection_on(target) as own_connection:
                waiting = asyncio.ensure_future(other.execute("SELECT pg_advisory_lock(7)"))

                async def blocked() -> LockQueue | None:
                    found = await lock_queue(own_connection)
                    return found if found.prepared else None

                try:
                    prepared = (await wait_until(blocked)).prepared
                finally:
                    await execute(server, "ROLLBACK PREPARED 'hostile'", database=name)
                    await waiting
                assert [each.owner for each in prepared] == [SHOWN]


async def test_long_statements_keep_nobody_from_being_ended(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Each of many sessions leaves one of a megabyte: no more is asked for and written than the log takes."""
    settings = {"track_activity_query_size": "1MB", "max_connections": "90"}
    with server_factory(settings) as server:
        async with (
            sessions(server, 70, application_name="hog") as hogs,
            face_on(server, tmp_path / "audit") as face,
        ):
            for each, character in zip(hogs, cycle("x\x01é"), strict=False):
                await each.execute("SELECT 1 --" + character * 500_000)
            plan = plan_sweep(await face.snapshot(), ReapPolicy(idle_after_seconds=0.0))
            termination = await SqlTerminator(face.own_connection).termination(plan)
            sizes = [len(each.encode()) for each in termination.queries.values()]
            assert len(sizes) == 70
            assert max(sizes) <= 2 * LONGEST_QUERY_BYTES + len("\ufffd".encode())
            report = await face.run(plan)
            assert report.count(Outcome.TERMINATED) == 70
        for line in face.audit.read_bytes().splitlines():
            query = json.loads(line)["query"]
            assert query.startswith("SELECT 1 --")
            assert query.endswith("…")
            written = len(json_line(query).encode()) - len('""\n')
            assert LONGEST_QUERY_BYTES - 8 < written <= LONGEST_QUERY_BYTES
