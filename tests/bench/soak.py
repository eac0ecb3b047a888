"""`python -m tests.bench.soak [--polls 50000] [--sessions 1000]`: does the dashboard stay as it is for weeks?

The real dashboard in a real terminal polls a churning server without a pause: sessions come and go all the
time, and once a minute all of them at a time. Its history is filled to its bound first. Prints what the
process held before, on the way and after, and how its memory grew after a quarter of the polls, when the
caches that have a bound are full: slope and error by least squares, in bytes a poll. At a refresh each 2 s,
50,000 polls are 28 hours.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pgtop.demo.server import ThrowawayServer
from tests.bench.files import many_files
from tests.bench.soaked import State
from tests.servers import default_binaries
from tests.support.terminals import Terminal, environment_of

WARM_UP = 0.25


def slope(states: Sequence[State], field: str) -> tuple[float, float]:
    """How a figure grows in a poll, and the error of that."""
    points = [(state.polls, getattr(state, field)) for state in states]
    count = len(points)
    mean_x, mean_y = (sum(each) / count for each in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    grows = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - grows * (x - mean_x)) ** 2 for x, y in points)
    return grows, math.sqrt(rest / max(1, count - 2) / spread)


@contextmanager
def churning(uri: str, sessions: int, wave_seconds: float = 60.0) -> Iterator[None]:
    """Sessions that come and go."""
    command = [sys.executable, "-m", "tests.bench.churn", uri, str(sessions), str(wave_seconds)]
    with subprocess.Popen(command, env=os.environ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def soak(server: ThrowawayServer, polls: int, sessions: int, place: Path) -> list[State]:
    """How the dashboard stood before, on the way and after."""
    file = place / "states"
    command = [sys.executable, "-m", "tests.bench.soaked", server.uri(), str(polls), str(file)]
    with churning(server.uri(), sessions):
        terminal = Terminal(command, environment_of(place))
        try:
            while terminal.process.poll() is None:
                terminal.discard()
                tell(states_in(file), polls)
            terminal.discard()
            if terminal.process.returncode:
                raise SystemExit(terminal.raw.decode(errors="replace"))
        finally:
            terminal.close()
    return states_in(file)


def states_in(file: Path) -> list[State]:
    """What has been written so far."""
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [msgspec.json.decode(line, type=State) for line in lines if line.endswith(b"\n")]


def tell(states: Sequence[State], polls: int) -> None:
    """How far it is, where somebody looks."""
    if states and sys.stderr.isatty():
        sys.stderr.write(f"\r{states[-1].polls} of {polls} ")


def table(states: Sequence[State]) -> list[str]:
    """What to print."""
    before, *way, after = states
    warm = way[int(len(way) * WARM_UP) :]
    moments = (("before", before), ("warm", warm[0]), ("last poll", warm[-1]), ("after", after))
    lines = ["".join([" " * 26, *(f"{name:>12}" for name, _ in moments)])]
    for name in State.__struct_fields__:
        shown = [f"{getattr(state, name):>12,.0f}" for _, state in moments]
        lines.append("".join([f"{name:26}", *shown]))
    for name, unit in (("rss", "bytes"), ("blocks", "blocks")):
        grows, error = slope(warm, name)
        lines.append(f"{name} grows by {grows:.2f} ± {error:.2f} {unit} a poll")
    pace = (warm[-1].seconds - warm[0].seconds) / max(1, warm[-1].polls - warm[0].polls)
    lines.append(f"{pace * 1000:.1f} ms a poll: 50,000 take {pace * 50_000 / 60:.0f} min")
    return lines


def main() -> None:
    """Prints the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--polls", type=int, default=50_000)
    options.add_argument("--sessions", type=int, default=1_000)
    asked = options.parse_args()
    many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    settings = {"max_connections": str(asked.sessions + 50), "shared_buffers": "16MB"}
    with (
        tempfile.TemporaryDirectory() as place,
        ThrowawayServer(default_binaries(), settings=settings) as server,
    ):
        states = soak(server, asked.polls, asked.sessions, Path(place))
    print("\n".join(table(states)))  # noqa: T201


if __name__ == "__main__":
    main()
