"""Incidents and harmless scenes of the simulation, each by a seed, with what a diagnosis may say of it."""

from collections import Counter
from collections.abc import Callable
from random import Random

import msgspec

from pgtop.core.activity import (
    ACTIVE,
    IDLE_IN_TRANSACTION,
    BackendId,
    ConnectionLimit,
    LimitOf,
    Snapshot,
)
from pgtop.core.diagnosis.findings import Kind
from pgtop.core.diagnosis.scene import Before, Facts
from pgtop.core.stalled_logins import Stall
from tests.core.diagnosis.simulator import (
    DAY,
    HORIZON,
    Acts,
    Client,
    Habits,
    Pool,
    Postgres,
    Session,
    leak_out_of,
    no_pool,
    raw_leak,
)

SLOTS = (47, 97, 147, 197, 297)
NAMES = (
    "web", "api", "orders", "billing", "search", "auth", "etl", "reports", "mailer", "catalog", "gateway",
    "stock", "ledger", "payments", "media", "crm", "sync", "feed", "notifier", "pricing",
)  # fmt: skip
TABLES = ("orders", "items", "users", "jobs", "events", "policies", "invoices", "sessions")
MARKS = (
    "",
    "",
    "",
    "DISCARD ALL",
    "ROLLBACK",
    "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
)
"""The half of the pools send nothing when a session is given back."""


class Case(msgspec.Struct, frozen=True):
    """A scene with the truth about it."""

    snapshot: Snapshot
    before: Before
    facts: Facts
    culprits: dict[Kind, frozenset[BackendId]]
    """The sessions that a finding of this kind may blame."""


