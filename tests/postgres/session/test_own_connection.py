"""pgtop's own connection: one session, one statement at a time, bounded in time, and gone without a trace."""

import asyncio
import os
import socket
from typing import Any

import asyncpg
import msgspec
import psutil
import pytest

from pgtop.core.outage import OutageKind
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import ConnectError
from pgtop.postgres.errors.kinds import ConnectionLostError
from pgtop.postgres.session.application_name import own_session_name
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.session_settings import ON_DEMAND_SECONDS, SETTINGS
from tests.servers import fetch_value, wait_until
from tests.support.targets import connection_on, refusal, silent_port, stopped, target_of


async def test_the_session_has_the_connections_name_and_settings(every_server: ThrowawayServer) -> None:
    options = "application_name=other&options=-c%20geqo%3Doff%20-c%20statement_timeout%3D0"
    async with connection_on(target_of(every_server, options), "dashboard") as own_connection:
        assert own_connection.is_held
        assert not own_connection.pooled
        assert own_connection.address == ("127.0.0.1", every_server.port)
        name = await fetch_value(
            every_server,
            "SELECT application_name FROM pg_stat_activity WHERE pid = $1",
            own_connection.own_pid,
        )
        assert name == own_connection.application_name == f"pgtop dashboard@{socket.gethostname()}"[:63]
        rows = await own_connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE source IN ('client', 'session')"
        )
        settings = {row["name"]: row["setting"] for row in rows}
    for name_of_transaction in ("transaction_isolation", "transaction_deferrable"):
        settings.pop(name_of_transaction)
    timeout = {"transaction_timeout": "0"} if every_server.version >= 17 else {}
    assert settings | {"client_encoding": ""} == timeout | {
        "application_name": name,
        "client_connection_check_interval": "2000",
        "client_encoding": "",
        "client_min_messages": "error",
        "default_transaction_deferrable": "off",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "on",
        "exit_on_error": "off",
        "geqo": "off",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "jit": "off",
        "local_preload_libraries": "",
        "lock_timeout": "2000",
        "search_path": "pg_catalog, pg_temp",
        "standard_conforming_strings": "on",
        "statement_timeout": "9000",
    }


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("jump1", "pgtop reap@jump1"),
        ("h\u00e9\x1bte", "pgtop reap@h??te"),
        ("x" * 80, f"pgtop reap@{'x' * 52}"),
    ],
)
def test_the_name_fits_into_an_application_name(host: str, name: str) -> None:
    assert own_session_name("reap", host) == name


