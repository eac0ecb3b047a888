"""The outcomes that the reaper reports and logs for victims where they are hard to tell."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Privileges
from pgtop.core.plan import Outcome, ReapPolicy, Result
from pgtop.core.policy import plan_emergency, plan_sweep
from pgtop.demo.server import ThrowawayServer
from pgtop.exit_codes import ExitCode
from pgtop.postgres.conninfo.rescue_role import with_rescue
from pgtop.postgres.queries.terminate import STILL_THERE
from pgtop.reaping.plan_wording import age_hint
from pgtop.reaping.reaper import Report
from tests.builders import backend, snapshot
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.apis import unconfirmed
from tests.support.audit_logs import audited
from tests.support.filling import THREE_SLOTS, full
from tests.support.reaping import face_on, found
from tests.support.targets import target_of


async def test_a_plan_that_was_refused_or_is_empty_does_nothing(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        plan = await face.plan_for(one)
        for nothing in (
            msgspec.structs.replace(plan, refusal="hidden"),
            msgspec.structs.replace(plan, victims=()),
        ):
            report = await face.run(nothing)
            assert report.results == ()
            assert report.exit_code == ExitCode.DONE
        assert await one.fetchval("SELECT 1") == 1
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], ExitCode.DONE),
        ([Outcome.TERMINATED, Outcome.CHANGED], ExitCode.DONE),
        ([Outcome.CHANGED], ExitCode.DONE),
        ([Outcome.CANCELLED], ExitCode.DONE),
        ([Outcome.DENIED, Outcome.DENIED], ExitCode.NOT_PERMITTED),
        *(
            ([Outcome.TERMINATED, outcome], ExitCode.PARTLY)
            for outcome in (Outcome.DENIED, Outcome.SURVIVED, Outcome.FAILED, Outcome.UNKNOWN)
        ),
        ([Outcome.SURVIVED], ExitCode.PARTLY),
    ],
)
def test_the_exit_code_tells_what_was_left_undone(outcomes: list[Outcome], code: ExitCode) -> None:
    """A session that changed meanwhile is not left undone: it is no longer what was to be terminated."""
    plan = plan_sweep(snapshot(backend()), ReapPolicy())
    results = tuple(Result(plan.victims[0], outcome) for outcome in outcomes)
    assert Report(plan, results).exit_code == code


async def test_an_error_that_is_not_foreseen_leaves_no_attempt_open(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while a victim is signalled nor while it is confirmed."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        for method in ("fetchrow", "fetch"):
            plan = await face.plan_for(one)
            ask = getattr(face.own_connection, method)

            async def fail(
                query: str, *arguments: Any, _ask: Any = ask, _method: str = method, **options: Any
            ) -> Any:
                if _method == "fetch" and query != STILL_THERE:
                    return await _ask(query, *arguments, **options)
                raise ZeroDivisionError

            with monkeypatch.context() as patch:
                patch.setattr(face.own_connection, method, fail)
                with pytest.raises(ZeroDivisionError):
                    await face.run(plan)
    assert not unconfirmed(tmp_path / "a")
    assert [each["outcome"] for each in audited(tmp_path / "a") if each["outcome"]] == ["unknown"] * 2


async def test_a_victim_that_left_between_look_and_signal_is_changed(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pg_terminate_backend says where the process is gone by then."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        ask = face.own_connection.fetchrow
        monkeypatch.setattr(face.own_connection, "fetchrow", lambda *_: ask("SELECT false AS signalled"))
        assert [result.outcome for result in (await face.run(plan)).results] == [Outcome.CHANGED]


async def test_a_pid_that_is_another_session_after_the_signal_is_terminated(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the pid had been reused at once: same pid, another backend_start."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        ask = face.own_connection.fetch

        async def reused(query: str, *arguments: object, **limits: Any) -> list[Any]:
            rows: list[Any] = await ask(query, *arguments, **limits)
            if query != STILL_THERE:
                return rows
            pid = one.get_server_pid()
            return [{"pid": pid, "backend_start": 1, "state": "idle", "query_start": 1}]

        monkeypatch.setattr(face.own_connection, "fetch", reused)
        assert [result.outcome for result in (await face.run(plan)).results] == [Outcome.TERMINATED]


async def test_a_new_connection_confirms_nothing_and_ends_no_session(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll beside the run makes a lost connection again, after a failover on another host."""
    async with face_on(server, tmp_path / "a") as face, sessions(server, 2) as opened:
        for each in opened:
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(*opened)
        ask = face.own_connection.fetchrow

        async def ask_and_fail_over(query: str, *arguments: object) -> asyncpg.Record | None:
            row = await ask(query, *arguments)
            face.own_connection.drop()
            await face.own_connection.take()
            return row

        monkeypatch.setattr(face.own_connection, "fetchrow", ask_and_fail_over)
        report = await face.run(plan)
        assert [result.outcome for result in report.results] == [Outcome.UNKNOWN, Outcome.FAILED]
        assert await opened[1].fetchval("SELECT 1") == 1


