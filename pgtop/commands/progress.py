"""The progress of work that takes longer than a second, in one line of standard error on a terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

from pgtop.core.text import percent, printable

_QUIET_SECONDS: Final = 1.0
_EVERY_SECONDS: Final = 0.2
_CLEAR: Final = "\r\x1b[K"

Item = TypeVar("Item")


class Progress:
    """One line that shows how far some work is; used as a context, which removes it at the end."""

    def __init__(self, work: str) -> None:
        """`work` names what is done, such as `diagnosing`."""
        self._work = printable(work)
        self._next = time.monotonic() + _QUIET_SECONDS
        self._is_shown = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._write(_CLEAR)

    def at(self, fraction: float) -> None:
        """Show the part of the work that is done, from 0 to 1, unless it was shown a moment ago."""
        now = time.monotonic()
        if now < self._next or sys.stderr is None or not sys.stderr.isatty():
            return
        self._next, self._is_shown = now + _EVERY_SECONDS, True
        self._write(f"{_CLEAR}{self._work}: {percent(min(1.0, max(0.0, fraction)))}")

    def over(self, items: Iterable[Item], fraction: Callable[[Item], float]) -> Iterator[Item]:
        """Yield the items, and show each one's `fraction` of the work."""
        for item in items:
            self.at(fraction(item))
            yield item

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
