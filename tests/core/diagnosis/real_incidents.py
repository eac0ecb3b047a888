"""Incidents of real sessions, as applications bring them about, at least three for each kind.

They are written from what applications do, in the seconds of real life, and know no threshold.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import NamedTuple, cast

import asyncpg
import psycopg

from pgtop.core.diagnosis.findings import Kind
from pgtop.demo import schema
from pgtop.demo.clients import LoopOfHost, between, hosts, one_of
from pgtop.demo.scenarios.tools import NAMES
from tests.core.diagnosis.stage import FASTER, Psycopg, Stage
from tests.servers import wait_until

ORDER = "SELECT id, state FROM orders WHERE id = %s"
LEAK = (
    "SELECT id, kind FROM jobs WHERE state = 'queued' ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED",
    "UPDATE jobs SET attempts = attempts + 1 WHERE id = (SELECT 2 + floor(random() * 290)::int)",
    "SELECT count(*) FROM jobs WHERE state = 'queued' AND run_at < now()",
)
"""The statements of which a leaked session ran one before it was forgotten."""


class Incident(NamedTuple):
    """A scene with its truth."""

    kind: Kind
    play: Callable[[Stage], Awaitable[None]]
    """It returns once the incident is there; its clients go on."""
    culprit: str | None = None
    """The application to blame; None if it is not one."""
    faster: float = FASTER
    also: frozenset[Kind] = frozenset()
    """The kinds that are true beside it."""


# Leaks


async def forgets_after_each_job(stage: Stage) -> None:
    await stage.shop()
    places = cycle(hosts(2))
    for _ in range(28):
        connection = await stage.open("mailer", "worker", next(places))
        await connection.execute(one_of(LEAK))
        await stage.rest(6, 15)
    stage.spawn(_go_on_leaking(stage))


async def _go_on_leaking(stage: Stage) -> None:
    while True:
        connection = await stage.open("mailer", "worker", hosts(1)[0])
        await connection.execute(one_of(LEAK))
        await stage.rest(6, 15)


async def numbers_its_jobs(stage: Stage) -> None:
    """Each job logs in under a name of its own, and forgets its session."""
    await stage.shop()
    for nth in range(30):
        job = await stage.open(f"nightly-{4711 + 17 * nth}", "worker", hosts(1)[0])
        await job.execute(one_of(LEAK))
        await stage.rest(6, 15)


async def loses_out_of_its_pool(stage: Stage) -> None:
    """An error path that does not give the connection back."""
    await stage.shop()
    free: list[Psycopg] = []
    lost = 0
    while lost < 26:
        for nth in range(7):
            connection = free.pop() if free else await stage.open_psycopg("crm", "api", "127.0.0.2")
            await connection.execute(ORDER, (nth,))
            if nth == 6:
                lost += 1  # it raised, and nobody put the connection back
            else:
                free.append(connection)
            await stage.rest(1, 2)


async def is_scraped_without_closing(stage: Stage) -> None:
    await stage.shop()
    for _ in range(27):
        connection = await stage.open("postgres_exporter", "reporting", "127.0.0.9")
        await connection.fetch("SELECT datname, numbackends FROM pg_stat_database")
        await stage.rest(10)


# Pools that are too large together


async def has_pools_on_many_hosts(stage: Stage) -> None:
    """The driver's own pool, which hands out last what was given back last."""
    pools = stage.driver_pools
    for host in hosts(8):
        pool = await asyncpg.create_pool(
            host=stage.clients.parameters.host,
            port=stage.server.port,
            user="web",
            database=schema.DATABASE,
            server_settings={"application_name": "catalog"},
            ssl=False,
            min_size=4,
            max_size=4,
            loop=cast("asyncio.AbstractEventLoop", LoopOfHost(host)),
        )
        stage.spawn(stage.repeat(lambda pool=pool: pool.execute(one_of(schema.WEB)), 3, 9))
        pools.append(pool)
    await stage.rest(90)


