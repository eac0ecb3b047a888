"""The short form of `python -m tests.bench.soak`: hundreds of polls leave nothing behind."""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from pgtop import poller as poller_module
from pgtop.core import session_groups as group_history
from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis import traffic
from pgtop.core.sample_history import TIERS
from pgtop.demo.server import ThrowawayServer
from tests.bench.soak import churning
from tests.bench.soaked import Empty, caches, fill, held
from tests.servers import wait_until
from tests.support.dashboards import Driven, dashboard

SESSIONS = 15
ROUNDS, LOOKS = 9, 5
POLLS_BETWEEN_LOOKS = 20
MOST_BLOCKS_A_POLL = 0.85
"""A third where nothing leaks: the past that is made up gives way to that of real polls."""


def open_things() -> tuple[int, int, int]:
    """Tasks, threads and descriptors of this process."""
    process = psutil.Process()
    return len(asyncio.all_tasks()), process.num_threads(), process.num_fds()


class Polls:
    """Count the polls that a dashboard takes in."""

    def __init__(self, driven: Driven) -> None:
        self.state = driven.dashboard.state
        self.taken = 0
        self._take = self.state.take
        self.state.take = self._counted  # type: ignore[assignment, method-assign]

    def _counted(self, *arguments: Any, **named: Any) -> None:
        self.taken += 1
        self._take(*arguments, **named)

    async def more(self, polls: int) -> None:
        """Wait until so many more are on the screen, and all sessions are there."""
        enough = self.taken + polls
        await wait_until(lambda: self.taken >= enough, complaint="no poll any more")
        assert self.state.outage is None
        await wait_until(lambda: self.state.snapshot and self.state.snapshot.counts.total > SESSIONS)


async def lowest_held(polls: Polls, frozen: Sequence[Empty]) -> int:
    """Take the lowest of some looks: in others, a poll or a frame is under way."""
    looks = []
    for _ in range(LOOKS):
        await polls.more(POLLS_BETWEEN_LOOKS)
        looks.append(held(frozen))
    return min(looks)


def growth(blocks: list[int]) -> float:
    """Return the blocks that come with a round: the median between any two, which no odd one moves."""
    return median(
        (later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(enumerate(blocks), 2)
    )


@pytest.fixture
def frozen_caches() -> Iterator[Sequence[Empty]]:
    """Keep the collector from what earlier tests hold, which is slow; give the caches among that."""
    gc.collect()
    found = caches()
    gc.freeze()
    yield found
    gc.unfreeze()


async def test_polls_of_a_churning_server_leave_nothing_behind(
    server: ThrowawayServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frozen_caches: Sequence[Empty],
) -> None:
    """No memory that grows by poll, no task, thread or descriptor; the history stays within its bound."""
    monkeypatch.setattr(poller_module, "SHORTEST_PAUSE_SECONDS", 0.001)
    # What the groups' history is bounded to takes a quarter of an hour to come together.
    monkeypatch.setattr(group_history, "GROUP_EVERY_SECONDS", 1_000_000)
    # The diagnosis looks back over a quarter of an hour: here, over some seconds, and the last polls.
    monkeypatch.setattr(traffic, "WINDOW_SECONDS", 3.0)
    monkeypatch.setattr(traffic, "SAMPLE_SECONDS", 0.0)
    # The sessions that left are kept until a sweep of them would have been reported.
    monkeypatch.setattr(traffic, "REPORTED_SECONDS", 0.0)
    before = open_things()
    with churning(server.uri(), SESSIONS, wave_seconds=2.0):
        async with dashboard(server, tmp_path / "audit", size=(80, 24), interval_seconds=0.001) as driven:
            await driven.shows("application-")
            seen = driven.dashboard.state
            assert isinstance(seen.snapshot, Snapshot)
            fill(seen.history, seen.snapshot)
            polls = Polls(driven)
            await polls.more(600)  # until caches with a bound have found what there is
            blocks, things = [], []
            for _ in range(ROUNDS):
                blocks.append(await lowest_held(polls, frozen_caches))
                things.append(open_things())
            assert len(seen.history) <= sum(kept for _, kept in TIERS)
        # Sessions come and go, and figures rise and fall with them; what leaks lifts even the lowest.
        assert growth(blocks) < MOST_BLOCKS_A_POLL * POLLS_BETWEEN_LOOKS * LOOKS, blocks
        # A task or two may be under way for some rounds; one that each round leaves comes to more.
        first, last = (zip(*each, strict=True) for each in (things[:3], things[-3:]))
        for earlier, later in zip(first, last, strict=True):
            assert min(later) <= max(earlier) + 2, things
    await wait_until(lambda: open_things() == before, 5, f"{open_things()}, not {before}")
