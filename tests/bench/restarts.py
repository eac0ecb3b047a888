"""`python -m tests.bench.restarts [--minutes 60]`: pgtop on its demo, whose server is restarted every minute.

Starts `pgtop demo` in a terminal of 120x40, restarts its server once a minute from outside, fast and
immediate in turn, and reads each minute what pgtop costs (memory, file descriptors, threads, sessions on the
server) and what its screen says. At the end the workload is stopped for a moment, and the screen's figures
are held against the server's own. Prints a line a minute, the slope of memory, and what is wrong; exits with
1 then.

`--every 20` restarts more often. Needs the demo's programs, or PGTOP_PG_BIN.
"""

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil

from pgtop.demo.server import SUPERUSER, wait_for
from tests.bench.demo_terminal import DemoTerminal

LIMIT_SECONDS = 60.0
PROMISED_SECONDS = 2.0
"""How soon after its server the screen is to be live again."""
_STARTS_IN_SECONDS = 5.0
SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
COUNTS = """
SELECT count(*) AS total, count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state = 'active') AS active,
       count(*) FILTER (WHERE state LIKE 'idle in%') AS in_transaction,
       count(*) FILTER (WHERE application_name LIKE 'pgtop %') AS pgtop
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


@dataclass
class Server:
    """The demo's server, found from outside."""

    command: list[str]
    data_dir: Path
    uid: int
    gid: int
    started: "subprocess.Popen[bytes] | None" = None
    """The postmaster, where this program began it."""

    @property
    def postmaster(self) -> int:
        """Its process id, by its lock file."""
        return int(self._lock()[0])

    @property
    def socket_uri(self) -> str:
        """How the superuser gets in."""
        _, _, _, port, place, *_ = self._lock()
        return f"postgresql://{SUPERUSER}@/postgres?host={place}&port={port}"

    def _lock(self) -> list[str]:
        return (self.data_dir / "postmaster.pid").read_text().splitlines()

    def restart(self, mode: str) -> None:
        """Ends it and begins it again, and waits until it takes logins."""
        old = self.postmaster
        os.kill(old, SIGNALS[mode])
        wait_for(lambda: not _runs(old), LIMIT_SECONDS, lambda: f"{old} does not end")
        if self.started is not None:
            self.started.wait()
        with (self.data_dir.parent / "log").open("ab") as log:
            self.started = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir.parent,
                env={"LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,
                umask=0o077,
                user=self.uid,
                group=self.gid,
                extra_groups=[] if os.geteuid() == 0 else None,
            )
        wait_for(self._is_ready, LIMIT_SECONDS, lambda: "the server does not begin again")

    def _is_ready(self) -> bool:
        try:
            lines = self._lock()
        except FileNotFoundError:
            return False
        began = self.started is not None and lines[:1] == [str(self.started.pid)]
        return began and len(lines) > 7 and lines[7].strip() == "ready"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children(program: psutil.Process) -> list[psutil.Process]:
    """The processes that a program began, and that still run."""
    return [child for child in program.children() if _runs(child.pid)]


def server_of(program: psutil.Process) -> Server:
    """The server that a demo began."""

    def found() -> psutil.Process | None:
        for child in children(program):
            if "-D" in child.cmdline() and Path(child.cmdline()[0]).name == "postgres":
                return child
        return None

    wait_for(lambda: found() is not None, LIMIT_SECONDS, lambda: "the demo has no server")
    postmaster = found()
    assert postmaster is not None
    command = postmaster.cmdline()
    data_dir = Path(command[command.index("-D") + 1])
    return Server(command, data_dir, postmaster.uids().real, postmaster.gids().real)


@dataclass(frozen=True)
class Minute:
    """What one minute looked like at its end."""

    mode: str
    back_seconds: float
    """From the server's first login on until the screen is live."""
    rss_mib: float
    descriptors: int
    threads: int
    sessions: int
    """Pgtop's own, on the server."""
    total: int
    usage: str
    """The screen's second line."""


