"""The facts beside a poll, on a real server: they are not told of a moment that is over."""

import asyncio
from contextlib import AsyncExitStack

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.scene import NOTHING_BLOCKS
from pgtop.postgres.diagnosis_facts import BLOCKERS_AGAIN_SECONDS, KnownFacts
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import sessions, wait_until
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
