"""`python -m tests.bench`: pgtop beside pg_activity in one run: what a refresh costs.

Both run in a terminal of 120x40 and refresh every 2 s on one throw-away server, in turn (A B A B), each at
its defaults. Each figure is the median of the runs, each ratio the median of the ratios within a run: what
else the machine does weighs on both. CPU is that of the whole process tree, and on the server that of the
program's backends and of the postmaster, the children it has reaped included. It takes three quarters of an
hour; `--only` measures a part, `--runs` and `--seconds` less of it. The exit status is 1 where a figure is
not what it must be.
"""

import argparse
import contextlib
import resource
import sys
from collections.abc import Callable
from statistics import median, quantiles
from typing import Final, NamedTuple

from tests.bench.diagnosis import diagnosis_ms
from tests.bench.measured import (
    PGTOP,
    Program,
    Refresh,
    key_press_ms,
    paused_bytes,
    pg_activity,
    refreshes,
    server_with,
    traffic,
)
from tests.bench.recording import weighed

_REFRESHES_FOR_MEMORY: Final = 100


class Figure(NamedTuple):
    """A line of the table."""

    name: str
    ours: float
    theirs: float | None
    value: float
    """What must not pass `most`: a ratio, or what was measured itself."""
    most: float | None
    """None where nothing was promised."""

    @property
    def is_met(self) -> bool:
        """Whether it is what it must be."""
        return self.most is None or self.value <= self.most


class Asked(NamedTuple):
    """What the command line asks for."""

    runs: int
    seconds: float
    only: tuple[str, ...]


Pair = tuple[Refresh, Refresh]


def _pairs(peer: Program, asked: Asked, count: int, state: str, changing: float = 0.0) -> list[Pair]:
    with server_with(count, state, changing) as server:
        rows = state == "transaction"
        return [
            (
                refreshes(PGTOP, server, seconds=asked.seconds, lists_rows=rows),
                refreshes(peer, server, seconds=asked.seconds, lists_rows=rows),
            )
            for _ in range(asked.runs)
        ]


def _beside(name: str, pairs: list[Pair], what: Callable[[Refresh], float], most: float | None) -> Figure:
    ours, theirs = [what(pair[0]) for pair in pairs], [what(pair[1]) for pair in pairs]
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(name, median(ours), median(theirs), ratio, most)


def standing_still(peer: Program, asked: Asked) -> list[Figure]:
    """Sessions idle in a transaction, which both list: nothing changes but ages."""
    figures = []
    for count, client, server in ((50, None, 0.35), (200, 0.6, 0.45), (1_000, 0.35, 0.5)):
        pairs = _pairs(peer, asked, count, "transaction")
        at = f"{count:,} sessions"
        figures.append(_beside(f"client CPU a refresh, ms, {at}", pairs, lambda run: run.cpu_ms, client))
        figures.append(
            _beside(f"server CPU a refresh, ms, {at}", pairs, lambda run: run.server_cpu_ms, server)
        )
        if count == 200:
            figures.append(
                _beside(f"bytes to the terminal, {at} still", pairs, lambda run: run.terminal_bytes, 0.4)
            )
            figures.append(
                _beside("start to the first full frame, CPU ms", pairs, lambda run: run.start_cpu_ms, 1.0)
            )
            figures.append(_beside("start to the first full frame, ms", pairs, lambda run: run.start_ms, 1.0))
            ours = max(pair[0].connections for pair in pairs)
            figures.append(
                Figure("connections held", ours, max(pair[1].connections for pair in pairs), ours, 1)
            )
    return figures


def changing(peer: Program, asked: Asked) -> list[Figure]:
    """The same with 5% of the sessions at work."""
    pairs = _pairs(peer, asked, 200, "transaction", 0.05)
    return [
        _beside("bytes to the terminal, 5% of 200 changing", pairs, lambda run: run.terminal_bytes, 0.7),
        _beside("client CPU a refresh, ms, 5% of 200 changing", pairs, lambda run: run.cpu_ms, None),
        _beside("server CPU a refresh, ms, 5% of 200 changing", pairs, lambda run: run.server_cpu_ms, None),
    ]


def idle(peer: Program, asked: Asked) -> list[Figure]:
    """Idle sessions, which pgtop lists and pg_activity leaves out."""
    figures = []
    for count in (200, 1_000):
        pairs = _pairs(peer, asked, count, "idle")
        at = f"{count:,} idle sessions"
        figures += [
            _beside(f"client CPU a refresh, ms, {at}", pairs, lambda run: run.cpu_ms, None),
            _beside(f"server CPU a refresh, ms, {at}", pairs, lambda run: run.server_cpu_ms, None),
            _beside(f"bytes to the terminal, {at}", pairs, lambda run: run.terminal_bytes, None),
        ]
    return figures


