"""The configuration of a server of this host, asked of its own program without a connection.

That program runs only as the user that runs the server, out of reach of the terminal: anybody may call a
program of theirs a postmaster. One of a container is never run: out here it would have escaped its bounds.
"""

import os
import re
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from pgtop.core.activity import Limits
from pgtop.core.text import printable
from pgtop.postgres.host import proc
from pgtop.postgres.host.servers import HostServer

_ASK_SECONDS: Final = 3.0
_ANSWERED_SECONDS: Final = 0.1
"""The least time to wait, in seconds: enough for an answer or end that is already there at the deadline."""

_LONGEST_ANSWER: Final = 65_536
"""Bytes. pg_controldata prints some 3 kB."""

_SETTINGS: Final = (
    "server_version_num",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "update_process_title",
)
_CONTROL: Final = "pg_controldata"
_PRIMARY: Final = re.compile(r"^Database cluster state: +in production$", re.MULTILINE)
_RUNNING: Final = re.compile(r"^max_connections setting: +([0-9]{1,9})$", re.MULTILINE)


class Asked(msgspec.Struct, frozen=True):
    """A server's settings, asked of its own program without a connection; the answers are still to come."""

    running: dict[str, Any]
    """Processes, by the name of the setting, or of the program where it tells more."""

    def answers(self) -> dict[str, str]:
        """Return the answers given within a few seconds, by the same names; unanswered names are missing.

        Programs that still run then are ended.
        """
        found = {}
        deadline = time.monotonic() + _ASK_SECONDS
        try:
            for name, process in self.running.items():
                with suppress(subprocess.TimeoutExpired):
                    answer = _answer(process, max(_ANSWERED_SECONDS, deadline - time.monotonic()))
                    if process.returncode == 0:
                        found[name] = answer.decode("utf-8", "replace").strip()
        finally:
            for process in self.running.values():
                _end(process)
        return found


def _answer(process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
    """Return what a program prints until it ends. Raises TimeoutExpired if it does not end or stop printing.

    It may be anybody's program, so the output kept is bounded.
    """
    deadline = time.monotonic() + seconds
    said = b""
    ready = select.poll()
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    output = process.stdout.fileno()
    ready.register(output, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0 and len(said) <= _LONGEST_ANSWER:
        if ready.poll(left * 1000):
            more = os.read(output, _LONGEST_ANSWER)
            if not more:
                process.wait(max(_ANSWERED_SECONDS, deadline - time.monotonic()))
                return said
            said += more
    raise subprocess.TimeoutExpired(process.args, seconds)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program with all that it started. Never waits long: one that reads a dead disk does not end."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ANSWERED_SECONDS)
    if process.stdout is not None:
        process.stdout.close()


def ask_settings(server: HostServer) -> Asked:
    """Begin to ask the server's own programs: `postgres -C` what is configured, pg_controldata what counts.

    They run as the user that runs the server, never as root; nothing is asked where that cannot be, or where
    they belong to a container. Never raises.
    """
    own = os.geteuid()
    if server.uid == 0 or own not in (0, server.uid) or proc.is_contained(server.pid):
        return Asked({})
    account: dict[str, Any] = (
        {"user": server.uid, "group": server.gid, "extra_groups": []} if own == 0 else {}
    )
    running: dict[str, Any] = {}
    try:
        program = os.readlink(f"/proc/{server.pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")[1:]
        common: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
            "cwd": "/",
            "env": {"LC_ALL": "C", "PATH": os.defpath, **_library_path(server.pid)},
            "start_new_session": True,  # what runs as another user must not reach root's terminal
            **account,
        }
        for name in _SETTINGS:
            line = [program, "-C", name, *map(os.fsdecode, arguments), "-D", server.data_dir]
            running[name] = subprocess.Popen(line, executable=f"/proc/{server.pid}/exe", **common)
        control = os.path.join(os.path.dirname(program), _CONTROL)  # noqa: PTH118, PTH120 - maybe not valid text
        running[_CONTROL] = subprocess.Popen([control, "-D", server.data_dir], **common)
    except (OSError, ValueError, subprocess.SubprocessError):
        pass  # what could be asked so far is answered
    return Asked(running)


def _library_path(pid: int) -> dict[str, str]:
    """Return the variables that tell the postmaster where its libraries are."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    name = b"LD_LIBRARY_PATH"
    found = next((each for each in variables if each.startswith(name + b"=")), None)
    return {} if found is None else {os.fsdecode(name): os.fsdecode(found[len(name) + 1 :])}


def limits_of(answers: dict[str, str]) -> Limits:
    """The limits that were answered; such that are not known where one is missing."""
    try:
        return Limits(
            running_max_connections(answers) or int(answers["max_connections"]),
            int(answers["superuser_reserved_connections"]),
            int(answers.get("reserved_connections", "0")),
        )
    except (KeyError, ValueError):
        return Limits(0, 0)


def running_max_connections(answers: dict[str, str]) -> int | None:
    """Return the value a primary runs with; differs from the configured one if that changed since the start.

    None if its control file does not tell: that of a standby has its primary's. Source:
    XLogReportParameters() in src/backend/access/transam/xlog.c.
    """
    said = answers.get(_CONTROL, "")
    found = _RUNNING.search(said)
    # Of another version's file, or one that is just written, the program warns and tells nonsense.
    return int(found[1]) if found and _PRIMARY.search(said) and "WARNING" not in said else None


def pending_note(answers: dict[str, str]) -> str | None:
    """Return a note on a max_connections that waits for a restart; None if none does."""
    running, configured = running_max_connections(answers), answers.get("max_connections")
    if running is None or configured is None or configured == str(running):
        return None
    return f"max_connections is {running}: {printable(configured)}, as configured, waits for a restart"
