"""The facts beside the poll: each is asked for at its own pace."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.diagnosis_facts import BLOCKERS_EVERY_SECONDS, KnownFacts
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe
from tests.servers import execute, session, sessions, wait_until


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

        await execute(server, "CREATE TABLE IF NOT EXISTS queued (id int)")
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(session(server))
            await root.execute("BEGIN; LOCK TABLE queued")
            crowd = await stack.enter_async_context(sessions(server, 20))
            queued: list[asyncio.Future[str]] = []

            def join(connections: list[asyncpg.Connection]) -> None:
                queued.extend(asyncio.ensure_future(each.execute("TABLE queued")) for each in connections)

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
