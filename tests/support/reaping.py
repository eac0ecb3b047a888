"""A face for tests: a connection, its probe and its reaper on a real server, with an audit log of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from pgtop.audit.log import AuditLog, Operator
from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.plan import DecidedBy, Outcome, Plan, ReapPolicy
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.advisory_keys import LONGEST_PROMISE_SECONDS, drawn, signed
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.queries.advisory_keys import REAPER_CLASS
from pgtop.postgres.queries.terminate import STILL_THERE
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.reaper import Reaper, Report
from tests.servers import Role, fetch_value, session, wait_until
from tests.support.audit_logs import audited
from tests.support.targets import connection_on, target_of

OPERATOR = Operator("tester", None, "here")


@dataclass
class Face:
    """The parts of a face."""

    own_connection: OwnConnection
    probe: Probe
    reaper: Reaper
    audit: Path

    async def snapshot(self) -> Snapshot:
        """One poll."""
        return await self.probe.snapshot()

    async def plan_for(self, *connections: asyncpg.Connection) -> Plan:
        """The plan of K over these sessions."""
        snapshot = await self.snapshot()
        identities = [found(snapshot, each).id for each in connections]
        return await self.reaper.plan_terminate(snapshot, ReapPolicy(), identities)

    async def run(self, plan: Plan) -> Report:
        """Carry a plan out as a person who confirmed it."""
        return await self.reaper.run(plan, decided_by=DecidedBy.PERSON)

    def lines(self) -> list[dict[str, Any]]:
        """The audit log."""
        return audited(self.audit)


def found(snapshot: Snapshot, connection: asyncpg.Connection) -> Backend:
    """A session's backend in a snapshot."""
    pid = connection.get_server_pid()
    return next(backend for backend in snapshot.backends if backend.pid == pid)


def identities(plan: Plan) -> set[BackendId]:
    """Return the sessions that a plan would terminate."""
    return {victim.backend.id for victim in plan.victims}


def as_role(role: Role) -> Target:
    """A target as a role of its server's."""
    return resolve(role.uri(), {}, {"HOME": "/nonexistent"})


async def hold_key(
    connection: asyncpg.Connection, promise_seconds: int = LONGEST_PROMISE_SECONDS, *, shared: bool = True
) -> int:
    """Lets a session hold a key to reaping that was drawn as pgtop draws it; gives its second integer."""
    number = signed(drawn(promise_seconds))
    kind = "_shared" if shared else ""
    await connection.execute(f"SELECT pg_advisory_lock{kind}({REAPER_CLASS}, {number})")
    return number


@asynccontextmanager
async def face_on(
    server: ThrowawayServer, audit: Path, *, target: Target | None = None
) -> AsyncIterator[Face]:
    """A face on a server, as the superuser unless a target says otherwise."""
    async with connection_on(target or target_of(server), "test") as own_connection:
        yield Face(
            own_connection,
            Probe(own_connection),
            Reaper(SqlTerminator(own_connection), AuditLog(audit), "test", OPERATOR),
            audit,
        )


async def real_snapshot(server: ThrowawayServer, audit: Path, user: str = "postgres") -> Snapshot:
    """One real snapshot of a server, with at least two sessions in it."""
    async with session(server), face_on(server, audit, target=target_of(server, user=user)) as face:
        return await face.snapshot()


def outcomes(report: Report) -> list[Outcome]:
    """Return what became of each session of a plan."""
    return [result.outcome for result in report.results]


async def confirming(server: ThrowawayServer, face: str) -> None:
    """Wait until a face has signalled the sessions of its plan and looks whether they are gone."""
    name, query = f"pgtop {face}@%", "application_name LIKE $1 AND left(query, 200) = left($2, 200)"
    asked = f"SELECT count(*) > 0 FROM pg_stat_activity WHERE {query}"
    await wait_until(lambda: fetch_value(server, asked, name, STILL_THERE), 30.0)


async def lives(connection: asyncpg.Connection) -> bool:
    """Return whether a session still answers; an error where it does not."""
    return await connection.fetchval("SELECT 1") == 1


@asynccontextmanager
async def queued(
    face: Face, holder: asyncpg.Connection, *waiting: asyncpg.Connection
) -> AsyncIterator[list[asyncpg.Connection]]:
    """A lock queue: each of these sessions waits behind those before it. Yields them all in that order.

    Those that are left let go of their locks at the end.
    """
    await holder.execute("BEGIN; CREATE TABLE waited_for (); COMMIT; BEGIN; LOCK TABLE waited_for")
    asking = []
    for each in waiting:
        asking.append(asyncio.ensure_future(each.execute("BEGIN; LOCK TABLE waited_for")))

        async def waits(one: asyncpg.Connection = each) -> bool:
            return found(await face.snapshot(), one).waits_on_lock

        await wait_until(waits)
    try:
        yield [holder, *waiting]
    finally:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await holder.execute("ROLLBACK")
        for each, asked in zip(waiting, asking, strict=True):
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asked
                await each.execute("ROLLBACK")
