"""`Server.watch` on real servers: what it tells, what it sweeps, and what it goes on through."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pgtop.api import connect
from pgtop.api.events import Event, Planned, Polled, Standing, Swept, Troubled, Unanswered, Withheld
from pgtop.core.activity import ServerIdentity
from pgtop.core.diagnosis.findings import Kind
from pgtop.core.outage import OutageKind
from pgtop.core.plan import DecidedBy, Outcome, Trigger
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError, UsageError
from tests.servers import create_role, session, sessions
from tests.support.apis import WATCHED, no_session_of_the_api, opened
from tests.support.audit_logs import audit_lines, audited
from tests.support.daemons import FAST, watching
from tests.support.filling import leave
from tests.support.reap_command import alive, stale
from tests.support.reaping import outcomes

LIMIT_SECONDS = 60.0

Found = TypeVar("Found", bound=Event)


async def first(
    events: AsyncGenerator[Event, None], kind: type[Found], is_meant: Callable[[Any], bool] = lambda _: True
) -> Found:
    """Follow a watch up to the first event of a kind, with a limit."""
    seen: list[Event] = []
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            async for event in events:
                if isinstance(event, kind) and is_meant(event):
                    return event
                seen.append(event)
    except TimeoutError:
        raise AssertionError(f"no such {kind.__name__} among {seen[-5:]}") from None
    raise AssertionError("the watch has ended")


async def test_it_sweeps_by_its_rules_and_tells(small: ThrowawayServer, audit: Path) -> None:
    async with (
        stale(small, 2, application_name="leak") as victims,
        opened(small, audit, **WATCHED) as api,
        aclosing(api.watch()) as events,
    ):
        polled = await anext(events)
        assert isinstance(polled, Polled)
        assert polled.snapshot.counts.total == 3
        swept = await first(events, Swept)
        assert swept.plan.trigger is Trigger.USAGE
        assert outcomes(swept.report) == [Outcome.TERMINATED] * 2
        assert await alive(victims) == [False] * 2
    assert {(each.face, each.decided_by) for each in audit_lines(audit)} == {("api", DecidedBy.POLICY)}


async def test_read_only_it_plans_at_the_same_pace(small: ThrowawayServer, audit: Path) -> None:
    async with (
        stale(small, 2, application_name="leak") as victims,
        connect(small.uri(), audit_log=audit, **WATCHED) as api,
        aclosing(api.watch()) as events,
    ):
        for _ in range(2):
            planned = await first(events, Planned)
            assert len(planned.plan.victims) == 2
        assert await alive(victims) == [True] * 2
    assert not audited(audit)


async def test_its_own_policy_comes_first(small: ThrowawayServer, audit: Path) -> None:
    async with (
        stale(small, 1, application_name="leak") as victims,
        connect(small.uri(), audit_log=audit, **{**WATCHED, "warn_at": 1.0}) as api,
    ):
        async with aclosing(api.watch()) as events:
            assert isinstance(await anext(events), Polled)
            assert isinstance(await anext(events), Polled)
        policy = connect(small.uri(), warn_at=0.05, idle_after_seconds=1.0).policy
        async with aclosing(api.watch(policy)) as events:
            planned = await first(events, Planned)
            assert [each.backend.pid for each in planned.plan.victims] == [victims[0].get_server_pid()]


async def test_it_goes_on_through_a_restart(
    small: ThrowawayServer, audit: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And nothing is logged, by asyncio about connections that broke neither."""
    async with opened(small, audit, **WATCHED) as api, aclosing(api.watch()) as events:
        before: ServerIdentity = (await first(events, Polled)).snapshot.server.identity
        await asyncio.to_thread(small.stop)
        outage = (await first(events, Unanswered)).outage
        assert outage.kind in (OutageKind.LOST, OutageKind.UNREACHABLE, OutageKind.STARTING)
        await asyncio.to_thread(small.start)
        await first(events, Polled, lambda polled: polled.snapshot.server.identity != before)
        async with stale(small, 1, application_name="leak"):
            assert outcomes((await first(events, Swept)).report) == [Outcome.TERMINATED]
    await no_session_of_the_api(small)
    gc.collect()
    assert not caplog.records


async def test_a_full_server_is_an_outage_that_passes(small: ThrowawayServer, audit: Path) -> None:
    """Its own session is terminated while others take the slot; it comes back when one is left."""
    role = await create_role(small, "operator")
    patient = {"warn_at": 1.0, "idle_after_seconds": 3600.0, "emergency_idle_after_seconds": 3600.0}
    async with (
        session(small) as admin,
        opened(small, audit, uri=role.uri(), **{**WATCHED, **patient}) as api,
        aclosing(api.watch()) as events,
    ):
        own_pid = (await first(events, Polled)).snapshot.own_pid
        async with sessions(small, 18, user=role.name, password=role.password) as filling:
            # With a timeout the server waits until the session has left its slot.
            assert await admin.fetchval("SELECT pg_terminate_backend($1, 10000)", own_pid)
            async with session(small, user=role.name, password=role.password):
                outage = (await first(events, Unanswered, lambda each: each.outage.limit is not None)).outage
                assert outage.kind is OutageKind.FULL
            await leave(filling)
            assert (await first(events, Polled)).snapshot.own_pid != own_pid


async def test_an_audit_log_that_cannot_be_written_is_trouble(small: ThrowawayServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a directory should be")
    async with (
        stale(small, 1, application_name="leak") as victims,
        opened(small, tmp_path / "file" / "audit", **WATCHED) as api,
        aclosing(api.watch()) as events,
    ):
        assert isinstance((await first(events, Troubled)).error, AuditError)
        assert await alive(victims) == [True]


async def test_of_a_daemon_and_a_watch_one_is_active(
    small: ThrowawayServer, tmp_path: Path, audit: Path
) -> None:
    with watching(tmp_path / "daemon", small.uri(), *FAST) as daemon:
        await daemon.says("active")
        async with opened(small, audit, **WATCHED) as api, aclosing(api.watch()) as events:
            assert not (await first(events, Standing)).is_active
            await asyncio.to_thread(daemon.end)
            assert (await first(events, Standing)).is_active


async def test_the_reason_for_not_sweeping_is_told_once(small: ThrowawayServer, audit: Path) -> None:
    """It is bound to a kind of finding that is not there."""
    only = {"findings": (Kind.SILENT_CLIENTS,)}
    async with (
        stale(small, 3, application_name="leak") as victims,
        opened(small, audit, **WATCHED, **only) as api,
        aclosing(api.watch()) as events,
    ):
        withheld = await first(events, Withheld)
        assert "over the line" in withheld.reason or withheld.reason
        for _ in range(3):
            assert not isinstance(await anext(events), Withheld)
        assert await alive(victims) == [True] * 3


async def test_one_server_is_watched_once_at_a_time(small: ThrowawayServer, audit: Path) -> None:
    async with opened(small, audit, **WATCHED) as api, aclosing(api.watch()) as events:
        assert await anext(events)
        with pytest.raises(UsageError, match="watched already"):
            await anext(api.watch())
        assert await api.snapshot()
        assert await anext(events)
