"""Programs that start a server or a demo of their own, for the tests to kill: owns their start and traces."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from tests.servers import REPOSITORY, wait_until_sync

NOBODY = 65534
"""An ordinary user, for what root tries as one."""

SERVER = """
import sys
from pgtop.demo.server import ThrowawayServer
server = ThrowawayServer()
print(server.directory, server.socket_dir, sep="\\n", flush=True)
sys.stdin.readline()
with server:
    print("started", server.pid, server.version, flush=True)
    sys.stdin.readline()
"""
"""Says where a server will be, starts it at the first line of stdin, and ends it at the second."""

DEMO = """
from pgtop.demo.run import running_demo, wait_for_signal
with running_demo(max_connections=30, leak_every_seconds=0.2) as demo:
    print(demo.server.directory, demo.workload.pid, sep="\\n", flush=True)
    wait_for_signal(demo)
"""
"""Runs a demo until a signal, as `pgtop demo --no-dashboard` does."""


@dataclass(frozen=True)
class Program:
    """A running program."""

    process: "subprocess.Popen[str]"

    def line(self) -> str:
        """The next line that it prints."""
        return _pipe(self.process.stdout).readline().rstrip("\n")

    def go_on(self) -> None:
        """Gives it a line to read."""
        pipe = _pipe(self.process.stdin)
        pipe.write("\n")
        pipe.flush()


def _pipe(pipe: "IO[str] | None") -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def program(
    script: str, *, python: str = sys.executable, user: int | None = None, **environment: str
) -> Iterator[Program]:
    """Runs a script in a process of its own, killed at the end at the latest."""
    process = subprocess.Popen(
        [python, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _import_path(), **environment},
        cwd="/",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    with process:
        try:
            yield Program(process)
        finally:
            process.kill()


def _import_path() -> str:
    """This checkout, and the libraries of this very Python for another one of its version."""
    return os.pathsep.join([str(REPOSITORY), *(path for path in sys.path if path.endswith("-packages"))])


def traces(*places: str | Path) -> list[str]:
    """The directories that are there, and the live processes that know of them."""
    names = [str(place) for place in places]
    found = [name for name in names if os.path.lexists(name)]
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            known = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(name in text for name in names for text in known):
            found.append(str(process))
    return found


def wait_until_no_trace(*places: str | Path) -> None:
    """Waits until neither a directory nor a process is left."""
    wait_until_sync(lambda: not traces(*places), limit=30, complaint=f"left behind: {traces(*places)}")


def shared_memory_ids() -> set[int]:
    """The System V shared memory segments of this machine; empty where the kernel does not list them."""
    table = Path("/proc/sysvipc/shm")
    lines = table.read_text().splitlines()[1:] if table.exists() else []
    return {int(line.split()[1]) for line in lines}


def segment_of(data_dir: Path) -> int:
    """The System V shared memory segment of a running server."""
    return int((data_dir / "postmaster.pid").read_text().splitlines()[6].split()[1])


def runs(command: list[str], environment: Mapping[str, str], user: int) -> bool:
    """Whether another user can run a command."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            cwd="/",
            user=user,
            group=user,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def python_for(user: int) -> str | None:
    """A Python of this version that another user may run with this checkout; None where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if runs([python, "-c", "import pgtop.demo.run, asyncpg"], {"PYTHONPATH": _import_path()}, user):
            return python
    return None