async def test_a_client_that_asks_again_at_once_was_cancelled_all_the_same(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        cancelled = 0

        async def insist() -> None:
            nonlocal cancelled
            while True:
                try:
                    await one.fetchval("SELECT pg_sleep(60)")
                except asyncpg.QueryCanceledError:
                    cancelled += 1

        insisting = asyncio.ensure_future(insist())

        async def runs() -> bool:
            return found(await face.snapshot(), one).state == "active"

        await wait_until(runs)
        snapshot = await face.snapshot()
        plan = await face.reaper.plan_cancel(snapshot, ReapPolicy(), [found(snapshot, one).id])
        assert [result.outcome for result in (await face.run(plan)).results] == [Outcome.CANCELLED]
        assert cancelled == 1
        # Without its client the server would go on with the statement, beside the tests after this one.
        await execute(server, f"SELECT pg_terminate_backend({one.get_server_pid()}, 10000)")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await insisting


async def test_outcomes_that_cannot_be_written_are_told(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log becomes a directory in the middle of the run."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        ask = face.own_connection.fetchrow

        async def ask_and_spoil(query: str, *arguments: object) -> asyncpg.Record | None:
            face.audit.rename(tmp_path / "attempts")
            face.audit.mkdir()
            return await ask(query, *arguments)

        monkeypatch.setattr(face.own_connection, "fetchrow", ask_and_spoil)
        report = await face.run(plan)
        assert [result.outcome for result in report.results] == [Outcome.TERMINATED]
        assert str(face.audit) in report.audit_problem
        assert (tmp_path / "attempts").read_bytes().count(b"\n") == 1


async def test_both_lines_say_that_the_rescue_role_acted(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """The outcome's as well as the attempt's: as whom, and with which statement last."""
    small = server_factory(THREE_SLOTS)
    await execute(small, "CREATE ROLE app LOGIN", "CREATE ROLE watcher LOGIN")
    target = with_rescue(target_of(small, user="watcher"), "user=postgres", "--rescue", {"HOME": "/none"})
    async with full(small) as filling, face_on(small, tmp_path / "a", target=target) as face:
        await filling[0].fetchval("SELECT 'mine'")
        report = await face.run(await face.plan_for(filling[0]))
        assert [result.outcome for result in report.results] == [Outcome.TERMINATED]
    told = [(line["event"], line["role"], line["rescue"], line["query"]) for line in face.lines()]
    assert told == [(event, "postgres", True, "SELECT 'mine'") for event in ("attempt", "outcome")]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"age": 1}, "--idle-after asks for another idle age"),
        ({"age": 600}, ""),
        ({"age": 600, "is_superuser": True}, ""),
        ({"age": 600, "usename": "other", "is_of_own_role": False}, ""),
    ],
)
def test_another_age_is_named_where_it_would_help(fields: dict[str, Any], hint: str) -> None:
    privileges = Privileges("ops", is_superuser=False, may_signal=False)
    one = backend(**({"is_of_own_role": True} | fields))
    assert age_hint(plan_sweep(snapshot(one, privileges=privileges), ReapPolicy())) == hint


def test_enough_room_is_done_though_some_are_forbidden() -> None:
    """An emergency needs just enough; a sweep that leaves some is done in part."""
    privileges = Privileges("ops", is_superuser=False, may_signal=False)
    own = [backend(10 + n, is_of_own_role=True) for n in range(15)]
    crowd = [backend(100 + n, usename="other", state="active") for n in range(79)]
    seen = snapshot(*own, *crowd, backend(500, usename="other"), privileges=privileges)
    emergency = plan_emergency(seen, ReapPolicy())
    assert (len(emergency.victims), emergency.forbidden, emergency.leaves_forbidden) == (15, 1, True)
    lower = plan_emergency(seen, ReapPolicy(warn_at=0.9))
    assert (lower.forbidden, lower.leaves_forbidden) == (1, False)
    assert plan_sweep(seen, ReapPolicy()).leaves_forbidden