class World:
    """A server with the applications that use it in order, and the incident that is added to them."""

    def __init__(self, seed: int) -> None:
        """Begin with a server of some size, and nothing on it."""
        self.rng = Random(seed)  # noqa: S311 - a simulation, the same with each run
        self.slots = self.rng.choice(SLOTS)
        self.db = Postgres(self.rng, self.slots)
        self.names = self.rng.sample(NAMES, len(NAMES))
        self.net = f"10.{self.rng.randrange(256)}.{self.rng.randrange(256)}."
        self.hosts = self.rng.sample(range(2, 250), 240)
        self.culprits: dict[Kind, Callable[[Session], bool]] = {}
        self.pools: list[Pool] = []
        self.facts = Facts()
        self.blocked_by: dict[int, frozenset[int]] = {}
        self.limits: tuple[ConnectionLimit, ...] = ()

    # Names

    def client(self, name: str | None = None, address: str | None = None) -> Client:
        """Return a client of a new application, or of this one, on a new host, or on this one."""
        name = name if name is not None else self.names.pop()
        return Client(name, f"{name[:5]}_app", "shop", address or self.address())

    def address(self) -> str:
        """Return the address of a new host."""
        return f"{self.net}{self.hosts.pop()}"

    def statements(self) -> tuple[str, ...]:
        """Return the statements of an application."""
        tables = self.rng.sample(TABLES, 3)
        return tuple(f"SELECT * FROM {table} WHERE id = {self.rng.randrange(10**6)}" for table in tables)

    # Applications in order

    def habits(self, size: int, **fields: object) -> Habits:
        """Return the settings of a pool of that size, of a kind that a driver has by default."""
        rng = self.rng
        kinds = (
            {"least": size, "is_lifo": False, "lifetime": 1800.0},
            {"least": size, "is_lifo": True},
            {"least": 0, "is_lifo": True, "idle_timeout": rng.choice((10.0, 300.0, 600.0))},
            {"least": max(1, size // 3), "is_lifo": rng.random() < 0.5, "idle_timeout": 600.0},
        )
        seconds = 10 ** rng.uniform(-2.2, -0.7)
        busy = size * rng.uniform(0.05, 0.35)
        known = {
            "most": size,
            "rate": busy / seconds * rng.choice((0.02, 0.3, 1)),
            "seconds": seconds,
            "mark": rng.choice(MARKS),
            "queries": self.statements(),
            **rng.choice(kinds),
        }
        return Habits(**{**known, **fields})  # type: ignore[arg-type]

    def pool(self, client: Client, habits: Habits, since: float | None = None) -> Pool:
        """Start a process with a pool, long ago or at a time."""
        pool = Pool(self.db, client, habits)
        self.pools.append(pool)
        if since is None:
            began = -HORIZON - 10 ** self.rng.uniform(2, 5.3)
            if habits.lifetime < DAY:
                self._fill_anew(pool, began)
            else:
                pool.fill(began)
            self.db.spawn(pool.serve(-HORIZON))
        else:
            self.db.spawn(pool.serve(since), since)
        return pool

    def _fill_anew(self, pool: Pool, began: float) -> None:
        """Open the sessions of a pool that closes each at an age, a little earlier or later by chance.

        All were opened together once; with each round they drift apart.
        """
        rng, lifetime = self.rng, pool.habits.lifetime
        apart = 0.0072 * lifetime * ((-HORIZON - began) / lifetime) ** 0.5
        phase = rng.random() * lifetime
        for _ in range(pool.habits.least):
            pool.fill(-HORIZON - (phase + rng.gauss(0, apart)) % lifetime, pool.size + 1)
        rng.shuffle(pool.idle)

    def workers(self, client: Client, number: int) -> None:
        """Start processes behind one address, one session each, begun anew after a number of requests."""
        rng = self.rng
        every = 10 ** rng.uniform(2.7, 4)
        rate = 10 ** rng.uniform(-2.5, 0.5)
        mark, queries = rng.choice(MARKS[1:5]), self.statements()
        for _ in range(number):
            pool = Pool(self.db, client, Habits(1, 1, True, rate, 0.05, mark, queries=queries))
            pool.fill(-HORIZON - rng.random() * every)
            self.db.spawn(pool.serve(-HORIZON))
            self.db.spawn(pool.recycle(every))

    def person(self, tool: str, long_ago: float) -> int:
        """Let somebody leave a tool open; return the number of its sessions."""
        rng = self.rng
        user = rng.choice(("ann", "bob", "eve", "kim", "raj"))
        address = self.address()
        number = 1 if tool in ("psql", "pgcli") else rng.randint(1, 4)
        for each in range(number):
            title = {"DBeaver": f"DBeaver 24.1.0 - {('Main', 'Metadata', 'SQLEditor <a.sql>')[each % 3]}"}
            client = Client(title.get(tool, tool), user, "shop", address)
            began = -long_ago - rng.uniform(10, 3600)
            session = self.db.open(client, began)
            if session is not None:
                session.run(-long_ago * rng.uniform(0.6, 1), 0.1, "SELECT * FROM orders LIMIT 200")
        return number

    def background(self, sessions: float) -> None:
        """Start applications in order that have about that many sessions, none of them a large part."""
        rng, left = self.rng, round(sessions)
        largest = max(3, self.slots // 7)
        while left > 0 and len(self.names) > 3:
            number = min(left, rng.randint(2, largest))
            left -= self.application(number)

    def application(self, number: int) -> int:
        """Start one application in order with about that many sessions; return the number it will hold."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            self.workers(self.client(), number)
        elif kind < 0.17 and number < 6:
            for _ in range(number):
                listener = self.db.open(self.client(self.names[-1]), -rng.uniform(600, 9 * DAY))
                if listener is not None:
                    listener.run(listener.began + 1, 0.001, "LISTEN jobs")
                    listener.listens = True
            self.names.pop()
        else:
            name, hosts = self.names.pop(), rng.choice((1, 1, 2, 2, 3))
            size = max(1, round(number / hosts))
            habits = self.habits(size, **({"least": size} if rng.random() < 0.7 else {}))
            for _ in range(hosts):
                self.pool(self.client(name), habits)
            return hosts * max(habits.least, round(habits.rate * habits.seconds) + 1)
        return number

    # The scene

    def blame(self, kind: Kind, is_meant: Callable[[Session], bool]) -> None:
        """Say which sessions a finding of this kind may blame."""
        self.culprits[kind] = is_meant

    def case(self, watched: float = 600.0) -> Case:
        """Run the simulation and return the scene at its end."""
        self.db.run()
        facts = msgspec.structs.replace(self.facts, blocked_by=self._still_blocked())
        sessions = self.db.sessions.values()
        culprits = {
            kind: frozenset(each.id for each in sessions if is_meant(each))
            for kind, is_meant in self.culprits.items()
        }
        too_large = self._too_large()
        culprits[Kind.POOL_ARITHMETIC] = culprits.get(Kind.POOL_ARITHMETIC, frozenset()) | {
            each.id for each in sessions if each.client.application in too_large
        }
        snapshot = msgspec.structs.replace(self.db.snapshot(), connection_limits=self.limits)
        return Case(snapshot, self.db.before(watched), facts, culprits)

    def _too_large(self) -> frozenset[str]:
        """Return the applications whose pools hold a quarter of the server, and need less than half of it."""
        most: Counter[str] = Counter()
        needed: Counter[str] = Counter()
        for pool in self.pools:
            most[pool.client.application] += pool.habits.most
            needed[pool.client.application] += round(pool.habits.rate * pool.habits.seconds + 0.5)
        return frozenset(
            name for name, size in most.items() if size > self.slots / 4 and needed[name] < size / 2
        )

    def _still_blocked(self) -> dict[int, frozenset[int]]:
        return {pid: by for pid, by in self.blocked_by.items() if pid in self.db.sessions}

    def part(self, least: float = 0.25, most: float = 0.6) -> int:
        """Start the background, and return a number of sessions that fills the rest of a busy server."""
        part = self.rng.uniform(least, most)
        usage = self.rng.uniform(0.8, 0.97)
        self.background((usage - part) * self.slots)
        return round(part * self.slots)


def of(*names: str) -> Callable[[Session], bool]:
    """Return the test for sessions of these applications."""
    return lambda session: session.client.application in names


# Leaks


def raw_leaks(world: World) -> None:
    """A job that opens a session, uses it once and forgets it."""
    rng, number = world.rng, world.part()
    every = 10 ** rng.uniform(0.9, 1.9)
    name = world.names.pop()
    clients = [world.client(name) for _ in range(rng.choice((1, 1, 2, 3)))]
    begin = -number * every
    if begin < -HORIZON * 0.95:
        every, begin = HORIZON * 0.9 / number, -HORIZON * 0.9
    is_timed = rng.random() < 0.3
    world.db.spawn(raw_leak(world.db, clients, begin, every, is_timed, world.statements()[0]), begin)
    if rng.random() < 0.5:  # the same program also has a pool in order
        world.pool(clients[0], world.habits(4))
    world.blame(Kind.LEAK, of(name))


def leaks_of_pools(world: World) -> None:
    """Requests that fail between taking a session out of the pool and giving it back."""
    rng, number = world.rng, world.part()
    hosts = rng.choice((1, 1, 2, 3))
    every = rng.uniform(8, 80) * hosts
    every = min(every, HORIZON * 0.9 / number * hosts)
    name = world.names.pop()
    habits = world.habits(world.slots, least=0, is_lifo=rng.random() < 0.6, idle_timeout=600.0)
    habits = habits._replace(rate=rng.uniform(0.5, 8), seconds=0.05)
    for _ in range(hosts):
        pool = world.pool(world.client(name), habits)
        begin = -number * every / hosts
        world.db.spawn(leak_out_of(pool, begin, every), begin)
    world.blame(Kind.LEAK, of(name))


def leaks_of_tenants(world: World) -> None:
    """A leak in a program that logs in as another role for each customer."""
    rng, number = world.rng, world.part(0.35, 0.6)
    name, address = world.names.pop(), world.address()
    tenants = rng.randint(2, 5)
    clients = [Client(name, f"tenant{n}", f"tenant{n}", address) for n in range(tenants)]
    every = min(rng.uniform(10, 60), HORIZON * 0.9 / number)
    begin = -number * every
    world.db.spawn(raw_leak(world.db, clients, begin, every, False, world.statements()[0]), begin)
    world.blame(Kind.LEAK, of(name))


def leaks_kept_alive(world: World) -> None:
    """A pool is built for each job and forgotten; its sessions are kept alive with SELECT 1."""
    rng, number = world.rng, world.part()
    client = world.client()
    every = min(rng.uniform(10, 60), HORIZON * 0.9 / number)
    habits = Habits(1, 1, rate=1e-9, keepalive=rng.choice((30.0, 120.0)), queries=world.statements())
    for each in range(number):
        at = -(each + rng.random()) * every
        pool = world.pool(client, habits, at)
        world.db.spawn(_first_use(pool, at + 0.01), at + 0.01)
    world.blame(Kind.LEAK, of(client.application))


def _first_use(pool: Pool, at: float) -> Acts:
    for each in pool.idle:
        each.run(at, 0.05, pool.habits.queries[0])
    yield from ()


# Structure


def limits_reached(world: World) -> None:
    """A role has a CONNECTION LIMIT, and a leak or pools larger than it have used it up."""
    rng = world.rng
    world.background(world.slots * rng.uniform(0.1, 0.6))
    most = max(6, round(world.slots * rng.uniform(0.1, 0.3)))
    client = world.client()
    world.db.role_limits[client.user] = most
    world.limits = (ConnectionLimit(LimitOf.ROLE, client.user, most),)
    if rng.random() < 0.5:
        every = HORIZON * 0.7 / most
        world.db.spawn(raw_leak(world.db, [client], -HORIZON * 0.9, every, False, "SELECT 2"), -HORIZON)
    else:
        for _ in range(rng.randint(2, 4)):
            world.pool(world.client(client.application), world.habits(most, least=most * 2 // 3))
    world.blame(Kind.LIMIT, of(client.application))


def login_stalls(world: World) -> None:
    """Clients that stop in the middle of their login hold the rest of the slots."""
    world.background(world.slots * world.rng.uniform(0.2, 0.5))
    world.facts = Facts(stall=Stall(world.slots // 2, world.slots // 2, world.slots))
    world.blame(Kind.LOGIN_STALL, lambda _: False)


def _troubled(world: World, number: int, since: float, trouble: Callable[[Session, float], bool]) -> str:
    """Start an application whose requests are held up from a time on, so that its pools grow."""
    rng = world.rng
    name, hosts = world.names.pop(), rng.choice((1, 2, 3, 4))
    size = max(3, round(number / hosts))
    seconds = 10 ** rng.uniform(-2, -1)
    for _ in range(hosts):
        habits = world.habits(size, least=max(1, size // 3), rate=size / 3, seconds=seconds)
        pool = world.pool(world.client(name), habits)
        pool.trouble = lambda session, at: at >= since and trouble(session, at)
    return name


def lock_queues(world: World) -> None:
    """A schema change waits for a dump, and all requests for that table wait behind it."""
    rng, number = world.rng, world.part(0.3, 0.6)
    began = -rng.uniform(100, 900)
    dump = world.db.open(Client("pg_dump", "backup", "shop", None), began * 3)
    alter = world.db.open(Client("psql", "admin", "shop", world.address()), began - 5)
    assert dump is not None
    assert alter is not None
    dump.run(began * 3, 1e9, "COPY public.orders (id) TO stdout;")
    alter.run(began, 1e9, "ALTER TABLE orders ADD COLUMN note text", wait=("Lock", "relation"))
    world.blocked_by[alter.pid] = frozenset({dump.pid})

    def waits(session: Session, at: float) -> bool:
        if rng.random() < 0.6:
            session.run(at, 1e9, f"SELECT * FROM orders WHERE id = {at:.0f}", wait=("Lock", "relation"))
            world.blocked_by[session.pid] = frozenset({alter.pid})
            return True
        return False

    name = _troubled(world, number, began, waits)
    world.blame(Kind.LOCK_QUEUE, of(name, "psql"))


def row_locks(world: World) -> None:
    """A transaction is left open with a lock on a row that everybody updates."""
    rng, number = world.rng, world.part(0.3, 0.6)
    began = -rng.uniform(60, 900)
    root = world.db.open(world.client(), began - 60)
    assert root is not None
    root.run(began, 1e9, "UPDATE stock SET left_over = 4 WHERE id = 1", state=IDLE_IN_TRANSACTION)
    waiting: list[int] = []

    def waits(session: Session, at: float) -> bool:
        if rng.random() < 0.5:
            event = "transactionid" if not waiting else "tuple"
            session.run(at, 1e9, f"UPDATE stock SET left_over = {at:.0f}", wait=("Lock", event))
            world.blocked_by[session.pid] = frozenset(waiting[:1] or {root.pid})
            waiting.append(session.pid)
            return True
        return False

    name = _troubled(world, number, began, waits)
    world.blame(Kind.LOCK_QUEUE, of(name))


def idle_in_transaction(world: World) -> None:
    """A service that is called in the middle of a transaction has become slow."""
    rng, number = world.rng, world.part(0.3, 0.6)
    seconds, query = rng.uniform(20, 120), "SELECT * FROM policies WHERE id = $1 FOR UPDATE"

    def calls(session: Session, at: float) -> bool:
        session.run(at, rng.uniform(0.6, 1) * seconds, query, state=IDLE_IN_TRANSACTION)
        return True

    name = _troubled(world, number, -rng.uniform(60, 900), calls)
    world.blame(Kind.IDLE_IN_TRANSACTION, of(name))


def slow_statements(world: World) -> None:
    """A statement has lost its plan and takes minutes."""
    rng, number = world.rng, world.part(0.3, 0.6)
    seconds = rng.uniform(60, 600)
    wait = rng.choice((("IO", "DataFileRead"), None, ("LWLock", "BufferMapping")))

    def runs(session: Session, at: float) -> bool:
        if rng.random() < 0.7:
            query = f"SELECT * FROM ops WHERE tenant = {rng.randrange(999)} ORDER BY at"
            session.run(at, rng.uniform(0.5, 1) * seconds, query, wait=wait, state=ACTIVE)
            return True
        return False

    name = _troubled(world, number, -rng.uniform(60, 900), runs)
    world.blame(Kind.SLOW_STATEMENTS, of(name))


# People and hosts


def tools_left_open(world: World) -> None:
    """People left their tools open, some overnight and some since lunch; one is still at work."""
    rng, number = world.rng, world.part(0.2, 0.5)
    tools = ("DBeaver", "pgAdmin 4 - DB:shop", "DataGrip 2024.1", "psql", "TablePlus", "pgcli")
    left = number
    while left > 0:
        is_at_work = rng.random() < 0.1
        long_ago = rng.uniform(1, 900) if is_at_work else 10 ** rng.uniform(3.5, 5)
        left -= world.person(rng.choice(tools), long_ago)
    world.blame(Kind.TOOLS, lambda session: session.client.user in ("ann", "bob", "eve", "kim", "raj"))


def hosts_crashed(world: World) -> None:
    """Some hosts of an application are cut off; nobody closes their sessions."""
    rng, number = world.rng, world.part(0.3, 0.6)
    hosts = rng.randint(2, 6)
    dead = rng.randint(1, max(1, hosts // 2))
    size = max(3, round(number / hosts))
    habits = world.habits(size, least=size)
    habits = habits._replace(rate=max(habits.rate, size / 5))
    clients = [world.client("shopfront") for _ in range(hosts)]
    pools = [world.pool(client, habits) for client in clients]
    when = -(10 ** rng.uniform(2.3, 3.5))
    for pool in pools[:dead]:
        pool.end = when
    lost = {client.address for client in clients[:dead]}
    world.blame(Kind.SILENT_CLIENTS, lambda session: session.client.address in lost)


def releases_replaced(world: World) -> None:
    """A release was replaced, and its containers were killed without a word to the server."""
    rng, number = world.rng, world.part(0.4, 0.6)
    hosts = rng.randint(2, 4)
    size = max(3, round(number / hosts / 2))
    habits = world.habits(size, least=size)
    habits = habits._replace(rate=max(habits.rate, size / 5))
    old = [world.client("shopfront") for _ in range(hosts)]
    pools = [world.pool(client, habits) for client in old]
    when = -(10 ** rng.uniform(2.3, 3.4))
    for nth, pool in enumerate(pools):
        pool.end = when + nth * rng.uniform(5, 30)
        world.pool(world.client("shopfront"), habits, when + nth * rng.uniform(5, 30) - 30)
    lost = {client.address for client in old}
    world.blame(Kind.SILENT_CLIENTS, lambda session: session.client.address in lost)


# Surges


def scaled_out(world: World) -> None:
    """More hosts of an application were started, for there are more requests."""
    rng, number = world.rng, world.part(0.35, 0.6)
    name = world.names.pop()
    size = rng.randint(3, 10)
    new = max(2, round(number * 0.75 / size))
    habits = world.habits(size, least=size)
    busy = rng.uniform(0.4, 0.9) * size / habits.seconds
    habits = habits._replace(rate=busy)
    for _ in range(max(1, round(number * 0.25 / size))):
        world.pool(world.client(name), habits)
    at = -rng.uniform(40, 270)
    for _ in range(new):
        world.pool(world.client(name), habits, at + rng.uniform(0, -at / 2))
    world.blame(Kind.SURGE, of(name))


def serverless(world: World) -> None:
    """Many instances of a function were started, each with a session of its own."""
    rng, number = world.rng, world.part(0.35, 0.6)
    name, begin = world.names.pop(), -rng.uniform(30, 250)
    habits = Habits(1, 1, True, rng.uniform(0.1, 1), rng.uniform(0.2, 4), queries=world.statements())
    for _ in range(number):
        world.pool(world.client(name), habits, begin * rng.uniform(0.1, 1))
    world.blame(Kind.SURGE, of(name))


def without_pool(world: World) -> None:
    """A program opens a session for each request, and there are many requests."""
    rng, number = world.rng, world.part(0.35, 0.6)
    name = world.names.pop()
    clients = [world.client(name) for _ in range(rng.choice((1, 2, 4)))]
    seconds = 10 ** rng.uniform(-0.7, 0.7)
    rate = number / seconds
    world.db.spawn(no_pool(world.db, clients, -8 * seconds, rate, seconds), -8 * seconds)
    world.blame(Kind.SURGE, of(name))


def reconnect_storm(world: World) -> None:
    """The server was restarted, and everybody comes back at once."""
    rng = world.rng
    world.db.started = -rng.uniform(40, 280)
    name = world.names.pop()
    hosts = rng.randint(2, 8)
    size = max(2, round(world.slots * rng.uniform(0.5, 0.75) / hosts))
    habits = world.habits(size, least=size)
    habits = habits._replace(rate=rng.uniform(0.3, 0.9) * size / habits.seconds)
    for _ in range(hosts):
        world.pool(world.client(name), habits, world.db.started + rng.uniform(1, 20))
    for _ in range(2):
        other = world.client()
        part = max(2, round(world.slots * 0.12))
        world.pool(other, world.habits(part, least=part), world.db.started + rng.uniform(1, 20))
    world.blame(Kind.SURGE, lambda _: True)


# Sizes


def pools_too_large(world: World) -> None:
    """An application has so many hosts that its pools, each in order, nearly fill the server."""
    rng, number = world.rng, world.part(0.55, 0.8)
    name = world.names.pop()
    hosts = rng.randint(3, max(3, min(20, number // 3)))
    size = max(2, round(number / hosts))
    habits = world.habits(size, least=size)
    habits = habits._replace(rate=size * rng.uniform(0.02, 0.2) / habits.seconds)
    for _ in range(hosts):
        world.pool(world.client(name), habits)
    world.blame(Kind.POOL_ARITHMETIC, of(name))


def pools_in_use(world: World) -> None:
    """An application needs nearly all sessions of its pools: smaller ones would not do."""
    rng, number = world.rng, world.part(0.55, 0.8)
    name = world.names.pop()
    hosts = rng.randint(3, max(3, min(12, number // 3)))
    size = max(2, round(number / hosts))
    habits = world.habits(size, least=size, seconds=rng.uniform(0.1, 2))
    habits = habits._replace(rate=size * rng.uniform(0.75, 1.3) / habits.seconds)
    for _ in range(hosts):
        world.pool(world.client(name), habits)


# Scenes in order


def in_order(world: World) -> None:
    """Applications of all kinds, none of them a large part of a full server."""
    world.background(world.slots * world.rng.uniform(0.75, 0.95))


def after_a_peak(world: World) -> None:
    """A pool that uses its last session first has grown in a peak; the rest parks."""
    rng, number = world.rng, world.part(0.4, 0.6)
    client = world.client()
    peak = -rng.uniform(600, 3000)
    habits = world.habits(number, least=number // 4, is_lifo=True, rate=number / 8, seconds=0.1)
    pool = Pool(world.db, client, habits)
    ends = rng.uniform(60, 500)

    def load(at: float) -> float:
        return 60.0 if peak <= at <= peak + ends else 1.0

    world.pools.append(pool)
    world.db.spawn(pool.serve(-HORIZON, load))
    if rng.random() < 0.5:  # it goes down slowly, so that the sessions park one after the other

        def falling(at: float) -> float:
            return max(1.0, 60 * (1 - (at - peak) / 600)) if at >= peak else 1.0

        world.db.spawn(Pool(world.db, world.client(client.application), habits).serve(-HORIZON, falling))


def warm_up(world: World) -> None:
    """A deploy has just replaced all processes of an application in good manner."""
    rng, number = world.rng, world.part(0.3, 0.5)
    name, hosts = world.names.pop(), rng.randint(2, 6)
    size = max(2, round(number / hosts))
    habits = world.habits(size, least=size)
    at = -rng.uniform(20, 280)
    for nth in range(hosts):
        world.pool(world.client(name), habits, at + nth * rng.uniform(0, 5))


def nightly_batch(world: World) -> None:
    """A batch has started its workers, each with a session at work on a part of its own."""
    rng, number = world.rng, world.part(0.25, 0.45)
    name = world.names.pop()
    address, began = world.address(), -(10 ** rng.uniform(1.5, 3.4))
    for nth in range(number):
        session = world.db.open(Client(name, "batch", "shop", address), began + nth * 0.1)
        if session is not None:
            session.run(
                min(-0.1, -rng.expovariate(1 / 5)), 30, f"INSERT INTO part_{'abcdefgh'[nth % 8]} SELECT 1"
            )
    world.blame(Kind.SURGE, of(name))
    world.blame(Kind.SLOW_STATEMENTS, of(name))


def opened_in_advance(world: World) -> None:
    """Pools that open all their sessions at the start, and hardly use them."""
    rng, number = world.rng, world.part(0.3, 0.5)
    name, hosts = world.names.pop(), rng.randint(1, 4)
    size = max(3, round(number / hosts))
    habits = world.habits(size, least=size, is_lifo=True, rate=0.01, idle_timeout=1e9, lifetime=1e9)
    for _ in range(hosts):
        world.pool(world.client(name), habits, -rng.uniform(400, 3000))


def kept_alive(world: World) -> None:
    """One pool with a lifetime for its sessions, and a keepalive that goes round those at rest."""
    rng, number = world.rng, world.part(0.3, 0.5)
    client = world.client()
    habits = world.habits(number, least=number, is_lifo=rng.random() < 0.5, lifetime=1800.0)
    habits = habits._replace(rate=10 ** rng.uniform(-1, 1), keepalive=rng.choice((30.0, 120.0, 300.0)))
    world.pool(client, habits)


def lifetimes(world: World) -> None:
    """One pool whose sessions are closed at an age, each at another time, and opened anew."""
    rng, number = world.rng, world.part(0.3, 0.5)
    habits = world.habits(
        number, least=number, lifetime=rng.choice((600.0, 1800.0)), is_lifo=rng.random() < 0.5
    )
    world.pool(world.client(), habits._replace(rate=10 ** rng.uniform(-1.5, 1)))


def recycled_workers(world: World) -> None:
    """Many processes behind one address, begun anew after a number of requests."""
    number = world.part(0.3, 0.5)
    world.workers(world.client(), number)


def growing_processes(world: World) -> None:
    """Processes behind one address, whose pools have grown with the peaks of a morning."""
    rng, number = world.rng, world.part(0.3, 0.5)
    client = world.client()
    processes = rng.randint(2, 8)
    size = max(2, number // processes)
    habits = world.habits(size, least=0, is_lifo=True, rate=size / 2, seconds=0.2, idle_timeout=1e9)
    peaks = [rng.uniform(-HORIZON, 0) for _ in range(20)]

    def load(at: float) -> float:
        morning = 1 + at / HORIZON
        return (0.2 + morning) * (4.0 if any(peak < at < peak + 40 for peak in peaks) else 1.0)

    world.blame(Kind.SURGE, of(client.application))  # where most were opened in the last peak, that is true
    for _ in range(processes):
        pool = Pool(world.db, client, habits)
        world.pools.append(pool)
        world.db.spawn(pool.serve(-HORIZON, load))


def poolers(world: World) -> None:
    """A pooler, whose sessions have the names of the programs that used them last."""
    rng, number = world.rng, world.part(0.3, 0.5)
    address, names = world.address(), tuple(world.names.pop() for _ in range(3))
    peaks = [rng.uniform(-HORIZON, 0) for _ in range(20)]

    def load(at: float) -> float:
        return 6.0 if any(peak < at < peak + 60 for peak in peaks) else 1.0

    for user in ("shop_rw", "shop_ro"):
        habits = world.habits(
            number // 2,
            least=0,
            is_lifo=True,
            rate=number / 2,
            seconds=0.1,
            idle_timeout=600.0,
            lifetime=3600.0,
        )
        pool = Pool(world.db, Client(names[0], user, "shop", address), habits)
        pool.names = names
        world.pools.append(pool)
        world.db.spawn(pool.serve(-HORIZON, load))


def listeners(world: World) -> None:
    """Sessions that wait for notifications, one for each user of a live page."""
    rng, number = world.rng, world.part(0.3, 0.5)
    client = world.client()
    for _ in range(number):
        session = world.db.open(client, -(10 ** rng.uniform(1, 4)))
        if session is not None:
            session.run(session.began + 0.1, 0.001, "LISTEN changes")
            session.listens = True


INCIDENTS: tuple[tuple[Kind, Callable[[World], None]], ...] = (
    (Kind.LEAK, raw_leaks),
    (Kind.LEAK, leaks_of_pools),
    (Kind.LEAK, leaks_of_tenants),
    (Kind.LIMIT, limits_reached),
    (Kind.LOGIN_STALL, login_stalls),
    (Kind.LOCK_QUEUE, lock_queues),
    (Kind.LOCK_QUEUE, row_locks),
    (Kind.IDLE_IN_TRANSACTION, idle_in_transaction),
    (Kind.SLOW_STATEMENTS, slow_statements),
    (Kind.TOOLS, tools_left_open),
    (Kind.SILENT_CLIENTS, hosts_crashed),
    (Kind.SILENT_CLIENTS, releases_replaced),
    (Kind.SURGE, scaled_out),
    (Kind.SURGE, serverless),
    (Kind.SURGE, without_pool),
    (Kind.SURGE, reconnect_storm),
    (Kind.POOL_ARITHMETIC, pools_too_large),
)
"""Scenes with a cause, and its kind."""
DECOYS: tuple[Callable[[World], None], ...] = (
    in_order,
    pools_in_use,
    after_a_peak,
    warm_up,
    nightly_batch,
    opened_in_advance,
    kept_alive,
    lifetimes,
    recycled_workers,
    growing_processes,
    poolers,
    listeners,
)
"""Scenes that look like one and have none."""


def case_of(scene: Callable[[World], None], seed: int, least_usage: float = 0.0) -> Case:
    """Return the scene that grows from a seed, or from a later one if the server does not fill."""
    while True:
        world = World(seed)
        scene(world)
        case = world.case()
        if case.snapshot.usage >= least_usage:
            return case
        seed += 1_000_000
