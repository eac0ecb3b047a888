"""Values of pgtop's own types, each as plain as can be but for what a test names."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from pgtop.audit.log import AuditedServer, AuditLine, Operator
from pgtop.core.activity import (
    IDLE,
    MICROSECONDS,
    Backend,
    BackendId,
    Limits,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
)
from pgtop.core.plan import Act, DecidedBy, Outcome, Plan, ReapPolicy, SparedFor, Trigger
from pgtop.core.recorded import Acted
from pgtop.core.sample_history import History, Past, Sample
from pgtop.core.session_patterns import Patterns
from pgtop.daemon.metrics import Figures
from pgtop.history.store import ServerKey

NOW = 1_700_000_000 * MICROSECONDS
"""When snapshots are taken and histories begin."""
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
"""When lines of the audit log are written."""
OWN_PID = 1
SERVER = Server("db1", 5432, 160004, ServerIdentity("7", 1, False), Limits(100, 3, 2))
SERVER_KEY = ServerKey("db1:5432", -1234567890123456789)
HOSTILE = "a\x9b2J\x9d52;c;aGk=\x9c\x1b]0;x\x07\u202e\u2066\u2028\u200b\x7f\U000e0001é日"
"""Text that a terminal would obey."""


# Sessions and snapshots


def backend(pid: int = 10, *, state: str | None = IDLE, age: float = 600, **fields: Any) -> Backend:
    """A session that has been in its state for `age` seconds."""
    since = NOW - int(age * MICROSECONDS)
    plain = Backend(
        pid, since, since, None, since, state, "app", "app", "shop", None, -1, None, None, False, "SELECT 1"
    )
    return msgspec.structs.replace(plain, **fields)


def snapshot(*backends: Backend, superuser: bool = False, **fields: Any) -> Snapshot:
    """What a role that may look and terminate sees of a server with these sessions."""
    plain = Snapshot(
        server=SERVER,
        privileges=Privileges("pgtop", superuser, True),
        taken_at=NOW,
        poll_seconds=0.0,
        own_pid=OWN_PID,
        backends=backends,
    )
    return msgspec.structs.replace(plain, **fields)


def server_of(limits: Limits = SERVER.limits, **fields: Any) -> Server:
    """The server with other limits, and whatever else is named."""
    return msgspec.structs.replace(SERVER, limits=limits, **fields)


def host_backend(pid: int, age: float | None = 60.0, *, at_least: bool = False, **fields: Any) -> Backend:
    """A session as a host sees it: over TCP, or with a lower bound over a Unix socket."""
    seen = {
        "backend_start": NOW - 3600 * MICROSECONDS,
        "state_change": None if age is None else NOW - round(age * MICROSECONDS),
        "query_start": None,
        "application_name": None,
        "client_addr": None if at_least else "10.0.4.7",
        "client_port": -1 if at_least else 40_000 + pid,
        "query": None,
        "idle_at_least": at_least,
    }
    return backend(pid, **{**seen, **fields})


def host_snapshot(*backends: Backend, slots: int = 10, known: bool = True) -> Snapshot:
    """What a host shows of a server; its slots only where they are known."""
    seen = server_of(Limits(slots, 0) if known else Limits(0, 0), host="/run/postgresql")
    privileges = Privileges("root", True, True)
    return snapshot(*backends, server=seen, privileges=privileges, own_pid=0)


def holding(snapshot: Snapshot, total: int, slots: int) -> Snapshot:
    """The snapshot with `total` sessions on a server of that many slots."""
    server = msgspec.structs.replace(snapshot.server, limits=Limits(slots + 3, 3, 0, 0))
    return msgspec.structs.replace(snapshot, server=server, backends=snapshot.backends[:1] * total)


def figures_of(*applications: str) -> Figures:
    """The daemon's figures after a poll that saw one session of each of these applications."""
    known = Figures()
    known.snapshot = snapshot(*(backend(10 + n, application_name=a) for n, a in enumerate(applications)))
    known.polled_at = time.monotonic()
    return known


# Plans


