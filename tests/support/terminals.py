"""The program in a pty of its own, and what a terminal would show of it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyte

from pgtop.demo.server import ThrowawayServer
from tests.servers import REPOSITORY, fetch_value, wait_until

LIMIT_SECONDS = 30

LOCALE = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
"""The terminal that most tests are at."""


_ALTERNATE: Final = 1049


class Screen(pyte.Screen):
    """pyte's, which trips over sequences that it need not know; an alternate screen is empty at first."""

    def set_mode(self, *modes: int, **named: bool) -> None:
        """Also the alternate screen's."""
        super().set_mode(*modes, **named)
        if named.get("private") and _ALTERNATE in modes:
            self.erase_in_display(2)

    def report_device_status(self, *_: object, **__: object) -> None:
        """Nobody answers."""

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        """A private sequence that ends in m is not a colour."""
        if not private:
            super().select_graphic_rendition(*attributes)


class Terminal:
    """A pty with a program in it, and what a terminal would show of it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        size: tuple[int, int] = (120, 40),
        ignore_hangup: bool = False,
        controlling: bool = True,
    ) -> None:
        """`controlling` is False where the terminal's end is told to nobody, by no signal."""
        self.master, slave = pty.openpty()
        self.slave = slave
        self.raw = b""
        self._screen = Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.resize(*size)
        self.before = termios.tcgetattr(slave)

        def take_terminal() -> None:
            os.setsid()
            if controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=REPOSITORY,
            preexec_fn=take_terminal,
        )

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size. The kernel tells the program."""
        self.resize_only(columns, lines)
        self._screen.resize(lines, columns)

    def resize_only(self, columns: int, lines: int) -> None:
        """The same where nobody looks at the picture."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> str:
        """Reads what there is, and gives the whole screen."""
        deadline = time.monotonic() + 1  # a screen that changes all the time is looked at, too
        while time.monotonic() < deadline and select.select([self.master], [], [], 0.05)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.raw += data
            self._stream.feed(data)
        return "\n".join(self._screen.display)

    def discard(self) -> None:
        """Reads what there is for a while, and looks at nothing; `raw` is the last of it."""
        if select.select([self.master], [], [], 0.5)[0]:
            with suppress(OSError):
                self.raw = self.raw[-4096:] + os.read(self.master, 65536)

    def reversed_lines(self) -> list[str]:
        """The lines of the screen that are shown in reverse, but for their ends."""
        screen = self._screen
        return [
            screen.display[y]
            for y in range(screen.lines)
            if all(screen.buffer[y][x].reverse for x in range(3, 60))
        ]

    def wipe(self) -> None:
        """Clear the recorded screen."""
        self._screen.erase_in_display(2)

    def press(self, keys: bytes) -> None:
        """Types."""
        os.write(self.master, keys)

    def shows(self, word: str) -> str:
        """Wait until a word is on the screen, and return the screen."""
        return self.until(lambda screen: word in screen, f"no {word!r}")

    def until(self, predicate: Callable[[str], bool], complaint: str) -> str:
        """Wait for a screen, and return it."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not predicate(screen := self.read()):
            assert time.monotonic() < deadline, f"{complaint} in {screen}"
            assert self.process.poll() is None, screen
        return screen

    def ends(self, limit: float = LIMIT_SECONDS) -> int:
        """Wait until the program has ended, and return its exit code."""
        deadline = time.monotonic() + limit
        while self.process.poll() is None:
            if self.master >= 0:
                self.read()
            assert time.monotonic() < deadline, "still there"
            time.sleep(0.02)
        if self.master >= 0:
            self.read()
        return self.process.returncode

    def hang_up(self) -> None:
        """The terminal goes away."""
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1

    def close(self) -> None:
        """Ends what is left."""
        self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)


def command_of(server: ThrowawayServer, *arguments: str, user: str = "postgres") -> list[str]:
    """The command line of a dashboard on a server."""
    return [sys.executable, "-m", "pgtop", server.uri(user=user), "--interval", "0.2", *arguments]


def environment_of(home: Path, changed: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """An environment of a terminal's program; None takes a variable away."""
    silent = {name for name in os.environ if name.startswith(("LC_", "PYTHONUTF8", "NO_COLOR", "COLORTERM"))}
    kept = {name: value for name, value in os.environ.items() if name not in silent}
    places = {"HOME": str(home), "XDG_STATE_HOME": str(home / ".local/state")}
    wanted = {**kept, **LOCALE, **places, **(changed or {})}
    return {name: value for name, value in wanted.items() if value is not None}


@contextmanager
def terminal(
    server: ThrowawayServer,
    home: Path,
    *arguments: str,
    user: str = "postgres",
    ignore_hangup: bool = False,
    controlling: bool = True,
    size: tuple[int, int] = (120, 40),
    environment: Mapping[str, str | None] | None = None,
) -> Iterator[Terminal]:
    """A dashboard on a server, in a terminal."""
    opened = Terminal(
        command_of(server, *arguments, user=user),
        environment_of(home, environment),
        size=size,
        ignore_hangup=ignore_hangup,
        controlling=controlling,
    )
    try:
        yield opened
    finally:
        opened.close()


async def no_slot_left(server: ThrowawayServer) -> None:
    """Wait until the server holds no session of pgtop."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtop %'"

    async def none() -> bool:
        return await fetch_value(server, query) == 0

    await wait_until(none, 15, "a connection is left on the server")


def default_audit_log_below(home: Path) -> Path:
    """Return where the audit log of a home is unless something else is asked for."""
    return home / ".local" / "state" / "pgtop" / "audit.jsonl"


def leave(opened: Terminal, by: str) -> None:
    """Ends the program by `q` or by SIGTERM; it must end well."""
    if by == "q":
        os.write(opened.master, b"q")
    else:
        opened.process.send_signal(signal.SIGTERM)
    assert opened.ends() == 0
    assert b"Traceback" not in opened.raw
