"""Scenes of real sessions that look like an incident and are none, or are another one."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import NamedTuple, cast

import asyncpg

from pgtop.core.diagnosis.findings import Kind
from pgtop.demo import schema
from pgtop.demo.clients import HOME, LoopOfHost, between, hosts, one_of
from tests.core.diagnosis.stage import FASTER, Psycopg, Stage

TOO_LARGE = frozenset({Kind.POOL_ARITHMETIC})
"""Pools that are at rest are too large, whatever else they look like."""


_POOL_SIZE = 8


class Decoy(NamedTuple):
    """A scene, and what it looks like."""

    looks_like: Kind
    play: Callable[[Stage], Awaitable[None]]
    truths: frozenset[Kind] = frozenset()
    """The kinds that may be said, since they are true."""
    faster: float = FASTER


# Not a leak


async def has_had_a_peak(stage: Stage) -> None:
    """A pool that grew with the load and uses its last session first: most have rested since."""
    pool = await asyncpg.create_pool(
        host=stage.clients.parameters.host,
        port=stage.server.port,
        user="web",
        database=schema.DATABASE,
        server_settings={"application_name": "booking"},
        ssl=False,
        min_size=1,
        max_size=30,
        loop=cast("asyncio.AbstractEventLoop", LoopOfHost("127.0.0.2")),
    )
    stage.driver_pools.append(pool)
    requests = []
    for _ in range(30):  # more and more at once
        requests.append(stage.spawn(stage.repeat(lambda: pool.execute(one_of(schema.WEB)), 0.2, 1)))
        requests.append(stage.spawn(_hold(stage, pool)))
        await stage.rest(6)
    for each in requests:
        each.cancel()
    stage.spawn(stage.repeat(lambda: pool.execute(one_of(schema.WEB)), 1, 3))
    await stage.rest(150)


async def _hold(stage: Stage, pool: "asyncpg.Pool") -> None:
    while True:
        async with pool.acquire() as connection:
            await connection.execute(one_of(schema.WEB))
            await stage.rest(3, 8)


async def recycles_its_workers(stage: Stage) -> None:
    """A prefork server on one host: each process has one connection, and is begun anew after a while."""
    workers = [await stage.open_psycopg("gunicorn", "web", "127.0.0.2") for _ in range(30)]
    for each in workers:
        stage.spawn(_serve(stage, each))
    for worker in cycle(workers[:20]):
        await worker.close()
        fresh = await stage.open_psycopg("gunicorn", "web", "127.0.0.2")
        stage.spawn(_serve(stage, fresh))
        await stage.rest(12)
        if worker is workers[19]:
            break


async def _serve(stage: Stage, worker: Psycopg) -> None:
    while True:
        await worker.execute("SELECT count(*) FROM products")
        await stage.rest(15, 90)


async def numbers_its_workers(stage: Stage) -> None:
    """Processes with their pid in the name: begun anew one after the other, and at work."""
    workers = []
    for nth in range(30):
        connection = await stage.open(f"unicorn-{2000 + nth}", "web", "127.0.0.2")
        workers.append((connection, stage.spawn(_work(stage, connection))))
    for nth, (connection, work) in enumerate(workers[:20]):
        work.cancel()
        connection.terminate()
        stage.spawn(_work(stage, await stage.open(f"unicorn-{2100 + nth}", "web", "127.0.0.2")))
        await stage.rest(12)


async def listens(stage: Stage) -> None:
    """One session for each browser that waits for news."""
    await stage.shop(4)
    for _ in range(28):
        connection = await stage.open("push", "api", "127.0.0.4")
        await connection.execute("LISTEN orders_changed")
        await stage.rest(9)


async def fills_its_pools_at_work(stage: Stage) -> None:
    """Each session is used once while the pool grows; later the last ones are used first."""
    await stage.shop(3)
    for host in hosts(7):
        stage.spawn(_grow(stage, host))
    await stage.rest(280)


async def _grow(stage: Stage, host: str) -> None:
    sessions = []
    for _ in range(4):
        sessions.append(await stage.open("tariffs", "web", host))
        await sessions[-1].execute(one_of(schema.WEB))
        await stage.rest(15, 25)
    while True:
        await sessions[-1].execute(one_of(schema.WEB))
        await stage.rest(3, 6)


# Not too large


async def needs_all_of_its_pools(stage: Stage) -> None:
    for pool in await stage.pools("tiles", hosts(5), 7, every=600):
        for _ in range(7):
            stage.spawn(_keep_busy(stage, pool.take))
    await stage.rest(340)


async def _keep_busy(stage: Stage, take: Callable[[Callable[..., Awaitable[None]]], bool]) -> None:
    async def render(connection: asyncpg.Connection) -> None:
        text = f"SELECT count(*) FROM products, {stage.sleeping(between(2, 6))} WHERE id = 2"
        await connection.execute(text)

    while True:
        take(render)
        await stage.rest(1, 4)


async def is_behind_one_address(stage: Stage) -> None:
    """Eight pools behind one address: whether they are too many cannot be told from here."""
    for _ in range(8):
        await stage.pools("proxy", [HOME], 4, every=4)
    await stage.rest(330)


# Not silent


async def has_a_host_in_reserve(stage: Stage) -> None:
    """Sessions that were opened in advance and never used."""
    await stage.pools("quotes", hosts(2), 8, every=1)
    for host in hosts(2, release=1):
        for _ in range(8):
            await stage.open("quotes", "web", host)
    await stage.rest(330)


async def sleeps_at_night(stage: Stage) -> None:
    pools = await stage.pools("school", hosts(4), 8, every=1)
    await stage.rest(150)
    for pool in pools:
        pool.hang()  # no request comes any more
    await stage.rest(300)


# Not a surge


async def deploys_in_turn(stage: Stage) -> None:
    """Each host is replaced, one after the other, and closes its sessions."""
    await stage.shop(4)
    old = {host: [await stage.open("blog", "web", host) for _ in range(8)] for host in hosts(4)}
    working = {host: [stage.spawn(_work(stage, one)) for one in there] for host, there in old.items()}
    await stage.rest(330)
    for nth, host in enumerate(hosts(4)):
        for task in working[host]:
            task.cancel()
        for each in old[host]:
            each.terminate()
        for _ in range(8):
            stage.spawn(_work(stage, await stage.open("blog", "web", hosts(4, release=1)[nth])))
        await stage.rest(15)


async def _work(stage: Stage, connection: asyncpg.Connection) -> None:
    while True:
        await connection.execute(one_of(schema.WEB))
        await stage.rest(5, 40)


async def renews_its_sessions(stage: Stage) -> None:
    """Pools that close each session at an age and open another one."""
    for host in hosts(4):
        for nth in range(_POOL_SIZE):
            stage.spawn(_renew(stage, host, 200 + 200 * (nth + 0.5) / _POOL_SIZE))
    await stage.rest(520)


async def _renew(stage: Stage, host: str, age: float) -> None:
    """Renew a session at this age.

    The ages of a pool's sessions are spread evenly: drawn at random, they sometimes lie as close together as
    those of a host that was added.
    """
    while True:
        connection = await stage.open("forum", "web", host)
        work = stage.spawn(_work(stage, connection))
        await stage.rest(age)
        work.cancel()
        await asyncio.wait([work])
        connection.terminate()


# Not idle in transaction


async def has_short_transactions(stage: Stage) -> None:
    for host in hosts(2):
        for _ in range(7):
            stage.spawn(_transact(stage, await stage.open("till", "api", host)))
    await stage.pools("site", hosts(2, release=3), 10, every=2)
    await stage.rest(330)


async def _transact(stage: Stage, connection: asyncpg.Connection) -> None:
    while True:
        async with connection.transaction():
            for _ in range(2):
                await connection.execute(one_of(schema.API))
                await stage.rest(0.5, 1.5)
        await stage.rest(10, 30)


async def has_a_few_forgotten_transactions(stage: Stage) -> None:
    await stage.pools("wiki", hosts(4), 7, every=6)
    for nth in range(4):
        connection = await stage.open_psycopg("console", "batch", hosts(4)[nth], autocommit=False)
        await connection.execute("SELECT count(*) FROM orders")
    await stage.rest(330)


# Not slow


async def runs_quick_statements(stage: Stage) -> None:
    for host in hosts(3):
        for _ in range(11):
            worker = await stage.open("index", "api", host)
            stage.spawn(stage.repeat(lambda one=worker: one.execute(_quick(stage)), 0, 1))
    await stage.rest(330)


def _quick(stage: Stage) -> str:
    return f"SELECT count(*) FROM orders, {stage.sleeping(between(0.5, 4))} WHERE id = 9"


async def runs_a_report_each(stage: Stage) -> None:
    """Long statements, each another one: that is what the analysts do."""
    await stage.pools("intranet", hosts(3), 7, every=5)
    columns = ("id", "customer_id", "state", "total_cents", "created_at")
    for nth in range(12):
        text = (
            f"SELECT {columns[nth % 5]}, count(*) FROM orders, {stage.sleeping(900)} "
            f"WHERE {columns[nth % 4]} IS NOT NULL GROUP BY {columns[nth % 5]} ORDER BY {1 + nth // 10}, 2"
        )
        text = text.replace("count(*)", ("count(*)", "max(id)", "min(id)")[nth % 3])
        analyst = await stage.open("analysis", "reporting", hosts(12, release=2)[nth])
        stage.spawn(analyst.execute(text))
    await stage.rest(330)


# Not tools that were left open


async def has_people_at_work(stage: Stage) -> None:
    for nth in range(30):
        one = await stage.open("DBeaver 24.1.0 - Main", schema.PEOPLE[nth % 4], hosts(15)[nth // 2])
        stage.spawn(stage.repeat(lambda one=one: one.execute(schema.LOOK), 60, 900))
    await stage.rest(2500)


async def has_a_few_tools_open(stage: Stage) -> None:
    for nth in range(4):
        one = await stage.open("pgAdmin 4 - DB:shop", schema.PEOPLE[nth], hosts(4, release=3)[nth])
        await one.execute(schema.LOOK)
    await stage.pools("museum", hosts(4), 7, every=30)
    await stage.rest(2500)


# Not a limit


async def stays_below_its_limit(stage: Stage) -> None:
    for nth in range(11):
        await stage.open("billing", "billing", hosts(2)[nth % 2])
    await stage.rest(30)


async def has_a_limit_that_does_not_count(stage: Stage) -> None:
    """A superuser is not held back by its own CONNECTION LIMIT."""
    await stage.ask("ALTER ROLE postgres CONNECTION LIMIT 3", "SELECT 1")
    for _ in range(4):
        await stage.open_psycopg("ops", "postgres", "127.0.0.2")
    await stage.rest(10)


# Not a lock queue


async def has_a_few_waiters(stage: Stage) -> None:
    holder = await stage.open("batch", "batch")
    await holder.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
    for _ in range(4):
        connection = await stage.open("worker", "worker", "127.0.0.2")
        stage.spawn(connection.execute("SELECT count(*) FROM jobs"))
    await stage.rest(60)


async def waits_for_something_else(stage: Stage) -> None:
    """All of them are active and wait, but for a timer."""
    for nth in range(32):
        connection = await stage.open_psycopg("poll", "worker", hosts(2)[nth % 2])
        stage.spawn(connection.execute(f"SELECT {stage.sleeping(900)}".encode()))  # type: ignore[arg-type]
    await stage.rest(60)


# Nothing at all


async def is_calm(stage: Stage) -> None:
    await stage.shop()
    await stage.pools("web", hosts(2), 6, every=2)
    await stage.rest(330)


async def runs_in_parallel(stage: Stage) -> None:
    """A few statements with many parallel workers, which are not clients."""
    await stage.ask(
        "ALTER SYSTEM SET parallel_setup_cost = 0",
        "ALTER SYSTEM SET min_parallel_table_scan_size = 0",
        "SELECT pg_reload_conf()",
    )
    for nth in range(3):
        connection = await stage.open("olap", "reporting", hosts(1)[0])
        text = (
            f"SELECT count(*) FROM orders o WHERE (SELECT {stage.sleeping(5)}) IS NOT NULL AND o.id > {nth}"
        )
        stage.spawn(stage.repeat(lambda one=connection, text=text: one.execute(text), 0, 1))
    await stage.rest(60)


DECOYS = (
    Decoy(Kind.LEAK, has_had_a_peak),
    Decoy(Kind.LEAK, recycles_its_workers),
    Decoy(Kind.LEAK, numbers_its_workers),
    Decoy(Kind.LEAK, listens),
    Decoy(Kind.LEAK, fills_its_pools_at_work, TOO_LARGE),
    Decoy(Kind.POOL_ARITHMETIC, needs_all_of_its_pools),
    Decoy(Kind.POOL_ARITHMETIC, is_behind_one_address),
    Decoy(Kind.SILENT_CLIENTS, has_a_host_in_reserve, TOO_LARGE),
    Decoy(Kind.SILENT_CLIENTS, sleeps_at_night, TOO_LARGE),
    Decoy(Kind.SURGE, deploys_in_turn, TOO_LARGE),
    Decoy(Kind.SURGE, renews_its_sessions, TOO_LARGE),
    Decoy(Kind.IDLE_IN_TRANSACTION, has_short_transactions, TOO_LARGE),
    Decoy(Kind.IDLE_IN_TRANSACTION, has_a_few_forgotten_transactions, TOO_LARGE),
    Decoy(Kind.SLOW_STATEMENTS, runs_quick_statements),
    Decoy(Kind.SLOW_STATEMENTS, runs_a_report_each, TOO_LARGE),
    Decoy(Kind.TOOLS, has_people_at_work, faster=1000),
    Decoy(Kind.TOOLS, has_a_few_tools_open, TOO_LARGE, faster=1000),
    Decoy(Kind.LIMIT, stays_below_its_limit),
    Decoy(Kind.LIMIT, has_a_limit_that_does_not_count),
    Decoy(Kind.LOCK_QUEUE, has_a_few_waiters),
    Decoy(Kind.LOCK_QUEUE, waits_for_something_else, frozenset({Kind.SLOW_STATEMENTS})),
    Decoy(Kind.MIXED, is_calm),
    Decoy(Kind.MIXED, runs_in_parallel),
)
