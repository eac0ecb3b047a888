"""The pool in an application's hands: asyncpg's own, but for a bounded wait that says who holds it up."""

import asyncio
import gc
import io
from collections import Counter
from typing import Any

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import close_pool, get_pool
from pgtop.pool.errors import AcquireTimeoutError
from tests.conftest import ServerFactory
from tests.servers import create_role, fetch_value, sessions, wait_until
from tests.support.pools import names_on, take

TAKEN_AT = rf"pools\.py:{take.__code__.co_firstlineno + 2}"


async def test_a_timeout_names_the_holders(server: ThrowawayServer) -> None:
    pool = await get_pool(server.uri(), max_size=2, acquire_timeout=0.05)
    held = [await take(pool) for _ in range(2)]
    text = rf"no connection of \S+ within 0.05 s: 2 of 2 are held by \S*{TAKEN_AT} \(2, for up to \d+ s\)$"
    with pytest.raises(AcquireTimeoutError, match=text) as caught:
        await pool.fetch("SELECT 1")
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.report.by_place[0].count == 2
    with pytest.raises(AcquireTimeoutError, match=r"within 0.01 s"):
        async with pool.acquire(timeout=0.01):
            pass
    for each in held:
        await pool.release(each)
    assert await pool.fetchval("SELECT 1") == 1


async def test_no_time_to_wait_takes_what_is_ready(server: ThrowawayServer) -> None:
    """And gives it back as it was: the limit is not one for the reset."""
    pool = await get_pool(server.uri(), max_size=1)
    taken = []
    for _ in range(2):
        async with pool.acquire(timeout=0) as connection:
            taken.append(connection.get_server_pid())
            with pytest.raises(AcquireTimeoutError):
                await pool.acquire(timeout=0)
    assert taken[0] == taken[1]


async def test_opening_and_setting_up_are_within_the_limit(server: ThrowawayServer) -> None:
    """Whatever state the connection is in that would be taken."""
    is_open = asyncio.Event()
    is_open.set()

    async def connect(*arguments: Any, **options: Any) -> asyncpg.Connection:
        await is_open.wait()
        return await asyncpg.connect(*arguments, **options)

    async def setup(_connection: object) -> None:
        await is_open.wait()

    pool = await get_pool(server.uri(), connect=connect, acquire_timeout=0.05, min_size=0, max_size=1)
    slow = await get_pool(server.uri() + "?", setup=setup, acquire_timeout=0.05, max_size=1)
    async with pool.acquire(timeout=20) as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")

    async def refused(each: asyncpg.Pool) -> None:
        is_open.clear()
        with pytest.raises(AcquireTimeoutError, match="0 of 1 are held; the server did not answer"):
            await each.acquire()
        is_open.set()
        async with each.acquire(timeout=20):
            pass

    await fetch_value(server, "SELECT pg_terminate_backend($1, 5000)", pid)
    await wait_until(lambda: pool.get_size() == 0)
    await refused(pool)
    await pool.expire_connections()
    await refused(pool)
    await refused(slow)


async def test_it_is_used_as_asyncpg_s_pool_is(server: ThrowawayServer) -> None:
    pool = await get_pool(server.uri())
    assert isinstance(pool, asyncpg.Pool)
    async with pool.acquire() as connection:
        assert isinstance(connection, asyncpg.Connection)
        assert isinstance(connection, asyncpg.pool.PoolConnectionProxy)
        async with connection.transaction():
            assert connection.is_in_transaction()
            statement = await connection.prepare("SELECT $1::int")
            assert await statement.fetchval(5) == 5
            assert [row[0] async for row in connection.cursor("SELECT generate_series(1, 3)")] == [1, 2, 3]
    await pool.execute("CREATE TABLE pool_items (number int)")
    await pool.executemany("INSERT INTO pool_items VALUES ($1)", [(1,), (2,)])
    assert [row["number"] for row in await pool.fetch("SELECT number FROM pool_items ORDER BY 1")] == [1, 2]
    row = await pool.fetchrow("SELECT count(*), max(number) FROM pool_items WHERE number < $1", 9)
    assert row is not None
    assert tuple(row) == (2, 2)
    assert await pool.fetchval("SELECT 1, 2", column=1) == 2
    assert [len(await pool.fetchmany("SELECT $1::int", [(1,), (2,)]))] == [2]
    await pool.copy_records_to_table("pool_items", records=[(3,)])
    copied = io.BytesIO()
    await pool.copy_from_query("SELECT max(number) FROM pool_items", output=copied)
    assert copied.getvalue() == b"3\n"
    copied.seek(0)
    await pool.copy_to_table("pool_items", source=copied)
    await pool.copy_from_table("pool_items", output=copied)
    await pool.execute("DROP TABLE pool_items")
    assert pool.report().held == 0


async def test_a_connection_that_is_back_is_refused(server: ThrowawayServer) -> None:
    pool = await get_pool(server.uri())
    other = await get_pool(server.uri() + "?")
    connection = await pool.acquire()
    with pytest.raises(asyncpg.InterfaceError, match="not a member of this pool"):
        await other.release(connection)
    assert pool.report().held == 1
    await pool.release(connection)
    await pool.release(connection)
    with pytest.raises(asyncpg.InterfaceError, match="released back"):
        await connection.fetchval("SELECT 1")
    context = pool.acquire()
    async with context:
        with pytest.raises(asyncpg.InterfaceError, match="already acquired"):
            async with context:
                pass


