"""Runs of pgtop in processes that are forked from one in which its modules are imported already.

The start of a Python and the imports cost half a second of a processor, most of what a short command needs. A
forked process has its own environment, directory, session and descriptors, and runs the same code from the
same start. It has no interpreter of its own, so whatever Python reads as it begins is the parent's.
"""

import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pgtop

_LARGEST_REQUEST = 1_000_000
_NOT_FOR_ALL = ("pgtop.commands.dashboard", "pgtop.commands.demo")
"""The commands that need a screen or a server's programs: each run imports what they need."""

_READ_AT_THE_START = ("PYTHON", "LC_", "LANG")
"""The beginnings of the variables that Python reads as it begins."""

Result = tuple[int, str, str]
"""The exit status as `subprocess` has it, and what was written to standard output and standard error."""


class Forks:
    """The client of a process that forks, which is started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def suits(self, variables: Mapping[str, str]) -> bool:
        """Return whether a process with these further variables may be forked."""
        return sys.platform == "linux" and not any(name.startswith(_READ_AT_THE_START) for name in variables)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], place: Path, limit: float
    ) -> Result:
        """Run pgtop to its end, with nothing to read; raise TimeoutExpired after `limit` seconds."""
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            try:
                request = {"arguments": arguments, "environment": dict(environment), "place": str(place)}
                self._send(json.dumps(request).encode(), [out_write, err_write, theirs.fileno()])
            finally:
                theirs.close()
                os.close(out_write)
                os.close(err_write)
            deadline = time.monotonic() + limit
            pid = int(_line(ours, deadline) or -1)
            try:
                said = _read_all((out_read, err_read), deadline)
                status = int(_line(ours, deadline))
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["pgtop", *arguments], limit) from None
            return status, said[0].decode(), said[1].decode()
        finally:
            ours.close()
            os.close(out_read)
            os.close(err_read)

    def close(self) -> None:
        """End the process that forks."""
        with self._lock:
            if self._process is not None and self._requests is not None:
                self._requests.close()
                self._process.wait()
            self._process = self._requests = None

    def _send(self, request: bytes, descriptors: list[int]) -> None:
        with self._lock:
            if self._requests is None:
                self._start()
            assert self._requests is not None
            socket.send_fds(self._requests, [request], descriptors)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_REQUEST)
        source = str(Path(pgtop.__file__).parents[1])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": source, "PYTHONWARNINGS": ""},
                stdin=subprocess.DEVNULL,
                # Like those of its children, neither is a terminal.
                stdout=subprocess.DEVNULL,
                stderr=None,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._requests = ours


def _line(source: socket.socket, deadline: float) -> bytes:
    """Read a line that is sent in one piece."""
    source.settimeout(max(0.0, deadline - time.monotonic()) or 0.001)
    found = b""
    while not found.endswith(b"\n"):
        more = source.recv(1)
        if not more:
            raise ChildProcessError("the process that forks is gone")
        found += more
    return found


def _read_all(descriptors: Sequence[int], deadline: float) -> list[bytes]:
    """Read several pipes to the end."""
    said: dict[int, bytes] = dict.fromkeys(descriptors, b"")
    left = set(descriptors)
    while left:
        ready, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        for each in ready:
            more = os.read(each, 65_536)
            said[each] += more
            if not more:
                left.discard(each)
    return list(said.values())


# The process that forks


def _import_all() -> None:
    """Import what the commands import, all but what draws a screen."""
    commands = importlib.import_module("pgtop.commands")
    for found in pkgutil.walk_packages(commands.__path__, "pgtop.commands."):
        if found.name not in _NOT_FOR_ALL:
            importlib.import_module(found.name)
    importlib.import_module("asyncpg")


def _serve(descriptor: int) -> None:
    """Fork for each request until nobody can send one. Return in the forked processes only."""
    requests = socket.socket(fileno=descriptor)
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 65_536)
            _report(running)
        if requests.fileno() not in ready:
            continue
        text, descriptors, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 3)
        if not text:
            os._exit(0)
        asker = socket.socket(fileno=descriptors[2])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (requests, asker, *running.values()):
                one.close()
            os.close(woken)
            os.close(waker)
            _become(json.loads(text), descriptors[:2])
            return
        running[pid] = asker
        asker.sendall(b"%d\n" % pid)
        for each in descriptors[:2]:
            os.close(each)
        _report(running)


def _report(running: dict[int, socket.socket]) -> None:
    """Tell the askers of the processes that have ended their exit statuses."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as asker, suppress(OSError):
            asker.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(request: Mapping[str, object], outputs: Sequence[int]) -> None:
    """Give this process what a started one is given."""
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    os.setsid()
    os.chdir(str(request["place"]))
    for number, each in enumerate(outputs, 1):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[1:] = arguments


def _main() -> NoReturn:
    _import_all()
    from pgtop.__main__ import start

    _serve(int(sys.argv[1]))
    start()


FORKS = Forks()
"""The process that forks of this test worker."""

if __name__ == "__main__":
    _main()
