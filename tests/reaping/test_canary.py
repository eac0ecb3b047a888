"""A canary on a real server: a pool that comes back is left alone, sessions that stay away go."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.commands.reap.run import reap as reap_once
from pgtop.commands.reap.table import render
from pgtop.core.activity import Snapshot
from pgtop.core.json_text import json_line
from pgtop.core.plan import DecidedBy, Outcome, ReapPolicy
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError, PgtopError, UsageError
from pgtop.exit_codes import ExitCode
from pgtop.reaping.canary import CanaryReport, run_canary
from pgtop.reaping.report_json import Answer, Canaries, as_report
from pgtop.settings.defaults_and_bounds import Config
from tests.servers import session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.reap_command import STALE, alive, answer, reap, stale
from tests.support.reaping import Face, face_on, lives
from tests.support.running import assert_one_line, run
from tests.support.targets import target_of

PAUSE_SECONDS = 0.3
ALL_IDLE = ReapPolicy(idle_after_seconds=0.0)


async def refilled(
    stack: AsyncExitStack, server: ThrowawayServer, number: int
) -> tuple[list[asyncpg.Connection], "asyncio.Future[None]"]:
    """A pool of `web` that opens a session again half a second after it has lost one."""
    opened = await stack.enter_async_context(sessions(server, number, application_name="web"))

    async def refill() -> None:
        await wait_until(lambda: any(each.is_closed() for each in opened), 30)
        await asyncio.sleep(0.5)
        await stack.enter_async_context(session(server, application_name="web"))

    return opened, asyncio.ensure_future(refill())


async def in_two_steps(
    face: Face,
    pause_seconds: float = PAUSE_SECONDS,
    poll: Callable[[], Awaitable[Snapshot]] | None = None,
) -> CanaryReport:
    """A sweep of all that are idle, with a canary."""
    snapshot = await face.snapshot()
    plan = await face.reaper.plan_sweep(snapshot, ALL_IDLE)
    return await run_canary(
        face.reaper,
        plan,
        snapshot,
        decided_by=DecidedBy.PERSON,
        poll=poll or face.snapshot,
        pause_seconds=pause_seconds,
    )


async def test_a_pool_that_comes_back_is_left_alone(small: ThrowawayServer, tmp_path: Path) -> None:
    """Each step has its attempts in the audit log before its outcomes, and the usage after it."""
    async with AsyncExitStack() as stack:
        pool, refill = await refilled(stack, small, 5)
        leaky = await stack.enter_async_context(sessions(small, 6, application_name="leaky"))
        face = await stack.enter_async_context(face_on(small, tmp_path / "a"))
        done = await in_two_steps(face, 2.0)
        await refill
        assert sum(await alive(pool)) == 4
        assert sum(await alive(leaky)) == 0
    assert {each.canary.application_name: (each.came_back, each.after) for each in done.seen} == {
        "web": (True, 5),
        "leaky": (False, 5),
    }
    assert done.report.count(Outcome.TERMINATED) == 7
    assert {each.reason for each in done.report.plan.spared} == {"web came back with 5 of 5: left alone"}
    assert done.first_usage == 10 / 20
    assert done.report.usage_after == 6 / 20
    events = [(line["event"], line["usage_after"]) for line in audited(tmp_path / "a")]
    assert events == [
        *[("attempt", None)] * 2,
        *[("outcome", done.first_usage)] * 2,
        *[("attempt", None)] * 5,
        *[("outcome", 6 / 20)] * 5,
    ]


async def test_a_session_that_was_used_meanwhile_stays(small: ThrowawayServer, tmp_path: Path) -> None:
    """The plan is made once: the second step looks at each session again, as the first did."""
    async with sessions(small, 4, application_name="leaky") as opened, face_on(small, tmp_path / "a") as face:

        async def poll() -> Snapshot:
            assert await lives(opened[-1])
            return await face.snapshot()

        done = await in_two_steps(face, poll=poll)
        assert sum(await alive(opened)) == 1
    assert done.report.count(Outcome.CHANGED) == 1
    assert done.report.count(Outcome.TERMINATED) == 3


async def test_an_audit_log_that_fails_in_between_ends_it(small: ThrowawayServer, tmp_path: Path) -> None:
    """The second step has its lines before its signals too: without them, the others are left alone."""
    async with sessions(small, 4, application_name="leaky") as opened, face_on(small, tmp_path / "a") as face:

        async def poll() -> Snapshot:
            (tmp_path / "a").rename(tmp_path / "first")
            (tmp_path / "a").mkdir()
            return await face.snapshot()

        done = await in_two_steps(face, poll=poll)
        assert sum(await alive(opened)) == 3
    assert "audit log" in done.problem
    assert len(audited(tmp_path / "first")) == 2
    assert len(done.report.plan.spared) == 3
    assert {each.reason for each in done.report.plan.spared} == {
        "leaky: the second step was not taken: left alone"
    }


@pytest.mark.parametrize("problem", ["no answer", "another server answers now, or it was restarted"])
async def test_without_a_second_look_nothing_more_is_done(
    small: ThrowawayServer, tmp_path: Path, problem: str
) -> None:
    async with sessions(small, 4, application_name="leaky") as opened, face_on(small, tmp_path / "a") as face:

        async def poll() -> Snapshot:
            if problem == "no answer":
                raise PgtopError(problem)
            seen = await face.snapshot()
            other = msgspec.structs.replace(seen.server.identity, postmaster_start=1)
            return msgspec.structs.replace(seen, server=msgspec.structs.replace(seen.server, identity=other))

        done = await in_two_steps(face, poll=poll)
        assert sum(await alive(opened)) == 3
    assert done.problem == problem
    assert [each.after for each in done.seen] == [None]
    answered = Answer(done.report.plan, done.report, False, 0.1, canaries=Canaries(0, (), problem=problem))
    assert answered.exit_code is ExitCode.PARTLY
    assert answered.warning == f"only the canary was terminated: {problem}"
    assert len(done.report.plan.spared) == 3


async def test_nothing_is_done_without_an_audit_log(small: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(small, 4) as opened, face_on(small, tmp_path / "no" / "a") as face:
        (tmp_path / "no").write_text("a file")
        with pytest.raises(AuditError):
            await in_two_steps(face)
        assert all(await alive(opened))


async def test_the_command_takes_two_steps_and_says_so(small: ThrowawayServer, tmp_path: Path) -> None:
    config = Config(audit_log=tmp_path / "a", idle_after_seconds=1, warn_at=0.3)
    async with stale(small, 8, application_name="leaky") as opened:
        done = await reap_once(
            target_of(small), config, dry_run=False, always=False, pause_seconds=PAUSE_SECONDS
        )
        assert sum(await alive(opened)) == 0
    text = render(done, None)
    assert "canary: leaky stayed at 7: the other 7 terminated" in text
    assert "terminated 8 sessions" in text
    assert done.exit_code is ExitCode.DONE
    (told,) = as_report(done).canary.applications  # type: ignore[union-attr]
    assert (told.before, told.after, told.came_back, told.others) == (8, 7, False, 7)
    assert '"canary":{"pause_seconds":0.3' in json_line(as_report(done)).replace(" ", "")


async def test_a_dry_run_says_that_it_would(small: ThrowawayServer, tmp_path: Path) -> None:
    async with stale(small, 17, application_name="leaky") as opened:
        told = await answer(tmp_path, small, *STALE, "--canary", "--dry-run")
        (one,) = told["canary"]["applications"]
        assert (told["canary"]["pause_seconds"], one["after"], one["outcome"]) == (10, None, None)
        done = await reap(tmp_path, small, *STALE, "--canary", "--dry-run")
        assert "canary: leaky: 1 of 17 sessions first; after 10s the other 16 unless" in done.stdout
        assert all(await alive(opened))
        refused = run(tmp_path, "reap", small.uri(), "--watch", "--canary")
        assert_one_line(refused, UsageError.exit_code, "--canary and --watch cannot be used together")
