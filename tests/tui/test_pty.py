"""The real program in a real terminal: what only a pty shows."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pyte
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.filling import SMALL, full
from tests.postgres.targets import silent_port, stopped
from tests.servers import execute, fetch_value, session, wait_until

LIMIT_SECONDS = 30


class Terminal:
    """A pty with the program in it, and what a terminal would show of it."""

    def __init__(self, uri: str, home: Path, *arguments: str, ignore_hangup: bool = False) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.raw = b""
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgtop", uri, "--interval", "0.2", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "HOME": str(home),
                "XDG_STATE_HOME": str(home / ".local/state"),
                "LANG": "C.UTF-8",
            },
            preexec_fn=take_terminal,
        )
        self.slave = slave

    def read(self) -> str:
        """Reads what there is, and gives the whole screen."""
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.raw += data
            self._stream.feed(data)
        return "\n".join(self._screen.display)

    def shows(self, word: str) -> None:
        """Waits until a word stands on the screen."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while word not in self.read():
            assert time.monotonic() < deadline, f"no {word!r} in {self.read()}"
            assert self.process.poll() is None, self.read()

    def ends(self) -> int:
        """Waits until the program has ended; its exit code."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.process.poll() is None:
            if self.master >= 0:
                self.read()
            assert time.monotonic() < deadline, "still there"
            time.sleep(0.05)
        if self.master >= 0:
            self.read()
        return self.process.returncode

    def hang_up(self) -> None:
        """The terminal goes away."""
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1


@contextmanager
def terminal(
    server: ThrowawayServer,
    home: Path,
    *arguments: str,
    user: str = "postgres",
    ignore_hangup: bool = False,
) -> Iterator[Terminal]:
    opened = Terminal(server.uri(user=user), home, *arguments, ignore_hangup=ignore_hangup)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        for descriptor in (opened.master, opened.slave):
            if descriptor >= 0:
                os.close(descriptor)


async def no_seat_left(server: ThrowawayServer) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtop %'"

    async def none() -> bool:
        return await fetch_value(server, query) == 0

    await wait_until(none, 15, "a seat is left on the server")


async def test_it_starts_quits_and_restores_the_terminal(server: ThrowawayServer, tmp_path: Path) -> None:
    with terminal(server, tmp_path) as opened:
        opened.shows("slots")
        os.write(opened.master, b"q")
        assert opened.ends() == 0
        assert b"\x1b[?1049l" in opened.raw
        assert opened.raw.rfind(b"\x1b[?25h") > opened.raw.rfind(b"\x1b[?25l")
        assert termios.tcgetattr(opened.slave)[3] == opened.before[3]
        assert b"Traceback" not in opened.raw
    await no_seat_left(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_in_order(
    server: ThrowawayServer, tmp_path: Path, number: signal.Signals
) -> None:
    with terminal(server, tmp_path) as opened:
        opened.shows("slots")
        opened.process.send_signal(number)
        assert opened.ends() == 0
        assert b"\x1b[?1049l" in opened.raw
        assert b"Traceback" not in opened.raw
    await no_seat_left(server)


@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["SIGHUP comes", "SIGHUP is ignored"])
async def test_a_lost_terminal_ends_it(server: ThrowawayServer, tmp_path: Path, ignore_hangup: bool) -> None:
    with terminal(server, tmp_path, ignore_hangup=ignore_hangup) as opened:
        opened.shows("slots")
        opened.hang_up()
        opened.ends()
        assert not psutil.pid_exists(opened.process.pid) or opened.process.poll() is not None
    await no_seat_left(server)


@pytest.mark.parametrize("ending", ["q", "SIGTERM", "lost terminal"])
async def test_a_run_that_has_begun_is_carried_through(
    server: ThrowawayServer, tmp_path: Path, ending: str
) -> None:
    """The victim hangs, so that the program is told to end before the outcome is known."""
    log = default_audit_log_below(tmp_path)
    async with session(server, application_name="victim") as one:
        await one.fetchval("SELECT 1")
        with stopped(one.get_server_pid()), terminal(server, tmp_path) as opened:
            opened.shows("victim")
            os.write(opened.master, b"K")
            opened.shows("End 1 selected")
            while not log.exists():
                os.write(opened.master, b"y")
                opened.read()
            if ending == "q":
                os.write(opened.master, b"q")
            elif ending == "SIGTERM":
                opened.process.send_signal(signal.SIGTERM)
            else:
                opened.hang_up()
            opened.ends()
            assert b"Traceback" not in opened.raw
    lines = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]
    assert [(line["event"], line["pid"]) for line in lines] == [
        ("attempt", one.get_server_pid()),
        ("outcome", one.get_server_pid()),
    ]
    assert lines[1]["outcome"] == "survived"
    await no_seat_left(server)


def default_audit_log_below(home: Path) -> Path:
    return home / ".local" / "state" / "pgtop" / "audit.jsonl"


@pytest.mark.parametrize("by", ["q", "SIGTERM"])
async def test_it_opens_on_a_full_server_and_leaves_in_order(
    server_factory: ServerFactory, tmp_path: Path, by: str
) -> None:
    server = server_factory(SMALL)
    await execute(server, "CREATE ROLE app LOGIN")
    async with full(server):
        with terminal(server, tmp_path, user="app") as opened:
            opened.shows("no slot is left")
            leave(opened, by)
        with terminal(server, tmp_path, "--rescue", "user=postgres", user="app") as opened:
            opened.shows("rescue: postgres")
            leave(opened, by)
    await no_seat_left(server)


@pytest.mark.parametrize("by", ["q", "SIGTERM"])
async def test_a_rescue_role_that_gets_no_answer_keeps_nobody_from_the_screen(
    server_factory: ServerFactory, tmp_path: Path, by: str
) -> None:
    """It opens while that is waited for, and does not wait for it to leave."""
    server = server_factory(SMALL)
    await execute(server, "CREATE ROLE app LOGIN")
    with silent_port() as silent:
        rescue = f"user=postgres host=127.0.0.1 port={silent} connect_timeout=300"
        async with full(server):
            with terminal(server, tmp_path, "--rescue", rescue, user="app") as opened:
                opened.shows("no slot is left")
                leave(opened, by)


def leave(opened: Terminal, by: str) -> None:
    if by == "q":
        os.write(opened.master, b"q")
    else:
        opened.process.send_signal(signal.SIGTERM)
    assert opened.ends() == 0
    assert b"Traceback" not in opened.raw