def policy(**fields: Any) -> ReapPolicy:
    """A policy; `only` and `protected` as dictionaries of patterns."""
    patterns = {name: Patterns(**fields.pop(name)) for name in ("only", "protected") if name in fields}
    return ReapPolicy(**patterns, **fields)


def ended(plan: Plan) -> list[int]:
    """The pids that a plan ends, in its order."""
    return [victim.backend.pid for victim in plan.victims]


def spared(plan: Plan) -> dict[int, SparedFor]:
    """The pids that a plan spares, and why."""
    return {each.backend.pid: each.spared_for for each in plan.spared}


# The past


def history_of(totals: Sequence[int], every: float = 2.0, begin: float = 0.0) -> History:
    """A history with one sample each `every` seconds."""
    made = History()
    for number, total in enumerate(totals):
        at = NOW + int((begin + number * every) * MICROSECONDS)
        made.add(Sample(at, total, total // 2, total // 3, 97, total // 5, total % 11 == 0), every)
    return made


_WIDTHS_AND_HEIGHTS: Final = "80x7 118x11 198x18 80x6 40x5 30x6 20x4 10x3 3x2 1x1 500x60"
GRAPH_SIZES: Final = [tuple(map(int, size.split("x"))) for size in _WIDTHS_AND_HEIGHTS.split()]
"""Widths and heights of a graph, from beyond any terminal down to one cell."""


def climbing(start: int, to: int = 90, minutes: float = 15, every: int = 2) -> History:
    """A history that climbs steadily from `start` to a total, a fifth of it active."""
    history = History()
    steps = round(minutes * 60 / every)
    for number in range(steps):
        total = 1 + to * number // steps
        sample = Sample(start + number * every * MICROSECONDS, total, total - total // 5, total // 5, 97)
        history.add(sample, every)
    return history


def past_of(totals: Sequence[int], every: float = 2.0, begin: float = 0.0) -> Past:
    """What is kept of such a history."""
    kept = history_of(totals, every, begin).past()
    assert kept is not None
    return kept


def acted(**fields: Any) -> Acted:
    """A sweep of the daemon that terminated two sessions of `web`, and found one changed."""
    plain = Acted(
        at=NOW,
        act=Act.TERMINATE,
        trigger=Trigger.EMERGENCY,
        decided_by=DecidedBy.POLICY,
        operator="root",
        face="daemon",
        outcomes=((Outcome.TERMINATED, 2), (Outcome.CHANGED, 1)),
        usage_before=1.0,
        usage_after=0.8,
        applications=(("web", 2),),
        backends=(BackendId(10, 5), BackendId(11, 5)),
    )
    return msgspec.structs.replace(plain, **fields)


# The audit log


def audit_line(pid: int = 1, query: str = "SELECT 1", **fields: Any) -> AuditLine:
    """The line of an attempt to terminate a session."""
    plain = AuditLine(
        event="attempt",
        plan="p",
        time="t",
        operator=Operator("u", None, "h"),
        face="test",
        server=AuditedServer("h", 5432, 160000),
        act="terminate",
        trigger="selected",
        pid=pid,
        backend_start=None,
        state="idle",
        state_change=None,
        xact_start=None,
        query_start=None,
        application_name="a\nb\x1b",
        usename="u",
        datname="d",
        client_addr=None,
        idle_seconds=1.0,
        query=query,
        reason="r",
    )
    return msgspec.structs.replace(plain, **fields)


def attempt(pid: int, at: datetime = NOON, **fields: Any) -> AuditLine:
    """An attempt of a known moment."""
    return audit_line(pid, **{"time": at.isoformat(), "backend_start": "2026-01-02", **fields})


def outcome(
    of: AuditLine,
    word: str = "terminated",
    after_seconds: float = 1.0,
    detail: str | None = "it was told",
) -> AuditLine:
    """The line of what became of an attempt, some time later."""
    time = (datetime.fromisoformat(of.time) + timedelta(seconds=after_seconds)).isoformat()
    return msgspec.structs.replace(of, event="outcome", outcome=word, detail=detail, time=time)
