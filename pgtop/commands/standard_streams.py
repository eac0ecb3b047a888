"""The process's standard streams and signals, and the questions to a person on the terminal."""

import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn, TextIO, TypeVar

from pgtop.core.masking import masked
from pgtop.core.text import printable
from pgtop.errors import PgtopError, UsageError
from pgtop.exit_codes import ExitCode

_Answer = TypeVar("_Answer")

DEBUG_VARIABLE: Final = "PGTOP_DEBUG"

_WRITABLE_SECONDS: Final = 1.0
_CONTROLLING_TERMINAL: Final = "/dev/tty"


class ReaderGoneError(Exception):
    """The reader of standard output has closed it, as `head` does: there is nothing more to print."""


def show(text: str) -> None:
    """Write the whole text to standard output. Characters that its encoding lacks become `?`.

    It raises ReaderGoneError if the reader is gone, and PgtopError if the text cannot be written.
    """
    stream = sys.stdout
    if stream is None:
        raise PgtopError("standard output is closed")
    try:
        stream.flush()
        stream.buffer.write(text.encode(stream.encoding, "replace"))
        stream.buffer.flush()
    except OSError as error:
        _give_up(stream)
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from error
        raise PgtopError(f"cannot write to standard output ({error.strerror})") from error


def _give_up(stream: TextIO) -> None:
    """Send what is left in a stream's buffer to /dev/null.

    Python writes it again at its end. That would fail again, and make the exit status 120.
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_out(text: str) -> None:
    """Write text to standard output's descriptor, past Python's buffer, for as long as its reader takes.

    Meant for a thread that is abandoned at the end, which must not hold that buffer's lock. It raises as
    `show` does.
    """
    if sys.stdout is None:
        raise PgtopError("standard output is closed")
    rest = memoryview(text.encode(sys.stdout.encoding, "replace"))
    while rest:
        try:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except BlockingIOError:  # another program may have made it non-blocking
            select.select([], [sys.stdout], [], _WRITABLE_SECONDS)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise PgtopError(f"cannot write to standard output ({error.strerror})") from error


def reader_is_gone() -> bool:
    """Return whether standard output is a pipe, socket or terminal whose other end is closed."""
    if sys.stdout is None:
        return False
    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))


def show_if_read(text: str) -> None:
    """Show a text, and ignore a reader that is gone: the exit status, which tells the same, still counts."""
    with suppress(ReaderGoneError):
        show(text)


def hold_standard_descriptors() -> None:
    """Open /dev/null on each of the descriptors 0, 1 and 2 that is closed, before anything else is opened.

    A file or a socket takes the lowest free descriptor. Output meant for standard error would then be written
    to the server or into the audit log. Python's own streams stay None.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # it takes the lowest free descriptor, which is this one


def need_output() -> None:
    """Raise UsageError if standard output is closed, before an action whose outcome must be reported."""
    if sys.stdout is None:
        raise UsageError(
            "standard output is closed, and the outcome could not be shown; nothing was terminated",
            "redirect it to a file, or to /dev/null",
        )


def show_outcome(text: Callable[[], str], code: ExitCode) -> ExitCode:
    """Show the outcome of an action and return the exit status: `code`, if the outcome could be shown.

    A failure here must not look like one before the action: the status is then PARTLY in place of DONE.
    """
    try:
        show_if_read(text())
    except Exception as error:  # noqa: BLE001 - the action is done, whatever goes wrong while showing it
        warn(f"{error or type(error).__name__}; the audit log has what was done")
        return ExitCode.PARTLY if code is ExitCode.DONE else code
    return code


def warn(line: str) -> None:
    """Print a message on standard error, as one printable line that begins with `pgtop: `.

    Passwords are masked.
    """
    stream = sys.stderr
    if stream is None:  # print() would use standard output instead
        return
    try:
        stream.write(f"pgtop: {printable(masked(line))}\n")
        stream.flush()
    except (OSError, ValueError):  # the message is lost, the exit status is not
        _give_up(stream)


def table_width() -> int | None:
    """Return the cells that a table on standard output may take; None for any number, as in a pipe."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size((80, 24)).columns


def shows_styles() -> bool:
    """Return whether standard output is a terminal that shows bold and colours, and colours are wanted."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    terminal = os.environ.get("TERM", "").lower()
    return terminal not in ("", "dumb", "unknown") and not os.environ.get("NO_COLOR")


def need_terminal(face: str, mend: str) -> None:
    """Raise UsageError unless standard input, output and error are terminals. Textual draws on the last."""
    streams = (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr))
    for name, stream in streams:
        if stream is None or not stream.isatty():
            raise UsageError(f"{face} needs a terminal, and standard {name} is not one", mend)


def leave_on_sigterm() -> None:
    """Make SIGTERM end the program with status 0, with all its resources released."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.DONE)


def run_until_sigterm(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Run a coroutine on a loop of its own. SIGTERM cancels it and then ends the program with status 0."""
    import asyncio
    import logging  # asyncio imports it anyway; the other commands start sooner without

    if not os.environ.get(DEBUG_VARIABLE):
        # asyncio logs connections that broke when nothing was waiting for them any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
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
    """Ask for a yes or no on the terminal; None if standard input or standard error is not a terminal.

    Input typed before the question was shown is discarded, since it cannot be the answer.
    """
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import termios

    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """Return whether there is a terminal to ask on, even if standard input and output are redirected."""
    try:
        os.close(os.open(_CONTROLLING_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask_password(user: str) -> str:
    """Ask for a password, which is not shown. It raises UsageError if there is no terminal or no input."""
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
