"""Traps that only a real server can set: what is not a client, what hides its age, what never logs in."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import asyncpg
import pytest

from pgtop.commands.diagnose.run import Diagnosed, examine
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.demo import schema
from pgtop.demo.clients import hosts, one_of
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.demo.workload import set_up
from pgtop.postgres.conninfo.resolve import resolve
from tests.conftest import ServerFactory
from tests.core.diagnosis.real_incidents import LEAK
from tests.core.diagnosis.stage import FASTER, SETTINGS, Stage, parameters_of
from tests.servers import create_role, session, sessions, wait_until
from tests.support.filling import connect_silently, stalled_in_authentication, stalled_login
from tests.support.pooler import pooler

TWENTY = {"max_connections": "23", "superuser_reserved_connections": "3"}

EAGER_VACUUM = {"max_connections": "43", "autovacuum_freeze_max_age": "100000", "autovacuum_naptime": "1s"}
"""Settings by which autovacuum soon has to prevent a wraparound."""

SLOW_VACUUM = """
ALTER TABLE orders SET (
    autovacuum_enabled = off, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
INSERT INTO orders (customer_id, total_cents, created_at) SELECT 1, n, now() FROM generate_series(1, 20000) n
"""
"""This table is left alone until then, and then it takes a minute."""

BURN = """
DO $$ BEGIN FOR n IN 1..100100 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
"""
"""Spends as many transaction ids as make a table old."""


def blames(findings: tuple[Finding, ...]) -> set[Kind]:
    """The kinds of the findings that blame somebody."""
    return {each.kind for each in findings if each.grade is not Grade.MIXED}


async def diagnosed(server: ThrowawayServer, watch_seconds: float = 0.0, faster: float = 1.0) -> Diagnosed:
    """What `pgtop diagnose` finds, as the superuser."""
    target = resolve(server.uri(), {}, {})
    return await examine(target, 0.8, watch_seconds, thresholds=Thresholds(compression=faster))


async def test_autovacuum_is_told_as_the_root_of_a_queue(server_factory: ServerFactory) -> None:
    """One that prevents a wraparound does not give way, as others do. It is not a client: not blamed."""
    server = server_factory(EAGER_VACUUM)
    stage = Stage(server)
    await set_up(parameters_of(server))
    await stage.ask(SLOW_VACUUM, BURN)
    holds = """SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
        WHERE a.backend_type = 'autovacuum worker' AND l.relation = 'orders'::regclass
        AND a.query LIKE '%wraparound%'"""
    root = await wait_until(lambda: stage.ask(holds), limit=40)
    try:
        head = await stage.open("migration", "batch")
        stage.spawn(head.execute(schema.MIGRATION))
        for nth in range(8):
            reader = await stage.open("web", "web", hosts(2)[nth % 2])
            stage.spawn(reader.execute(one_of(schema.ORDERS)))
        waiting = "SELECT count(*) >= 9 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await wait_until(lambda: stage.ask(waiting), limit=20)
        (found,) = (await diagnosed(server)).findings
        assert (found.kind, found.slots) == (Kind.LOCK_QUEUE, 9)
        assert f"8 wait behind pid {head.get_server_pid()}" in found.sentence
        assert f"pid {root} (not a client: autovacuum" in found.sentence
        assert root not in {each.pid for each in found.backends}
    finally:
        await stage.end()


async def test_a_keepalive_hides_a_leak_only_from_one_look(server_factory: ServerFactory) -> None:
    """Each of its sessions was used just now; whoever watches sees them come and none go."""
    server = server_factory(SETTINGS)
    stage = Stage(server)
    await set_up(parameters_of(server))
    await stage.settle()

    async def leak() -> None:
        while True:
            connection = await stage.open("mailer", "worker", "127.0.0.2")
            await connection.execute(LEAK[0])
            stage.spawn(stage.repeat(lambda one=connection: one.execute("SELECT 1"), 20, 40))
            await stage.rest(12)

    try:
        await stage.shop(8)
        stage.spawn(leak())
        await wait_until(lambda: _is_full(stage), limit=20)
        assert not blames((await diagnosed(server, faster=FASTER)).findings) - {Kind.LEAK}
        # Real time passes: the rule counts who comes and goes in it.
        watched = await diagnosed(server, 2.5, FASTER)
        assert blames(watched.findings) == {Kind.LEAK}, [each.sentence for each in watched.findings]
    finally:
        await stage.end()


async def _is_full(stage: Stage) -> bool:
    return await stage.sessions() >= 26


async def test_a_pooler_s_own_sessions_are_not_a_leak(server_factory: ServerFactory) -> None:
    """All come from one address, and were opened as the load grew; the last ones are used first."""
    server = server_factory(TWENTY)
    with pooler(server, "default_pool_size = 17\nserver_reset_query = DISCARD ALL") as port:
        clients = [
            await asyncpg.connect(host=HOST, port=port, user="postgres", ssl=False, statement_cache_size=0)
            for _ in range(17)
        ]
        try:
            busy = [asyncio.ensure_future(each.execute("SELECT pg_sleep(0.4)")) for each in clients]
            await asyncio.gather(*busy)
            for _ in range(40):  # the load has fallen: one session is enough for it
                await clients[0].execute("SELECT 1")
            assert (await diagnosed(server)).snapshot.taken >= 17
            for faster in (1.0, FASTER, 1000.0):
                assert blames((await diagnosed(server, faster=faster)).findings) <= {Kind.SURGE}
            assert Kind.SURGE not in blames((await diagnosed(server, faster=1000.0)).findings)
        finally:
            for each in clients:
                each.terminate()


@contextmanager
def silent(server: ThrowawayServer, number: int) -> Iterator[None]:
    """Clients that connect and say nothing."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(connect_silently(server.port))
        yield


@pytest.mark.parametrize("healthy", [0, 4, 9])
async def test_logins_that_stall_are_told(server_factory: ServerFactory, healthy: int) -> None:
    """Whatever logged in before them: they hold the slots that it does not."""
    server = server_factory(TWENTY, auth="scram-sha-256")
    role, other = await create_role(server), await create_role(server)
    async with sessions(server, healthy, user=role.name, password=role.password, application_name="web"):
        with stalled_in_authentication(server.port, other, 20 - healthy):
            found = (await diagnosed(server)).findings
    assert found[0].kind is Kind.LOGIN_STALL, [each.sentence for each in found]
    assert blames(found) == {Kind.LOGIN_STALL}


async def test_logins_that_hang_are_told_before_it_is_full(server_factory: ServerFactory) -> None:
    """While a few slots are free nobody is refused yet, and the applications are not to blame."""
    server = server_factory(TWENTY, auth="scram-sha-256")
    role, other = await create_role(server), await create_role(server)

    async def is_told() -> bool:
        found = (await diagnosed(server)).findings
        return bool(found) and found[0].kind is Kind.LOGIN_STALL and blames(found) == {Kind.LOGIN_STALL}

    async with sessions(server, 5, user=role.name, password=role.password, application_name="web"):
        with stalled_in_authentication(server.port, other, 12):
            await wait_until(is_told)


async def test_clients_that_say_nothing_are_not_a_stall(server_factory: ServerFactory) -> None:
    """Those that have not said who they are hold no slot yet, or too few to refuse anybody."""
    server = server_factory(TWENTY)
    async with sessions(server, 4, application_name="web"):
        with silent(server, 12):
            assert not blames((await diagnosed(server)).findings)


async def test_a_full_server_is_not_a_stall(server_factory: ServerFactory) -> None:
    """Its sessions hold the slots, and one login that stalls beside them changes nothing."""
    server = server_factory(TWENTY)
    role = await create_role(server)
    async with sessions(server, 20, user=role.name, application_name="web"):
        with stalled_login(server.port, user=role.name):
            found = (await diagnosed(server)).findings
    assert Kind.LOGIN_STALL not in blames(found)
    assert found


async def test_parallel_workers_are_not_counted(server_factory: ServerFactory) -> None:
    """Eight workers beside two clients, all of them active: nothing to say."""
    server = server_factory({**TWENTY, "max_parallel_workers_per_gather": "4", "max_parallel_workers": "8"})
    async with session(server) as admin:
        await admin.execute(
            """CREATE TABLE big AS SELECT n AS id FROM generate_series(1, 200000) n; ANALYZE big;
            CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
            $$ BEGIN IF $1 % 1000 = 0 THEN PERFORM pg_sleep(0.2); END IF; RETURN $1; END $$"""
        )
        options = {
            "parallel_setup_cost": "0",
            "parallel_tuple_cost": "0",
            "min_parallel_table_scan_size": "0",
        }
        async with sessions(server, 2, application_name="olap", **options) as clients:
            running = [asyncio.ensure_future(each.fetch("SELECT max(slow(id)) FROM big")) for each in clients]
            workers = "SELECT count(*) > 3 FROM pg_stat_activity WHERE backend_type = 'parallel worker'"
            await wait_until(lambda: admin.fetchval(workers), limit=20)
            found = await diagnosed(server, faster=1000.0)
            assert found.findings == ()
            assert found.snapshot.taken <= 4
            for each in clients:
                each.terminate()
            await asyncio.gather(*running, return_exceptions=True)
