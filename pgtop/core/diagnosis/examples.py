"""Example servers, one for each kind of finding: the sessions that lead to it, and the sentence that it gets.

Each server has 97 slots, and its clock shows the same moment. Ages are seconds.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pgtop.core.activity import (
    MICROSECONDS,
    Backend,
    ConnectionLimit,
    LimitOf,
    Limits,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
)
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.stalled_logins import Stall

_NOW: Final = 1_700_000_000 * MICROSECONDS
_SERVER: Final = Server("db1", 5432, 170002, ServerIdentity("7", 1, False), Limits(100, 3))
_HOUR: Final = 3600.0


def sentence(snapshot: Snapshot, facts: Facts = Facts()) -> str:  # noqa: B008 - frozen
    """Return the sentence of the first finding; "" if there is nothing to say.

    >>> sentence(server(*pools("web", hosts=2, size=10)))
    ''
    """
    found = diagnose(snapshot, facts=facts)
    return found[0].sentence if found else ""


def server(*backends: Backend, limits: tuple[ConnectionLimit, ...] = ()) -> Snapshot:
    """Return a server with these sessions."""
    return Snapshot(
        server=_SERVER,
        privileges=Privileges("pgtop", False, True),
        taken_at=_NOW,
        poll_seconds=0.0,
        own_pid=1,
        backends=backends,
        connection_limits=limits,
    )


def session(pid: int, begun: float, rested: float, state: str = "idle", **fields: Any) -> Backend:
    """Return a session by its age, and by the time for which it has been in its state."""
    since = _NOW - round(rested * MICROSECONDS)
    plain = Backend(
        pid=pid,
        backend_start=_NOW - round(begun * MICROSECONDS),
        state_change=since,
        xact_start=since if state.startswith("idle in") else None,
        query_start=since,
        state=state,
        application_name="web",
        usename="app",
        datname="shop",
        client_addr="10.0.1.1",
        client_port=40_000 + pid,
        wait_event_type=None,
        wait_event=None,
        is_superuser=False,
        query="SELECT 1",
    )
    return msgspec.structs.replace(plain, **fields)


def pools(name: str, hosts: int, size: int) -> list[Backend]:
    """Return the pools of several hosts, each in order: opened long ago, each session used in turn."""
    return [
        session(
            1000 + 100 * host + n,
            6 * _HOUR + host,
            3.0 * n + 0.1,
            "active" if n == 0 else "idle",
            application_name=name,
            client_addr=f"10.0.1.{host}",
        )
        for host in range(hosts)
        for n in range(size)
    ]


def leak() -> Snapshot:
    """Return a worker that opens a session every 30 seconds, uses it once and forgets it.

    >>> print(sentence(leak()))  # doctest: +ELLIPSIS
    leak in worker since ...: 43 left idle, one each 30s: a scraper or cron, full at about ...
    """
    lost = [
        session(10 + n, 30.0 * (45 - n), 30.0 * (45 - n) - 0.2, application_name="worker", query=_JOB)
        for n in range(45)
    ]
    return server(*lost, *pools("web", hosts=3, size=10))


_JOB: Final = "SELECT * FROM jobs WHERE id = 7"


def lock_queue() -> tuple[Snapshot, Facts]:
    """Return a dump that holds a table, a schema change that waits for it, and readers behind that.

    >>> print(sentence(*lock_queue()))
    lock queue: 30 wait behind pid 11 (ALTER TABLE orders ADD x int, waiting 3m 12s), which waits for pid 10 \
(COPY orders TO stdout, running 25m)
    """
    waits = {"wait_event_type": "Lock", "wait_event": "relation"}
    copy, alter, select = "COPY orders TO stdout", "ALTER TABLE orders ADD x int", "SELECT * FROM orders"
    dump = session(10, 1500, 1500, "active", application_name="pg_dump", query=copy)
    head = session(11, 200, 192, "active", application_name="deploy", query=alter, **waits)
    readers = [session(100 + n, _HOUR, 60, "active", query=select, **waits) for n in range(30)]
    blocked_by: Mapping[int, frozenset[int]] = {
        11: frozenset({10}),
        **{each.pid: frozenset({11}) for each in readers},
    }
    return server(dump, head, *readers), Facts(blocked_by=blocked_by)


def limit() -> Snapshot:
    """Return a role at its own CONNECTION LIMIT, on a server with room.

    >>> print(sentence(limit()))
    role app has 20 of its own 20: its next login is refused, although 77 slots are free; 18 of them idle, \