def many(peer: Program, asked: Asked) -> list[Figure]:
    """pgtop alone: 4,000 sessions beside its own 50, and a key pressed there."""
    with server_with(50, "transaction") as few, server_with(4_000, "transaction") as all_of_them:
        ratios, larges, smalls = [], [], []
        for _ in range(asked.runs):
            small, large = (refreshes(PGTOP, server, seconds=asked.seconds) for server in (few, all_of_them))
            smalls.append(small.cpu_ms)
            larges.append(large.cpu_ms)
            ratios.append(large.cpu_ms / small.cpu_ms)
        presses = [ms for _ in range(asked.runs) for ms in key_press_ms(all_of_them)]
    p95 = quantiles(presses, n=20)[-1]
    return [
        Figure(
            "client CPU a refresh, ms, 4,000 (and 50)", median(larges), median(smalls), median(ratios), 2.0
        ),
        Figure("key press to its effect at 4,000, p95 ms", p95, None, p95, 50.0),
    ]


def wire(peer: Program, asked: Asked) -> list[Figure]:
    """What goes over the network at 200 sessions, and what goes to the terminal while nothing changes."""
    with server_with(200, "transaction") as server:
        both = [
            (traffic(PGTOP, server, seconds=asked.seconds), traffic(peer, server, seconds=asked.seconds))
            for _ in range(asked.runs)
        ]
        paused = paused_bytes(server, seconds=10)
    statements = median(ours.statements for ours, _ in both)
    received = median(ours.from_server_bytes for ours, _ in both)
    ratio = median(ours.from_server_bytes / theirs.from_server_bytes for ours, theirs in both)
    return [
        Figure(
            "statements a refresh",
            statements,
            median(each.statements for _, each in both),
            round(statements, 1),
            1,
        ),
        Figure(
            "bytes from the server, 200 sessions",
            received,
            median(each.from_server_bytes for _, each in both),
            ratio,
            1.0,
        ),
        Figure("bytes to the terminal while paused, 10 s", paused, None, paused, 0),
    ]


def diagnosis(peer: Program, asked: Asked) -> list[Figure]:
    """pgtop alone: what a diagnosis costs by itself, and as a part of a refresh of 1,000 sessions."""
    with server_with(200, "idle") as server:
        small = median(diagnosis_ms(server) for _ in range(asked.runs))
    with server_with(1_000, "idle") as server:
        alone, shares = [], []
        for _ in range(asked.runs):
            alone.append(diagnosis_ms(server))
            shares.append(alone[-1] / refreshes(PGTOP, server, seconds=asked.seconds).cpu_ms)
    return [
        Figure("diagnosis, CPU ms, 200 sessions", small, None, small, 1.0),
        Figure("diagnosis, part of a refresh, 1,000 sessions", median(alone), None, median(shares), 0.1),
    ]


def memory(peer: Program, asked: Asked) -> list[Figure]:
    """Resident memory after 100 refreshes at 1,000 sessions; every 0.5 s, to have them sooner."""
    interval = 0.5
    with server_with(1_000, "transaction") as server:
        seconds = _REFRESHES_FOR_MEMORY * interval
        pairs = [
            (
                refreshes(PGTOP, server, seconds=seconds, interval_seconds=interval),
                refreshes(peer, server, seconds=seconds, interval_seconds=interval),
            )
            for _ in range(asked.runs)
        ]
    return [_beside("memory after 100 refreshes at 1,000, MB", pairs, lambda run: run.rss_mb, 1.0)]


def recording(peer: Program, asked: Asked) -> list[Figure]:
    """The flight recorder alone: an hour's weight, a poll's CPU as a part of a refresh, and a seek."""
    small, large = weighed(200), weighed(1_000)
    with server_with(1_000, "idle", changing=0.05) as server:
        shares = [
            large.cpu_ms / refreshes(PGTOP, server, seconds=asked.seconds).cpu_ms for _ in range(asked.runs)
        ]
    return [
        Figure("recording, MB an hour, 200 sessions", small.megabytes, None, small.megabytes, 1.0),
        Figure("recording, MB an hour, 1,000 sessions", large.megabytes, None, large.megabytes, 5.0),
        Figure("recording, part of a refresh, 1,000 sessions", large.cpu_ms, None, median(shares), 0.1),
        Figure("recording, ms to open an hour", large.open_ms, None, large.open_ms, None),
        Figure("recording, ms to seek, 1,000 sessions", large.seek_ms, None, large.seek_ms, 300),
    ]


PARTS: Final = {
    each.__name__: each for each in (standing_still, changing, wire, many, memory, idle, diagnosis, recording)
}


def main() -> int:
    """Measures, and prints the table as it grows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each run is measured")
    parser.add_argument("--only", action="append", choices=sorted(PARTS), default=[])
    given = parser.parse_args()
    asked, peer, missed = Asked(given.runs, given.seconds, tuple(given.only)), pg_activity(), 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{'figure':46}{'pgtop':>9}{'pg_activity':>13}{'is':>9}{'must be':>9}")  # noqa: T201
    for name, part in PARTS.items():
        if asked.only and name not in asked.only:
            continue
        for figure in part(peer, asked):
            theirs = f"{figure.theirs:,.1f}" if figure.theirs is not None else ""
            promised = f"≤ {figure.most:g}" if figure.most is not None else ""
            verdict = "" if figure.is_met else "  missed"
            missed += not figure.is_met
            line = (
                f"{figure.name:46}{figure.ours:>9,.1f}{theirs:>13}{figure.value:>9,.2f}{promised:>9}{verdict}"
            )
            print(line, flush=True)  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
