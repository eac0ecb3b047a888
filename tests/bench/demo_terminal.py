"""`pgtop demo` in a terminal of its own, and what that terminal shows."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from typing import Self

import psutil
import pyte

from tests.servers import REPOSITORY, default_binaries

_SECONDS_TO_END = 60.0


class DemoTerminal:
    """A pty of 120x40 with the demo in it, gone when the `with` block is left."""

    def __init__(self, *arguments: str) -> None:
        """`arguments` are the demo's options."""
        self._arguments = arguments

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="demo-home-")
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)
        self._raw_tail = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgtop", "demo", *self._arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PGTOP_PG_BIN": os.environ.get("PGTOP_PG_BIN", str(default_binaries())),
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
                "HOME": self._home.name,
            },
            start_new_session=True,
        )
        os.close(slave)
        self.program = psutil.Process(self._process.pid)
        """The program itself, without its server and workload."""
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()  # the janitor ends its server
        self._process.wait()
        os.close(self._master)
        self._home.cleanup()

    def read(self) -> str:
        """Reads what there is, and gives the whole screen."""
        while self._take(0.0):
            pass
        return "\n".join(self._screen.display)

    def line(self, number: int) -> str:
        """One line of the screen, from 0."""
        return self._screen.display[number]

    def read_until(self, moment: float) -> None:
        """Keeps reading until a moment of the monotonic clock."""
        while (left := moment - time.monotonic()) > 0:
            self._take(min(left, 0.2))

    def wait_for(self, condition: Callable[[str], bool], limit_seconds: float) -> bool:
        """Whether the screen comes to meet a condition in time."""
        deadline = time.monotonic() + limit_seconds
        while not condition(self.read()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                return False
            self._take(0.05)
        return True

    def leave(self) -> list[str]:
        """Presses `q` and waits; gives what was wrong with the end."""
        os.write(self._master, b"q")
        deadline = time.monotonic() + _SECONDS_TO_END
        while self._process.poll() is None and time.monotonic() < deadline:
            self._take(0.05)
        code = self._process.poll()
        wrong = [] if code == 0 else [f"pgtop demo ended with {code}"]
        return wrong + (["a traceback"] if b"Traceback" in self._raw_tail else [])

    def _take(self, seconds: float) -> bool:
        """Whether there was anything to read within so many seconds."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False  # the program has ended
        self._raw_tail = (self._raw_tail + data)[-200_000:]
        self._stream.feed(data)
        return bool(data)
