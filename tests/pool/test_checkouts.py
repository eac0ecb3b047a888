"""The leak watch: who holds a connection, for how long, and what becomes of one that nobody can give back."""

import asyncio
import gc
import logging

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import get_pool
from pgtop.pool.watched_pool import WatchedPool
from tests.servers import wait_until
from tests.support import pools
from tests.support.pools import lose, take

TAKEN_AT = f"pools.py:{take.__code__.co_firstlineno + 2}"
"""The line of `take` that takes."""
LOST_AT = f"pools.py:{pools.lose.__code__.co_firstlineno + 2}"

QUICK = 0.05
"""Seconds after which these tests call a connection leaked."""


@pytest.fixture
async def pool(server: ThrowawayServer) -> WatchedPool:
    """A pool that logs after a moment."""
    return await get_pool(server.uri(), leak_after=QUICK, max_size=3)


async def test_a_report_names_the_place_of_each_connection(pool: WatchedPool) -> None:
    assert (pool.report().held, pool.report().oldest, pool.report().by_place) == (0, 0.0, ())
    first, second = await take(pool), await take(pool)
    async with pool.acquire():
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await wait_until(lambda: pool.report().waiting)
        report = pool.report()
        assert (report.max_size, report.held, report.idle, report.waiting) == (3, 3, 0, 1)
        assert [each.count for each in report.by_place] == [2, 1]
        assert report.by_place[0].place.endswith(TAKEN_AT)
        assert "test_checkouts.py:" in report.by_place[1].place
        assert report.oldest == max(each.oldest for each in report.by_place) > 0
    assert await waiting == 1
    await pool.release(first)
    await pool.release(second)
    assert (pool.report().held, pool.report().idle, pool.report().waiting) == (0, 3, 0)


async def test_a_place_is_that_of_the_call_inside_a_task_too(pool: WatchedPool) -> None:
    """There a coroutine would know nothing but the event loop."""
    both = asyncio.gather(pool.fetch("SELECT pg_sleep(20)"), asyncio.wait_for(pool.acquire(), 20))
    await wait_until(lambda: pool.report().held == 2)
    assert ["test_checkouts.py:" in each.place for each in pool.report().by_place] == [True]
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_a_leak_is_logged_once_and_when_it_comes_back(
    pool: WatchedPool, caplog: pytest.LogCaptureFixture
) -> None:
    leaked = await take(pool)
    await wait_until(lambda: "has been held for" in caplog.text)
    second = await pool.acquire()
    await wait_until(lambda: caplog.text.count("has been held for") == 2)
    await pool.release(second)
    assert caplog.text.count("was returned after") == 1
    await pool.release(leaked)
    said = [record.getMessage() for record in caplog.records if TAKEN_AT in record.getMessage()]
    assert ["has been held for" in said[0], "was returned after" in said[1]] == [True, True]
    assert len(said) == 2
    assert {(record.name, record.levelno) for record in caplog.records} == {("pgtop.pool", logging.WARNING)}
    assert "postgres@127.0.0.1" in said[0]


async def test_nothing_is_said_of_what_comes_back_in_time(
    server: ThrowawayServer, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await get_pool(server.uri())
    async with pool.acquire():
        pass
    await pool.release(await take(pool))
    quiet = await get_pool(server.uri() + "?", leak_after=None)
    async with quiet.acquire() as connection:
        await connection.fetchval("SELECT 1")
    assert not caplog.records


async def test_a_lost_connection_is_given_back(pool: WatchedPool, caplog: pytest.LogCaptureFixture) -> None:
    """More often than the pool has connections."""
    for _ in range(7):
        await lose(pool)
    await wait_until(lambda: pool.report().held == 0)
    await wait_until(lambda: pool.report().idle == pool.get_size())
    assert caplog.text.count("was never returned and is garbage") == 7
    assert LOST_AT in caplog.text
    assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(3))) == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:coroutine 'WatchedPool.release' was never awaited:RuntimeWarning")
async def test_a_release_that_is_not_awaited_is_a_lost_one(
    pool: WatchedPool, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await take(pool)
    pool.release(connection)  # type: ignore[unused-coroutine]  # the mistake
    assert pool.report().held == 1
    del connection
    await wait_until(lambda: pool.report().idle == pool.get_size())
    assert "was never returned and is garbage" in caplog.text


async def test_a_connection_lost_in_a_cycle_is_given_back(pool: WatchedPool) -> None:
    """Whichever thread the garbage collector runs in; in debug mode the event loop checks its callers."""
    asyncio.get_running_loop().set_debug(True)
    gc.disable()
    try:
        for _ in range(3):
            knot: list[object] = [await take(pool)]
            knot.append(knot)
            del knot
        await asyncio.to_thread(gc.collect)
    finally:
        gc.enable()
    await wait_until(lambda: pool.report().held == 0)
    assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(3))) == [1, 1, 1]


async def test_a_connection_lost_in_a_transaction_comes_back_clean(
    pool: WatchedPool, server: ThrowawayServer
) -> None:
    async def lose_it() -> asyncpg.transaction.Transaction:
        connection = await pool.acquire()
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("CREATE TABLE left_open ()")
        return transaction

    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
    transaction = await lose_it()
    await wait_until(lambda: pool.report().idle == 1)
    assert await pool.fetchval("SELECT to_regclass('left_open')") is None
    with pytest.raises(asyncpg.InterfaceError, match="released back"):
        await transaction.commit()
    assert "active transaction" in said[0]


async def test_a_statement_keeps_its_connection_until_it_is_done(pool: WatchedPool) -> None:
    assert await (await pool.acquire()).fetchval("SELECT 7 FROM pg_sleep(0.1)") == 7
    await wait_until(lambda: pool.report().idle == 1)


async def test_a_connection_that_was_lost_by_the_server_is_not_held(
    pool: WatchedPool, caplog: pytest.LogCaptureFixture
) -> None:
    held = await take(pool)
    pid = await held.fetchval("SELECT pg_backend_pid()")
    await pool.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await wait_until(lambda: pool.report().held == 0)
    await pool.release(held)
    del held
    gc.collect()
    assert await pool.fetchval("SELECT 1") == 1
    assert "garbage" not in caplog.text
