"""The cancellation of each call at each of its awaits: nothing is lost, and nothing is left behind."""

import asyncio
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from pgtop.api.events import Swept
from pgtop.api.server import Server
from pgtop.core.plan import Outcome
from pgtop.demo.server import ThrowawayServer
from tests.servers import fetch_value, session, wait_until
from tests.support.apis import WATCHED, CancelledAt, no_session_of_the_api, opened, unconfirmed
from tests.support.audit_logs import audit_lines, audited
from tests.support.reap_command import alive, stale
from tests.support.reaping import confirming, found, lives, outcomes
from tests.support.targets import stopped

KEYS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1"


async def test_looking_and_planning_lose_nothing(server: ThrowawayServer, audit: Path) -> None:
    """The same connection answers after each of them."""
    async with session(server) as one, opened(server, audit) as api:
        own_pid = (await api.snapshot()).own_pid
        for ask in (api.snapshot, api.diagnose, api.plan_sweep):
            number = 1
            while await CancelledAt(ask(), number).is_cancelled():
                number += 1
            assert number > 1
        snapshot = await api.snapshot()
        assert snapshot.own_pid == own_pid
        assert found(snapshot, one)


async def test_connecting_and_leaving_give_the_connection_back(server: ThrowawayServer, audit: Path) -> None:
    async def visit() -> None:
        async with opened(server, audit) as api:
            await api.snapshot()

    number = 1
    while await CancelledAt(visit(), number).is_cancelled():
        number += 1
    assert number > 5
    await no_session_of_the_api(server)


async def test_each_attempt_of_a_run_has_its_outcome(server: ThrowawayServer, audit: Path) -> None:
    """Whatever it waits for when it is cancelled; a session that was not signalled lives."""
    number, is_cancelled = 0, True
    async with opened(server, audit) as api:
        while is_cancelled:
            number += 1
            async with session(server) as one, session(server) as two:
                snapshot = await api.snapshot()
                plan = await api.plan_terminate([found(snapshot, each).id for each in (one, two)])
                is_cancelled = await CancelledAt(api.run(plan), number).is_cancelled()
                assert not unconfirmed(audit), f"cancelled at await {number}"
                ended = {each["pid"] for each in audited(audit) if each["outcome"] == Outcome.TERMINATED}
                for each, lived in zip((one, two), await alive([one, two]), strict=True):
                    assert lived is (each.get_server_pid() not in ended), f"cancelled at await {number}"
    told = {each.outcome for each in audit_lines(audit) if each.event == "outcome"}
    assert told == {Outcome.TERMINATED, Outcome.FAILED}


async def test_a_cancelled_run_confirms_what_it_signalled(server: ThrowawayServer, audit: Path) -> None:
    """It is cancelled while a session that hangs is waited for, more than once."""
    async with session(server) as one, opened(server, audit) as api:
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        with stopped(one.get_server_pid()):
            running = asyncio.ensure_future(api.run(plan))
            await confirming(server, "api")
            running.cancel()
            await asyncio.sleep(0)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert [each.outcome for each in audit_lines(audit)] == [None, Outcome.TERMINATED]


async def test_the_end_waits_for_the_runs_of_other_tasks(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as one:
        async with opened(server, audit) as api:
            plan = await api.plan_terminate([found(await api.snapshot(), one).id])
            with stopped(one.get_server_pid()):
                running = asyncio.ensure_future(api.run(plan))
                await wait_until(lambda: audited(audit))
        assert outcomes(await running) == [Outcome.TERMINATED]
    assert not unconfirmed(audit)


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_loop_that_ends_leaves_no_attempt_open(
    server: ThrowawayServer, audit: Path, hangs: bool
) -> None:
    """`asyncio.run` cancels every task there is, those of the driver and of the reaper among them."""
    async with session(server) as one:

        async def act() -> None:
            async with opened(server, audit) as api:
                plan = await api.plan_terminate([found(await api.snapshot(), one).id])
                await api.run(plan)

        async def main() -> None:
            acting = asyncio.ensure_future(act())
            await wait_until(lambda: audited(audit), complaint=f"no attempt of {acting}")

        def end() -> None:
            if not hangs:
                asyncio.run(main())
                return
            with stopped(one.get_server_pid()):
                asyncio.run(main())

        await asyncio.to_thread(end)
    assert len(audit_lines(audit)) == 2
    assert not unconfirmed(audit)
    await no_session_of_the_api(server)


async def test_a_watch_cancelled_anywhere_leaves_nothing(small: ThrowawayServer, audit: Path) -> None:
    """Through its first sweep: each attempt has its outcome, and pgtop's key is free for the next one."""

    async def until_swept(api: Server) -> None:
        async with aclosing(api.watch()) as events:
            async for event in events:
                if isinstance(event, Swept):
                    return

    async with opened(small, audit, **WATCHED) as api:
        number, is_cancelled = 1, True
        own_pid = (await api.snapshot()).own_pid
        marks = await fetch_value(small, KEYS, own_pid)
        while is_cancelled:
            async with stale(small, 1, application_name="leak"):
                is_cancelled = await CancelledAt(until_swept(api), number).is_cancelled()
            assert not unconfirmed(audit), f"cancelled at await {number}"
            assert await fetch_value(small, KEYS, own_pid) == marks, f"cancelled at await {number}"
            number += 1 + number // 4
        assert (await api.snapshot()).own_pid == own_pid
    assert Outcome.TERMINATED in {each.outcome for each in audit_lines(audit)}


async def test_a_watch_left_early_leaves_nothing(small: ThrowawayServer, audit: Path) -> None:
    """By a plain `break`; another watch can begin at once, and tasks are as many as before."""
    async with opened(small, audit, **WATCHED) as api:
        own_pid = (await api.snapshot()).own_pid
        marks = await fetch_value(small, KEYS, own_pid)
        before = len(asyncio.all_tasks())
        for _ in range(2):
            async for event in api.watch():
                assert event
                break
            await wait_until(lambda: len(asyncio.all_tasks()) == before)
            assert await fetch_value(small, KEYS, own_pid) == marks
    await no_session_of_the_api(small)


async def test_the_end_ends_the_watch_of_another_task(small: ThrowawayServer, audit: Path) -> None:
    async def follow(api: Server) -> None:
        async for event in api.watch():
            started.add(type(event))

    started: set[type] = set()
    async with opened(small, audit, **{**WATCHED, "interval_seconds": 3600.0}) as api:
        following = asyncio.ensure_future(follow(api))
        await wait_until(lambda: started)
    with pytest.raises(Exception, match="not open"):
        await following
    await no_session_of_the_api(small)


async def test_a_cancelled_block_still_gives_the_connection_back(
    server: ThrowawayServer, audit: Path
) -> None:
    async def stay() -> None:
        async with opened(server, audit) as api:
            await api.snapshot()
            inside.set()
            await asyncio.Event().wait()

    inside = asyncio.Event()
    staying = asyncio.ensure_future(stay())
    await inside.wait()
    staying.cancel()
    with suppress(asyncio.CancelledError):
        await staying
    assert staying.cancelled()
    await no_session_of_the_api(server)


async def test_a_timeout_around_a_run_is_a_timeout(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as one, opened(server, audit) as api:
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        with stopped(one.get_server_pid()), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await api.run(plan)
    assert not unconfirmed(audit)
    async with session(server) as other:
        assert await lives(other)
