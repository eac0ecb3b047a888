"""Faults of pgtop's own process, for real: it is suspended and resumed, its clock is set, and it is left."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import fetch_value, session, wait_until
from tests.support.relay import relay
from tests.support.targets import stopped
from tests.support.terminals import Terminal, default_audit_log_below, environment_of, no_slot_left

LONGER_THAN_STILL_SECONDS = 5.0
OWN_SESSION = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard@%'"


@asynccontextmanager
async def opened(uri: str, home: Path) -> AsyncIterator[Terminal]:
    """The program in a terminal, on a server."""
    command = [sys.executable, "-m", "pgtop", uri, "--interval", "0.2", "--idle-after", "1s"]
    program = Terminal(command, environment_of(home))
    try:
        yield program
    finally:
        program.close()


async def test_a_yes_to_what_was_seen_before_a_suspension_ends_nobody(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The session is still what it was; who says yes has not seen whether it is."""
    async with session(server, application_name="victim") as one, opened(server.uri(), tmp_path) as program:
        await one.fetchval("SELECT 1")
        await asyncio.to_thread(program.shows, "victim")
        await asks_about_the_victim(program)
        await asyncio.sleep(0.6)  # from here on a yes would count
        program.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LONGER_THAN_STILL_SECONDS)
        os.write(program.master, b"y")
        program.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(program.shows, "pgtop was suspended after planning")
        os.write(program.master, b"\x1b")
        await asyncio.to_thread(program.shows, "● live")
        assert await one.fetchval("SELECT 1") == 1
        assert not default_audit_log_below(tmp_path).exists()


async def asks_about_the_victim(program: Terminal) -> None:
    """Filters, and presses K."""
    os.write(program.master, b"/")
    await asyncio.to_thread(program.shows, "Enter apply")
    os.write(program.master, b"app:victim\r")
    await asyncio.to_thread(program.shows, "sessions: 1,")
    os.write(program.master, b"K")
    await asyncio.to_thread(program.shows, "Terminate 1 selected")


async def test_old_data_after_a_suspension_is_not_called_live(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The server hangs when pgtop goes on, so that no poll comes before the eye."""
    async with opened(server.uri(), tmp_path) as program:
        await asyncio.to_thread(program.shows, "● live")
        program.process.send_signal(signal.SIGSTOP)
        pid = await fetch_value(server, OWN_SESSION)
        assert isinstance(pid, int)
        await asyncio.sleep(LONGER_THAN_STILL_SECONDS)
        with stopped(pid):
            program.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(program.shows, "no answer, ")
            assert "● live" not in program.read()
        await asyncio.to_thread(program.shows, "● live")


SET_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, found);
    char offset[32] = "";
    if (!result && clock == CLOCK_REALTIME) {
        int file = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
        if (file >= 0 && read(file, offset, 31) > 0) found->tv_sec += atol(offset);
        if (file >= 0) close(file);
    }
    return result;
}
"""
"""Sets the clock on the wall for one process, and no other clock of it."""


async def test_a_clock_that_is_set_changes_nothing(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour forward, then two back: ages, pace and dialogs go by other clocks. The audit log has it."""
    library, offset = clock_that_can_be_set(tmp_path), tmp_path / "offset"
    offset.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET_FILE", str(offset))
    async with session(server, application_name="victim") as one, opened(server.uri(), tmp_path) as program:
        await one.fetchval("SELECT 1")
        await asyncio.to_thread(program.shows, "victim")
        own_connection = await fetch_value(server, OWN_SESSION)
        for seconds in (3600, -3600):
            offset.write_text(str(seconds))
            for _ in range(3):
                await polls_again(server)
                screen = program.read()
                assert "● live" in screen
                assert " 1h " not in screen
                assert "no answer" not in screen
        await asks_about_the_victim(program)
        log = default_audit_log_below(tmp_path)
        deadline = time.monotonic() + 20
        while not log.exists():
            os.write(program.master, b"y")
            await asyncio.sleep(0.1)
            assert time.monotonic() < deadline
        await asyncio.to_thread(program.shows, "terminated 1 session")
        written = msgspec.json.decode(log.read_bytes().splitlines()[0])["time"]
        assert written < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 3000))
        assert await fetch_value(server, OWN_SESSION) == own_connection
        await leaves(program)


def clock_that_can_be_set(directory: Path) -> Path:
    """A library to load into a process."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: nobody can set the clock for one process")
    source, library = directory / "clock.c", directory / "clock.so"
    source.write_text(SET_CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


async def polls_again(server: ThrowawayServer) -> None:
    """Waits for the next poll."""
    query = "SELECT state_change FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard@%'"
    before = await fetch_value(server, query)

    async def another() -> bool:
        return await fetch_value(server, query) != before

    await wait_until(another)


async def leaves(program: Terminal) -> None:
    """Presses q: it ends in order, and without a word too much."""
    begun = time.monotonic()
    os.write(program.master, b"q")
    assert await asyncio.to_thread(program.ends) == 0
    print(f"left after {time.monotonic() - begun:.2f} s")  # noqa: T201 - shown by pytest -rP
    assert b"Traceback" not in program.raw
    assert b"never retrieved" not in program.raw


@pytest.mark.parametrize("fault", ["stopped", "hanging backend", "hanging server", "stall", "black_hole"])
async def test_q_leaves_in_the_middle_of_a_fault(
    server_factory: ServerFactory, tmp_path: Path, fault: str
) -> None:
    """Without a word too much, and without waiting for anybody."""
    server = server_factory()
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(relay(server))
        uri = server.uri().replace(str(server.port), str(way.port))
        program = await stack.enter_async_context(opened(uri, tmp_path))
        await asyncio.to_thread(program.shows, "● live")
        if fault == "stopped":
            server.stop()
            await asyncio.to_thread(program.shows, "retrying")
        elif fault.startswith("hanging"):
            pid = await fetch_value(server, OWN_SESSION)
            assert isinstance(pid, int)
            pids = [pid] if fault == "hanging backend" else all_of(server)
            for each in pids:
                with suppress(ProcessLookupError):  # the session that asked may be on its way out
                    stack.enter_context(stopped(each))
            await asyncio.to_thread(program.shows, "does not answer")
        else:
            getattr(way, fault)()
            await asyncio.to_thread(program.shows, "does not answer")
        await leaves(program)
        await way.listen()
    server.start()
    await no_slot_left(server)


def all_of(server: ThrowawayServer) -> list[int]:
    """The postmaster and its children."""
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    found = []
    with suppress(psutil.NoSuchProcess):
        found = [child.pid for child in postmaster.children()]
    return [postmaster.pid, *found]
