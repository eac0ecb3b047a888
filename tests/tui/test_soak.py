"""The short form of `python -m tests.bench.soak`: hundreds of polls leave nothing behind."""

import asyncio
from pathlib import Path

import psutil
import pytest

from pgtop import poller as poller_module
from pgtop.core import session_groups as group_history
from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis import traffic
from pgtop.core.sample_history import TIERS
from pgtop.demo.server import ThrowawayServer
from tests.bench.soak import churning
from tests.bench.soaked import fill, held
from tests.servers import wait_until
from tests.support.dashboards import Driven, dashboard

SESSIONS = 40
ROUNDS, POLLS = 8, 60


def open_things() -> tuple[int, int, int]:
    """Tasks, threads and descriptors of this process."""
    process = psutil.Process()
    return len(asyncio.all_tasks()), process.num_threads(), process.num_fds()


async def polled(driven: Driven, polls: int) -> None:
    """Waits until the screen has taken in so many more polls."""
    seen = driven.dashboard.state
    for _ in range(polls):
        last = seen.snapshot
        await wait_until(lambda last=last: seen.snapshot is not last, 20, "no poll any more")
    assert seen.outage is None


async def test_polls_of_a_churning_server_leave_nothing_behind(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory that grows by poll, no task, thread or descriptor; the history stays within its bound."""
    monkeypatch.setattr(poller_module, "SHORTEST_PAUSE_SECONDS", 0.001)
    # What the groups' history is bounded to takes a quarter of an hour to come together.
    monkeypatch.setattr(group_history, "GROUP_EVERY_SECONDS", 1_000_000)
    # The sessions that left are kept until a sweep of them would have been reported.
    monkeypatch.setattr(traffic, "REPORTED_SECONDS", 0)
    # More applications come than are kept of a minute; until then, each is a little memory more.
    monkeypatch.setattr(traffic, "MOST_KEYS", 20)
    before = open_things()
    with churning(server.uri(), SESSIONS, wave_seconds=2.0):
        async with dashboard(server, tmp_path / "audit", interval_seconds=0.001) as driven:
            await driven.shows("application-")
            seen = driven.dashboard.state
            assert isinstance(seen.snapshot, Snapshot)
            fill(seen.history, seen.snapshot)
            await polled(driven, 3 * POLLS)  # until caches with a bound have found what there is
            blocks, things = [], []
            for _ in range(ROUNDS):
                await polled(driven, POLLS)
                blocks.append(held())
                things.append(open_things())
            assert len(seen.history) <= sum(kept for _, kept in TIERS)
        # Sessions come and go, and figures rise and fall with them; what leaks lifts even the lowest.
        grown = min(blocks[ROUNDS // 2 :]) - min(blocks[: ROUNDS // 2])
        assert grown < POLLS * ROUNDS * 3 // 4, blocks
        # A task more or less is under way at any moment: one that is left by each round passes them all.
        for earlier, later in zip(
            zip(*things[: ROUNDS // 2], strict=True), zip(*things[ROUNDS // 2 :], strict=True), strict=True
        ):
            assert min(later) <= max(earlier), things
    await wait_until(lambda: open_things() == before, 5, f"{open_things()}, not {before}")
