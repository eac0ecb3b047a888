"""The facts of a run that both its audit lines hold: the authority, the usage, the sessions that waited."""

import asyncio
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from pgtop.audit.reader import PassedOver, read_entries
from pgtop.core.plan import DecidedBy, Outcome, Plan, ReapPolicy
from pgtop.demo.server import ThrowawayServer
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.hosting import face_on_host, replaced
from tests.support.reaping import Face, as_role, face_on, found, outcomes, queued
from tests.support.running import run
from tests.support.targets import stopped


def told(face: Face, field: str) -> list[object]:
    """Return one field of each audit line."""
    return [line[field] for line in face.lines()]


@pytest.mark.parametrize("decided_by", DecidedBy)
async def test_both_lines_name_the_authority(
    server: ThrowawayServer, tmp_path: Path, decided_by: DecidedBy
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        await face.reaper.run(await face.plan_for(one), decided_by=decided_by)
    assert told(face, "decided_by") == [decided_by.value] * 2


async def test_the_usage_after_is_the_one_measured(small: ThrowawayServer, tmp_path: Path) -> None:
    """A victim that survives makes no room, whatever the plan promised; a newcomer takes some."""
    async with face_on(small, tmp_path / "a") as face, sessions(small, 3) as (goes, stays, _):
        for each in (goes, stays):
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(goes, stays)
        assert (plan.usage_before, plan.usage_after) == (4 / 20, 2 / 20)
        async with session(small):
            with stopped(stays.get_server_pid()):
                report = await face.run(plan)
            assert outcomes(report) == [Outcome.TERMINATED, Outcome.SURVIVED]
            assert report.usage_after == 4 / 20
    assert told(face, "usage_before") == [4 / 20] * 4
    assert told(face, "usage_after") == [None, None, 4 / 20, 4 / 20]


async def test_a_lost_connection_leaves_the_usage_unknown(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report falls back to what the outcomes imply; the log does not."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        ask = face.own_connection.fetchrow

        async def ask_and_lose(query: str, *arguments: object) -> asyncpg.Record | None:
            row = await ask(query, *arguments)
            face.own_connection.drop()
            return row

        monkeypatch.setattr(face.own_connection, "fetchrow", ask_and_lose)
        report = await face.run(plan)
        assert outcomes(report) == [Outcome.UNKNOWN]
        assert report.usage_after == plan.usage_before
    assert told(face, "usage_after") == [None, None]


async def test_sessions_that_waited_are_counted(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """Behind the holder all of them, behind the first that waits those after it."""
    async with (
        face_on(every_server, tmp_path / "a") as face,
        sessions(every_server, 4) as (holder, first, second, other),
    ):
        await other.fetchval("SELECT 1")
        try:
            async with queued(face, holder, first, second):
                report = await face.run(await face.plan_for(holder, first, other, second))
                assert outcomes(report) == [Outcome.TERMINATED] * 4
        finally:
            await execute(every_server, "DROP TABLE waited_for")
    assert told(face, "blocked_sessions") == [2, 1, 0, 0] * 2


async def test_a_sweep_of_idle_sessions_blocks_none(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold no lock, and the lock manager is not asked in an emergency."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")

        async def is_idle() -> bool:
            return found(await face.snapshot(), one).state == "idle"

        await wait_until(is_idle)
        asked: list[str] = []
        ask = face.own_connection.fetch

        async def noted(query: str, *arguments: object, **limits: int) -> list[asyncpg.Record]:
            asked.append(query)
            return await ask(query, *arguments, **limits)

        plan = await face.reaper.plan_sweep(await face.snapshot(), ReapPolicy(idle_after_seconds=0.0))
        monkeypatch.setattr(face.own_connection, "fetch", noted)
        await face.run(plan)
    assert asked
    assert not [query for query in asked if "pg_blocking_pids" in query]
    assert set(told(face, "blocked_sessions")) == {0}


async def test_a_server_that_refuses_to_count_ends_them(small: ThrowawayServer, tmp_path: Path) -> None:
    """The number of those that waited is null then."""
    role = await create_role(small, "monitor")
    await execute(small, "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_blocking_pids(int) FROM PUBLIC")
    async with (
        face_on(small, tmp_path / "a", target=as_role(role)) as face,
        session(small, user=role.name, password=role.password) as holder,
        session(small, user=role.name, password=role.password) as waiting,
    ):
        await holder.fetchval("SELECT pg_advisory_lock(7)")
        asking = asyncio.ensure_future(waiting.fetchval("SELECT pg_advisory_lock(7)"))

        async def waits() -> bool:
            return found(await face.snapshot(), waiting).waits_on_lock

        await wait_until(waits)
        assert outcomes(await face.run(await face.plan_for(holder))) == [Outcome.TERMINATED]
        await asking
    assert told(face, "blocked_sessions") == [None, None]


async def test_the_host_counts_waiting_sessions_alone(small: ThrowawayServer, tmp_path: Path) -> None:
    """None waits: none waits behind the victim. Some wait: the host does not show for which session."""
    face, sql = face_on_host(small, tmp_path / "a"), face_on(small, tmp_path / "unused")
    policy = ReapPolicy(include_idle_in_transaction_seconds=0.0)
    async with sql as seen, sessions(small, 2) as (holder, waiting), session(small) as idle:
        await idle.fetchval("SELECT 1")
        assert outcomes(await face.run(await face.plan_for(idle))) == [Outcome.TERMINATED]
        async with queued(seen, holder, waiting):

            async def in_transaction() -> Plan | None:
                plan = await face.plan(policy=policy)
                pids = [each.backend.pid for each in plan.victims]
                return plan if holder.get_server_pid() in pids and plan.waiting_on_locks == 1 else None

            plan = await wait_until(in_transaction)
            victims = tuple(each for each in plan.victims if each.backend.pid == holder.get_server_pid())
            assert outcomes(await face.run(replaced(plan, victims))) == [Outcome.TERMINATED]
    lines = audited(tmp_path / "a")
    assert [(line["blocked_sessions"], line["waiting_sessions"]) for line in lines] == [
        *[(0, 0)] * 2,
        *[(None, 1)] * 2,
    ]
    assert [(line["state"], line["idle_seconds"] is None) for line in lines[2:]] == [
        ("idle in transaction", True)
    ] * 2
    assert all(0 <= line["state_seconds"] < 60 for line in lines)
    told = run(tmp_path, "audit", "--audit-log", str(tmp_path / "a")).stdout
    rows = [re.split("  +", line) for line in told.splitlines()]
    title = next(row for row in rows if row[0] == "time")
    cells = [dict(zip(title, row, strict=True)) for row in rows if "terminated" in row]
    assert [cell["blocked"] for cell in cells] == ["0", "up to 1"]
    assert [cell["application"] for cell in cells] == ["not visible"] * 2
    assert cells[1]["idle age"].endswith("s in txn")


async def test_the_host_measures_usage(small: ThrowawayServer, tmp_path: Path) -> None:
    face = face_on_host(small, tmp_path / "a")
    async with sessions(small, 2) as opened:
        for each in opened:
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(opened[0])
        async with session(small) as newcomer:
            await newcomer.fetchval("SELECT 1")
            report = await face.run(plan)
        assert outcomes(report) == [Outcome.TERMINATED]
    lines = audited(tmp_path / "a")
    assert [line["usage_before"] for line in lines] == [2 / 20] * 2
    assert [line["usage_after"] for line in lines] == [None, 2 / 20]


async def test_an_outcome_that_had_no_room_is_written_later(server: ThrowawayServer, tmp_path: Path) -> None:
    """Room for the attempt alone: what became of the session is known, and told once the disk has room."""
    path = tmp_path / "a"
    async with face_on(server, path) as face, sessions(server, 2) as (first, second):
        for each in (first, second):
            await each.fetchval("SELECT 1")
        await face.run(await face.plan_for(first))
        plan = await face.plan_for(second)
        attempt_bytes = len(path.read_bytes().splitlines(keepends=True)[0])
        with files_up_to(path.stat().st_size + attempt_bytes * 3 // 2):
            report = await face.run(plan)
            assert outcomes(report) == [Outcome.TERMINATED]
            assert "cannot write the audit log" in report.audit_problem
            await face.reaper.write_owed()
            assert [entry.outcome for entry in read_entries(path, PassedOver())] == ["terminated", None]
        await face.reaper.write_owed()
        written = path.read_bytes()
        await face.reaper.write_owed()
    assert [entry.outcome for entry in read_entries(path, PassedOver())] == ["terminated"] * 2
    assert path.read_bytes() == written


@contextmanager
def files_up_to(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond that, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
