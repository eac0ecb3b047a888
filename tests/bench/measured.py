"""pgtop and pg_activity, run on one server in turn, and what a refresh of each costs."""

import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pgtop.demo.server import ThrowawayServer
from tests.bench.crowd import crowd
from tests.bench.procs import backends, server_cpu_ns, tree_cpu_ns, tree_rss_bytes
from tests.bench.recorded import Piece, Recorded, bursts, period_seconds
from tests.servers import default_binaries

WARM_SECONDS: Final = 16.0
"""Until then the server has planned what it will be asked, and whoever comes up has come up."""
_ROW: Final = "application-"
_KEYS: Final = 60


class Program(NamedTuple):
    """One of the two."""

    name: str
    command: tuple[str, ...]
    interval_option: str
    heading: str
    """What stands on its screen as soon as there is a list."""

    def on(self, port: int, interval_seconds: float) -> list[str]:
        """Its command line for a server of this host."""
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-d", "postgres"]
        return [*self.command, *where, self.interval_option, f"{interval_seconds:g}"]


PGTOP: Final = Program("pgtop", (sys.executable, "-m", "pgtop"), "--interval", "in txn")


def pg_activity() -> Program:
    """The peer, as the `bench` extra installs it."""
    found = shutil.which("pg_activity", path=Path(sys.executable).parent) or shutil.which("pg_activity")
    if found is None:
        raise SystemExit("pg_activity is not installed: pip install -e '.[test,bench]'")
    return Program("pg_activity", (found,), "--refresh", "RUNNING QUERIES")


class Refresh(NamedTuple):
    """What one run measured; a refresh's share of it where nothing else is said."""

    cpu_ms: float
    terminal_bytes: float
    server_cpu_ms: float
    connections: int
    start_cpu_ms: float
    """From the program's start to its first full frame."""
    start_ms: float
    rss_mb: float
    """At the end of the run."""


@contextmanager
def server_with(count: int, state: str, changing: float = 0.0) -> Iterator[ThrowawayServer]:
    """A server of its own with so many sessions on it."""
    # A worker of autovacuum that ends would count as the program's.
    settings = {"max_connections": str(count + 30), "shared_buffers": "16MB", "autovacuum": "off"}
    with (
        ThrowawayServer(default_binaries(), settings=settings) as server,
        crowd(server.uri(), count, state, changing),
    ):
        yield server


def refreshes(
    program: Program,
    server: ThrowawayServer,
    *,
    seconds: float,
    interval_seconds: float = 2.0,
    lists_rows: bool = True,
) -> Refresh:
    """Runs a program for so long after it has warmed up, and gives what a refresh took."""
    postmaster = server.pid
    assert postmaster is not None
    before = backends(postmaster)
    with (
        tempfile.TemporaryDirectory() as home,
        Recorded(program.on(server.port, interval_seconds), Path(home)) as run,
    ):
        run.run_for(WARM_SECONDS)
        assert run.process.poll() is None, b"".join(piece.data for piece in run.pieces).decode()
        own = backends(postmaster) - before
        begin, cpu, server_cpu = run.seconds, tree_cpu_ns(run.process.pid), server_cpu_ns(postmaster, own)
        run.run_for(seconds)
        end = run.seconds
        cpu = tree_cpu_ns(run.process.pid) - cpu
        server_cpu = server_cpu_ns(postmaster, own) - server_cpu
        rss = tree_rss_bytes(run.process.pid)
    written = run.between(begin, end)
    count = (end - begin) / period_seconds(written, interval_seconds)
    first = _first_frame(run, program, lists_rows=lists_rows)
    return Refresh(
        cpu_ms=cpu / count / 1e6,
        terminal_bytes=sum(len(piece.data) for piece in written) / count,
        server_cpu_ms=server_cpu / count / 1e6,
        connections=len(own),
        start_cpu_ms=first.cpu_ns / 1e6,
        start_ms=first.at * 1e3,
        rss_mb=rss / 1e6,
    )


def _first_frame(run: Recorded, program: Program, *, lists_rows: bool) -> Piece:
    """When all stood there that a frame has: the list's head, and as many rows as there is room for."""

    def is_whole(screen: str) -> bool:
        return program.heading in screen and (not lists_rows or screen.count(_ROW) >= 10)

    return run.first(is_whole)


class Traffic(NamedTuple):
    """What a refresh sends over the network."""

    statements: float
    from_server_bytes: float


def traffic(program: Program, server: ThrowawayServer, *, seconds: float) -> Traffic:
    """Runs a program through a relay that counts."""
    command = [sys.executable, "-m", "tests.bench.relay", str(server.port)]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as relay,
    ):
        assert relay.stdin is not None
        assert relay.stdout is not None

        def counted() -> tuple[int, int]:
            relay.stdin.write("\n")  # type: ignore[union-attr]
            relay.stdin.flush()  # type: ignore[union-attr]
            received, statements = relay.stdout.readline().split()  # type: ignore[union-attr]
            return int(received), int(statements)

        port = int(relay.stdout.readline())
        with Recorded(program.on(port, 2.0), Path(home)) as run:
            run.run_for(WARM_SECONDS)
            run.past_a_refresh()
            begin, (received, statements) = run.seconds, counted()
            run.run_for(seconds)
            run.past_a_refresh()
            end, (received_later, statements_later) = run.seconds, counted()
        relay.stdin.close()
        count = len(bursts(run.between(begin, end)))
    return Traffic((statements_later - statements) / count, (received_later - received) / count)


def paused_bytes(server: ThrowawayServer, *, seconds: float) -> int:
    """What pgtop writes while it is paused."""
    with tempfile.TemporaryDirectory() as home, Recorded(PGTOP.on(server.port, 2.0), Path(home)) as run:
        run.run_for(4)
        run.type("p")
        run.run_for(4)
        begin = run.seconds
        run.run_for(seconds)
        end = run.seconds
    return sum(len(piece.data) for piece in run.between(begin, end))


def key_press_ms(server: ThrowawayServer) -> list[float]:
    """From each press of a key that moves the cursor until the cursor stands on another line; polls go on.

    Space does so too, after it has tagged a session and shown the whole list anew.
    """
    chance = random.Random(1)  # noqa: S311 - moments, not secrets
    presses = []
    with tempfile.TemporaryDirectory() as home, Recorded(PGTOP.on(server.port, 2.0), Path(home)) as run:
        run.run_for(8)
        for number in range(_KEYS):
            presses.append(run.seconds)
            run.type("j kk"[number % 4])
            run.run_for(chance.uniform(0.25, 0.65))
    return _effects_ms(run, presses)


def _effects_ms(run: Recorded, presses: list[float]) -> list[float]:
    """When after each press the cursor, the only line of its colour, stood on another line."""
    waited, line, found = list(presses), -1, []
    for piece, screen in run.screens():
        now = _cursor_line(screen.buffer)
        if now != line and waited and piece.at >= waited[0] and line >= 0:
            found.append((piece.at - waited.pop(0)) * 1e3)
        line = now
    assert len(found) == len(presses), f"{len(presses) - len(found)} keys had no effect"
    return found


def _cursor_line(buffer: object) -> int:
    """The line of the list whose second cell has another background than the one below its heads."""
    backgrounds = [buffer[line][4].bg for line in range(40)]  # type: ignore[index]
    common = max(set(backgrounds), key=backgrounds.count)
    return max((line for line, each in enumerate(backgrounds) if each != common), default=-1)
