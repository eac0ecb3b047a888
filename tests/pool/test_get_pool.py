"""`get_pool`: one pool of an event loop, a process and a DSN, whoever asks first and whatever fails."""

import asyncio
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Coroutine
from typing import Any

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import close_pool, get_pool, reset
from pgtop.pool.errors import DifferentLimitsError, PoolCreationError
from pgtop.pool.watched_pool import WatchedPool
from tests.conftest import ServerFactory
from tests.servers import REPOSITORY, create_role, wait_until, wait_until_sync
from tests.support.pools import names_on, take


class Gate:
    """A way to connect that waits until it is opened."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.knocks = 0

    async def connect(self, *arguments: Any, **options: Any) -> asyncpg.Connection:
        """Connect as asyncpg does, once the gate is open."""
        self.knocks += 1
        await self.is_open.wait()
        return await asyncpg.connect(*arguments, **options)


def of_app(name: str) -> dict[str, str]:
    """The settings of a pool whose sessions are found again on the server."""
    return {"application_name": name}


async def none_left(server: ThrowawayServer, name: str) -> bool:
    """Return whether a server has no session of that name."""
    return not await names_on(server, name)


async def test_a_hundred_first_callers_get_one_pool(server: ThrowawayServer) -> None:
    settings = of_app("hundred")
    pools = await asyncio.gather(*(get_pool(server.uri(), server_settings=settings) for _ in range(100)))
    assert len(set(pools)) == 1
    assert await names_on(server, "hundred") == ["hundred"]


async def test_a_cancelled_first_caller_takes_nothing_away(server: ThrowawayServer) -> None:
    gate = Gate()
    callers = [asyncio.create_task(get_pool(server.uri(), connect=gate.connect)) for _ in range(3)]
    await wait_until(lambda: gate.knocks)
    callers[0].cancel()
    gate.is_open.set()
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    pools = {await caller for caller in callers[1:]}
    assert pools == {await get_pool(server.uri())}
    assert gate.knocks == 1


async def test_a_pool_whose_callers_all_left_is_there(server: ThrowawayServer) -> None:
    gate = Gate()
    caller = asyncio.create_task(get_pool(server.uri(), connect=gate.connect))
    await wait_until(lambda: gate.knocks)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.is_open.set()
    pool = await get_pool(server.uri())
    assert await pool.fetchval("SELECT 1") == 1
    assert gate.knocks == 1


async def test_a_failed_creation_is_tried_again(server_factory: ServerFactory) -> None:
    server = server_factory()
    server.stop()
    tries = [get_pool(server.uri()) for _ in range(3)]
    for failed in await asyncio.gather(*tries, return_exceptions=True):
        assert isinstance(failed, PoolCreationError)
        assert isinstance(failed.__cause__, OSError)
    server.start()
    assert await (await get_pool(server.uri())).fetchval("SELECT 1") == 1


async def test_a_failed_creation_leaves_no_session(server: ThrowawayServer) -> None:
    """Neither those that were open when another failed, nor those that open later."""
    gate, opened, calls = Gate(), asyncio.Event(), 0

    async def connect(*arguments: Any, **options: Any) -> asyncpg.Connection:
        nonlocal calls
        calls += 1
        if calls == 2:
            await opened.wait()
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
        if calls == 3:
            await gate.is_open.wait()
        connection: asyncpg.Connection = await asyncpg.connect(*arguments, **options)
        if calls == 4:
            opened.set()
        return connection

    settings = of_app("failed")
    with pytest.raises(PoolCreationError, match="too many clients"):
        await get_pool(server.uri(), min_size=4, connect=connect, server_settings=settings)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    gate.is_open.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(lambda: none_left(server, "failed"))


async def test_an_error_names_the_dsn_without_its_password(server_factory: ServerFactory) -> None:
    server = server_factory(auth="scram-sha-256")
    with pytest.raises(PoolCreationError) as caught:
        await get_pool(server.uri(user="app", password="s3cret"))  # noqa: S106
    assert f"postgresql://app@127.0.0.1:{server.port}/postgres" in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncpg.InvalidPasswordError)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["s3cret/a", "a:s3cret/a", "s3cret#a", "a?s3cret", "s3cret[", "s3cret\u2100"], ids=ascii
)
async def test_a_dsn_that_cannot_be_read_is_not_quoted(secret: str) -> None:
    """What asyncpg and urllib say of it may hold the password."""
    with pytest.raises(ValueError, match="the DSN cannot be read") as caught:
        await get_pool(f"postgresql://app:{secret}@127.0.0.1:1/shop")
    assert "s3cret" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__context__ is None


async def test_a_role_without_room_is_refused_at_once(server: ThrowawayServer) -> None:
    role = await create_role(server, connection_limit=0)
    with pytest.raises(PoolCreationError, match="too many connections for role"):
        await get_pool(role.uri())


async def test_other_limits_for_a_pool_that_is_there_are_refused(server: ThrowawayServer) -> None:
    pool = await get_pool(server.uri(), max_size=4, password="s3cret")  # noqa: S106
    with pytest.raises(DifferentLimitsError, match=r"max_size=5 and not 4, another password: .*close_pool"):
        await get_pool(server.uri(), max_size=5, password="other")  # noqa: S106
    with pytest.raises(DifferentLimitsError, match="command_timeout=1 and not 60"):
        await get_pool(server.uri(), command_timeout=1)
    assert await get_pool(server.uri()) is pool
    assert await get_pool(server.uri(), max_size=4, command_timeout=60) is pool


async def test_limits_that_cannot_be_leave_no_pool(server: ThrowawayServer) -> None:
    with pytest.raises(ValueError, match="max_size"):
        await get_pool(server.uri(), max_size=0)
    assert (await get_pool(server.uri(), max_size=3)).get_max_size() == 3


@pytest.mark.parametrize("value", ["60", -1, float("nan")])
@pytest.mark.parametrize("name", ["acquire_timeout", "leak_after"])
async def test_seconds_that_cannot_be_are_named(server: ThrowawayServer, name: str, value: object) -> None:
    limits: Any = {name: value}
    with pytest.raises(ValueError, match=f"{name} cannot be"):
        await get_pool(server.uri(), **limits)


async def test_the_limits_are_those_of_the_manual(server: ThrowawayServer) -> None:
    pool = await get_pool(server.uri())
    assert (pool.get_min_size(), pool.get_max_size()) == (1, 10)
    with pytest.raises(TimeoutError):
        await pool.fetchval("SELECT pg_sleep(60)", timeout=0.01)


async def test_a_closed_pool_is_made_again(server: ThrowawayServer) -> None:
    first = await get_pool(server.uri())
    await close_pool(server.uri())
    second = await get_pool(server.uri())
    assert second is not first
    await second.close()  # asyncpg's own way
    third = await get_pool(server.uri())
    assert third not in (first, second)
    reset()
    assert third.is_closing()
    assert await (await get_pool(server.uri())).fetchval("SELECT 1") == 1


async def test_closing_waits_for_held_connections_for_a_time(
    server: ThrowawayServer, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await get_pool(server.uri(), server_settings=of_app("closing"))
    held = await take(pool)
    await close_pool(timeout=0.05)
    assert "closed with connections that are held" in caplog.text
    assert "pools.py:" in caplog.text
    assert repr(held).startswith("<HeldConnection [released]")
    await wait_until(lambda: none_of(server, "closing"))


async def none_of(server: ThrowawayServer, name: str) -> bool:
    """Tell whether no session of an application is left."""
    return not await names_on(server, name)


async def test_closing_a_pool_that_is_being_made_tells_its_caller(server: ThrowawayServer) -> None:
    gate = Gate()
    caller = asyncio.create_task(get_pool(server.uri(), connect=gate.connect))
    await wait_until(lambda: gate.knocks)
    await close_pool()
    with pytest.raises(PoolCreationError, match="closed before it was there"):
        await caller


async def step_of(coroutine: Coroutine[Any, Any, Any], step: int) -> None:
    """Run a coroutine in this task, and cancel the task where it waits for the given time, from 0."""
    await _Stepped(coroutine, step)


class _Stepped:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], step: int) -> None:
        self.coroutine = coroutine
        self.step = step

    def __await__(self) -> Any:
        waited = 0
        task = asyncio.current_task()
        assert task is not None
        steps = self.coroutine.__await__()
        send: Any = steps.__next__
        while True:
            try:
                future = send()
            except StopIteration:
                return
            if waited == self.step:
                task.cancel()
            waited += 1
            try:
                yield future
                send = steps.__next__
            except BaseException as error:  # noqa: BLE001
                thrown = error
                send = lambda: steps.throw(thrown)  # noqa: B023, E731


@pytest.mark.parametrize("tag_sites", [False, True])
async def test_a_checkout_cancelled_at_any_wait_loses_nothing(
    server: ThrowawayServer, tag_sites: bool
) -> None:
    pool = await get_pool(
        server.uri(), min_size=0, max_size=1, tag_sites=tag_sites, server_settings=of_app("cancelled")
    )

    async def work() -> None:
        async with pool.acquire() as connection:
            await connection.fetchval("SELECT 1")

    for step in range(100):
        await pool.expire_connections()
        task = asyncio.create_task(step_of(work(), step))
        await asyncio.wait([task])
        await wait_until(lambda: pool.report().held + pool.report().waiting == 0)
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.get_size() == 1
        if not task.cancelled():
            assert step > 6
            break
    else:
        pytest.fail("never done")
    await wait_until(lambda: one_of(server, "cancelled"))


async def one_of(server: ThrowawayServer, name: str) -> bool:
    """Tell whether one session of an application is left."""
    return len(await names_on(server, f"{name}%")) == 1


async def test_a_creation_cancelled_at_any_wait_loses_nothing(server: ThrowawayServer) -> None:
    for step in range(100):
        task = asyncio.create_task(step_of(get_pool(server.uri(), server_settings=of_app("made")), step))
        await asyncio.wait([task])
        pool = await get_pool(server.uri(), server_settings=of_app("made"))
        assert await names_on(server, "made") == ["made"]
        await close_pool()
        assert pool.is_closing()
        await wait_until(lambda: none_of(server, "made"))
        if not task.cancelled():
            assert step >= 1
            break
    else:
        pytest.fail("never done")


def test_two_loops_have_a_pool_each(server: ThrowawayServer) -> None:
    """In two threads at the same time."""
    both_are_there, pools = threading.Barrier(2), list[WatchedPool]()

    async def ask() -> None:
        pool = await get_pool(server.uri())
        pools.append(pool)
        assert await pool.fetchval("SELECT 1") == 1
        both_are_there.wait(20)
        other = next(each for each in pools if each is not pool)
        with pytest.raises(asyncpg.InterfaceError, match="belongs to another event loop"):
            await other.fetchval("SELECT 1")
        await close_pool()

    failures: list[BaseException] = []

    def in_a_loop() -> None:
        try:
            asyncio.run(ask())
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=in_a_loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert len(set(pools)) == 2


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_loop_that_ended_leaves_no_sessions(
    server: ThrowawayServer, caplog: pytest.LogCaptureFixture, is_refused: bool
) -> None:
    """At the next call, also where that one is refused."""
    kept: list[WatchedPool] = []  # as a program may keep one, so that collecting it is not what closes it

    async def forget_to_close(name: str) -> None:
        kept.append(await get_pool(server.uri(), server_settings=of_app(name)))

    asyncio.run(forget_to_close("ended"))
    with caplog.at_level(logging.WARNING):
        if is_refused:
            with pytest.raises(ValueError, match="max_size"):
                asyncio.run(get_pool(server.uri(), max_size=0))
        else:
            asyncio.run(forget_to_close("next"))
    assert "its event loop has ended without close_pool()" in caplog.text
    wait_until_sync(lambda: asyncio.run(none_of(server, "ended")))


FORKED = """
import asyncio, gc, os, sys, traceback
import asyncpg
from pgtop.pool import close_pool, get_pool, reset

