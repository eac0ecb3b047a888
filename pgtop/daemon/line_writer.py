"""LineWriter: lines to a descriptor, from a thread of its own: a reader that stands still keeps nobody.

A pipe that nobody reads, or a journal that stands still, takes some 64 KiB and then blocks whoever writes.
"""

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

MOST_WAITING_BYTES: Final = 1024 * 1024
"""The most bytes that wait for a reader; lines beyond are dropped and counted. One line may be longer."""
LAST_SECONDS: Final = 3.0
"""Seconds to wait at the end for a reader that takes nothing to take the last lines."""


class _Piece:
    """Lines that are written together."""

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded
        self.is_done = False
        self.error: OSError | None = None


class LineWriter:
    """Write lines in order. None is lost while a reader reads; those left out are told of."""

    def __init__(
        self,
        descriptor: int,
        encoding: str,
        gap: Callable[[int], str],
        *,
        most_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        """`gap` gives the line, with its newline, that stands where that many lines were left out."""
        self.lost = 0
        """The number of lines dropped so far."""
        self._descriptor = descriptor
        self._encoding = encoding
        self._gap = gap
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        self._waiting: deque[_Piece] = deque()
        self._bytes = 0
        self._left_out = 0
        self._is_open = True
        self._moved_at = 0.0
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Take over a line with its newline; never waits for a reader."""
        piece = self._piece(line)
        with self._changed:
            if self._may_begin() and self._has_room(piece):
                self._put(piece)
            else:
                self._left_out += 1
                self.lost += 1

    def deliver(self, lines: str, seconds: float) -> None:
        """Write lines after all that wait, however long; raises OSError unless that is done in `seconds`."""
        deadline = time.monotonic() + seconds
        piece = self._piece(lines)
        with self._changed:
            # What is said of a plan's victims may be more than may wait: a reader who reads gets it all the
            # same, and nobody would ever be ended otherwise.
            while self._may_begin() and not self._has_room(piece):
                self._wait(deadline)
            if not self._may_begin():
                raise OSError(errno.EAGAIN, "it cannot be written now")
            self._put(piece)
            while not piece.is_done:
                self._wait(deadline)
            if piece.error is not None:
                raise piece.error

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Wait until all lines are written, no longer than `seconds` while a reader takes none."""
        with self._changed:
            self._tell_gap()
            self._is_open = False
            self._moved_at = time.monotonic()
            self._changed.notify_all()
            while self._waiting and (left := self._moved_at + seconds - time.monotonic()) > 0:
                self._changed.wait(left)

    def _piece(self, lines: str) -> _Piece:
        return _Piece(lines.encode(self._encoding, "backslashreplace"))

    def _has_room(self, piece: _Piece) -> bool:
        """True where a piece may wait: whatever its length, where no other does."""
        return not self._waiting or self._bytes + len(piece.encoded) <= self._most_bytes

    def _put(self, piece: _Piece) -> None:
        self._tell_gap()
        self._append(piece)

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise OSError(errno.ETIMEDOUT, "its reader does not read")
        self._changed.wait(left)

    def _may_begin(self) -> bool:
        """True where there is a thread; one that cannot be had is asked for again by the next line."""
        if self._is_open and self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # this user may have no more
                return False
            self._thread = thread
        return self._is_open

    def _tell_gap(self) -> None:
        if self._left_out and self._thread is not None:
            number, self._left_out = self._left_out, 0
            self._append(self._piece(self._gap(number)))

    def _append(self, piece: _Piece) -> None:
        self._waiting.append(piece)
        self._bytes += len(piece.encoded)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if not self._is_open:
                        return
                    self._changed.wait()
                piece = self._waiting[0]
            try:
                self._write_all(piece.encoded)
            except OSError as error:  # carry on although the reader has left
                piece.error = error
            with self._changed:
                self._waiting.popleft()
                self._bytes -= len(piece.encoded)
                piece.is_done = True
                self.lost += piece.error is not None
                self._changed.notify_all()

    def _write_all(self, encoded: bytes) -> None:
        left = memoryview(encoded)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # whoever shares the descriptor made it so
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            self._moved_at = time.monotonic()
