"""Faults of the terminal: it goes away, stands still, is resized, sends rubbish, is left for a while."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.tui.state.dashboard_state import LATE_SECONDS
from tests.servers import fetch_value, wait_until, wait_until_sync
from tests.support.targets import stopped
from tests.support.terminals import (
    Terminal,
    command_of,
    environment_of,
    no_slot_left,
    terminal,
)

LEFT = (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?25h", b"\x1b[23;0t")
"""The alternate screen left, the mouse off, the cursor on, the former title back."""

OWN_SESSION = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard%'"
POLLED = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard%'"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_with_status_0_and_the_terminal_in_order(
    server: ThrowawayServer, tmp_path: Path, number: signal.Signals
) -> None:
    with terminal(server, tmp_path) as opened:
        opened.shows("slots")
        opened.process.send_signal(number)
        assert opened.ends() == 0
        assert all(sequence in opened.raw for sequence in LEFT)
        assert termios.tcgetattr(opened.slave)[3] == opened.before[3]
        assert b"Traceback" not in opened.raw
    await no_slot_left(server)


@pytest.mark.parametrize("told", [True, False], ids=["SIGHUP comes", "no signal comes"])
async def test_it_ends_with_status_0_when_its_terminal_is_gone(
    server: ThrowawayServer, tmp_path: Path, told: bool
) -> None:
    """As when SSH drops; some multiplexers, and nohup, keep the signal away."""
    with terminal(server, tmp_path, controlling=told, ignore_hangup=not told) as opened:
        opened.shows("slots")
        opened.hang_up()
        assert opened.ends() == 0
    await no_slot_left(server)


async def test_a_terminal_that_stops_reading_later_shows_the_present(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Polls go on, and of the time in between no figures are kept for later."""
    with terminal(server, tmp_path) as opened:
        opened.shows("● live")
        begun = await stall(server, opened)
        ended = time.time()
        opened.read()
        kept = len(opened.raw)
        opened.wipe()
        termios.tcflow(opened.slave, termios.TCOON)
        opened.until(lambda screen: present(screen) and "F1 help" in screen, "nothing of now")
        between = [
            time.strftime("%H:%M:%S", time.localtime(at)) for at in range(int(begun) + 3, int(ended) - 1)
        ]
        assert between
        assert not [clock for clock in between if clock.encode() in opened.raw[kept:]]
        opened.press(b"?")
        opened.shows("PgUp PgDn")


