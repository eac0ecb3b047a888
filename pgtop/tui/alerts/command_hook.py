"""The alert command (`--on-alert`): its arguments, its standard input, and its runs.

It is started from an argument list that comes from the configuration alone, never through a shell. Text from
the server, such as names that others chose, is only in the JSON on its standard input.
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
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.json_text import json_line
from pgtop.core.masking import masked_value
from pgtop.core.snapshot_json import SnapshotReport, snapshot_report
from pgtop.core.text import clip, plural, printable
from pgtop.errors import UsageError

SCHEMA: Final = 1
VARIABLE: Final = "PGTOP_ALERT"
LIMIT_SECONDS: Final = 30.0
"""The longest run of a command."""
LEAVE_SECONDS: Final = 2.0
"""The time that a command has to end after SIGTERM."""
CLOSED_SECONDS: Final = 0.25
"""The time that a running command delays a closed dashboard, and then has after SIGTERM: pgtop ends within a
second of losing its terminal."""
MOST_WAITING: Final = 8
"""The most alerts that wait while a command runs; the oldest is dropped."""


class AlertReport(msgspec.Struct, frozen=True):
    """The JSON object; its fields and their order are a contract."""

    schema: int
    alert: Alert
    at: str
    """ISO 8601 in UTC, by this machine's clock: in an outage there is no other."""
    server: str
    """The server, database and role that pgtop connects to."""
    problem: str | UnsetType
    """One sentence: a refusal, a server that does not answer, or when a filling server is full."""
    snapshot: SnapshotReport | None
    """The last snapshot, with the server's own time; null if there was none yet."""


class Occasion(msgspec.Struct, frozen=True):
    """One alert, with the facts known at that time."""

    alert: Alert
    at: str
    server: str
    problem: str
    """The sentence on what is wrong; "" if nothing is."""
    snapshot: Snapshot | None
    warn_at: float
    findings: tuple[Finding, ...] = ()
    """The findings of the snapshot, as the screen shows them."""

    def as_json(self) -> bytes:
        """Return the line for the command's standard input."""
        seen = self.snapshot
        report = AlertReport(
            schema=SCHEMA,
            alert=self.alert,
            at=self.at,
            server=self.server,
            problem=self.problem or UNSET,
            snapshot=None if seen is None else snapshot_report(seen, self.warn_at, self.findings),
        )
        return json_line(report).encode()


def command_words(written: str) -> list[str]:
    """Return the program's path and its arguments; raise UsageError if it cannot be found or run."""
    program, *arguments = shlex.split(written)
    wanted = program
    if program.startswith(
        "~"
    ):  # otherwise unchanged: pathlib would drop the ./ that keeps it from being searched in PATH
        with contextlib.suppress(RuntimeError):
            wanted = str(Path(program).expanduser())
    found = shutil.which(wanted) if wanted else None
    if found is None:
        problem = f'--on-alert: there is no program "{clip(printable(masked_value(program)), 60)}"'
        raise UsageError(problem, "give its path, or install it; it is run without a shell")
    return [found, *arguments]


class AlertCommand:
    """The runner of the command: once for each alert, one at a time, in the order of the alerts."""

    def __init__(
        self,
        words: list[str],
        tell: Callable[[str], None],
        *,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        """`tell` is called with a printable sentence when the command fails."""
        self._words = words
        self._tell = tell
        self._limit_seconds = limit_seconds
        self._waiting: deque[Occasion] = deque()
        self._task: asyncio.Task[None] | None = None

    def hear(self, occasion: Occasion) -> None:
        """Take note of an alert, and return at once."""
        self._waiting.append(occasion)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._tell("alert command too slow: alerts dropped")
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_all())

    async def finish(self) -> None:
        """Give the running command a little time, then end it; waiting alerts are dropped."""
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
        """Run the command, and return what went wrong, or ""; raise OSError if it cannot be started."""
        text = await asyncio.to_thread(occasion.as_json)
        # A file, not a pipe: a command that does not read must not block.
        with _input_file(text) as standard_input:
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
            ended = "was killed" if await _end(process, LEAVE_SECONDS) else "cannot be killed"
            return f"ran longer than {plural(round(self._limit_seconds), 'second')} and {ended}"
        except asyncio.CancelledError:
            await _end(process, CLOSED_SECONDS)
            raise
        if status == 0:
            return ""
        return f"exited with status {status}" if status > 0 else f"was killed by {_signal_name(-status)}"


def _input_file(text: bytes) -> IO[bytes]:
    """Return the command's input, in memory if possible, so that a full disk blocks no alert."""
    file: IO[bytes]
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("pgtop-alert"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(text)
    file.seek(0)
    return file


async def _end(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """End a command and all it started in its session; return False if it is still alive."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), seconds)
    return process.returncode is not None


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # The command leads its own group; its number is not reused while any process is left in it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
