"""RecordingStore: the recordings of one server, a file for each day, bounded in age and size."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pgtop.history.day_file import SCHEMA_VERSION, NewerFileError, write
from pgtop.history.pruning import KEEP, Bounds, expire_others, prune

if TYPE_CHECKING:
    import sqlite3

SUFFIX: Final = ".sqlite3"
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME: Final = 60
PRUNE_SECONDS: Final = 600.0
"""Seconds between two looks for what is too old or too large."""

Answer = TypeVar("Answer")


class ServerKey(msgspec.Struct, frozen=True):
    """The server that a recording is of: the target that was asked for."""

    label: str
    """The name that people read."""
    address: int
    """A hash of the address asked for, from -2**63 to 2**63 - 1."""

    @property
    def directory(self) -> str:
        """The name of the directory of its recordings.

        >>> ServerKey("ops@db1:5432/shop", -1).directory
        'ops-db1-5432-shop-ffffffffffffffff'
        """
        name = _NAME.sub("-", self.label).strip("-.")[:_LONGEST_NAME] or "server"
        return f"{name}-{self.address & (2**64 - 1):016x}"


class RecordingStore:
    """The recordings of one server. Each method blocks, and raises HistoryError where it cannot work."""

    def __init__(self, root: Path, server: ServerKey, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - frozen
        """`root` is the directory of all servers' recordings."""
        self.server = server
        self.bounds = bounds
        self.directory = root / server.directory
        self.damage = ""
        """A sentence about a file that was found damaged while old polls were dropped; "" for none."""
        self._root = root
        self._pruned_at: float | None = None

    def write(self, work: "Callable[[sqlite3.Connection], Answer]") -> Answer:
        """Do work in one transaction on today's file. Raises as `day_file.write` does."""
        now = time.time()
        path = self.directory / f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}{SUFFIX}"
        label = self.server.label.encode("utf-8", "replace").decode()
        about = {"server": label, KEEP: str(self.bounds.keep_seconds)}
        try:
            answer = write(path, about, work)
        except NewerFileError:
            # An older pgtop beside a newer one adds to a file of its own; both are read as one recording.
            answer = write(path.with_suffix(f".v{SCHEMA_VERSION}{SUFFIX}"), about, work)
        if self._pruned_at is None or abs(now - self._pruned_at) >= PRUNE_SECONDS:
            if self._pruned_at is None:
                expire_others(self._root, self.directory, now)
            self._pruned_at = now
            self.prune(now)
        return answer

    def files(self) -> list[Path]:
        """Return the files of the recordings, oldest first; none where nothing was recorded."""
        return recorded_files(self.directory)

    def prune(self, now: float) -> None:
        """Drop what is older than the bounds allow at `now` (seconds since the Unix epoch).

        Of old polls the counts stay for the graph. A file that is past all use goes as a whole.
        """
        self.damage = prune(self.directory, self.bounds, now) or self.damage


def recorded_files(directory: Path) -> list[Path]:
    """Return a directory's files of recordings, oldest first; none where there is no such directory."""
    with suppress(OSError):
        return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX)
    return []