async def test_ten_thousand_checkouts_leave_nothing_behind(server: ThrowawayServer) -> None:
    """By the count of the objects that there are, of each type."""
    pool = await get_pool(server.uri(), max_size=4)

    async def some(count: int) -> None:
        for number in range(count):
            if number % 10:
                async with pool.acquire():
                    pass
            else:
                await pool.release(await pool.acquire())

    def census() -> Counter[str]:
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.get_objects())

    await asyncio.gather(*(some(50) for _ in range(8)))
    before = census()
    await asyncio.gather(*(some(1_250) for _ in range(8)))
    grown = census() - before
    assert not {"Checkout", "HeldConnection", "PoolConnectionProxy", "Future", "Task"} & set(grown)
    # The event loop drops its cancelled timers, of which each statement has one, by the hundred.
    assert grown.total() < 1_000, grown
    assert pool.report().held == 0


async def test_a_restart_of_the_server_is_survived(server_factory: ServerFactory) -> None:
    server = server_factory()
    pool = await get_pool(server.uri(), max_size=3)
    held = await take(pool)
    await asyncio.gather(pool.fetch("SELECT 1"), pool.fetch("SELECT 1"))
    server.stop()
    await wait_until(lambda: pool.get_size() == 0)
    with pytest.raises(OSError, match=str(server.port)):
        await pool.fetchval("SELECT 1")
    server.start()
    await pool.release(held)
    assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(9))) == [1] * 9
    assert (pool.report().held, pool.report().idle) == (0, 3)


async def test_a_full_server_is_waited_for_and_named(server_factory: ServerFactory) -> None:
    server = server_factory({"max_connections": "8", "superuser_reserved_connections": "3"})
    role = await create_role(server)
    pool = await get_pool(role.uri(), max_size=6, acquire_timeout=0.2)
    held = await take(pool)
    async with sessions(server, 7):
        with pytest.raises(
            AcquireTimeoutError, match=rf"1 of 6 are held by \S+{TAKEN_AT}.* no room for another: "
        ) as caught:
            await pool.acquire()
        assert isinstance(caught.value.__cause__, TimeoutError)
        waiting = asyncio.create_task(pool.fetchval("SELECT 1", timeout=20))
        patient = asyncio.ensure_future(take_patiently(pool))
        with pytest.raises(AcquireTimeoutError):
            await waiting
    await pool.release(await patient)
    await pool.release(held)
    assert pool.report().held == 0


async def take_patiently(pool: asyncpg.Pool) -> asyncpg.pool.PoolConnectionProxy:
    """Take a connection, at the latest when a test would be given up."""
    return await pool.acquire(timeout=60)


async def test_a_full_server_is_an_error_at_once_without_a_limit(server: ThrowawayServer) -> None:
    role = await create_role(server, connection_limit=1)
    pool = await get_pool(role.uri(), acquire_timeout=None)
    async with pool.acquire():
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await pool.acquire()
    assert await pool.fetchval("SELECT 1") == 1


async def test_the_application_is_named_in_the_order_of_libpq(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = "SELECT current_setting('application_name')"
    monkeypatch.setattr("sys.argv", ["/opt/shop/" + "büro" * 20])
    assert await asked(server.uri(), shown) == ("b?ro" * 20)[:63]
    monkeypatch.setattr("sys.argv", ["/opt/shop/worker/__main__.py"])
    assert await asked(server.uri(), shown) == "worker"
    monkeypatch.setattr("sys.argv", ["-c"])
    assert await asked(server.uri(), shown) == "python"
    monkeypatch.setenv("PGAPPNAME", "from the variable")
    assert await asked(server.uri(), shown) == "from the variable"
    named = f"{server.uri()}?application_name=from%20the%20dsn"
    assert await asked(named, shown) == "from the dsn"
    pool = await get_pool(named, server_settings={"application_name": "set", "work_mem": "123kB"})
    assert await pool.fetchval(shown) == "set"
    assert await pool.fetchval("SHOW work_mem") == "123kB"


async def asked(dsn: str, query: str) -> object:
    """Return the first value of a query, of a pool made for it."""
    value = await (await get_pool(dsn)).fetchval(query)
    await close_pool()
    return value


async def test_a_tag_shows_the_place_while_a_connection_is_held(server: ThrowawayServer) -> None:
    name = "o'brien\\"
    pool = await get_pool(server.uri(), tag_sites=True, server_settings={"application_name": name})
    connection = await take(pool)
    line = take.__code__.co_firstlineno + 2
    assert await names_on(server, "o_brien%") == [f"o?brien?@pools.py:{line}"]
    await connection.execute("SET work_mem TO '99kB'")
    await pool.release(connection)
    assert await names_on(server, "o_brien%") == [name]
    assert await pool.fetchval("SHOW work_mem") != "99kB"


async def test_a_tag_and_a_reset_of_one_s_own_go_together(server: ThrowawayServer) -> None:
    resets = []

    async def reset(connection: asyncpg.Connection) -> None:
        resets.append(connection)

    pool = await get_pool(
        server.uri(), tag_sites=True, reset=reset, server_settings={"application_name": "own reset"}
    )
    await pool.release(await take(pool))
    assert await names_on(server, "own reset%") == ["own reset"]
    assert len(resets) == 1


async def test_a_tag_that_is_refused_keeps_no_one_out(
    server: ThrowawayServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def in_a_failed_transaction(connection: asyncpg.Connection) -> None:
        await connection.execute("BEGIN")
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT 1/0")

    pool = await get_pool(server.uri(), tag_sites=True, setup=in_a_failed_transaction)
    async with pool.acquire() as connection:
        await connection.execute("ROLLBACK")
        assert await connection.fetchval("SELECT 1") == 1
    assert "cannot tag a session" in caplog.text
