"""The audit log's files: appended to under a lock, rotated by size, opened for reading in their order.

`audit.jsonl` is written; `audit.jsonl.1` was before it, `audit.jsonl.2` before that. A writer locks the file
that it opened, and then asks whether the path still names that file: who rotates holds the same lock, so that
nobody writes a file that is no longer the newest, and no two rotate at once. Where the path is a symbolic
link, all this happens where the link leads.
"""

import fcntl
import os
import re
import select
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
"""A file that would grow beyond this is rotated first."""
DEFAULT_KEEP: Final = 20
"""How many rotated files stay."""
DEFAULT_LOCK_SECONDS: Final = 10.0
"""How long a writer waits for the others, or for the reader of a pipe."""

LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
"""What a reader takes for one line at most."""

_RETRY_SECONDS: Final = 0.005
_READER_LOCK_SECONDS: Final = 1.0
_MOST_LINKS: Final = 40


class LockHeldError(OSError):
    """Another process holds the log's lock, and does not let go of it."""


class LogPart(msgspec.Struct, frozen=True):
    """One file of a log, open for reading."""

    path: Path
    """Its name when it was opened; a rotation may have changed it since."""
    file: BinaryIO
    size: int
    """Bytes that were whole when it was opened."""


def append(path: Path, data: bytes, *, max_bytes: int, keep: int, lock_seconds: float) -> None:
    """Appends to the log, all in one file, and flushes it to the disk.

    A device or a pipe takes the data as it is. Raises OSError, of which a LockHeldError says that others kept
    the lock for `lock_seconds`; a part of the data may then be there, unless it is a LockHeldError.
    """
    deadline = time.monotonic() + lock_seconds
    if not _is_file(path):
        _append_to_stream(path, data, deadline)
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while not _append_to_newest(target, data, max_bytes, keep, deadline):
        if time.monotonic() > deadline:
            raise LockHeldError("other processes keep rotating it")


@contextmanager
def reading(path: Path, not_before: float = 0.0) -> Iterator[list[LogPart]]:
    """The log's files, open, the oldest first; none where there is no log.

    Leaves out what was last written before `not_before` (seconds since the epoch). All are opened before any
    is read, under the lock that who rotates needs: in between, a file would stand for an older one. Raises
    OSError.
    """
    with ExitStack() as stack:
        parts: list[LogPart] = []
        target = Path(os.path.realpath(path))
        newest = _open_newest_to_read(target)
        files = [] if newest is None else [(target, stack.enter_context(newest))]
        for number in range(1, _highest(target) + 1):
            file = _open_to_read(_rotated(target, number))
            if file is not None:
                files.append((_rotated(target, number), stack.enter_context(file)))
        for name, file in reversed(files):
            status = os.fstat(file.fileno())
            if status.st_mtime >= not_before:
                parts.append(LogPart(name, file, status.st_size))
        if newest is not None:
            with suppress(OSError):
                fcntl.flock(newest, fcntl.LOCK_UN)
        yield parts


def exists(path: Path) -> bool:
    """True where the log, or a rotated file of it, is there. Raises OSError where that cannot be seen."""
    target = Path(os.path.realpath(path))
    try:
        target.stat()
    except FileNotFoundError:
        return _highest(target) > 0
    return True


