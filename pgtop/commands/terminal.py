"""The process's own ends: its standard streams, its signals, and the password that a person is asked for."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

from pgtop.core.masking import masked
from pgtop.core.text import printable
from pgtop.errors import ExitCode, PgtopError, UsageError

_Answer = TypeVar("_Answer")

WIDTH_OF_A_FILE: Final = 120
"""Cells of a table that goes to no terminal."""

_CONTROLLING_TERMINAL: Final = "/dev/tty"


class ReaderGoneError(Exception):
    """Who reads standard output has left, as `head` does: nobody is there to be told anything."""


def show(text: str) -> None:
    """Writes to standard output, whole; what its encoding lacks becomes `?`.

    Raises ReaderGoneError where nobody reads any more, PgtopError where it cannot be written.
    """
    stream = sys.stdout
    if stream is None:
        raise PgtopError("standard output is closed")
    try:
        stream.flush()
        stream.buffer.write(text.encode(stream.encoding, "replace"))
        stream.buffer.flush()
    except OSError as error:
        # What is left in the buffer is written again when Python ends, and would fail again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from error
        raise PgtopError(f"cannot write to standard output ({error.strerror})") from error


def show_if_read(text: str) -> None:
    """As `show`, where the exit status tells the same: it counts, though nobody reads any more."""
    with suppress(ReaderGoneError):
        show(text)


def hold_standard_descriptors() -> None:
    """Put /dev/null on each of the descriptors 0, 1 and 2 that is closed, before anything else is opened.

    A file or a socket takes the lowest descriptor that is free: what is meant for standard error would then
    be written to the server or into the audit log. Python's own streams stay None.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest one that is free: this one


def need_output() -> None:
    """Raise UsageError where standard output is closed: for what must not be done and then not be told."""
    if sys.stdout is None:
        raise UsageError(
            "standard output is closed, and the outcome could not be shown; nothing was terminated",
            "redirect it to a file, or to /dev/null",
        )


def show_outcome(text: Callable[[], str], code: ExitCode) -> ExitCode:
    """Tell what became of sessions that were signalled; gives the exit status, `code` where that was told.

    Nothing that goes wrong here may look like a failure before the act: the status is PARTLY then.
    """
    try:
        show_if_read(text())
    except Exception as error:  # noqa: BLE001 - the act is done, whatever keeps it from being told
        warn(f"{error or type(error).__name__}; the audit log has what was done")
        return ExitCode.PARTLY if code is ExitCode.DONE else code
    return code


def warn(line: str) -> None:
    """Tells something on standard error, in one printable line that begins with `pgtop: `.

    Passwords are masked.
    """
    stream = sys.stderr
    if stream is None:  # print() would take standard output then
        return
    try:
        stream.write(f"pgtop: {printable(masked(line))}\n")
        stream.flush()
    except (OSError, ValueError):  # nobody can be told; the exit status still can
        return


def table_width() -> int:
    """Cells that a table on standard output may take."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH_OF_A_FILE
    return shutil.get_terminal_size((80, 24)).columns


def need_terminal(face: str, mend: str) -> None:
    """Raises UsageError unless standard input, output and error are terminals: Textual draws on the last."""
    streams = (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr))
    for name, stream in streams:
        if stream is None or not stream.isatty():
            raise UsageError(f"{face} needs a terminal, and standard {name} is not one", mend)


def leave_on_sigterm() -> None:
    """From now on SIGTERM ends the program with status 0, and what it holds is given back on the way."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.DONE)


def run_until_sigterm(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Runs a coroutine on a loop of its own; SIGTERM cancels it and then ends the program with status 0."""
    import asyncio

    told = False

    async def until_sigterm() -> _Answer:
        task = asyncio.current_task()

        def leave() -> None:
            nonlocal told
            told = True
            if task is not None:
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
        return await work

    try:
        return asyncio.run(until_sigterm())
    except asyncio.CancelledError:
        if told:
            raise SystemExit(ExitCode.DONE) from None
        raise
    finally:
        leave_on_sigterm()


def confirm(question: str) -> bool | None:
    """Whether a person says yes on the terminal; None where standard input or error is none.

    What was typed before the question stood there is no answer to it.
    """
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import termios

    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """True where a person can be asked, also while standard input and output are redirected."""
    try:
        os.close(os.open(_CONTROLLING_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask_password(user: str) -> str:
    """The password that a person types, unseen. Raises UsageError where there is nobody to ask."""
    from getpass import getpass

    if not can_ask():
        raise UsageError(
            f'there is no terminal to ask for the password of "{printable(user)}" on',
            "put it in ~/.pgpass or PGPASSWORD, and leave -W out",
        )
    try:
        return getpass(f"Password for user {printable(user)}: ")
    except EOFError:
        raise UsageError("no password was typed", "type it, or put it in ~/.pgpass or PGPASSWORD") from None
