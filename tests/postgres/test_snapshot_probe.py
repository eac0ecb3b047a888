"""One poll: every client backend as it is, on every version, for roles that see all and others."""

import asyncio
from pathlib import Path

import asyncpg

from pgtop.core.activity import ACTIVE, IDLE, Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Outcome, ReapPolicy
from pgtop.core.policy import plan_sweep
from pgtop.demo.server import ThrowawayServer
from pgtop.poller import Poller
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe, decode
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.raw_statements import ENCODINGS, speaking_raw
from tests.support.reaping import as_role, face_on, found
from tests.support.targets import connection_on, stopped, target_of


async def seen_by(probe: Probe, *connections: asyncpg.Connection) -> Snapshot:
    """A snapshot in which all these sessions are at rest."""

    async def look() -> Snapshot | None:
        snapshot = await probe.snapshot()
        resting = all(found(snapshot, each).state != ACTIVE for each in connections)
        return snapshot if resting else None

    snapshot = await wait_until(look)
    assert isinstance(snapshot, Snapshot)
    return snapshot


async def test_counts_are_what_was_opened(every_server: ThrowawayServer) -> None:
    async with connection_on(target_of(every_server)) as own_connection, sessions(every_server, 5) as opened:
        await opened[0].execute("BEGIN; SELECT 1")
        sleeping = asyncio.ensure_future(opened[1].fetchval("SELECT pg_sleep(30)"))
        probe = Probe(own_connection)
        await wait_until(lambda: state_of(probe, opened[1], ACTIVE))

        async def of_six() -> Snapshot | None:
            seen = await seen_by(probe, opened[0], *opened[2:])
            return seen if seen.counts.total == 6 else None  # an earlier test's may still be leaving

        snapshot = await wait_until(of_six)
        counts = snapshot.counts
        assert (counts.total, counts.idle, counts.active) == (6, 3, 2)
        assert counts.idle_in_transaction == 1
        assert counts.exact
        assert snapshot.own_pid == own_connection.own_pid
        assert snapshot.slots == 97
        assert snapshot.server.version_num // 10_000 == every_server.version
        assert snapshot.server.identity.system_identifier
        sleeping.cancel()


async def state_of(probe: Probe, connection: asyncpg.Connection, state: str) -> bool:
    return found(await probe.snapshot(), connection).state == state


async def test_hidden_states_are_an_upper_bound_and_never_no_idle(every_server: ThrowawayServer) -> None:
    role = await create_role(every_server)
    target = as_role(role)
    async with connection_on(target) as own_connection, sessions(every_server, 3):
        snapshot = await Probe(own_connection).snapshot()
        assert snapshot.counts.total >= 4
        assert snapshot.counts.hidden >= 3
        assert not snapshot.counts.exact
        assert plan_sweep(snapshot, ReapPolicy(idle_after_seconds=0)).refusal


async def test_hostile_text_arrives_as_it_is(every_server: ThrowawayServer) -> None:
    text = "\x1b[2J \u202e [@click=app.quit] \U0001f600 " + "x" * 10_000
    async with connection_on(target_of(every_server)) as own_connection, session(every_server) as one:
        await one.fetchval(f"SELECT $q${text}$q$")
        probe = Probe(own_connection)
        backend = found(await seen_by(probe, one), one)
        assert backend.query is not None
        assert backend.query == f"SELECT $q${text}"[:200]
        detail = await backend_detail(own_connection, backend.id)
        assert detail is not None
        assert detail.query.startswith(f"SELECT $q${text}"[:900])


