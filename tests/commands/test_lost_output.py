"""Outcomes that cannot be shown: noticed before the first signal, or told by exit status and audit log."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.servers import sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.reap_command import STALE, alive, stale
from tests.support.running import LIMIT_SECONDS, command, environment, redirected

NAME = "untold"


def arguments(place: Path, server: ThrowawayServer, *more: str) -> list[str]:
    log = ("--audit-log", str(place / "audit.jsonl"))
    return ["reap", server.uri(), "--always", *STALE, "--application", NAME, *log, *more]


@pytest.mark.parametrize("redirections", [">&-", ">&- 2>&-", "0<&- 1>&- 2>&-"])
async def test_with_standard_output_closed_nobody_is_ended(
    server: ThrowawayServer, tmp_path: Path, redirections: str
) -> None:
    """Status 2 before anything is done; with standard error open, the mend is named."""
    async with stale(server, 2, application_name=NAME) as kept:
        for more in ((), ("--json",)):
            line = arguments(tmp_path, server, *more)
            done = await asyncio.to_thread(redirected, tmp_path, redirections, *line)
            assert done.returncode == 2
            if "2>&-" not in redirections:
                assert "standard output is closed" in done.stderr
                assert "/dev/null" in done.stderr
                assert done.stderr.count("\n") == 1
        assert await alive(kept) == [True, True]
    assert not audited(tmp_path / "audit.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("redirections", [">/dev/full", ">/dev/full 2>&1", ">/dev/full 2>&-"])
@pytest.mark.parametrize("more", [(), ("--json",)])
async def test_an_outcome_that_cannot_be_written_is_status_6(
    server: ThrowawayServer, tmp_path: Path, redirections: str, more: tuple[str, ...]
) -> None:
    """Never 1, which says that nothing was done; the audit log has it all."""
    async with stale(server, 2, application_name=NAME) as ended:
        done = await asyncio.to_thread(
            redirected, tmp_path, redirections, *arguments(tmp_path, server, *more)
        )
        assert done.returncode == 6
        if redirections == ">/dev/full":
            assert done.stderr.startswith("pgtop: cannot write to standard output (No space left")
            assert "audit log" in done.stderr
            assert done.stderr.count("\n") == 1
        assert await alive(ended) == [False, False]
    assert [each.get("outcome") for each in audited(tmp_path / "audit.jsonl")] == [
        None,
        None,
        "terminated",
        "terminated",
    ]


@pytest.mark.parametrize("redirections", ["| true", "2>&-", "2>/dev/null", ">/dev/null", "0<&-", "0<&- 2>&-"])
async def test_an_act_whose_outcome_can_be_told_is_done(
    server: ThrowawayServer, tmp_path: Path, redirections: str
) -> None:
    """A reader that has left, and standard error closed: status 0 says that it is done."""
    async with stale(server, 1, application_name=NAME) as ended:
        line = arguments(tmp_path, server, "--json")
        if redirections == "| true":
            reader, writer = os.pipe()
            os.close(reader)
            process = await asyncio.create_subprocess_exec(
                *command(*line), env=environment(tmp_path), cwd=tmp_path, stdout=writer
            )
            os.close(writer)
            assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
        else:
            done = await asyncio.to_thread(redirected, tmp_path, redirections, *line)
            assert (done.returncode, done.stderr) == (0, "")
            if ">/dev/null" not in redirections or redirections.startswith("2"):
                assert json.loads(done.stdout)["victims"][0]["outcome"] == "terminated"
        assert await alive(ended) == [False]


async def test_a_log_on_a_closed_standard_error_ends_nobody(server: ThrowawayServer, tmp_path: Path) -> None:
    async with stale(server, 1, application_name=NAME) as kept:
        line = arguments(tmp_path, server, "--audit-log", "-")
        assert (await asyncio.to_thread(redirected, tmp_path, "2>&-", *line)).returncode == 2
        assert await alive(kept) == [True]


@pytest.mark.parametrize("command_line", ["--version", "config", "audit", "snapshot"])
def test_other_commands_say_that_nothing_could_be_told(
    server: ThrowawayServer, tmp_path: Path, command_line: str
) -> None:
    line = [command_line, *([server.uri()] if command_line == "snapshot" else [])]
    done = redirected(tmp_path, ">&-", *line)
    assert (done.returncode, done.stderr) == (1, "pgtop: standard output is closed\n")
    assert redirected(tmp_path, "0<&- 1>&- 2>&-", *line).returncode == 1


def held_by(pid: int) -> list[str]:
    """What a process has as standard input, output and error; [] where the system does not say."""
    place = Path(f"/proc/{pid}/fd")
    return [str((place / str(number)).readlink()) for number in range(3)] if place.exists() else []


async def test_no_socket_and_no_log_takes_a_standard_descriptor(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """A daemon started with all three closed reaps, and what is meant for standard error goes nowhere."""
    line = arguments(tmp_path, server, "--watch", "--interval", "200ms", "--every", "1s")
    line.remove("--always")
    line += ["--warn-at", "0.001"]
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command(*line), env=environment(tmp_path)
    )
    try:
        async with sessions(server, 2, application_name=NAME) as ended:
            await wait_until(lambda: len(audited(tmp_path / "audit.jsonl")) == 4, LIMIT_SECONDS)
            assert held_by(process.pid) in (["/dev/null"] * 3, [])
            assert await alive(ended) == [False, False]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
