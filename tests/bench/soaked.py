"""The dashboard that a soak watches from inside: the real one in its terminal, but polling without a pause.

`python -m tests.bench.soaked URI POLLS FILE` writes how things stand to FILE as lines of JSON: before it, 200
times on the way, and after it.
"""

import asyncio
import functools
import gc
import heapq
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import psutil
from textual.cache import FIFOCache, LRUCache
from textual.widget import Widget

from pgtop import poller as poller_module
from pgtop.core import session_groups as group_history
from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.outage import Outage
from pgtop.core.sample_history import TIERS, History, Sample
from pgtop.poller import Poller
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import app as app_module
from pgtop.tui import opening
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.state import dashboard_state as seen_module

STATES = 200
INTERVAL_SECONDS = 0.001
SETTLE_SECONDS = 0.5


class State(msgspec.Struct, frozen=True):
    """What the process holds after so many polls."""

    polls: int
    seconds: float
    rss: int
    blocks: int
    """Pieces of memory that Python holds, but for those in caches that have a bound."""
    tasks: int
    threads: int
    files: int
    sockets: int
    buckets: int
    """Of the history."""
    taken: int
    """How many polls the screen took in: where polls are faster than it, it leaves some out."""
    outages: int
    sessions: int


class Soak:
    """Counts polls, and writes how things stand."""

    def __init__(self, polls: int, into: BinaryIO) -> None:
        self.polls = polls
        self.done = self.taken = self.outages = self.sessions = 0
        self.app: app_module.PgtopApp | None = None
        self._into = into
        self._begun = time.monotonic()

    @property
    def history(self) -> History | None:
        """The dashboard's, also after its end."""
        screen = self.app.main_screen if self.app is not None else None
        return screen.state.history if isinstance(screen, DashboardScreen) else None

    def count(self, result: Snapshot | Outage) -> None:
        """Takes note of a poll; ends the dashboard after the last."""
        if isinstance(result, Outage):
            self.outages += 1
        else:
            self.sessions = result.counts.total
        if self.app is None:
            return
        if self.done == 0 and isinstance(result, Snapshot) and self.history is not None:
            fill(self.history, result)
        self.done += 1
        if self.done % max(1, self.polls // STATES) == 0:
            self.write()
        if self.done == self.polls:
            self.app.exit()

    def write(self) -> None:
        """Writes how things stand."""
        self._into.write(msgspec.json.encode(self.state()) + b"\n")
        self._into.flush()

    def state(self) -> State:
        """How this process stands now."""
        blocks = held()
        process = psutil.Process()
        descriptors = list(Path("/proc/self/fd").iterdir())
        return State(
            polls=self.done,
            seconds=time.monotonic() - self._begun,
            rss=process.memory_info().rss,
            blocks=blocks,
            tasks=len(asyncio.all_tasks()),
            threads=process.num_threads(),
            files=len(descriptors),
            sockets=sum(map(_is_socket, descriptors)),
            buckets=len(self.history) if self.history is not None else 0,
            taken=self.taken,
            outages=self.outages,
            sessions=self.sessions,
        )


Empty = Callable[[], object]
"""A way to empty a cache."""


def held(frozen: Sequence[Empty] = ()) -> int:
    """How many pieces of memory are held, but for those in what has a bound: caches, and cancelled timers.

    `frozen` are the caches that were found before the garbage collector was told to look at no older object.
    """
    for empty in (*frozen, *caches()):
        empty()
    drop_cancelled_timers(asyncio.get_running_loop())
    gc.collect()
    return sys.getallocatedblocks()


def caches() -> list[Empty]:
    """Return how to empty each cache that has a bound."""
    found: list[Empty] = []
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper) and each.cache_parameters()["maxsize"]:
            found.append(each.cache_clear)
        elif type(each) in (LRUCache, FIFOCache):
            found.append(each.clear)
        elif isinstance(each, Widget):
            # Each part of it at most once. A widget that draws its own lines keeps them.
            found.append(each._dirty_regions.clear)
    return found


def drop_cancelled_timers(loop: Any) -> None:
    """Do at once what the loop does after a hundred: each timeout that is not needed leaves a timer."""
    for each in loop._scheduled:
        each._scheduled = not each.cancelled()
    loop._scheduled[:] = [each for each in loop._scheduled if not each.cancelled()]
    heapq.heapify(loop._scheduled)
    loop._timer_cancelled_count = 0


def _is_socket(descriptor: Path) -> bool:
    with suppress(OSError):
        return str(descriptor.readlink()).startswith("socket:")
    return False


def fill(history: History, latest: Snapshot) -> None:
    """Gives the history the 24 hours before a snapshot: it is as big then as it ever becomes."""
    step, span = min(TIERS)[0], max(width * kept for width, kept in TIERS)
    for at in range(latest.taken_at - span, latest.taken_at - step, step):
        history.add(Sample(at, at // MICROSECONDS % latest.slots, 3, 2, latest.slots))


def watched(soak: Soak) -> None:
    """Makes the dashboard of this process poll without a pause, and the soak hear of each poll."""

    class Counted(Poller):
        """Tells of each poll."""

        async def next(self) -> Snapshot | Outage:
            result = await super().next()
            soak.count(result)
            return result

    class Watched(app_module.PgtopApp):
        """Tells that it is there, and what it takes in."""

        CSS_PATH = Path(app_module.__file__).with_name("pgtop.tcss")

        def __init__(self, dashboard: DashboardScreen, **options: Any) -> None:
            super().__init__(dashboard, **options)
            soak.app = self
            take = dashboard.state.take

            def counted(*arguments: Any, **named: Any) -> None:
                soak.taken += 1
                take(*arguments, **named)

            dashboard.state.take = counted  # type: ignore[method-assign]

    poller_module.SHORTEST_PAUSE_SECONDS = 0.0  # type: ignore[misc]
    # A poll stands for 2 s: the groups' history, as many samples as ever, is full after a minute.
    group_history.GROUP_SPAN_SECONDS //= group_history.GROUP_EVERY_SECONDS  # type: ignore[misc]
    for module in (group_history, seen_module):
        module.GROUP_EVERY_SECONDS = 1  # type: ignore[misc]
    app_module.Poller = Counted  # type: ignore[misc]
    app_module.PgtopApp = Watched  # type: ignore[misc]


async def main(uri: str, polls: int, into: BinaryIO, audit: Path) -> int:
    """Runs the dashboard for so many polls; its exit status."""
    soak = Soak(polls, into)
    soak.write()
    watched(soak)
    config = Config(interval_seconds=INTERVAL_SECONDS, audit_log=audit, history=None)
    status = await opening.run_dashboard(resolve(uri, {}, {}), config)
    await asyncio.sleep(SETTLE_SECONDS)  # what was closed goes in the loop's next turns
    soak.write()
    return status


if __name__ == "__main__":
    with Path(sys.argv[3]).open("wb") as file:
        audit_log = Path(sys.argv[3]).with_name("audit.jsonl")
        sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]), file, audit_log)))
