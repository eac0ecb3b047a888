"""A small discrete-event simulation of clients and the sessions they hold.

Each client is a generator that acts and yields the seconds until it acts again. Times are seconds; the
snapshot is taken at 0, so that the past is negative. A process with a pool is looked at more and more closely
as the snapshot comes near: a step is a fixed part of the time left, for that is all a snapshot can show.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import msgspec

from pgtop.core.activity import (
    ACTIVE,
    IDLE,
    IDLE_IN_TRANSACTION,
    MICROSECONDS,
    Backend,
    BackendId,
    Limits,
    Snapshot,
)
from pgtop.core.diagnosis.scene import Application, Before, Traffic
from tests.builders import NOW, SERVER, server_of, snapshot

HORIZON = 3600.0
"""The seconds before the snapshot from which on clients are simulated; older sessions are only placed."""
DAY = 86_400.0
FOREVER = math.inf

STEP = 0.25
"""The part of the time left until the snapshot for which a pool is not looked at."""

Acts = Iterator[float]
"""A client's course: the seconds until it acts again."""
Load = Callable[[float], float]
"""The factor by which a process has more requests than usual, at a time."""


def steady(at: float) -> float:
    """Return the load of a process whose requests come evenly."""
    return 1.0


class Client(NamedTuple):
    """The parameters with which a program connects."""

    application: str
    user: str
    database: str
    address: str | None
    """None for a Unix socket."""

    @property
    def row(self) -> Application:
        """The application as the diagnosis knows it."""
        return Application(self.application, self.user, self.database)


class Session:
    """One session of the server: its begin, and its last statement."""

    __slots__ = ("after", "began", "client", "listens", "pid", "query", "state", "until", "used", "wait")

    def __init__(self, pid: int, client: Client, began: float) -> None:
        """Begin a session that has run nothing."""
        self.pid, self.client, self.began = pid, client, began
        self.used: float | None = None
        self.until = began + 0.01
        self.query, self.after = "", ""
        self.state = ACTIVE
        self.wait: tuple[str, str] | None = None
        self.listens = False

    def run(
        self,
        at: float,
        seconds: float,
        query: str,
        *,
        after: str = "",
        state: str = ACTIVE,
        wait: tuple[str, str] | None = None,
    ) -> None:
        """Run a statement; `after` is the one that a pool sends when the session is given back."""
        self.used, self.until, self.query, self.after = at, at + seconds, query, after
        self.state, self.wait = state, wait

    @property
    def id(self) -> BackendId:
        """The identity of the session in a snapshot."""
        return BackendId(self.pid, moment(self.began))

    def seen(self) -> Backend:
        """Return the session as pg_stat_activity shows it at 0."""
        is_busy = self.until > 0
        state = self.state if is_busy else IDLE
        wait = self.wait if is_busy else ("Client", "ClientRead")
        if is_busy and state == IDLE_IN_TRANSACTION:
            wait = ("Client", "ClientRead")
        changed = self.used if is_busy and self.used is not None else min(self.until, 0.0)
        return Backend(
            self.pid,
            moment(self.began),
            moment(changed),
            moment(self.used) if is_busy and self.used is not None else None,
            None if self.used is None else moment(self.used),
            state,
            self.client.application,
            self.client.user,
            self.client.database,
            self.client.address,
            -1 if self.client.address is None else 20_000 + self.pid % 40_000,
            wait[0] if wait else None,
            wait[1] if wait else None,
            False,
            self.query if is_busy or not self.after else self.after,
        )


def moment(seconds: float) -> int:
    """Return a time of the simulation as microseconds by the server's clock."""
    return NOW + round(seconds * MICROSECONDS)


class Postgres:
    """A server with its slots, and the clients that act on it."""

    def __init__(self, rng: Random, slots: int) -> None:
        """Begin with no session."""
        self.rng, self.slots = rng, slots
        self.sessions: dict[int, Session] = {}
        self.events: list[tuple[float, Client, int]] = []
        """What was opened (1) and closed (-1), when, by which client."""
        self.started = -rng.uniform(2, 90) * DAY
        self.role_limits: dict[str, int] = {}
        self._of_role: Counter[str] = Counter()
        self._pids = count(rng.randrange(1000, 9000))
        self._order = count()
        self._due: list[tuple[float, int, Acts]] = []

    def open(self, client: Client, at: float) -> Session | None:
        """Open a session; None if the server is full, or the role's own limit is reached."""
        most = self.role_limits.get(client.user, self.slots)
        if len(self.sessions) >= self.slots or self._of_role[client.user] >= most:
            return None
        self._of_role[client.user] += 1
        session = Session(next(self._pids), client, at)
        self.sessions[session.pid] = session
        self.events.append((at, client, 1))
        return session

    def close(self, session: Session, at: float) -> None:
        """Close a session, if it is still open."""
        if self.sessions.pop(session.pid, None) is not None:
            self.events.append((at, session.client, -1))
            self._of_role[session.client.user] -= 1

    def spawn(self, acts: Acts, at: float = -HORIZON) -> None:
        """Let a client begin at a time."""
        heapq.heappush(self._due, (at, next(self._order), acts))

    def run(self) -> None:
        """Let all clients act until the snapshot."""
        while self._due and self._due[0][0] < 0:
            at, order, acts = heapq.heappop(self._due)
            wait = next(acts, None)
            if wait is not None:
                heapq.heappush(self._due, (at + wait, order, acts))

    def snapshot(self) -> Snapshot:
        """Return the snapshot at 0."""
        limits = Limits(self.slots + 3, 3)
        identity = msgspec.structs.replace(SERVER.identity, postmaster_start=moment(self.started))
        return snapshot(
            *(session.seen() for session in self.sessions.values()),
            server=server_of(limits, identity=identity),
            listeners=frozenset(each.id for each in self.sessions.values() if each.listens),
        )

    def before(self, seconds: float) -> Before:
        """Return what a watch of that many seconds has seen."""
        opened: Counter[Application] = Counter()
        closed: Counter[Application] = Counter()
        change = 0
        for at, client, step in self.events:
            if at >= -seconds:
                (opened if step > 0 else closed)[client.row] += 1
                change += step
        in_use = Counter(each.client.row for each in self.sessions.values() if each.until > 0)
        rows = {each.client.row for each in self.sessions.values()} | opened.keys() | closed.keys()
        traffic = {row: Traffic(opened[row], closed[row], in_use[row]) for row in rows}
        growth = change / seconds * 60
        return Before(seconds, traffic, growth if growth > 0 else None)