def numbered_lines(part: LogPart) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1, line ends included.

    One that is longer than LONGEST_LINE_BYTES comes cut off there.
    """
    part.file.seek(0)
    left, number = part.size, 0
    while left > 0:
        number += 1
        line = part.file.readline(min(left, LONGEST_LINE_BYTES))
        if not line:
            return
        left -= len(line)
        yield number, line
        while not line.endswith(b"\n") and left > 0 and line:
            line = part.file.readline(min(left, LONGEST_LINE_BYTES))
            left -= len(line)


def _is_file(path: Path) -> bool:
    """False for what is not rotated: a device, a pipe, a name of an open descriptor such as /dev/stderr."""
    hop = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would go past the link that matters
    for _ in range(_MOST_LINKS):
        if hop.is_relative_to("/dev/fd") or hop.is_relative_to("/proc"):
            return False
        if not hop.is_symlink():
            break
        hop = Path(os.path.abspath(hop.parent / hop.readlink()))  # noqa: PTH100
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _append_to_stream(path: Path, data: bytes, deadline: float) -> None:
    # Without O_NONBLOCK, a pipe that nobody reads would hold up this thread for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with _closing(os.open(path, flags)) as descriptor:
        _write(descriptor, data, deadline)


def _append_to_newest(target: Path, data: bytes, max_bytes: int, keep: int, deadline: float) -> bool:
    """Appends; False where the file was rotated, by whomever, and the new one is to be opened."""
    with _closing(_open_newest(target)) as descriptor:
        _lock(descriptor, deadline)
        if not _is_named(descriptor, target):
            return False
        size = os.fstat(descriptor).st_size
        if size and size + len(data) > max_bytes and _rotate(target, keep):
            return False
        _write(descriptor, _after_torn_line(descriptor, size) + data, deadline)
        os.fsync(descriptor)
        if not size:
            _flush_directory(target.parent)
        return True


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_newest(target: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(target, flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(target, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another writer was quicker
        return os.open(target, flags)
    _inherit(descriptor, target)
    return descriptor


def _inherit(descriptor: int, target: Path) -> None:
    """Gives a new file the owner and group of the last one, and what its group may do.

    Root may rotate the log of a daemon, which must go on writing it.
    """
    with suppress(OSError):
        last = _rotated(target, 1).stat()
        os.fchmod(descriptor, 0o600 | last.st_mode & 0o060)
        os.fchown(descriptor, last.st_uid, last.st_gid)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockHeldError("another process holds its lock") from None
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _is_named(descriptor: int, target: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), target.stat())
    except FileNotFoundError:
        return False


def _rotate(target: Path, keep: int) -> bool:
    """Moves every file to the next number; the caller holds the lock.

    False where this user may not do that: a log that grows too large is better than none.
    """
    # A gap is where a rotation was cut short; nothing beyond it has to move.
    gap = next((number for number in range(1, keep) if not _rotated(target, number).exists()), keep)
    try:
        for number in range(gap, 1, -1):
            _rotated(target, number - 1).rename(_rotated(target, number))
        target.rename(_rotated(target, 1))
    except PermissionError:
        return False
    _flush_directory(target.parent)
    return True


def _rotated(target: Path, number: int) -> Path:
    return target.with_name(f"{target.name}.{number}")


def _highest(target: Path) -> int:
    """The highest number of a rotated file; 0 where there is none."""
    numbered = re.compile(re.escape(target.name) + r"\.([1-9][0-9]{0,3})")
    try:
        names = [each.name for each in target.parent.iterdir()]
    except FileNotFoundError:
        return 0
    return max((int(found[1]) for name in names if (found := numbered.fullmatch(name))), default=0)


def _flush_directory(directory: Path) -> None:
    with _closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        os.fsync(descriptor)


def _write(descriptor: int, data: bytes, deadline: float) -> None:
    rest = memoryview(data)
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                raise TimeoutError("nobody reads what is written to it") from None


def _after_torn_line(descriptor: int, size: int) -> bytes:
    """A line end where the last writer died in the middle of its line, so that it takes no other with it."""
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


def _open_to_read(path: Path) -> BinaryIO | None:
    """The file; None where there is none. Raises OSError also for what is no file, which could hang."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no file")
    return os.fdopen(descriptor, "rb")


def _open_newest_to_read(target: Path) -> BinaryIO | None:
    """The newest file, locked against writing and rotating where that can be had in time; None for none.

    Who holds the lock for longer hangs, and rotates nothing either.
    """
    deadline = time.monotonic() + _READER_LOCK_SECONDS
    while (file := _open_to_read(target)) is not None:
        while not _locked_to_read(file) and time.monotonic() < deadline:
            time.sleep(_RETRY_SECONDS)
        if _is_named(file.fileno(), target) or time.monotonic() >= deadline:
            return file
        file.close()
    return None


def _locked_to_read(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
