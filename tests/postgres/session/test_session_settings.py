"""Settings of a database's owner or of a role: none of them blinds pgtop or speaks through it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.doctor.verdicts import diagnose
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.checkup import check_up, checkup_connection
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from tests.servers import Role, create_role, execute, fetch_value, session
from tests.support.hostile import AUTHENTICATED, listening, message
from tests.support.pooler import pooler
from tests.support.targets import connection_on, target_of

WARN_AT = 0.8


@asynccontextmanager
async def owned(server: ThrowawayServer, *settings: str) -> AsyncIterator[tuple[Target, Role]]:
    """A database for which its owner, a plain role, has set this; a superuser's target, and the owner."""
    owner = await create_role(server)
    name = f"of_{owner.name}"
    await execute(server, f"CREATE DATABASE {name} OWNER {owner.name}")
    try:
        async with session(server, user=owner.name, password=owner.password) as alters:
            for setting in settings:
                await alters.execute(f"ALTER DATABASE {name} SET {setting}")
        yield msgspec.structs.replace(target_of(server), database=name), owner
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {owner.name}")


async def looks(own_connection: OwnConnection) -> Snapshot:
    """What two polls and a look at a session show."""
    probe = Probe(own_connection)
    seen = await probe.poll()
    assert isinstance(seen, Snapshot), seen
    own = next(each for each in seen.backends if each.pid == seen.own_pid)
    assert await backend_detail(own_connection, own.id) is not None
    again = await probe.poll()
    assert isinstance(again, Snapshot), again
    return again


TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def timeouts_of(server: ThrowawayServer) -> list[str]:
    """What of a database's could end a transaction on this version."""
    return [*TIMEOUTS, *(["transaction_timeout"] if server.version >= 17 else [])]


async def test_no_timeout_of_a_database_ends_the_connection(every_server: ThrowawayServer) -> None:
    """The shortest that can be set."""
    timeouts = [*timeouts_of(every_server), "idle_session_timeout", "tcp_user_timeout"]
    async with (
        owned(every_server, *(f"{each} = 1" for each in timeouts)) as (target, _),
        connection_on(target) as own_connection,
    ):
        assert not own_connection.pooled
        await looks(own_connection)


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooled_statement_has_no_timeout_of_a_database(
    every_server: ThrowawayServer, mode: str
) -> None:
    timeouts = timeouts_of(every_server)
    async with owned(every_server, *(f"{each} = 1234567" for each in timeouts)) as (target, _):
        with pooler(every_server, mode=mode) as port:
            async with connection_on(msgspec.structs.replace(target, ports=(port,))) as own_connection:
                assert own_connection.pooled
                rows = await own_connection.fetch(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[])", timeouts
                )
        found = {row["name"]: row["setting"] for row in rows}
        assert found == {**dict.fromkeys(timeouts, "0"), "statement_timeout": "9000", "lock_timeout": "2000"}


async def test_a_library_that_is_not_there_bars_no_login(every_server: ThrowawayServer) -> None:
    setting = "local_preload_libraries = 'nosuch'"
    async with owned(every_server, setting) as (target, _), connection_on(target) as own_connection:
        await looks(own_connection)


@pytest.mark.parametrize("mode", ["", "session", "transaction"])
async def test_no_owner_says_as_whom_pgtop_acts(every_server: ThrowawayServer, mode: str) -> None:
    """Else what is missing would be granted to whoever the owner names; a stranger may not be its leader."""
    async with owned(every_server, "application_name = x") as (target, owner):
        async with session(every_server, user=owner.name, password=owner.password) as alters:
            await alters.execute(f"ALTER DATABASE {target.database} SET role = {owner.name}")
        if not mode:
            async with connection_on(target) as own_connection:
                assert (await looks(own_connection)).privileges.role == "postgres"
            own_connection = checkup_connection(target)
            await own_connection.take()
            try:
                found = diagnose(await check_up(own_connection), WARN_AT)
            finally:
                await own_connection.release()
            assert owner.name not in "".join(each.mend for each in found.findings)
            return
        with pooler(every_server, mode=mode) as port:
            async with connection_on(msgspec.structs.replace(target, ports=(port,))) as own_connection:
                seen = await looks(own_connection)
                assert (seen.privileges.role, seen.privileges.is_superuser) == ("postgres", True)


async def test_the_role_that_alter_role_names_is_acted_as(every_server: ThrowawayServer) -> None:
    """What the role itself has comes before the database's, as in the server."""
    operator = await create_role(every_server, "operator")
    actor = await create_role(every_server)
    await execute(
        every_server,
        f"GRANT {operator.name} TO {actor.name}",
        f"ALTER ROLE {actor.name} SET role = {operator.name}",
    )
    async with owned(every_server, "work_mem = '64kB'") as (target, _):
        await execute(every_server, f"ALTER DATABASE {target.database} SET role = {actor.name}")
        own = msgspec.structs.replace(target, user=actor.name, password=actor.password)
        async with connection_on(own) as own_connection:
            assert (await looks(own_connection)).privileges.role == operator.name


@pytest.mark.parametrize("value", [" " * 3_000_000 + "1h", "0" * 3_000_000 + "1h", " " * 2000 + "1h"])
async def test_a_setting_of_megabytes_does_not_blind_the_checkup(server: ThrowawayServer, value: str) -> None:
    """Each role may give itself one."""
    role = await create_role(server)
    async with session(server, user=role.name, password=role.password) as own:
        await own.execute(f"ALTER ROLE {role.name} SET idle_session_timeout = '{value}'")
        own_connection = checkup_connection(target_of(server))
        await own_connection.take()
        try:
            checkup = await check_up(own_connection)
        finally:
            await own_connection.release()
        assert checkup.role[role.name].ends_idle_sessions
        assert any(each.role == role.name for each in checkup.account.overrides)
    await execute(server, f"DROP ROLE {role.name}")


async def test_the_owner_could_do_it(every_server: ThrowawayServer) -> None:
    """The tests above can fail: a session that sets nothing acts as the owner says."""
    async with owned(every_server, "work_mem = '64kB'") as (target, owner):
        async with session(every_server, user=owner.name, password=owner.password) as alters:
            await alters.execute(f"ALTER DATABASE {target.database} SET role = {owner.name}")
        async with session(every_server, database=target.database) as connection:
            assert await connection.fetchval("SELECT current_user") == owner.name
        if every_server.version >= 17:
            await execute(every_server, f"ALTER DATABASE {target.database} SET transaction_timeout = 1")
            with pytest.raises(DRIVER_ERRORS):
                async with session(every_server, database=target.database) as connection:
                    await connection.fetchval("SELECT pg_sleep(1)")
        assert await fetch_value(every_server, "SELECT 1") == 1


async def test_the_second_connection_of_a_login_begins_anew(server: ThrowawayServer) -> None:
    """A server that lets somebody in and then knows a setting not: it is asked again without."""
    begun = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        length = int.from_bytes(await reader.readexactly(4), "big")
        packet = await reader.readexactly(length - 4)
        if begun == 1:
            writer.write(AUTHENTICATED + message("E", b"SFATAL\0VFATAL\0C42704\0Mno such setting\0\0"))
            await writer.drain()
            return
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", server.port)
        back_writer.write(length.to_bytes(4, "big") + packet)
        try:
            await asyncio.gather(_pass_on(reader, back_writer), _pass_on(back_reader, writer))
        finally:
            back_writer.close()

    async with listening(serve) as port:
        target = target_of(server, "sslmode=disable")
        async with connection_on(msgspec.structs.replace(target, ports=(port,))) as own_connection:
            assert own_connection.is_held
    assert begun == 2


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
