"""Audit logs as files: what they hold, and a process that holds one up."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pgtop.audit.log import AuditLine


def audited(path: Path) -> list[dict[str, Any]]:
    """Return an audit log's lines as a script reads them; none where there is no log."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def audit_lines(path: Path) -> list[AuditLine]:
    """Return an audit log's lines; each must be whole."""
    return [msgspec.json.decode(each, type=AuditLine) for each in path.read_bytes().split(b"\n") if each]


def audited_pids(path: Path) -> list[int]:
    """Return the pids that an audit log tells of, line by line."""
    return [each.pid for each in audit_lines(path)]


@contextmanager
def held_by_a_stopped_process(path: Path) -> Iterator[None]:
    """Another process has the log's lock, and does nothing more."""
    program = (
        "import fcntl, sys; log = open(sys.argv[1], 'a'); fcntl.flock(log, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            holder.send_signal(signal.SIGSTOP)
            yield
        finally:
            holder.kill()