@dataclass
class Course:
    """The whole run."""

    terminal: DemoTerminal
    server: Server
    minutes: list[Minute] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def minute(self, mode: str, until: float) -> None:
        """Restarts, waits for the screen, and looks at the end of the minute."""
        self.server.restart(mode)
        up = time.monotonic()
        if not self.terminal.wait_for(lambda text: is_live_on_a_new_server(text, up), LIMIT_SECONDS):
            self.wrong.append(f"not live {LIMIT_SECONDS:.0f} s after a restart ({mode})")
        back = time.monotonic() - up
        if back > PROMISED_SECONDS:
            self.wrong.append(f"live only {back:.1f} s after a restart ({mode})")
        self.terminal.read_until(until)
        program = self.terminal.program
        counts = [asyncio.run(counted(self.server)) for _ in range(3)]
        self.minutes.append(
            Minute(
                mode,
                back,
                program.memory_info().rss / 2**20,
                program.num_fds(),
                program.num_threads(),
                # A login that is tried now and then is there for an instant.
                min(count["pgtop"] for count in counts),
                counts[-1]["total"],
                self.terminal.line(1),
            )
        )
        if self.minutes[-1].sessions != 1:
            self.wrong.append(f"pgtop holds {self.minutes[-1].sessions} sessions")
        print(row(len(self.minutes), self.minutes[-1]), flush=True)  # noqa: T201 - a bench prints

    def compare(self) -> None:
        """Holds the screen's figures against the server's, while the workload stands still."""
        [workload] = [
            child for child in children(self.terminal.program) if child.cmdline()[-1] == "pgtop.demo.workload"
        ]
        workload.suspend()
        try:
            asyncio.run(self._compare())
        finally:
            workload.resume()

    async def _compare(self) -> None:
        admin = await asyncpg.connect(self.server.socket_uri, ssl=False)
        try:
            deadline = time.monotonic() + LIMIT_SECONDS
            while True:
                # Each of the two sees itself at work, and the other idle: their figures are the same.
                counts = dict(await admin.fetchrow(COUNTS))
                said = figures(self.terminal.read())
                if list(said.values()) == [counts[name] for name in said]:
                    print(f"the screen and the server agree: {said}")  # noqa: T201
                    return
                if time.monotonic() > deadline:
                    self.wrong.append(f"the screen says {said}, the server {counts}")
                    return
                await asyncio.sleep(0.1)
        finally:
            await admin.close()


def is_live_on_a_new_server(screen: str, since: float) -> bool:
    """Whether the screen is live, and of a server that began about `since` (the monotonic clock)."""
    up = re.search(r"  up (?:(\d+)m )?(\d+)s ", screen)
    if up is None or "● live" not in screen:
        return False
    return int(up[1] or 0) * 60 + int(up[2]) <= time.monotonic() - since + _STARTS_IN_SECONDS


def figures(screen: str) -> dict[str, int]:
    """The head's figures by their words; -1 for what it does not say."""
    used = re.search(r"(\d+) of \d+ slots", screen)
    words = ("idle", "active", "in transaction")
    found = {word: re.search(rf" {word} +(\d+)", screen) for word in words}
    return {
        "total": int(used[1]) if used else -1,
        **{word.replace(" ", "_"): int(match[1]) if match else -1 for word, match in found.items()},
    }


async def counted(server: Server) -> dict[str, int]:
    """The server's own count of its client backends, without the one that asks."""
    admin = await asyncpg.connect(server.socket_uri, ssl=False)
    try:
        counts = dict(await admin.fetchrow(COUNTS))
    finally:
        await admin.close()
    return {**counts, "total": counts["total"] - 1}


HEAD = "  min  restart    back s   RSS MiB   fds  threads  own  sessions   screen"


def row(number: int, minute: Minute) -> str:
    """A line of the table."""
    said = minute.usage.strip()[:44]
    return (
        f"{number:5}  {minute.mode:<9} {minute.back_seconds:7.2f}  {minute.rss_mib:8.1f}"
        f"  {minute.descriptors:4}  {minute.threads:7}  {minute.sessions:3}  {minute.total:8}   {said}"
    )


def slope(values: list[float]) -> float:
    """By how much the values grow from one to the next, by least squares; 0 for fewer than two."""
    return statistics.linear_regression(range(len(values)), values).slope if len(values) > 1 else 0.0


def report(course: Course, every: float) -> None:
    """What it came to."""
    settled = course.minutes[len(course.minutes) // 3 :]
    hourly = slope([minute.rss_mib for minute in settled]) * 3600 / every
    first, last = settled[0], settled[-1]
    back = [minute.back_seconds for minute in course.minutes]
    print(  # noqa: T201
        f"after the first third: RSS {first.rss_mib:.1f} -> {last.rss_mib:.1f} MiB "
        f"({hourly:+.2f} MiB an hour), file descriptors {first.descriptors} -> {last.descriptors}, "
        f"threads {first.threads} -> {last.threads}; live again after {statistics.median(back):.2f} s "
        f"(most {max(back):.2f} s)"
    )
    if last.descriptors > first.descriptors + 2:
        course.wrong.append(f"file descriptors: {first.descriptors} -> {last.descriptors}")


def run(minutes: int, every: float) -> list[str]:
    """Runs it all; gives what was wrong."""
    with DemoTerminal() as terminal:
        course = Course(terminal, server_of(terminal.program))
        if not terminal.wait_for(lambda text: "● live" in text, LIMIT_SECONDS):
            return [f"the demo does not open: {terminal.read()}"]
        print(HEAD, flush=True)  # noqa: T201
        begun = time.monotonic()
        for number in range(minutes):
            course.minute(("fast", "immediate")[number % 2], begun + (number + 1) * every)
        course.compare()
        report(course, every)
        print(terminal.read())  # noqa: T201
        course.wrong += terminal.leave()
        directory = course.server.data_dir.parent
        if course.server.started is not None:
            course.server.started.wait(LIMIT_SECONDS)
        if directory.exists():
            course.wrong.append(f"{directory} is left")
        return course.wrong


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="pgtop demo, its server restarted every minute")
    parser.add_argument("--minutes", type=int, default=60, help="how many restarts (60)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds from one to the next (60)")
    given = parser.parse_args()
    wrong = run(given.minutes, given.every)
    for each in wrong:
        print(f"WRONG: {each}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