async def has_a_connection_for_each_worker(stage: Stage) -> None:
    """A prefork server whose processes keep their connections, on four hosts."""
    await stage.shop(3)
    for host in hosts(4):
        for _ in range(8):
            worker = await stage.open_psycopg("backoffice", "web", host)
            stage.spawn(_serve_now_and_then(stage, worker))
    await stage.rest(150)


async def _serve_now_and_then(stage: Stage, worker: Psycopg) -> None:
    await stage.rest(0, 60)
    while True:
        await worker.execute(ORDER, (7,))
        await stage.rest(30, 120)


async def keeps_its_pools_alive(stage: Stage) -> None:
    await stage.shop(3)
    pools = await stage.pools("ledger", hosts(5), 6, every=20, last_first=True)
    for pool in pools:
        stage.spawn(_keep_alive(stage, pool.take))
    await stage.rest(120)


async def _keep_alive(stage: Stage, take: Callable[[Callable[..., Awaitable[None]]], bool]) -> None:
    async def check(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT 1")

    while True:
        take(check)
        await stage.rest(20)


# Silent clients


async def loses_two_of_four_hosts(stage: Stage) -> None:
    await stage.shop(3)
    pools = await stage.pools("search", hosts(4), 8, every=1)
    await stage.rest(180)
    for pool in pools[:2]:
        pool.hang()
    await stage.rest(260)


async def keeps_its_old_release(stage: Stage) -> None:
    old = [
        stage.spawn(_request_by_request(stage, await stage.open_psycopg("checkout", "web", host)))
        for host in hosts(2)
        for _ in range(8)
    ]
    await stage.rest(150)
    for host in hosts(2, release=1):
        for _ in range(9):
            stage.spawn(_request_by_request(stage, await stage.open_psycopg("checkout", "web", host)))
    for each in old:
        each.cancel()
    await stage.rest(250)


async def _request_by_request(stage: Stage, connection: Psycopg) -> None:
    while True:
        await connection.execute(ORDER, (3,))
        await stage.rest(4, 12)


async def replaces_crashed_containers(stage: Stage) -> None:
    pods = await stage.pools("media", hosts(5), 4, every=2)
    await stage.rest(170)
    for pod in pods[:3]:
        pod.hang()
    await stage.rest(15)
    await stage.pools("media", hosts(3, release=1), 4, every=2)
    await stage.rest(250)


# Surges


async def opens_a_session_for_each_request(stage: Stage) -> None:
    await stage.shop(3)
    for nth in range(33):
        stage.spawn(_answer(stage, hosts(3)[nth % 3]))
    await stage.rest(75)


async def _answer(stage: Stage, host: str) -> None:
    while True:
        try:
            connection = await stage.open_psycopg("php", "web", host)
        except psycopg.OperationalError:
            await stage.rest(1, 3)  # full: this request failed, and the next one comes
            continue
        for _ in range(3):
            await connection.execute(ORDER, (5,))
            await stage.rest(2, 10)
        await connection.close()


async def scales_out(stage: Stage) -> None:
    await stage.pools("gateway", hosts(2), 4, every=1)
    await stage.rest(340)
    await stage.pools("gateway", hosts(6, release=1), 4, every=1)
    await stage.rest(60)


async def runs_as_functions(stage: Stage) -> None:
    await stage.shop(4)
    for host in hosts(30):
        function = await stage.open("resize", "api", host)
        stage.spawn(stage.repeat(lambda one=function: one.execute(one_of(schema.API)), 3, 15))
    await stage.rest(30)


async def reconnects_after_a_restart(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.restart)
    await stage.pools("orders", hosts(3), 11, every=0.7)
    await stage.rest(45)


# Idle in transaction


async def calls_a_service_in_its_transaction(stage: Stage) -> None:
    await stage.shop(3)

    async def pay(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.execute(schema.PAYMENT)
            await stage.rest(50, 140)

    for pool in await stage.pools("payments", hosts(3), 10, role="api", every=600):
        for _ in range(9):
            pool.take(pay)
            await stage.rest(1)
    await stage.rest(20)


async def never_commits_a_read(stage: Stage) -> None:
    """psycopg without autocommit: the first SELECT begins a transaction."""
    await stage.shop(3)
    for host in hosts(2):
        for nth in range(14):
            connection = await stage.open_psycopg("jobs", "worker", host, autocommit=False)
            await connection.execute(ORDER, (nth,))
    await stage.rest(40)


async def does_not_roll_back_after_errors(stage: Stage) -> None:
    await stage.shop(5)
    for nth in range(28):
        connection = await stage.open_psycopg("import", "batch", hosts(3)[nth % 3], autocommit=False)
        try:
            await connection.execute("SELECT total FROM invoices WHERE id = 7")
        except psycopg.errors.UndefinedTable:
            continue  # it logs the error and waits for the next file
    await stage.rest(60)


# Slow statements


async def searches_without_an_index(stage: Stage) -> None:
    await stage.shop(4)

    async def search(connection: asyncpg.Connection) -> None:
        price = round(between(100, 9000))
        await connection.execute(f"SELECT id FROM orders, {stage.sleeping(240)} WHERE total_cents = {price}")

    for pool in await stage.pools("finder", hosts(3), 10, role="api", every=600):
        for _ in range(9):
            pool.take(search)
            await stage.rest(1, 2)
    await stage.rest(25)


async def tries_again_beside_the_first_try(stage: Stage) -> None:
    """Each statement has a comment with the request's own number in it."""
    await stage.shop(3)
    for nth in range(30):
        connection = await stage.open_psycopg("feed", "web", hosts(2)[nth % 2])
        text = f"/* request {nth:x} */ SELECT count(*)\n FROM orders, {stage.sleeping(300)} WHERE id > {nth}"
        stage.spawn(connection.execute(text.encode()))  # type: ignore[arg-type]
    await stage.rest(30)


async def hangs_in_some_of_its_sessions(stage: Stage) -> None:
    """All threads of two hosts wait for slow calls: their other sessions rest, and the hosts are alive."""
    pools = await stage.pools("tickets", hosts(3), 11, every=0.8)
    await stage.rest(200)

    async def call(connection: asyncpg.Connection) -> None:
        await connection.execute(f"SELECT count(*) FROM jobs, {stage.sleeping(1800)} WHERE state = 'queued'")

    for pool in pools[:2]:
        for _ in range(5):
            pool.take(call)
        pool.hang()
    await stage.rest(260)


async def does_not_read_its_exports(stage: Stage) -> None:
    """The server waits for clients that have stopped reading."""
    await stage.shop(16)
    rows = "COPY (SELECT repeat('x', 20000) FROM generate_series(1, 4000)) TO STDOUT"
    for nth in range(14):
        connection = await stage.open_psycopg("export", "reporting", hosts(2)[nth % 2])
        stage.spawn(_read_a_little(connection, rows))
    stuck = "SELECT count(*) >= 14 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"
    await wait_until(lambda: stage.ask(stuck), limit=20)
    await stage.rest(20)


async def _read_a_little(connection: Psycopg, statement: str) -> None:
    async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:  # type: ignore[arg-type]
        await copy.read()
        await asyncio.Event().wait()


# People's tools


async def leaves_its_tools_open(stage: Stage) -> None:
    await stage.shop(2)
    for nth, host in enumerate(hosts(11)):
        for name in NAMES[nth % len(NAMES)]:
            connection = await stage.open(name, schema.PEOPLE[nth % 4], host)
            await connection.fetch(schema.LOOK)
    await stage.rest(2200)


async def goes_home_with_psql_open(stage: Stage) -> None:
    await stage.shop(3)
    for nth in range(30):
        connection = await stage.open_psycopg("psql", schema.PEOPLE[nth % 4], hosts(10)[nth % 10])
        await connection.execute("SELECT count(*) FROM jobs")
    await stage.rest(2400)


async def shares_a_role_for_its_tools(stage: Stage) -> None:
    await stage.pools("web", hosts(2), 6, every=60)
    for nth in range(22):
        connection = await stage.open("DataGrip 2024.1", "reporting", hosts(9, release=1)[nth % 9])
        await connection.fetch(schema.LOOK)
    await stage.rest(2600)


# Limits


async def reaches_the_limit_of_its_role(stage: Stage) -> None:
    await stage.shop(4)
    for host in hosts(2):
        for _ in range(6):
            connection = await stage.open("billing", "billing", host)
            stage.spawn(stage.repeat(lambda one=connection: one.execute(one_of(schema.ORDERS)), 1, 20))
    await stage.rest(60)


async def reaches_the_limit_of_its_database(stage: Stage) -> None:
    await stage.ask("ALTER DATABASE shop CONNECTION LIMIT 14", "SELECT 1")
    for nth in range(14):
        await stage.open_psycopg(("web", "api")[nth % 2], ("web", "api")[nth % 2], hosts(3)[nth % 3])
    await stage.rest(20)


async def leaks_up_to_the_limit(stage: Stage) -> None:
    await stage.shop(4)
    for _ in range(12):
        connection = await stage.open("invoices", "billing", "127.0.0.3")
        await connection.execute(one_of(schema.ORDERS))
        await stage.rest(10, 25)
    await stage.rest(70)


# Lock queues


async def changes_a_table_behind_a_dump(stage: Stage) -> None:
    dump = await stage.open("pg_dump", "backup")
    await dump.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE orders IN ACCESS SHARE MODE")
    stage.spawn(dump.execute(f"SELECT max(id), (SELECT {stage.sleeping(1800)}) FROM orders"))
    migration = await stage.open("migration", "batch")
    stage.spawn(migration.execute(schema.MIGRATION))
    await _waits(stage, 1)
    await stage.pools("web", hosts(3), 6, every=1, statements=schema.ORDERS)
    await _waits(stage, 15)


async def fights_for_one_row(stage: Stage) -> None:
    """A counter that all requests update, and one session that forgot to commit."""
    await stage.shop(6)
    holder = await stage.open_psycopg("counter", "api", "127.0.0.2", autocommit=False)
    await holder.execute("UPDATE products SET in_stock = in_stock - 1 WHERE id = 1")
    for nth in range(16):
        connection = await stage.open_psycopg("counter", "api", hosts(2)[nth % 2])
        stage.spawn(connection.execute("UPDATE products SET in_stock = in_stock - 1 WHERE id = 1"))
    await _waits(stage, 16)


async def waits_for_a_prepared_transaction(stage: Stage) -> None:
    one = await stage.open_psycopg("two-phase", "postgres", "127.0.0.5")
    await one.execute("BEGIN")
    await one.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
    await one.execute("PREPARE TRANSACTION 'forgotten'")
    await one.close()
    for nth in range(12):
        connection = await stage.open("worker", "worker", hosts(3)[nth % 3])
        stage.spawn(connection.execute("SELECT count(*) FROM jobs"))
    await _waits(stage, 12)


async def queues_for_an_advisory_lock(stage: Stage) -> None:
    leader = await stage.open("scheduler", "worker", "127.0.0.2")
    await leader.execute("SELECT pg_advisory_lock(42)")
    for nth in range(10):
        connection = await stage.open_psycopg("scheduler", "worker", hosts(5)[nth % 5])
        stage.spawn(connection.execute("SELECT pg_advisory_lock(42)"))
    await _waits(stage, 10)


async def _waits(stage: Stage, number: int) -> None:
    waiting = f"SELECT count(*) >= {number} FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await wait_until(lambda: stage.ask(waiting), limit=20)


# No single cause


async def is_simply_busy(stage: Stage) -> None:
    await _work_hard(stage, hosts(5), 7)


async def _work_hard(stage: Stage, places: list[str], size: int) -> None:
    for host in places:
        for _ in range(size):
            worker = await stage.open("render", "web", host)
            stage.spawn(stage.repeat(lambda one=worker: one.execute(_a_second_or_two(stage)), 0, 1))
    await stage.rest(360)  # a service that has been up for a while


def _a_second_or_two(stage: Stage) -> str:
    return f"SELECT count(*) FROM orders, {stage.sleeping(between(1, 5))} WHERE id = 12"


async def has_many_small_applications(stage: Stage) -> None:
    for nth in range(12):
        await stage.pools(f"service-{nth}", [hosts(12)[nth]], 3, every=8)
    await stage.rest(330)


async def has_several_applications_behind_one_address(stage: Stage) -> None:
    for name in ("web", "api", "batch"):
        await stage.pools(name, ["127.0.0.1"], 11, role=name, every=2)
    await stage.rest(330)


INCIDENTS = (
    Incident(Kind.LEAK, forgets_after_each_job, "mailer"),
    Incident(Kind.LEAK, numbers_its_jobs),
    Incident(Kind.LEAK, loses_out_of_its_pool, "crm"),
    Incident(Kind.LEAK, is_scraped_without_closing, "postgres_exporter"),
    Incident(Kind.POOL_ARITHMETIC, has_pools_on_many_hosts, "catalog"),
    Incident(Kind.POOL_ARITHMETIC, has_a_connection_for_each_worker, "backoffice"),
    Incident(Kind.POOL_ARITHMETIC, keeps_its_pools_alive, "ledger"),
    Incident(Kind.SILENT_CLIENTS, loses_two_of_four_hosts, "search"),
    Incident(Kind.SILENT_CLIENTS, keeps_its_old_release, "checkout"),
    Incident(Kind.SILENT_CLIENTS, replaces_crashed_containers, "media"),
    Incident(Kind.SURGE, opens_a_session_for_each_request, "php", faster=15),
    Incident(Kind.SURGE, scales_out, "gateway"),
    Incident(Kind.SURGE, runs_as_functions, "resize"),
    Incident(Kind.SURGE, reconnects_after_a_restart, "orders"),
    Incident(Kind.IDLE_IN_TRANSACTION, calls_a_service_in_its_transaction, "payments"),
    Incident(Kind.IDLE_IN_TRANSACTION, never_commits_a_read, "jobs"),
    Incident(Kind.IDLE_IN_TRANSACTION, does_not_roll_back_after_errors, "import"),
    Incident(Kind.SLOW_STATEMENTS, searches_without_an_index, "finder"),
    Incident(Kind.SLOW_STATEMENTS, tries_again_beside_the_first_try, "feed"),
    Incident(Kind.SLOW_STATEMENTS, hangs_in_some_of_its_sessions, "tickets"),
    Incident(Kind.SLOW_STATEMENTS, does_not_read_its_exports, "export"),
    Incident(Kind.TOOLS, leaves_its_tools_open, faster=1000),
    Incident(Kind.TOOLS, goes_home_with_psql_open, "psql", faster=1000),
    Incident(Kind.TOOLS, shares_a_role_for_its_tools, "DataGrip 2024.1", faster=1000),
    Incident(Kind.LIMIT, reaches_the_limit_of_its_role),
    Incident(Kind.LIMIT, reaches_the_limit_of_its_database),
    Incident(Kind.LIMIT, leaks_up_to_the_limit, "invoices"),
    Incident(Kind.LOCK_QUEUE, changes_a_table_behind_a_dump),
    Incident(Kind.LOCK_QUEUE, fights_for_one_row),  # a session of the shop may wait with them
    Incident(Kind.LOCK_QUEUE, waits_for_a_prepared_transaction, "worker"),
    Incident(Kind.LOCK_QUEUE, queues_for_an_advisory_lock, "scheduler"),
    Incident(Kind.MIXED, is_simply_busy),
    Incident(Kind.MIXED, has_many_small_applications),
    Incident(Kind.MIXED, has_several_applications_behind_one_address),
)
