"""The facts beside a poll, on a real server: each at its own pace, and none of a moment that is over."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.scene import NOTHING_BLOCKS
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.diagnosis_facts import BLOCKERS_AGAIN_SECONDS, BLOCKERS_EVERY_SECONDS, KnownFacts
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.targets import connection_on, target_of


async def test_blockers_that_let_go_are_asked_for_anew(server_factory: ServerFactory) -> None:
    """The first root leaves, and the one that comes next holds the lock: neither is taken for the other."""
    server = server_factory({"max_connections": "43"})
    now = 0.0
    async with AsyncExitStack() as stack:
        own_connection = await stack.enter_async_context(connection_on(target_of(server)))
        first, second = await stack.enter_async_context(sessions(server, 2))
        crowd = await stack.enter_async_context(sessions(server, 6))
        probe, known = Probe(own_connection), KnownFacts(own_connection, clock=lambda: now)

        async def waiting(number: int) -> Snapshot:
            async def enough() -> Snapshot | None:
                seen = await probe.poll()
                assert isinstance(seen, Snapshot)
                return seen if seen.waiting_on_locks == number else None

            return await wait_until(enough, 20)

        await first.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        queued = [asyncio.ensure_future(second.execute("BEGIN; SELECT pg_advisory_xact_lock(1)"))]
        await waiting(1)
        shared = "SELECT pg_advisory_xact_lock_shared(1)"
        queued += [asyncio.ensure_future(each.execute(shared)) for each in crowd]
        seen = await waiting(7)
        await known.ask(seen)
        told = known.of(seen, 0.8, None).blocked_by
        assert told[second.get_server_pid()] == {first.get_server_pid()}
        await first.execute("COMMIT")
        seen = await waiting(6)
        assert known.of(seen, 0.8, None).blocked_by == NOTHING_BLOCKS
        now += BLOCKERS_AGAIN_SECONDS
        assert await known.ask(seen)
        assert set(known.of(seen, 0.8, None).blocked_by.values()) == {frozenset({second.get_server_pid()})}
        await second.execute("COMMIT")
        await asyncio.gather(*queued)


async def test_a_queue_is_asked_about_again_once_it_has_doubled(server: ThrowawayServer) -> None:
    """Until then at most each ten seconds: one more waiter does not change what bars the others."""
    now = 100.0
    own = OwnConnection(resolve(server.uri(), {}, {}), "test")
    await enter(own, 0.0, lambda _: None)
    try:
        probe, facts = Probe(own), KnownFacts(own, clock=lambda: now)

        async def known_once(number: int) -> int:
            """Ask once that many wait; return of how many it is known then what blocks them."""

            async def they_wait() -> bool:
                return (await probe.snapshot()).waiting_on_locks == number

            await wait_until(they_wait)
            snapshot = await probe.snapshot()
            await facts.ask(snapshot)
            return len(facts.of(snapshot, 0.8, None).blocked_by)

        await execute(server, "CREATE TABLE IF NOT EXISTS crowded (id int)")
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(session(server))
            await root.execute("BEGIN; LOCK TABLE crowded")
            crowd = await stack.enter_async_context(sessions(server, 20))
            queued: list[asyncio.Future[str]] = []

            def join(connections: list[asyncpg.Connection]) -> None:
                queued.extend(asyncio.ensure_future(each.execute("TABLE crowded")) for each in connections)

            join(crowd[:9])
            assert await known_once(9) == 9
            join(crowd[9:10])
            assert await known_once(10) == 9
            join(crowd[10:19])
            assert await known_once(19) == 19
            join(crowd[19:])
            now += BLOCKERS_EVERY_SECONDS
            assert await known_once(20) == 20
            await root.execute("ROLLBACK")
            await asyncio.gather(*queued)
    finally:
        await own.release()
