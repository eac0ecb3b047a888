"""A pooler in between is noticed, and gets no settings: the next client would have them."""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.session.own_connection import OwnConnection
from tests.servers import session
from tests.support.pooler import pooler
from tests.support.running import run
from tests.support.targets import connection_on, refusal, target_of


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = statement_timeout, lock_timeout, jit"])
async def test_a_pooler_is_noticed_and_left_as_it_was(server: ThrowawayServer, more: str) -> None:
    with pooler(server, more) as port:
        through = msgspec.structs.replace(target_of(server), ports=(port,))
        async with connection_on(through) as own_connection:
            assert own_connection.pooled
            assert own_connection.address == ("127.0.0.1", port)
            row = await own_connection.fetchrow("SELECT pg_backend_pid()")
            assert row is not None
            assert row[0] == own_connection.own_pid  # the only one of the pool
            assert await shown(own_connection) == ("pg_catalog, pg_temp", "9s", "on")
            short = "SELECT current_setting('statement_timeout')"
            assert [tuple(each) for each in await own_connection.fetch(short, on_demand=True)] == [("2s",)]
            assert await shown(own_connection) == ("pg_catalog, pg_temp", "9s", "on")
        async with session(server) as direct:
            usual = await shown(direct)
        next_client = await asyncpg.connect(
            host="127.0.0.1",
            port=port,
            user="postgres",
            database="postgres",
            statement_cache_size=0,
            ssl=False,
        )
        try:
            assert await shown(next_client) == usual
        finally:
            await next_client.close()


async def shown(asked: OwnConnection | asyncpg.Connection) -> tuple[str, ...]:
    """The settings in force where a statement runs."""
    row = await asked.fetchrow(
        "SELECT current_setting('search_path'), current_setting('statement_timeout'), "
        "current_setting('transaction_read_only')"
    )
    return tuple(row)


async def test_a_refused_statement_leaves_the_pooled_connection_usable(server: ThrowawayServer) -> None:
    with pooler(server) as port:
        async with connection_on(msgspec.structs.replace(target_of(server), ports=(port,))) as own_connection:
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await own_connection.fetch("CREATE TABLE never (id int)")
            assert await own_connection.fetchrow("SELECT 1") is not None


async def test_a_database_that_the_pooler_cannot_reach_is_told(server: ThrowawayServer) -> None:
    with pooler(server) as port:
        target = msgspec.structs.replace(target_of(server), ports=(port,), database="no such")
        error = await refusal(target)
        assert error.mend
        assert "no such" in str(error)


@pytest.mark.parametrize("arguments", [("--always",), ("--watch",), ("--always", "--dry-run")])
async def test_nothing_is_reaped_through_a_pooler(
    server: ThrowawayServer, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Status 3 with the mend, and nobody is ended."""
    async with session(server, application_name="idle") as one:
        with pooler(server) as port:
            conninfo = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
            done = await asyncio.to_thread(run, tmp_path, "reap", conninfo, "--idle-after", "1s", *arguments)
        assert done.returncode == 3
        assert done.stdout == ""
        assert "connected through a pooler at 127.0.0.1" in done.stderr
        assert "connect to the server directly" in done.stderr
        assert await one.fetchval("SELECT 1") == 1


async def test_a_poolers_own_console_is_named_as_such(server: ThrowawayServer) -> None:
    """It answers logins, and calls itself version 1.18."""
    with pooler(server, "admin_users = postgres") as port:
        console = msgspec.structs.replace(target_of(server), ports=(port,), database="pgbouncer")
        error = await refusal(console)
    assert "is PgBouncer's own console, not a PostgreSQL server" in str(error)
