"""The clean-up of a server, in whatever way the program that started it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until_sync
from tests.support.processes import (
    DEMO,
    SERVER,
    Program,
    program,
    segment_of,
    shared_memory_ids,
    traces,
    wait_until_no_trace,
)


@contextlib.contextmanager
def started_server() -> Iterator[tuple[Program, str, str]]:
    """Start a program with a server of its own; yield it, the server's directory and that of its socket."""
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        assert starter.line().startswith("started")
        yield starter, directory, sockets


def janitors_of(starter: Program) -> list[psutil.Process]:
    """Return the two shell scripts that clean up after a program."""
    children = psutil.Process(starter.process.pid).children()
    janitors = [one for one in children if one.cmdline()[0] == "/bin/sh"]
    assert len(janitors) == 2
    return janitors


def test_a_killed_starter_leaves_no_trace_of_the_server() -> None:
    with started_server() as (starter, directory, sockets):
        segment = segment_of(Path(directory, "data"))
        assert traces(directory)
        starter.process.kill()
        wait_until_no_trace(directory, sockets)
    assert segment not in shared_memory_ids()


@pytest.mark.parametrize(
    "moment",
    ["password", "data", "data/global", "data/PG_VERSION", "data/postmaster.pid", "socket/.s.PGSQL.*.lock"],
)
def test_a_starter_killed_in_the_middle_of_the_start_leaves_nothing(moment: str) -> None:
    """The moment is that at which a file appears: of the directory, of initdb, of the server."""
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        wait_until_sync(lambda: list(Path(directory).glob(moment)), limit=30)
        starter.process.kill()
        starter.process.wait()
        wait_until_no_trace(directory, sockets)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as another user")
def test_the_servers_lock_file_has_nothing_of_others_ended_or_removed() -> None:
    """It is its user's to write, as is whatever another program of that user puts there."""
    made = subprocess.run(["ipcmk", "-M", "4096"], capture_output=True, text=True, check=True)
    segment = int(made.stdout.split()[-1])
    try:
        with program(SERVER) as starter:
            directory, sockets = starter.line(), starter.line()
            starter.go_on()
            postmaster = int(starter.line().split()[1])
            lock = Path(directory, "data", "postmaster.pid")
            lines = lock.read_text().splitlines()
            os.kill(postmaster, signal.SIGKILL)
            named = [sys.executable, "-c", "import sys; sys.stdin.read()", directory]
            with subprocess.Popen(named, stdin=subprocess.PIPE) as roots:
                lock.write_text("\n".join([str(roots.pid), *lines[1:6], f"1 {segment}", ""]))
                starter.process.kill()
                wait_until_sync(lambda: not os.path.lexists(directory), limit=60)
                assert roots.poll() is None
            wait_until_no_trace(directory, sockets)
        assert segment in shared_memory_ids()
    finally:
        subprocess.run(["ipcrm", "-m", str(segment)], check=False)
        subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False)


def test_a_pipe_in_the_place_of_the_lock_file_keeps_nobody_waiting() -> None:
    with started_server() as (starter, directory, sockets):
        lock = Path(directory, "data", "postmaster.pid")
        lock.unlink()
        os.mkfifo(lock)
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_a_starter_killed_before_it_made_anything_leaves_nothing() -> None:
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_killing_every_process_but_the_janitor_leaves_nothing() -> None:
    """As `pkill -9 -f` does when the path of the programs contains the name that is asked for."""
    with program(DEMO) as starter:
        directory, workload_pid = starter.line(), int(starter.line())
        assert starter.line().startswith("postgresql://")
        segment = segment_of(Path(directory, "data"))
        family = psutil.Process(starter.process.pid).children(recursive=True)
        named = {}
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # what the server starts may be over in a moment
                named[one.pid] = " ".join(one.cmdline())
        janitors = [pid for pid, command in named.items() if command.startswith("/bin/sh")]
        assert len(janitors) == 2
        for pid in [starter.process.pid, *(named.keys() - set(janitors))]:
            with contextlib.suppress(ProcessLookupError):  # gone with one killed before it
                os.kill(pid, signal.SIGKILL)
        wait_until_no_trace(directory)
    assert not psutil.pid_exists(workload_pid) or psutil.Process(workload_pid).status() == "zombie"
    assert segment not in shared_memory_ids()


def test_the_janitor_matches_no_search_for_program_or_directory() -> None:
    with started_server() as (starter, directory, sockets):
        for janitor in janitors_of(starter):
            command = " ".join(janitor.cmdline())
            assert "pgtop" not in command
            assert directory not in command
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_the_janitor_outlives_the_signals_of_a_closing_terminal() -> None:
    with started_server() as (starter, directory, sockets):
        for janitor in janitors_of(starter):
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                janitor.send_signal(number)
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_a_stopped_server_is_ended_all_the_same() -> None:
    """A postmaster that stands still (SIGSTOP) takes no shutdown; it is woken, then made to."""
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        pid = int(starter.line().split()[1])
        os.kill(pid, signal.SIGSTOP)
        starter.process.kill()
        wait_until_no_trace(directory, sockets)
