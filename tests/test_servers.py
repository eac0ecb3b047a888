"""The suite's own ground: servers start, differ by version, and are what a test asked for."""

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import KINDS, create_role, execute, fetch_value, session, sessions, wait_until


async def test_each_version_is_the_one_it_claims(every_server: ThrowawayServer) -> None:
    number = await fetch_value(every_server, "SELECT current_setting('server_version_num')::int / 10000")
    assert number == every_server.version


async def test_the_shared_server_has_100_connections_3_of_them_reserved(
    server: ThrowawayServer,
) -> None:
    assert await fetch_value(server, "SHOW max_connections") == "100"
    assert await fetch_value(server, "SHOW superuser_reserved_connections") == "3"


async def test_a_factory_gives_a_server_with_the_settings_asked_for(server_factory: ServerFactory) -> None:
    special = server_factory({"max_connections": "21", "cluster_name": 'it\'s, a "name"'})
    assert await fetch_value(special, "SHOW max_connections") == "21"
    assert await fetch_value(special, "SHOW cluster_name") == 'it\'s, a "name"'


async def test_sessions_show_under_their_names_and_are_gone_after(
    server: ThrowawayServer,
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
    await execute(server, "DROP DATABASE IF EXISTS elsewhere", "CREATE DATABASE elsewhere")
    async with sessions(server, 3, application_name="counted", database="elsewhere"):
        assert await fetch_value(server, f"{count} AND datname = 'elsewhere'") == 3

    async def none_left() -> bool:
        return await fetch_value(server, count) == 0

    await wait_until(none_left)
    await execute(server, "DROP DATABASE elsewhere")


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_role_logs_in_and_is_what_it_says(
    every_server: ThrowawayServer, kind: str
) -> None:
    role = await create_role(every_server, kind)
    async with session(every_server, user=role.name, password=role.password) as connection:
        member = "SELECT pg_has_role($1, 'MEMBER')"
        assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = user") == (
            kind == "superuser"
        )
        if kind != "superuser":
            monitors = await connection.fetchval(member, "pg_monitor")
            signals = await connection.fetchval(member, "pg_signal_backend")
            assert (monitors, signals) == (kind in {"monitor", "operator"}, kind in {"signal", "operator"})


async def test_waiting_for_what_never_comes_fails_with_its_complaint() -> None:
    with pytest.raises(AssertionError, match="it never came"):
        await wait_until(lambda: False, limit=0.05, complaint="it never came")
