"""The command that hears of alerts (`--on-alert`): its words, what stands on its standard input, how it runs.

It is started from an argument list that came from the configuration alone, never through a shell. What the
server says, names that others chose included, is in the JSON on its standard input and nowhere else.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.json_text import json_line
from pgtop.core.masking import masked_value
from pgtop.core.snapshot_json import SnapshotReport, snapshot_report
from pgtop.core.text import clip, plural, printable
from pgtop.errors import UsageError

SCHEMA: Final = 1
VARIABLE: Final = "PGTOP_ALERT"
LIMIT_SECONDS: Final = 30.0
"""How long a command may take."""
LEAVE_SECONDS: Final = 2.0
"""How long one has to end after SIGTERM."""
CLOSED_SECONDS: Final = 0.25
"""How long one that runs keeps a closed dashboard waiting, and then has after SIGTERM: pgtop ends within a
second of losing its terminal."""
MOST_WAITING: Final = 8
"""So many alerts wait at most while a command runs; the oldest gives way."""


class AlertReport(msgspec.Struct, frozen=True):
    """The JSON object: its fields and the order of them are a contract."""

    schema: int
    alert: Alert
    at: str
    """ISO 8601 in UTC, by this machine's clock: in an outage there is no other."""
    server: str
    """Where pgtop connects, and as whom."""
    problem: str | UnsetType
    """What is wrong, one sentence, where the server refuses logins or does not answer."""
    snapshot: SnapshotReport | None
    """The last one there is, with the server's own time; null where there was none yet."""


class Occasion(msgspec.Struct, frozen=True):
    """One alert, and what was known then."""

    alert: Alert
    at: str
    server: str
    problem: str
    """"" where there is none."""
    snapshot: Snapshot | None
    warn_at: float
    connecting: int = 0

    def as_json(self) -> bytes:
        """The one line that stands on the command's standard input."""
        seen = self.snapshot
        report = AlertReport(
            schema=SCHEMA,
            alert=self.alert,
            at=self.at,
            server=self.server,
            problem=self.problem or UNSET,
            snapshot=None if seen is None else snapshot_report(seen, self.warn_at, self.connecting),
        )
        return json_line(report).encode()


def command_words(written: str) -> list[str]:
    """The program, found, and its arguments. Raises UsageError where the program cannot be found or run."""
    program, *arguments = shlex.split(written)
    wanted = program
    if program.startswith(
        "~"
    ):  # and else as it is: pathlib takes the ./ from what is not to be sought in PATH
        with contextlib.suppress(RuntimeError):
            wanted = str(Path(program).expanduser())
    found = shutil.which(wanted) if wanted else None
    if found is None:
        problem = f'--on-alert: there is no program "{clip(printable(masked_value(program)), 60)}"'
        raise UsageError(problem, "give its path, or install it; it is run without a shell")
    return [found, *arguments]


class AlertCommand:
    """Runs the command once for each alert, one at a time, in the order they came."""

    def __init__(
        self,
        words: list[str],
        tell: Callable[[str], None],
        *,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        """`tell` hears, in one printable sentence, that something went wrong with it."""
        self._words = words
        self._tell = tell
        self._limit_seconds = limit_seconds
        self._waiting: deque[Occasion] = deque()
        self._task: asyncio.Task[None] | None = None

    def hear(self, occasion: Occasion) -> None:
        """Takes note of an alert; returns at once."""
        self._waiting.append(occasion)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._tell("the alert command is behind: it does not hear of every alert")
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_all())

    async def finish(self) -> None:
        """Gives the one that runs a little time, and ends it; those that wait are not run any more."""
        if self._task is None:
            return
        self._waiting.clear()
        await asyncio.wait({self._task}, timeout=CLOSED_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run_all(self) -> None:
        while self._waiting:
            occasion = self._waiting.popleft()
            try:
                problem = await self._run(occasion)
            except OSError as error:
                problem = f"cannot be run: {error.strerror or type(error).__name__}"
            except RuntimeError as error:  # this user may have no more threads
                problem = f"cannot be run: {error}"
            if problem:
                self._tell(f"the alert command {problem}")

    async def _run(self, occasion: Occasion) -> str:
        """What went wrong; "" for nothing. Raises OSError where it cannot be started."""
        # A file and no pipe: nobody waits for a command that does not read.
        with await asyncio.to_thread(_input_file, occasion) as standard_input:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=standard_input,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, VARIABLE: occasion.alert},
            )
        try:
            status = await asyncio.wait_for(asyncio.shield(process.wait()), self._limit_seconds)
        except TimeoutError:
            ended = "was ended" if await _end(process, LEAVE_SECONDS) else "cannot be ended"
            return f"took longer than {plural(round(self._limit_seconds), 'second')} and {ended}"
        except asyncio.CancelledError:
            await _end(process, CLOSED_SECONDS)
            raise
        if status == 0:
            return ""
        return f"ended with status {status}" if status > 0 else f"was ended by {_signal_name(-status)}"


def _input_file(occasion: Occasion) -> IO[bytes]:
    """What the command reads: in memory where that can be, so that a full disk keeps no alert back."""
    file: IO[bytes]
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("pgtop-alert"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(occasion.as_json())
    file.seek(0)
    return file


async def _end(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Ends a command with all that it started and that stayed in its session; False where it still lives."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), seconds)
    return process.returncode is not None


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # The command leads its own group; as long as anybody is left in it, nobody else can have its number.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
