"""The pager of whoever runs pgtop, on a text, while pgtop itself is off the screen."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from typing import Any, Final

from textual.app import App, SuspendNotSupported

_USUAL: Final = ("less", "more")
_TERMINAL: Final = 2
"""The descriptor that pgtop draws on."""


def pager_command(environ: Mapping[str, str]) -> list[str]:
    """Return `$PAGER` as a program and its arguments, or else `less` or `more`; [] if there is none.

    No shell sees it. A `$PAGER` that is not there, or is not a command, counts as none: another in its place
    would be a surprise.
    """
    named = environ.get("PAGER", "").strip()
    if named:
        try:
            words = shlex.split(named)
        except ValueError:
            return []
        return words if words and shutil.which(words[0]) else []
    return next(([each] for each in _USUAL if shutil.which(each)), [])


async def page(app: App[Any], text: str) -> str:
    """Show a printable text in the pager until it is closed, and return what went wrong; "" if nothing did.

    The polls go on meanwhile.
    """
    command = pager_command(os.environ)
    if not command:
        named = os.environ.get("PAGER", "").strip()
        return (
            "$PAGER is not a program that can be found" if named else "no pager: set PAGER, or install less"
        )
    try:
        with app.suspend(), app.batch_update(), _interrupts_left_to_pager(app):
            return await _run(command, text)
    except SuspendNotSupported:
        return "this terminal cannot be given to a pager"


async def _run(command: list[str], text: str) -> str:
    try:
        running = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=_TERMINAL, stderr=_TERMINAL
        )
    except OSError as error:
        return f"the pager cannot be started: {error.strerror or 'unknown reason'}"
    try:
        await running.communicate(text.encode("utf-8", "replace"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            if running.returncode is None:  # pgtop is told to end
                running.terminate()
    return ""


@contextlib.contextmanager
def _interrupts_left_to_pager(app: App[Any]) -> Iterator[None]:
    """Leave Ctrl+C to the pager: the terminal sends it to pgtop too, which would end."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    ends_pgtop = loop.remove_signal_handler(signal.SIGINT)
    # A handler, since a signal that is ignored would be ignored in the pager too.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        if ends_pgtop:
            loop.add_signal_handler(signal.SIGINT, app.exit)
        else:
            signal.signal(signal.SIGINT, before)