async def test_sigterm_ends_it_also_while_the_terminal_does_not_read(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    with terminal(server, tmp_path) as opened:
        opened.shows("● live")
        await stall(server, opened)
        opened.process.send_signal(signal.SIGTERM)
        assert opened.process.wait(10) == 0
    await no_slot_left(server)


async def stall(server: ThrowawayServer, opened: Terminal) -> float:
    """Lets the terminal take nothing, as a stalled line does, for many polls; when that began."""
    termios.tcflow(opened.slave, termios.TCOOFF)
    begun = time.time()
    query = f"SELECT ({POLLED}) > to_timestamp($1)"

    async def still_polls() -> object:
        return await fetch_value(server, query, begun + 6.0)

    await wait_until(still_polls, 20, "it polls no more")
    return begun


def present(screen: str) -> bool:
    """True where the screen tells the time of now."""
    shown = time.time(), time.time() - 1
    return any(time.strftime("%H:%M:%S  ● live", time.localtime(at)) in screen for at in shown)


async def test_bytes_that_are_not_utf8_do_not_end_it(server: ThrowawayServer, tmp_path: Path) -> None:
    """As a terminal with another encoding sends them for an umlaut, or a bad line for anything."""
    with terminal(server, tmp_path) as opened:
        opened.shows("● live")
        opened.press(b"\xe9\xff\xfe\xc3\x00\x80")
        opened.press(b"/")
        opened.shows("Enter apply")
        opened.press(b"\xfc")
        opened.shows("\ufffd")
        opened.press(b"\x1b")
        opened.until(lambda screen: "\ufffd" not in screen, "the filter still")
        opened.press(b"?")
        opened.shows("PgUp PgDn")
    assert b"Traceback" not in opened.raw


async def test_a_nonblocking_terminal_is_written_whole(server: ThrowawayServer, tmp_path: Path) -> None:
    with terminal(server, tmp_path, size=(300, 100)) as opened:
        flags = fcntl.fcntl(opened.slave, fcntl.F_GETFL)
        fcntl.fcntl(opened.slave, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        opened.shows("● live")
        for key in (b"?", b"\x1b") * 10:
            opened.press(key)
            opened.read()
        opened.until(lambda screen: "F1 help" in screen and "● live" in screen, "no whole screen")


async def test_a_storm_of_sizes_ends_in_the_right_picture(server: ThrowawayServer, tmp_path: Path) -> None:
    """Hundreds of them, down to one cell; only the last counts."""
    dice = random.Random(5)  # noqa: S311 - any sizes will do
    sizes = [(dice.randint(1, 250), dice.randint(1, 80)) for _ in range(400)]
    with terminal(server, tmp_path) as opened:
        opened.shows("● live")
        opened.press(b"?")
        for number, size in enumerate([*sizes, (20, 5), (1, 1), (2, 1), (1, 50), (200, 1), (0, 0), (80, 24)]):
            opened.resize_only(*size)
            if number % 20 == 0:
                opened.press((b"\x1b", b"K", b"n", b"S", b"?")[number // 20 % 5])
                opened.read()
        opened.press(b"\x1b")
        opened.resize(80, 24)
        screen = opened.until(
            lambda screen: "● live" in screen.splitlines()[0] and "F1 help" in screen.splitlines()[23],
            "no whole screen",
        )
        assert "sessions:" in screen
        assert b"Traceback" not in opened.raw


async def test_an_exported_size_does_not_stand_for_the_terminals_own(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """COLUMNS and LINES of some time: a dialog's first lines would be off the screen, with `y` in force."""
    exported = {"COLUMNS": "120", "LINES": "50"}
    with terminal(server, tmp_path, size=(100, 30), environment=exported) as opened:
        for columns, lines in ((100, 30), (80, 24), (130, 55)):
            opened.resize(columns, lines)
            screen = opened.until(
                lambda screen, last=lines - 1: "F1 help" in screen.splitlines()[last], "no whole screen"
            )
            assert "● live" in screen.splitlines()[0]
        opened.press(b"q")
        assert opened.ends() == 0


@pytest.mark.parametrize("variable", ["TEXTUAL_LOG=/nonexistent/log", "TEXTUAL_COLOR_SYSTEM=bogus"])
async def test_a_bad_variable_of_textuals_keeps_nobody_out(
    server: ThrowawayServer, tmp_path: Path, variable: str
) -> None:
    name, _, value = variable.partition("=")
    with terminal(server, tmp_path, environment={name: value}) as opened:
        opened.shows("● live")
        opened.press(b"q")
        assert opened.ends() == 0
    assert b"Traceback" not in opened.raw


@pytest.mark.parametrize("size", [(20, 5), (15, 3), (40, 2)], ids=str)
async def test_the_least_terminals_show_figures_and_state_and_take_keys(
    server: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    with terminal(server, tmp_path, size=size) as opened:
        figures = re.compile(r"OK +\d+( of |/)97", re.ASCII)
        opened.until(lambda screen: figures.search(screen) is not None, "no figures")
        opened.press(b"?")
        opened.until(lambda screen: figures.search(screen) is None, "no help")
        opened.press(b"\x1b")
        opened.until(lambda screen: figures.search(screen) is not None, "no figures any more")
        opened.press(b"q")
        assert opened.ends() == 0
    assert b"Traceback" not in opened.raw


# --- left for a while ---


@contextmanager
def shell(server: ThrowawayServer, home: Path) -> Iterator[tuple[Terminal, psutil.Process]]:
    """A dashboard started by hand in a shell, and its process."""
    command = " ".join(f"'{word}'" for word in command_of(server))
    environment = environment_of(home, {"PS1": "ready$ ", "HISTFILE": None})
    opened = Terminal(["bash", "--norc", "--noprofile", "-i"], environment)
    try:
        opened.shows("ready$")
        opened.press(command.encode() + b"\n")
        opened.shows("● live")
        (child,) = psutil.Process(opened.process.pid).children()
        yield opened, child
    finally:
        for left in psutil.Process(opened.process.pid).children():
            left.kill()
        opened.close()


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


async def stay_away(polled: float) -> None:
    """Until what was polled then is so old that it is live no more."""
    await wait_until(lambda: time.monotonic() - polled > 0.2 + LATE_SECONDS + 0.5, 10)


@pytest.mark.parametrize("how", ["Ctrl+Z", "SIGTSTP", "SIGSTOP"])
async def test_stopping_restores_the_terminal_and_continuing_draws_anew(
    server: ThrowawayServer, tmp_path: Path, how: str
) -> None:
    """The connection is kept meanwhile. (By SIGSTOP nobody can give anything back.)"""
    with shell(server, tmp_path) as (opened, child):
        opened.shows("slots")  # the server is reached before the screen is there
        own_connection = await fetch_value(server, OWN_SESSION)
        before = len(opened.raw)
        if how == "Ctrl+Z":
            opened.press(b"\x1a")
        else:
            child.send_signal(getattr(signal, how))
        wait_until_sync(lambda: is_stopped(child), 10)
        opened.until(lambda _: b"ready$" in opened.raw[before:], "no shell")
        if how != "SIGSTOP":
            assert all(sequence in opened.raw[before:] for sequence in LEFT)
        opened.press(b"echo a$((6*7))b\n")
        opened.until(lambda _: b"a42b" in opened.raw[before:], "the shell does not answer")
        assert await fetch_value(server, OWN_SESSION) == own_connection
        before = len(opened.raw)
        opened.press(b"fg\n")
        screen = opened.shows("F1 help")
        assert b"\x1b[?1049h" in opened.raw[before:]
        assert "ready$" not in screen
        assert "sessions:" in screen
        opened.shows("● live")
        opened.press(b"?")
        opened.shows("PgUp PgDn")
        assert await fetch_value(server, OWN_SESSION) == own_connection
        opened.press(b"\x1b")
        opened.until(lambda screen: "PgUp PgDn" not in screen, "the help still")
        before = len(opened.raw)
        opened.press(b"q")
        opened.until(lambda _: b"ready$" in opened.raw[before:], "no shell at the end")
        opened.press(b"echo $?$((6*7))b\n")
        opened.until(lambda _: b"042b" in opened.raw[before:], "the terminal is not as it was")


async def test_continued_it_does_not_show_old_figures_as_live(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Though the server is silent just then, and gives no news."""
    with shell(server, tmp_path) as (opened, child):
        opened.shows("slots")
        own_connection = await fetch_value(server, OWN_SESSION)
        assert isinstance(own_connection, int)
        opened.press(b"\x1a")
        wait_until_sync(lambda: is_stopped(child), 10)
        await stay_away(time.monotonic())
        with stopped(own_connection):
            before = len(opened.raw)
            opened.press(b"fg\n")
            opened.shows("F1 help")
            opened.shows("no answer")
            assert "● live".encode() not in opened.raw[before:]
        opened.shows("● live")


async def test_in_the_background_it_stays_stopped_and_writes_nothing(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    with shell(server, tmp_path) as (opened, child):
        opened.press(b"\x1a")
        wait_until_sync(lambda: is_stopped(child), 10)
        before = len(opened.raw)
        opened.press(b"bg\n")
        opened.until(lambda _: opened.raw[before:].count(b"ready$") > 0, "no shell")
        wait_until_sync(lambda: is_stopped(child), 10)
        opened.press(b"echo a$((6*7))b\n")
        opened.until(lambda _: b"a42b" in opened.raw[before:], "the shell does not answer")
        assert b"\x1b[?1049h" not in opened.raw[before:]
        opened.press(b"fg\n")
        opened.shows("● live")


async def test_it_is_not_stopped_if_no_shell_could_continue_it(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As under `ssh -t host pgtop`: nothing could wake it again."""
    with terminal(server, tmp_path) as opened:
        opened.shows("● live")
        before = len(opened.raw)
        opened.press(b"\x1a")
        opened.until(lambda _: b"\x1b[?1049h" in opened.raw[before:], "it does not come back")
        opened.press(b"?")
        opened.shows("PgUp PgDn")


async def test_ctrl_z_does_nothing_if_stopping_is_ignored(server: ThrowawayServer, tmp_path: Path) -> None:
    """As under a program without job control, which would wait for it for ever."""
    start = (
        "import os, signal, sys; signal.signal(signal.SIGTSTP, signal.SIG_IGN); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    opened = Terminal([sys.executable, "-c", start, *command_of(server)], environment_of(tmp_path))
    try:
        opened.shows("● live")
        opened.press(b"\x1a?")
        opened.shows("PgUp PgDn")
        assert opened.raw.count(b"\x1b[?1049h") == 1
    finally:
        opened.close()
    await no_slot_left(server)


# --- in tmux ---


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
async def test_in_tmux_it_draws_and_ends_with_its_pane(server: ThrowawayServer, tmp_path: Path) -> None:
    with tmux(server, tmp_path) as (ask, process):
        wait_until_sync(lambda: "● live" in ask("capture-pane", "-p"), 30, "nothing in the pane")
        ask("send-keys", "?")
        wait_until_sync(lambda: "PgUp PgDn" in ask("capture-pane", "-p"), 10, "no help")
        ask("kill-pane")
        wait_until_sync(lambda: not process.is_running(), 10, "still there")
    await no_slot_left(server)


@contextmanager
def tmux(server: ThrowawayServer, home: Path) -> Iterator[tuple[Any, psutil.Process]]:
    """A dashboard in a pane of a tmux of its own: how to ask that, and the dashboard's process."""
    socket = f"pgtop-{os.getpid()}"

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment_of(home, {"TMUX_TMPDIR": str(home)}),
        )
        return done.stdout

    try:
        ask("new-session", "-d", "-x", "120", "-y", "40", *command_of(server))
        yield ask, psutil.Process(int(ask("display-message", "-p", "#{pane_pid}")))
    finally:
        ask("kill-server")
