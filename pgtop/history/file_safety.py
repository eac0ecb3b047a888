"""A recording as a file: made for this user alone, told from others' files, set aside when damaged."""

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pgtop.core.text import printable
from pgtop.errors import HistoryDamagedError, HistoryError
from pgtop.safe_files import place_of

APPLICATION_ID: Final = 0x70677472
"""Stands in the head of each file of ours, where SQLite keeps such a number: `pgtr`."""
DAMAGED_KEPT: Final = 3
"""The number of files set aside that are kept."""

_HEAD_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_COMPANIONS: Final = ("-journal", "-wal", "-shm")
"""The suffixes of the files SQLite keeps beside a file, and would take for a new file's of the same name."""


class FoundFile(msgspec.Struct, frozen=True):
    """The file as it was found."""

    path: Path
    device: int
    inode: int
    is_empty: bool


def find(path: Path) -> FoundFile:
    """Look at the file, and create an empty one with its directory if there is none.

    A head that is damaged makes a file one of ours only where it is named as SQLite's are: `path` may name
    another's by mistake. Raises OSError, an UnsafeFileError where another user could put something else
    there; HistoryError for what is not a file, or another program's.
    """
    with place_of(path, create=True) as place:
        target = place.path
        if place.is_descriptor:
            raise _not_a_file(path)
        if place.is_shared:
            # SQLite makes its journal by name: whoever is quicker could put a link there.
            raise HistoryError(
                f"the recording is not kept: others may make files in {printable(str(target.parent))}",
                "name a directory of your own with --record-dir",
            )
        # Without O_NONBLOCK, a pipe could hold up this thread for ever.
        descriptor = place.open(os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(path)
        head = os.pread(descriptor, _HEAD_BYTES, 0)
    finally:
        os.close(descriptor)
    is_ours = not head or (head.startswith(_MAGIC) and head[68:72] == APPLICATION_ID.to_bytes(4, "big"))
    if not is_ours and (head.startswith(_MAGIC) or target.suffix != ".sqlite3"):
        raise HistoryError(
            f"the recording is not kept: {shown(path)} is not a recording of pgtop",
            "name another directory with --record-dir",
        )
    return FoundFile(target, status.st_dev, status.st_ino, not head)


def _not_a_file(path: Path) -> HistoryError:
    return HistoryError(f"the recording is not kept: {shown(path)} is not a file")


def shown(path: Path) -> str:
    """A path as it is told to a person, short and printable."""
    with suppress(RuntimeError, ValueError):
        return printable(str("~" / path.relative_to(Path.home())))
    return printable(str(path))


def set_aside(found: FoundFile) -> HistoryDamagedError:
    """Rename a damaged file, and return the message about it.

    Another pgtop may have been quicker: then what has the name now is left as it is. Raises OSError.
    """
    path = found.path
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    aside = path.with_name(f"{path.name}.damaged-{stamp}-{nanoseconds // 1000:06}")
    with suppress(FileNotFoundError):
        status = path.stat()
        if (status.st_dev, status.st_ino) == (found.device, found.inode):
            for companion in _COMPANIONS:
                with suppress(FileNotFoundError):
                    Path(f"{path}{companion}").rename(f"{aside}{companion}")
            path.rename(aside)
            _prune(path)
    return HistoryDamagedError(
        f"the recording of that day is lost: {shown(path)} was damaged, and is now {printable(aside.name)}"
    )


def _prune(path: Path) -> None:
    """Remove the oldest of what was set aside, until few enough are left."""
    form = re.compile(f".+{re.escape(path.suffix)}" + r"\.damaged-([0-9]{8}-[0-9]{6}-[0-9]{6})")
    matches = [match for each in path.parent.iterdir() if (match := form.fullmatch(each.name))]
    found = [match[0] for match in sorted(matches, key=lambda match: match[1])]
    for name in found[:-DAMAGED_KEPT]:
        for companion in ("", *_COMPANIONS):
            with suppress(OSError):
                path.with_name(name + companion).unlink()
