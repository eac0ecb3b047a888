"""Whatever ends the program that started a server, nothing of the server stays."""

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.demo.processes import (
    DEMO,
    SERVER,
    program,
    segment_of,
    shared_memory_ids,
    traces,
    wait_until_no_trace,
)
from tests.servers import wait_until_sync


def test_a_killed_starter_leaves_no_process_no_directory_and_no_shared_memory() -> None:
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        assert starter.line().startswith("started")
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
        assert len(janitors) == 1
        for pid in [starter.process.pid, *(named.keys() - set(janitors))]:
            with contextlib.suppress(ProcessLookupError):  # gone with one killed before it
                os.kill(pid, signal.SIGKILL)
        wait_until_no_trace(directory)
    assert not psutil.pid_exists(workload_pid) or psutil.Process(workload_pid).status() == "zombie"
    assert segment not in shared_memory_ids()


def test_the_janitor_is_no_match_for_a_search_by_the_programs_name_or_directory() -> None:
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        assert starter.line().startswith("started")
        children = psutil.Process(starter.process.pid).children()
        [janitor] = [one for one in children if one.cmdline()[0] == "/bin/sh"]
        command = " ".join(janitor.cmdline())
        assert "pgtop" not in command
        assert directory not in command
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_the_janitor_outlives_the_signals_of_a_closing_terminal() -> None:
    with program(SERVER) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        assert starter.line().startswith("started")
        children = psutil.Process(starter.process.pid).children()
        [janitor] = [one for one in children if one.cmdline()[0] == "/bin/sh"]
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