the longest for 27s
    """
    return server(*pools("web", hosts=2, size=10), limits=(ConnectionLimit(LimitOf.ROLE, "app", 20),))


def login_stall() -> tuple[Snapshot, Facts]:
    """Return a server whose slots are held by clients that never finish their login.

    >>> print(sentence(*login_stall()))
    login stall: 80 slots are held by clients still connecting; terminating idle sessions will not help for \
long
    """
    return server(*pools("web", hosts=1, size=17)), Facts(stall=Stall(80, 17, 97))


def idle_in_transaction() -> Snapshot:
    """Return an application that calls another service in the middle of its transactions.

    >>> print(sentence(idle_in_transaction()))
    28 of api idle in transaction (median 41s), 28 after `SELECT * FROM policies`: work outside the database \
inside a transaction
    """
    waiting = [
        session(10 + n, _HOUR, 41, "idle in transaction", application_name="api", query=_POLICY)
        for n in range(28)
    ]
    return server(*waiting, *pools("web", hosts=5, size=9))


_POLICY: Final = "SELECT * FROM policies"


def slow_statements() -> Snapshot:
    """Return an application all of whose sessions run one slow statement.

    >>> print(sentence(slow_statements()))  # doctest: +ELLIPSIS
    44 of web run the same statement for 4m 00s: `SELECT * FROM ops WHERE at > ?`; most wait for ...
    """
    read = {"wait_event_type": "IO", "wait_event": "DataFileRead"}
    running = [session(10 + n, _HOUR, 240, "active", query=f"{_OPS} {n}", **read) for n in range(44)]
    return server(*running, *pools("web", hosts=3, size=9))


_OPS: Final = "SELECT * FROM ops WHERE at >"


def tools() -> Snapshot:
    """Return people's own tools, left open since yesterday.

    >>> print(sentence(tools()))
    34 of people's tools (DBeaver 21, pgAdmin 13; ann 34), idle for up to 19h 00m
    """
    left = [
        session(
            10 + n,
            20 * _HOUR,
            19 * _HOUR - n,
            application_name="DBeaver 24 - Main" if n < 21 else "pgAdmin 4",
            usename="ann",
        )
        for n in range(34)
    ]
    return server(*left, *pools("web", hosts=4, size=9))


def silent_clients() -> Snapshot:
    """Return an application one of whose hosts fell silent ten minutes ago.

    >>> print(sentence(silent_clients()))  # doctest: +ELLIPSIS
    silent clients of web: 10.0.9.9 (12) silent since ...: crashed or cut off
    """
    cut_off = [session(10 + n, 6 * _HOUR, 600 + n, client_addr="10.0.9.9") for n in range(12)]
    return server(*cut_off, *pools("web", hosts=6, size=10))


def surge() -> Snapshot:
    """Return an application that was scaled out two minutes ago.

    >>> print(sentence(surge()))  # doctest: +ELLIPSIS
    surge of web: scaled out 3 → 11 addresses, 48 new sessions since ...; 48 at work
    """
    new = [
        session(10 + n, 120 - n / 10, 1 + n / 50, "active", client_addr=f"10.0.9.{n % 8}") for n in range(48)
    ]
    return server(*new, *pools("web", hosts=3, size=9))


def pool_arithmetic() -> Snapshot:
    """Return twelve hosts, each with a pool in order, that do not fit together.

    >>> print(sentence(pool_arithmetic()))
    pools of web too large together: 12 addresses × 8, 96 in all; 7 each fits (it has 96, 84 idle)
    """
    return server(*pools("web", hosts=12, size=8))


def mixed() -> Snapshot:
    """Return a server that is nearly full of many small applications.

    >>> print(sentence(mixed()))
    no single cause: app0 5, app1 5, app2 5, and 14 more; 68 of 85 idle
    """
    crowd = [each for n in range(17) for each in pools(f"app{n}", hosts=1, size=5)]
    numbered = (msgspec.structs.replace(each, pid=10 + n) for n, each in enumerate(crowd))
    return server(*numbered)
