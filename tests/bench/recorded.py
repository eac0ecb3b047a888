"""A full-screen program in a terminal of 120x40, recorded: what it wrote, when, and what it had run by then.

Nothing is parsed while the program runs; what stood on the screen is found out afterwards.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Self

import pyte

from tests.bench.procs import tree_cpu_ns

ROWS: Final = 40
COLUMNS: Final = 120
_LEFT_OUT: Final = frozenset({"COLUMNS", "LINES", "NO_COLOR", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})
"""What would make a terminal, or a start from bytecode, other than a user's."""
_STARTING_SECONDS: Final = 6.0
"""For so long the CPU is noted with each piece of output."""
_QUIET_SECONDS: Final = 0.3
"""A pause between two bursts of output."""
_ANSWERS: Final = (
    (re.compile(rb"\x1b\[\?(\d+)\$p"), b"\x1b[?%s;2$y"),
    (re.compile(rb"\x1b\[>?0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"),
)
_UNKNOWN_TO_PYTE: Final = re.compile(
    rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL
)


class Piece(NamedTuple):
    """Some output."""

    at: float
    """Seconds since the program was started."""
    cpu_ns: int
    """What the program had run by then; 0 later than when it starts."""
    data: bytes


class Recorded:
    """A program while it runs in its terminal."""

    def __init__(self, command: Sequence[str], home: Path) -> None:
        self.pieces: list[Piece] = []
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, "TERM": "xterm-256color", "HOME": str(home), "LANG": "C.UTF-8"},
            preexec_fn=take_terminal,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Asks it to leave, and sees to it that it does."""
        self.type("q")
        deadline = time.monotonic() + 3
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.run_for(0.05)
        os.close(self.master)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def type(self, keys: str) -> None:
        """Presses keys."""
        try:
            os.write(self.master, keys.encode())
        except OSError:
            return

    def run_for(self, seconds: float) -> None:
        """Records for so long, or until it ends."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                data = os.read(self.master, 65_536)
            except OSError:
                return
            at = self.seconds
            cpu_ns = tree_cpu_ns(self.process.pid) if at < _STARTING_SECONDS else 0
            self.pieces.append(Piece(at, cpu_ns, data))
            if at < _STARTING_SECONDS:
                self._answer(data)

    def _answer(self, data: bytes) -> None:
        """What a terminal answers; some programs wait for it."""
        for asked, answer in _ANSWERS:
            for found in asked.finditer(data):
                self.type((answer % found[1] if b"%s" in answer else answer).decode())

    def past_a_refresh(self) -> None:
        """Records until something was written and nothing has followed it for a while."""
        before = len(self.pieces)
        while len(self.pieces) == before and self.process.poll() is None:
            self.run_for(0.05)
        while self.seconds - self.pieces[-1].at < _QUIET_SECONDS:
            self.run_for(0.05)

    def between(self, begin: float, end: float) -> list[Piece]:
        """What it wrote from one second to another."""
        return [piece for piece in self.pieces if begin <= piece.at < end]

    def screens(self) -> Iterator[tuple[Piece, pyte.Screen]]:
        """Each piece, and the one screen after it."""
        screen = pyte.Screen(COLUMNS, ROWS)
        stream = pyte.ByteStream(screen)
        for piece in self.pieces:
            stream.feed(_UNKNOWN_TO_PYTE.sub(b"", piece.data))
            yield piece, screen

    def first(self, is_there: Callable[[str], bool]) -> Piece:
        """The piece after which something stood on the screen."""
        text = ""
        for piece, screen in self.screens():
            text = "\n".join(screen.display)
            if is_there(text):
                return piece
        raise AssertionError(f"it never stood on the screen:\n{text}")


def bursts(pieces: Sequence[Piece]) -> list[float]:
    """When each burst of output began."""
    begun: list[float] = []
    last = -1.0
    for piece in pieces:
        if piece.at - last > _QUIET_SECONDS:
            begun.append(piece.at)
        last = piece.at
    return begun


def period_seconds(pieces: Sequence[Piece], interval_seconds: float) -> float:
    """From one refresh to the next: by the bursts of output, or as asked for where those do not tell."""
    gaps = [later - earlier for earlier, later in pairwise(bursts(pieces))]
    if len(gaps) < 4 or abs(median(gaps) - interval_seconds) > interval_seconds / 2:
        return interval_seconds
    return median(gaps)