async def own(uri, pool, held):
    mine = await get_pool(uri)
    assert mine is not pool
    assert await mine.fetchval("SELECT 1") == 1
    try:
        await pool.fetchval("SELECT 1")
    except asyncpg.InterfaceError as error:
        assert "belongs to the parent process" in str(error), error
    else:
        raise AssertionError("used")
    try:
        await held.fetchval("SELECT 1")
    except asyncpg.InterfaceError:
        pass
    else:
        raise AssertionError("used")
    await pool.release(held)
    await close_pool()
    reset()

async def main(uri):
    pool = await get_pool(uri, min_size=3)
    held, lost = await pool.acquire(), await pool.acquire()
    before = await held.fetchval("SELECT pg_backend_pid()")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            del lost
            asyncio.run(own(uri, pool, held))
            pool.terminate()
            del held
            gc.collect()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert status == 0, status
    assert await held.fetchval("SELECT pg_backend_pid()", timeout=20) == before
    assert await lost.fetchval("SELECT 2", timeout=20) == 2
    await pool.release(held)
    await pool.release(lost)
    assert await asyncio.gather(*(pool.fetchval("SELECT 1", timeout=20) for _ in range(6))) == [1] * 6
    await close_pool()
    print("held", before)

asyncio.run(main(sys.argv[1]))
"""


FORKED_WITH_ITS_LOOP = """
import asyncio, os, sys
from pgtop.pool import close_pool, get_pool

loop = asyncio.new_event_loop()
pool = loop.run_until_complete(get_pool(sys.argv[1]))
child = os.fork()
if child == 0:
    status = 1
    try:
        own = loop.run_until_complete(get_pool(sys.argv[1]))
        assert own is not pool
        assert loop.run_until_complete(own.fetchval("SELECT 1")) == 1
        status = 0
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert loop.run_until_complete(pool.fetchval("SELECT 2", timeout=20)) == 2
loop.run_until_complete(close_pool())
loop.close()
print("held")
"""
"""As a server does that loads the application, and then forks its workers."""


@pytest.mark.parametrize("script", [FORKED, FORKED_WITH_ITS_LOOP], ids=["new loop", "same loop"])
def test_a_forked_child_has_its_own_pool_and_spoils_none(server: ThrowawayServer, script: str) -> None:
    """Not even where it closes, collects and resets all that it inherited."""
    done = subprocess.run(
        [sys.executable, "-c", script, server.uri()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("held")