async def test_bytes_that_are_not_text_blind_neither_poll_nor_reaper(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Statements of a database without an encoding, seen from databases in every kind of encoding."""
    server = server_factory()
    for name, encoding in list(ENCODINGS.items())[1:]:
        await execute(
            server,
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        )
    statements = [b"SELECT 1 -- \x81\xe9", b"SELECT '\xe9'", b"SELECT 1 --" + b"\xe9\x81\xff" * 100 + b"\xe9"]
    for name in ENCODINGS:
        target = resolve(server.uri(database=name), {}, {"HOME": "/nonexistent"})
        async with face_on(server, tmp_path / name, target=target) as face:
            for statement in statements:
                async with speaking_raw(server, statement) as pid:
                    snapshot = await face.probe.poll()
                    assert isinstance(snapshot, Snapshot), (name, statement, snapshot)
                    backend = next(each for each in snapshot.backends if each.pid == pid)
                    assert backend.query is not None
                    assert backend.query.startswith("SELECT ")
                    assert len(backend.query) <= 200
                    plan = await face.reaper.plan_terminate(snapshot, ReapPolicy(), [backend.id])
                    report = await face.run(plan)
                    assert [each.outcome for each in report.results] == [Outcome.TERMINATED]
                    assert face.lines()[-1]["query"].startswith("SELECT ")
            row = await face.own_connection.fetchrow("SHOW client_encoding")
            assert row is not None
            assert row[0] == "UTF8"


def test_an_answer_that_is_not_text_is_read_all_the_same() -> None:
    poll = decode(
        b'{"now":1,"in_recovery":false,"postmaster_start":1,"own_pid":1,"privileges":{"role":"r",'
        b'"is_superuser":false,"may_signal":true},"backends":[[1,2,3,null,4,"idle","a\xe9",'
        b'"u","d",null,-1,null,null,false,"q"]]}'
    )
    assert poll.backends[0].application_name == "a\ufffd"


async def test_a_listener_is_known_for_the_rest_of_its_life(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection, session(server) as one:
        await one.execute("  listen jobs")
        probe = Probe(own_connection)
        identity = found(await seen_by(probe, one), one).id
        await one.execute("SELECT 'keepalive'")
        assert identity in (await seen_by(probe, one)).listeners


async def test_a_lost_connection_is_taken_again(server: ThrowawayServer) -> None:
    own_connection = OwnConnection(target_of(server), "test")
    try:
        poller = Poller(Probe(own_connection), 0.05)
        first = await poller.next()
        assert isinstance(first, Snapshot)
        await execute(server, f"SELECT pg_terminate_backend({own_connection.own_pid})")

        async def back() -> bool:
            poller.wake()
            result = await poller.next()
            return isinstance(result, Snapshot) and result.own_pid != first.own_pid

        await wait_until(back)
    finally:
        await own_connection.release()


async def test_a_server_that_is_down_is_an_outage(server_factory) -> None:
    server = server_factory()
    own_connection = OwnConnection(target_of(server), "test")
    try:
        probe = Probe(own_connection)
        assert isinstance(await probe.poll(), Snapshot)
        server.stop()
        outage = await probe.poll()
        assert isinstance(outage, Outage)
        server.start()
        await wait_until(lambda: answers(probe))
    finally:
        await own_connection.release()


async def answers(probe: Probe) -> bool:
    return isinstance(await probe.poll(), Snapshot)


async def test_a_restart_makes_it_another_server(server_factory, tmp_path: Path) -> None:
    server = server_factory()
    own_connection = OwnConnection(target_of(server), "test")
    try:
        probe = Probe(own_connection)
        before = await probe.poll()
        server.restart()
        after = await wait_until(lambda: snapshot_of(probe))
        assert isinstance(before, Snapshot)
        assert isinstance(after, Snapshot)
        first, second = before.server.identity, after.server.identity
        assert first.system_identifier == second.system_identifier
        assert first != second
    finally:
        await own_connection.release()


async def snapshot_of(probe: Probe) -> Snapshot | None:
    result = await probe.poll()
    return result if isinstance(result, Snapshot) else None


async def test_a_chain_of_waiting_sessions_is_told(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection, sessions(server, 2) as (holder, waiter):
        await holder.execute("BEGIN; SELECT pg_advisory_xact_lock(4711)")
        stuck = asyncio.ensure_future(waiter.execute("SELECT pg_advisory_xact_lock(4711)"))
        probe = Probe(own_connection)
        await wait_until(lambda: waits(probe))
        detail = await backend_detail(own_connection, found(await probe.snapshot(), waiter).id)
        assert detail is not None
        pids = {each.backend.pid: each.blocked_by for each in detail.queue.sessions}
        assert pids == {
            holder.get_server_pid(): frozenset(),
            waiter.get_server_pid(): frozenset({holder.get_server_pid()}),
        }
        assert any(not lock.granted for lock in detail.locks)
        await holder.execute("COMMIT")
        await stuck
        assert found(await seen_by(probe, waiter), waiter).state == IDLE


async def waits(probe: Probe) -> bool:
    return (await probe.snapshot()).waiting_on_locks == 1


async def test_waking_it_during_a_poll_makes_it_poll_once_more(server: ThrowawayServer) -> None:
    """What changed since then is to be seen at once, and not an interval later."""
    async with connection_on(target_of(server)) as own_connection:
        poller = Poller(Probe(own_connection), 3600)
        await poller.next()
        poller.wake()
        with stopped(own_connection.own_pid):
            polling = asyncio.ensure_future(poller.next())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            poller.wake()
        async with asyncio.timeout(20):
            assert isinstance(await polling, Snapshot)
            assert isinstance(await poller.next(), Snapshot)