def poisson(rng: Random, mean: float) -> int:
    """Return a number of events of which there are `mean` on average."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    least, product, number = math.exp(-mean), rng.random(), 0
    while product > least:
        product *= rng.random()
        number += 1
    return number


class Habits(NamedTuple):
    """The settings of a pool, and the requests of the process that has it."""

    least: int = 0
    most: int = 10
    is_lifo: bool = True
    rate: float = 2.0
    """Requests a second."""
    seconds: float = 0.03
    """The time of one request."""
    mark: str = ""
    """The statement that is sent when a session is given back."""
    idle_timeout: float = FOREVER
    lifetime: float = FOREVER
    keepalive: float = FOREVER
    """The seconds of rest after which the pool sends SELECT 1."""
    queries: tuple[str, ...] = ("SELECT * FROM items WHERE id = $1",)
    transactions: float = 0.2
    """The part of the requests that are seen between two statements of a transaction."""


class Pool:
    """A process with a pool of sessions."""

    def __init__(self, db: Postgres, client: Client, habits: Habits) -> None:
        """Begin without a session."""
        self.db, self.client, self.habits = db, client, habits
        self.idle: list[Session] = []
        """Those given back, the last at the end."""
        self.out: list[Session] = []
        self.lost: list[Session] = []
        self.names: tuple[str, ...] = ()
        """The programs behind a pooler, of which each gives its name to the session it uses."""
        self.end = 0.0
        """The time at which the process dies, or the snapshot is taken."""
        self.trouble: Callable[[Session, float], bool] | None = None
        """An event that keeps a request, and its session, for long; returns whether it did."""

    @property
    def size(self) -> int:
        """The sessions that the pool counts as its own."""
        return len(self.idle) + len(self.out) + len(self.lost)

    def fill(self, at: float, number: int | None = None) -> None:
        """Open sessions in advance, `least` of them."""
        while self.size < (self.habits.least if number is None else number):
            session = self.db.open(self.client, at)
            if session is None:
                return
            self.idle.append(session)

    def take(self, at: float) -> Session | None:
        """Take a session, and open one if none is at rest; None if there is none to have."""
        if self.idle:
            session = self.idle.pop() if self.habits.is_lifo else self.idle.pop(0)
        elif self.size < self.habits.most and (opened := self.db.open(self.client, at)) is not None:
            session = opened
        else:
            return None
        self.out.append(session)
        return session

    def lose(self, at: float) -> None:
        """Take a session and forget to give it back."""
        session = self.take(at)
        if session is not None:
            self.out.remove(session)
            self.lost.append(session)
            session.run(at, self.db.rng.expovariate(20), self.db.rng.choice(self.habits.queries))

    def use(self, session: Session, at: float) -> None:
        """Run a request on a session."""
        if self.trouble is not None and self.trouble(session, at):
            return
        rng, habits = self.db.rng, self.habits
        if self.names:
            session.client = session.client._replace(application=rng.choice(self.names))
        is_between = rng.random() < habits.transactions
        lasts = rng.expovariate(1 / habits.seconds)
        if at > self.end - 0.01:  # what is seen at the end began a moment before
            began = max(session.began, session.until, at - rng.expovariate(1 / habits.seconds))
            at, lasts = began, at - began + lasts
        session.run(
            at,
            lasts,
            rng.choice(habits.queries),
            after=habits.mark,
            state=IDLE_IN_TRANSACTION if is_between else ACTIVE,
        )

    def settle(self, at: float) -> None:
        """Give back what is done; close what has rested or lived for too long."""
        done = [each for each in self.out if each.until <= at]
        if done:
            self.out = [each for each in self.out if each.until > at]
            self.idle += sorted(done, key=lambda each: each.until)
        habits = self.habits
        if habits.idle_timeout < FOREVER or habits.lifetime < FOREVER:
            self._close_old(at)
        if habits.keepalive < FOREVER:
            for each in self.idle:
                if at - each.until > habits.keepalive:
                    due = (at - each.until) // habits.keepalive * habits.keepalive
                    each.run(each.until + due, 0.001, "SELECT 1")

    def _close_old(self, at: float) -> None:
        habits = self.habits
        for each in tuple(self.idle):
            is_old = at - each.began > habits.lifetime * (1 - each.pid % 7 / 200)
            is_spare = at - each.until > habits.idle_timeout and self.size > habits.least
            if is_old or is_spare:
                self.idle.remove(each)
                self.db.close(each, at)
        self.fill(at)

    def serve(self, at: float, load: Load = steady) -> Acts:
        """Serve requests from a time on."""
        rng, habits = self.db.rng, self.habits
        self.fill(at)
        while at < self.end:
            # A step is a part of the time left; the last one ends a moment before the end.
            left = self.end - at
            wait = max(1.0, left * STEP) * (0.5 + rng.random())
            if left > 0.002:
                wait = min(wait, left - 0.001)
            yield wait
            at += wait
            if at >= self.end:
                return
            self.settle(at)
            self._serve(at, wait, habits.rate * load(at))

    def _serve(self, at: float, elapsed: float, rate: float) -> None:
        rng, habits = self.db.rng, self.habits
        mean = rate * elapsed
        requests = int(mean) if mean > 20 else poisson(rng, mean)
        if not requests:
            return
        if not habits.is_lifo:
            self._go_round(at, requests, rate)
        if self.trouble is not None:
            self._serve_in_trouble(at, requests)
            return
        peak = rate * habits.seconds
        at_once = poisson(rng, peak)
        if elapsed > 2:  # the peak of a longer time is higher
            for _ in range(min(requests, 3) - 1):
                at_once = max(at_once, poisson(rng, peak))
            at_once = max(1, at_once)
        for _ in range(at_once - len(self.out)):
            session = self.take(at)
            if session is None:
                return
            self.use(session, at)

    def _serve_in_trouble(self, at: float, requests: int) -> None:
        """Serve one request after the other; those in trouble keep their sessions."""
        for _ in range(min(requests, self.habits.most)):
            session = self.take(at)
            if session is None:
                return
            self.use(session, at)
            if session.until < at + 20 * self.habits.seconds and at < -0.01:
                self.out.remove(session)
                self.idle.append(session)

    def _go_round(self, at: float, requests: int, rate: float) -> None:
        """Use one session after the other, in turn, for all requests since the last step."""
        number = min(requests, len(self.idle)) - 1
        if number <= 0:
            return
        habits, query = self.habits, self.db.rng.choice(self.habits.queries)
        turn, rest = self.idle[:number], self.idle[number:]
        for back, session in zip(range(number, 0, -1), turn, strict=True):
            began = max(session.began + 0.02, at - back / rate)
            session.run(began, habits.seconds / 2, query, after=habits.mark)
        self.idle = rest + turn

    def recycle(self, every: float) -> Acts:
        """Begin the process anew now and then, as workers do that serve a number of requests."""
        rng = self.db.rng
        wait = rng.random() * every
        at = -HORIZON
        while True:
            yield wait
            at += wait
            for each in (*self.idle, *self.out):
                self.db.close(each, at)
            self.idle, self.out = [], []
            self.fill(at)
            wait = every * rng.uniform(0.7, 1.3)


def leak_out_of(pool: Pool, at: float, every: float) -> Acts:
    """Forget to give a session back, at random times `every` seconds apart on average."""
    rng = pool.db.rng
    while True:
        wait = rng.expovariate(1 / every)
        yield wait
        at += wait
        pool.settle(at)
        pool.lose(at)


def raw_leak(
    db: Postgres, clients: list[Client], at: float, every: float, is_timed: bool, query: str
) -> Acts:
    """Open a session for each job, use it once, and forget it; by a timer, or at random."""
    rng = db.rng
    while True:
        wait = every * rng.uniform(0.97, 1.03) if is_timed else rng.expovariate(1 / every)
        yield wait
        at += wait
        session = db.open(rng.choice(clients), at)
        if session is not None:
            session.run(at + 0.01, rng.uniform(0.01, 0.4), query)


def no_pool(db: Postgres, clients: list[Client], at: float, rate: float, seconds: float) -> Acts:
    """Open a session for each request and close it after; many requests at once."""
    rng = db.rng
    while True:
        wait = max(0.05, -at * 0.06) if at < -10 * seconds else 1 / rate * rng.uniform(0.2, 1.8)
        yield wait
        at += wait
        session = db.open(rng.choice(clients), at)
        if session is not None:
            lasts = rng.expovariate(1 / seconds)
            session.run(at + 0.01, lasts * rng.uniform(0.3, 1), f"SELECT * FROM pages WHERE id = {at:.0f}")
            db.spawn(_closes(db, session, at + lasts), at + lasts)


def _closes(db: Postgres, session: Session, at: float) -> Acts:
    db.close(session, at)
    yield from ()
