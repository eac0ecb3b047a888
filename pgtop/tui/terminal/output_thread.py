"""Output: bytes on their way to a terminal that may be slow, stop reading, or be gone.

A writer never waits. Output that the terminal does not take within a second is dropped, since later it would
show old figures as new ones; the whole screen is drawn again when the terminal reads again.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

PATIENCE_SECONDS: Final = 1.0
"""The longest time that output waits for a terminal that does not read."""
_AT_ONCE: Final = 16_384
_WRITABLE_SECONDS: Final = 0.5


class Output:
    """A writer to a descriptor, with a thread of its own, from `start` to `close`."""

    def __init__(self, descriptor: int, caught_up: Callable[[], None], lost: Callable[[], None]) -> None:
        """`caught_up` is called when the terminal reads again after output was dropped, `lost` when it is
        gone; both run in the thread."""
        self._descriptor = descriptor
        self._caught_up = caught_up
        self._lost = lost
        self._pending: deque[bytes] = deque()
        self._oldest_at = 0.0
        self._is_behind = False
        self._is_lost = False
        self._is_closing = False
        self._changed = Condition()
        # A terminal that does not read must not keep the process from ending.
        self._thread = Thread(target=self._run, name="terminal output", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Queue data to be written in order; drop it if the terminal is behind or gone."""
        with self._changed:
            if self._is_behind or self._is_lost:
                return
            now = time.monotonic()
            if self._pending and now - self._oldest_at > PATIENCE_SECONDS:
                self._pending.clear()
                self._is_behind = True
                self._changed.notify()
                return
            if not self._pending:
                self._oldest_at = now
            self._pending.append(data)
            self._changed.notify()

    def finish(self) -> None:
        """Accept output again even if the terminal is behind: what follows restores its settings."""
        with self._changed:
            if self._is_behind:
                self._is_behind, self._pending = False, deque()

    def close(self, limit_seconds: float) -> None:
        """Wait until everything is written, but at most `limit_seconds`."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(limit_seconds)

    def _run(self) -> None:
        while (data := self._next()) is not None:
            try:
                self._write_whole(data)
            except OSError:
                with self._changed:
                    self._is_lost = True
                self._lost()
                return
            with self._changed:
                was_behind, self._is_behind = self._is_behind, False
            if was_behind:
                self._caught_up()

    def _next(self) -> bytes | None:
        """Wait for something to write, or to catch up on; return None at the end."""
        with self._changed:
            # Output may be behind with nothing pending, if this thread did not run for a while.
            while not (self._pending or self._is_behind):
                if self._is_closing:
                    return None
                self._changed.wait()
            data = b"".join(self._pending)
            self._pending.clear()
            return data

    def _write_whole(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            # Another program may have made this terminal non-blocking.
            with suppress(BlockingIOError):
                rest = rest[os.write(self._descriptor, rest[:_AT_ONCE]) :]
                continue
            select.select([], [self._descriptor], [], _WRITABLE_SECONDS)
