"""The real program in a real terminal: what only a pty shows."""

import os
import signal
import sys
import termios
from pathlib import Path

import psutil
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import execute, session
from tests.support.audit_logs import audited
from tests.support.filling import THREE_SLOTS, full
from tests.support.targets import silent_port, stopped
from tests.support.terminals import (
    Terminal,
    default_audit_log_below,
    environment_of,
    leave,
    no_slot_left,
    terminal,
)


async def test_it_starts_quits_and_restores_the_terminal(server: ThrowawayServer, tmp_path: Path) -> None:
    with terminal(server, tmp_path) as opened:
        opened.shows("slots")
        os.write(opened.master, b"q")
        assert opened.ends() == 0
        assert b"\x1b[?1049l" in opened.raw
        assert opened.raw.rfind(b"\x1b[?25h") > opened.raw.rfind(b"\x1b[?25l")
        assert termios.tcgetattr(opened.slave)[3] == opened.before[3]
        assert b"Traceback" not in opened.raw
    await no_slot_left(server)


async def test_the_first_frame_waits_for_no_tick(server: ThrowawayServer, tmp_path: Path) -> None:
    """Later frames are collected for a sixtieth of a second; here, that never comes."""
    never = "import textual.screen; textual.screen.UPDATE_PERIOD = 3600; "
    command = [sys.executable, "-c", f"{never}from pgtop.__main__ import start; start()", server.uri()]
    opened = Terminal(command, environment_of(tmp_path))
    try:
        opened.shows("F1 help")
    finally:
        opened.close()


@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["SIGHUP comes", "SIGHUP is ignored"])
async def test_a_lost_terminal_ends_it(server: ThrowawayServer, tmp_path: Path, ignore_hangup: bool) -> None:
    with terminal(server, tmp_path, ignore_hangup=ignore_hangup) as opened:
        opened.shows("slots")
        opened.hang_up()
        opened.ends()
        assert not psutil.pid_exists(opened.process.pid) or opened.process.poll() is not None
    await no_slot_left(server)


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
            opened.shows("Terminate 1 selected")
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
    lines = audited(log)
    assert [(line["event"], line["pid"]) for line in lines] == [
        ("attempt", one.get_server_pid()),
        ("outcome", one.get_server_pid()),
    ]
    assert lines[1]["outcome"] == "survived"
    await no_slot_left(server)


@pytest.mark.parametrize("by", ["q", "SIGTERM"])
async def test_it_opens_on_a_full_server_and_leaves_in_order(
    server_factory: ServerFactory, tmp_path: Path, by: str
) -> None:
    server = server_factory(THREE_SLOTS)
    await execute(server, "CREATE ROLE app LOGIN")
    async with full(server):
        with terminal(server, tmp_path, user="app") as opened:
            opened.shows("no slot is left")
            leave(opened, by)
        with terminal(server, tmp_path, "--rescue", "user=postgres", user="app") as opened:
            opened.shows("rescue: postgres")
            leave(opened, by)
    await no_slot_left(server)


@pytest.mark.parametrize("by", ["q", "SIGTERM"])
async def test_an_unanswered_rescue_login_does_not_delay_the_screen(
    server_factory: ServerFactory, tmp_path: Path, by: str
) -> None:
    """It opens while that is waited for, and does not wait for it to leave."""
    server = server_factory(THREE_SLOTS)
    await execute(server, "CREATE ROLE app LOGIN")
    with silent_port() as silent:
        rescue = f"user=postgres host=127.0.0.1 port={silent} connect_timeout=300"
        async with full(server):
            with terminal(server, tmp_path, "--rescue", rescue, user="app") as opened:
                opened.shows("no slot is left")
                leave(opened, by)


async def test_a_fault_of_its_own_ends_it_in_one_line_without_a_traceback(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Nor does what was at hand just then reach the terminal: statements, as they came from the server."""
    faulty = f"""
import sys
from pgtop.commands.main import main
from pgtop.tui.alerts.notifier import AlertNotifier

def fails(self):
    statement = "SELECT secret"
    raise RuntimeError("out of order\\x1b[2J")

AlertNotifier.tick = fails
sys.argv = ["pgtop", {server.uri()!r}]
main()
"""
    opened = Terminal([sys.executable, "-c", faulty], environment_of(tmp_path))
    try:
        assert opened.ends() == 1
    finally:
        opened.close()
    told = opened.raw.partition(b"\x1b[?1049l")[2]
    assert b"pgtop: unexpected error: RuntimeError: out of order" in told
    assert b"secret" not in told
    assert b"Traceback" not in told
    assert b"\x1b[2J" not in told
    await no_slot_left(server)
