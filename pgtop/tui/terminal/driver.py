"""The terminal driver: Textual's for Unix, made more robust.

The program keeps running if the terminal stops reading, and ends at once if it is gone. Any byte may arrive
as a key; the shell, or any other process, may stop and continue the program.
"""

import asyncio
import errno
import os
import select
import signal
import termios
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from pgtop.core.text import clip, printable
from pgtop.tui.terminal.ascii import to_ascii
from pgtop.tui.terminal.capabilities import Capabilities
from pgtop.tui.terminal.output_thread import Output

_CLOSE_SECONDS: Final = 0.3
"""The longest wait at the end for a terminal that does not read."""
_STANDARD_ERROR: Final = 2
_KEEP_TITLE: Final = "\x1b[22;0t"
_RESTORE_TITLE: Final = "\x1b[23;0t"
_LONGEST_TITLE: Final = 80
_TICK_SECONDS: Final = 0.1
_USUAL_COLUMNS: Final = 80
_USUAL_LINES: Final = 24
"""The size of a terminal that reports none. One line too many would scroll the picture away."""
_QUIET_SECONDS: Final = 1.0
"""The time after a byte in which the rest of its key sequence may still arrive."""


class TerminalDriver(LinuxDriver):
    """A driver for the terminal of this process, in UTF-8."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # If SIGTSTP is ignored, the parent has no job control, and would not continue a stopped process.
        self._may_stop = signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN
        super().__init__(*arguments, **options)
        self._output: Output | None = None
        self._wake: tuple[int, int] | None = None
        self._title: str | None = None
        self._hear()

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the terminal's own size. COLUMNS and LINES, if exported, say what it was at some time."""
        try:
            size = os.get_terminal_size(_STANDARD_ERROR)
        except OSError:
            return super()._get_terminal_size()
        return (size.columns or _USUAL_COLUMNS, size.lines or _USUAL_LINES)

    # Drawing

    def write(self, data: str) -> None:
        """Send text and sequences to the terminal, without waiting for it."""
        if self._output is not None:
            self._output.write(self._encoded(data))

    def _encoded(self, data: str) -> bytes:
        return data.encode("utf-8", "replace")

    def set_title(self, title: str) -> None:
        """Set the title of the terminal's window, until the terminal is restored to its former state."""
        if title == self._title:
            return
        if self._title is None:
            self.write(_KEEP_TITLE)
        self._title = title
        self._write_title(title)

    def _write_title(self, title: str) -> None:
        # A character that ends the sequence would make commands of what follows it.
        self.write(f"\x1b]2;{clip(printable(title), _LONGEST_TITLE)}\x07")

    def start_application_mode(self) -> None:
        """Take over the terminal."""
        self._wake = os.pipe()
        self._output = Output(_STANDARD_ERROR, self._caught_up, self._end)
        self._output.start()
        if self._title is not None:
            self.write(_KEEP_TITLE)
            self._write_title(self._title)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Restore the terminal to its former state."""
        if self._output is not None:
            self._output.finish()
        if self._title is not None:
            # An empty one first, for a terminal that cannot bring back the former title.
            self._write_title("")
            self.write(_RESTORE_TITLE)
        super().stop_application_mode()

    def close(self) -> None:
        """Close the driver, after a moment for pending output."""
        super().close()
        if self._output is not None:
            self._output.close(_CLOSE_SECONDS)
            self._output = None
        if self._wake is not None:
            for descriptor in self._wake:
                os.close(descriptor)
            self._wake = None

    def _caught_up(self) -> None:
        self._soon(lambda: self._app.post_message(self.SignalResume()))

    def _end(self) -> None:
        """End the program after the terminal is gone: SIGHUP may not come, or may be ignored."""
        self._soon(self._app.exit)

    def _soon(self, call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program is ending already
            self._loop.call_soon_threadsafe(call)

    # Keys

    def run_input_thread(self) -> None:
        """Read keys until told to end, or until the terminal is gone."""
        parser = XTermParser(self._debug)
        # Bytes from a terminal with another encoding, or from a bad line, must not end the program.
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        if self._wake is None:
            return
        wake = self._wake[0]
        waiting = select.poll()
        waiting.register(self.fileno, select.POLLIN)
        waiting.register(wake, select.POLLIN)
        last = time.monotonic()
        while not self.exit_event.is_set():
            is_quiet = time.monotonic() - last > _QUIET_SECONDS
            ready = dict(waiting.poll(None if is_quiet else _TICK_SECONDS * 1000))
            if wake in ready:
                return
            if self.fileno in ready:
                data = self._read()
                if not data:
                    self._end()
                    return
                last = time.monotonic()
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, 4096)
        except OSError:  # a terminal that hung up has nothing left to read
            return b""

    def disable_input(self) -> None:
        """Stop reading keys."""
        if self._wake is not None:
            os.write(self._wake[1], b"\0")
        super().disable_input()

    # Stop and continue

    @property
    def can_suspend(self) -> bool:
        """True if there may be a shell to return to."""
        return self._may_stop

    def _hear(self) -> None:
        """Install signal handlers that run between two steps of the loop, never in the middle of one."""
        if self._may_stop:
            self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        else:
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        self._loop.add_signal_handler(signal.SIGCONT, self._continued)

    def _suspend(self) -> None:
        """Restore the terminal, stop, and take it over again once continued."""
        is_drawing = self._output is not None and self._auto_restart
        if is_drawing:
            self.suspend_application_mode()
        for number in (signal.SIGTSTP, signal.SIGCONT):
            self._loop.remove_signal_handler(number)
        # To the whole group, as the terminal itself would send it: a script around the program stops with it.
        # The kernel stops no process that no shell could continue.
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        _wait_for_foreground(self.fileno)
        self._hear()
        if is_drawing:
            self._take_again()

    def _continued(self) -> None:
        """Take over the terminal again after a stop without notice (SIGSTOP)."""
        if self._output is None or not self._auto_restart:
            return
        _wait_for_foreground(self.fileno)
        attributes = self.attrs_before
        self.suspend_application_mode()
        self._take_again()
        self.attrs_before = attributes

    def _take_again(self) -> None:
        asyncio.run_coroutine_threadsafe(self._app._post_message(self.SignalResume()), loop=self._loop)
        self.resume_application_mode()


class AsciiDriver(TerminalDriver):
    """A driver for the terminal of this process, in ASCII."""

    def _encoded(self, data: str) -> bytes:
        return to_ascii(data).encode("ascii", "replace")


def driver_for(able: Capabilities) -> type[TerminalDriver]:
    """Return the driver for a terminal with these capabilities."""
    return TerminalDriver if able.unicode else AsciiDriver


def _wait_for_foreground(descriptor: int) -> None:
    """Stay stopped while another job has the terminal: the kernel stops a process that changes it then."""
    while True:
        try:
            termios.tcsetattr(descriptor, termios.TCSANOW, termios.tcgetattr(descriptor))
        except termios.error as error:
            if error.args[0] == errno.EINTR:
                continue
        return