async def test_a_connection_writes_nothing(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await own_connection.fetch("CREATE TABLE public.t ()")
        assert own_connection.is_held


async def test_a_second_statement_waits_for_the_first(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        rows = await asyncio.gather(
            *(own_connection.fetchrow("SELECT pg_sleep(0.02), $1::int AS n", n) for n in range(5))
        )
        assert [row["n"] for row in rows if row] == list(range(5))


async def test_a_connection_that_is_held_is_not_taken_twice(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        pid = own_connection.own_pid
        await asyncio.gather(own_connection.take(), own_connection.take())
        assert own_connection.own_pid == pid
    assert not own_connection.is_held


async def gone(server: ThrowawayServer, pid: int) -> None:
    """Waits until a backend has left."""

    async def has_left() -> bool:
        return await fetch_value(server, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0

    await wait_until(has_left, complaint=f"backend {pid} is still there")


async def test_a_statement_over_its_limit_drops_connection_and_backend(
    every_server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never by a cancel, which would open a second connection."""
    monkeypatch.setattr(asyncpg.connect_utils, "_cancel", forbidden)
    async with connection_on(target_of(every_server)) as own_connection:
        pid = own_connection.own_pid
        with pytest.raises(ConnectionLostError) as caught:
            await own_connection.fetch("SELECT pg_sleep(60)", limit_seconds=0.2)
        assert caught.value.kind == OutageKind.TIMEOUT
        assert not own_connection.is_held
        await gone(every_server, pid)
        await own_connection.take()
        assert await own_connection.fetchrow("SELECT 1") is not None


async def forbidden(**_: Any) -> None:
    raise AssertionError("a statement was cancelled")


async def test_the_server_ends_a_slow_statement_and_the_connection_stays(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "statement_timeout", "100ms")
    async with connection_on(target_of(server)) as own_connection:
        with pytest.raises(asyncpg.QueryCanceledError):
            await own_connection.fetch("SELECT pg_sleep(60)")
        assert own_connection.is_held
        assert await own_connection.fetchrow("SELECT 1") is not None


async def test_a_cancelled_query_costs_neither_connection_nor_next_answer(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a window is closed before its answer came, on a server that would let nobody in again."""
    monkeypatch.setattr(asyncpg.connect_utils, "_cancel", forbidden)
    async with connection_on(target_of(server)) as own_connection:
        pid = own_connection.own_pid
        asking = asyncio.create_task(own_connection.fetch("SELECT pg_sleep(0.5)"))
        waiting = asyncio.create_task(own_connection.fetch("SELECT 'never asked'"))
        await wait_until(lambda: is_active(server, pid))
        asking.cancel()
        waiting.cancel()
        for gone_away in (asking, waiting):
            with pytest.raises(asyncio.CancelledError):
                await gone_away
        row = await own_connection.fetchrow("SELECT pg_backend_pid()")
        assert row is not None
        assert row[0] == pid


async def test_giving_up_the_connection_ends_what_nobody_waits_for(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        pid = own_connection.own_pid
        asking = asyncio.create_task(own_connection.fetch("SELECT pg_sleep(60)"))
        await wait_until(lambda: is_active(server, pid))
        asking.cancel()
        await own_connection.release()
        assert not own_connection.is_held
        await gone(server, pid)


async def is_active(server: ThrowawayServer, pid: int) -> bool:
    state = await fetch_value(server, "SELECT state FROM pg_stat_activity WHERE pid = $1", pid)
    return state == "active"


async def test_a_connection_ended_in_mid_statement_says_so(every_server: ThrowawayServer) -> None:
    async with connection_on(target_of(every_server)) as own_connection:
        asking = asyncio.create_task(own_connection.fetch("SELECT pg_sleep(60)"))
        await wait_until(lambda: is_active(every_server, own_connection.own_pid))
        await fetch_value(every_server, "SELECT pg_terminate_backend($1)", own_connection.own_pid)
        with pytest.raises(ConnectionLostError) as caught:
            await asking
        assert caught.value.kind == OutageKind.LOST
        assert not own_connection.is_held


async def test_a_connection_ended_while_idle_says_so_and_is_taken_again(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        first = own_connection.own_pid
        await fetch_value(server, "SELECT pg_terminate_backend($1)", first)
        await wait_until(lambda: not own_connection.is_held)
        with pytest.raises(ConnectionLostError) as caught:
            await own_connection.fetch("SELECT 1")
        assert caught.value.kind == OutageKind.LOST
        await own_connection.take()
        assert own_connection.own_pid != first
        assert await own_connection.fetchrow("SELECT 1") is not None


async def test_releasing_is_a_goodbye_that_the_server_hears(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        pid = own_connection.own_pid
        await own_connection.release()
        await own_connection.release()
        assert not own_connection.is_held
        await gone(server, pid)


async def test_releasing_a_busy_connection_does_not_wait_for_its_statement(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        pid = own_connection.own_pid
        asking = asyncio.create_task(own_connection.fetch("SELECT pg_sleep(60)"))
        await wait_until(lambda: is_active(server, pid))
        async with asyncio.timeout(5):
            await own_connection.release()
            with pytest.raises(ConnectionLostError):
                await asking
        await gone(server, pid)


async def test_the_socket_notices_a_dead_peer(server: ThrowawayServer) -> None:
    options = "keepalives_idle=31&keepalives_count=4&tcp_user_timeout=4321"
    async with connection_on(target_of(server, options)) as own_connection:
        with await socket_of(own_connection) as peer:
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 31
                assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4321


async def socket_of(own_connection: OwnConnection) -> socket.socket:
    """Return another descriptor of the socket that the connection speaks through."""
    row = await own_connection.fetchrow(
        "SELECT client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    assert row is not None
    there = own_connection.address[1]
    (descriptor,) = [
        each.fd
        for each in psutil.Process().net_connections("tcp")
        if each.laddr.port == row["client_port"] and each.raddr and each.raddr.port == there
    ]
    return socket.socket(fileno=os.dup(descriptor))


async def test_a_connection_over_a_unix_socket_ignores_tls(server: ThrowawayServer) -> None:
    target = target_of(server, "sslmode=verify-full", host=str(server.socket_dir))
    async with connection_on(target) as own_connection:
        assert own_connection.address == (str(server.socket_dir), server.port)


async def test_a_host_that_does_not_answer_gives_way_to_the_next(server: ThrowawayServer) -> None:
    target = target_of(server, "connect_timeout=1")
    with silent_port() as silent:
        hosts, ports = ("127.0.0.1",) * 3, (silent, 1, server.port)
        async with connection_on(msgspec.structs.replace(target, hosts=hosts, ports=ports)) as own_connection:
            assert own_connection.address == ("127.0.0.1", server.port)


@pytest.mark.parametrize("wanted", ["primary", "read-write", "any", "prefer-standby"])
async def test_a_primary_is_what_target_session_attrs_may_ask_for(
    server: ThrowawayServer, wanted: str
) -> None:
    async with connection_on(target_of(server, f"target_session_attrs={wanted}")) as own_connection:
        row = await own_connection.fetchrow("SHOW default_transaction_read_only")
        assert row is not None
        assert row[0] == "on"


@pytest.mark.parametrize("wanted", ["standby", "read-only"])
async def test_a_primary_is_not_what_asks_for_a_standby(server: ThrowawayServer, wanted: str) -> None:
    error = await refusal(target_of(server, f"target_session_attrs={wanted}"))
    assert isinstance(error, ConnectError)
    assert f"target_session_attrs={wanted}" in str(error)


async def test_a_server_that_hangs_costs_the_limit_and_no_more(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        with stopped(own_connection.own_pid):
            async with asyncio.timeout(20):
                with pytest.raises(ConnectionLostError):
                    await own_connection.fetch("SELECT 1", limit_seconds=0.2)
                await own_connection.release()
        await gone(server, own_connection.own_pid)


async def test_releasing_does_not_wait_for_a_server_that_hangs(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection:
        with stopped(own_connection.own_pid):
            async with asyncio.timeout(20):
                await own_connection.release()
            assert not own_connection.is_held
        await gone(server, own_connection.own_pid)


async def test_taking_can_be_given_up_and_leaves_nothing(server: ThrowawayServer) -> None:
    with silent_port() as silent:
        own_connection = OwnConnection(msgspec.structs.replace(target_of(server), ports=(silent,)), "test")
        taking = asyncio.create_task(own_connection.take())
        await wait_until(lambda: established(silent), complaint="no connection was begun")
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await wait_until(lambda: not established(silent), complaint="the connection stayed open")
        assert not own_connection.is_held
        with pytest.raises(ConnectionLostError):
            await own_connection.fetch("SELECT 1")


def established(port: int) -> bool:
    """Whether this process has a connection to a port."""
    found = psutil.Process().net_connections("tcp")
    return any(one.raddr and one.raddr.port == port and one.status == "ESTABLISHED" for one in found)


async def test_a_question_on_demand_is_ended_by_the_server_soon(every_server: ThrowawayServer) -> None:
    """Polls wait for it: the limit holds for this question alone, and costs no connection."""
    async with connection_on(target_of(every_server)) as own_connection:
        pid, shown = own_connection.own_pid, "SELECT current_setting('statement_timeout') AS setting"
        asked = asyncio.ensure_future(own_connection.fetch("SELECT pg_sleep(600)", on_demand=True))
        await wait_until(lambda: own_connection.is_busy)
        after = await own_connection.fetchrow(shown)
        assert after is not None
        assert after["setting"] == "9s"
        with pytest.raises(asyncpg.QueryCanceledError):
            await asked
        for _ in range(2):
            rows = await own_connection.fetch(shown, on_demand=True)
            assert [row["setting"] for row in rows] == [f"{ON_DEMAND_SECONDS}s"]
        with pytest.raises(asyncpg.UndefinedTableError):
            await own_connection.fetch("SELECT * FROM never", on_demand=True)
        state = "SELECT state FROM pg_stat_activity WHERE pid = $1"
        assert await fetch_value(every_server, state, pid) == "idle"
        assert own_connection.own_pid == pid
