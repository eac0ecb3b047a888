"""The audit log's files: appended to under a lock, rotated by size, opened for reading in their order.

`audit.jsonl` is written; `audit.jsonl.1` was before it, `audit.jsonl.2` before that. A writer locks the file
that it opened, and then asks whether the path still names that file: whoever rotates holds the same lock, so
that no process writes a file other than the newest, and no two rotate at once. Where the path is a symbolic
link, all this happens where the link leads. A log is only written where no other user of the host can put
something else in its place: see `safe_files`.
"""

import errno
import fcntl
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pgtop.safe_files import Place, check_owned, is_trusted, place_of

DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
"""A file that would grow beyond this is rotated first."""
DEFAULT_KEEP: Final = 20
"""The number of rotated files kept."""
DEFAULT_LOCK_SECONDS: Final = 10.0
"""Seconds a writer waits for the others, or for the reader of a pipe."""

LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
"""The most bytes that a reader takes for one line."""

_ROOM_BYTES: Final = 1024 * 1024
"""The bytes that the lines of a large plan take."""
_RETRY_SECONDS: Final = 0.005
READER_LOCK_SECONDS: Final = 1.0
"""Seconds for which a reader waits for the lock, before it reads without."""


class LockHeldError(OSError):
    """Another process holds the log's lock, and does not let go of it."""


class LogPart(msgspec.Struct, frozen=True):
    """One file of a log, open for reading."""

    path: Path
    """Its name when it was opened; a rotation may have changed it since."""
    file: BinaryIO
    size: int
    """Bytes that were whole when it was opened."""


def append(
    path: Path, data: bytes, *, max_bytes: int, keep: int, lock_seconds: float, whole: bool = False
) -> None:
    """Append to the log, all in one file, and flush it to the disk.

    A device or a pipe takes the data as it is. Raises OSError; a part of the data may then be there, unless
    it is a LockHeldError, for which others kept the lock for `lock_seconds`, or an UnsafeFileError. `whole`
    data that a file could not take whole is taken back.
    """
    deadline = time.monotonic() + lock_seconds
    with place_of(path, create=True) as place:
        if _is_stream(place):
            _append_to_stream(place, data, deadline)
            return
        while not _append_to_newest(place, data, max_bytes, keep, deadline, whole=whole):
            if time.monotonic() > deadline:
                raise LockHeldError("other processes keep rotating it")


def check(path: Path, *, lock_seconds: float) -> None:
    """Find out whether the log could be appended to now, without a line in it.

    The file is opened and locked as a writer does, and its disk has to have room. A device or a pipe tells in
    no other way than by taking something: an empty line. Raises OSError as `append` does.
    """
    deadline = time.monotonic() + lock_seconds
    with place_of(path, create=True) as place:
        if _is_stream(place):
            _append_to_stream(place, b"\n", deadline)
            return
        with _closing(_open_newest(place)) as descriptor:
            _lock(descriptor, deadline)
            check_owned(descriptor, place)
            disk = os.fstatvfs(descriptor)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_stream(place: Place) -> bool:
    """Return whether it is a device, a pipe or an open descriptor, which is never rotated."""
    is_file = place.status is None or stat.S_ISREG(place.status.st_mode)
    return place.is_descriptor or not is_file


@contextmanager
def reading(
    path: Path, not_before: float = 0.0, tell: Callable[[Path, int], None] = lambda _path, _uid: None
) -> Iterator[list[LogPart]]:
    """The log's files, open, the oldest first; empty if there is no log.

    Leaves out what was last written before `not_before` (seconds since the epoch). All are opened before any
    is read, under the lock that who rotates needs: in between, a file would stand for an older one. In
    another user's directory it is that user's log. In one where others make files too, as in /tmp, theirs do
    not belong to it: `tell` is told of each, and whose it is. Raises OSError, an UnsafeFileError if a third
    user could put something in its place.
    """
    with ExitStack() as stack:
        parts: list[LogPart] = []
        owner = _owner(path)
        try:
            place = stack.enter_context(place_of(path, to_read=True, owner=owner))
        except FileNotFoundError:
            yield parts
            return
        locked: BinaryIO | None = None
        for number, file in _files_to_read(place):
            name, status = _rotated(place.path, number), os.fstat(file.fileno())
            if place.is_shared and not is_trusted(status.st_uid, owner):
                # Closed at once: anybody could lay more of them than files can be open.
                file.close()
                tell(name, status.st_uid)
                continue
            stack.enter_context(file)
            if number == 0:
                locked = file
            if status.st_mtime >= not_before:
                parts.append(LogPart(name, file, status.st_size))
        parts.reverse()
        if locked is not None:
            with suppress(OSError):
                fcntl.flock(locked, fcntl.LOCK_UN)
        yield parts


def _files_to_read(place: Place) -> Iterator[tuple[int, BinaryIO]]:
    """Yield the log's files with their numbers, each opened when it is asked for; the newest, 0, is locked.

    Each comes once, and none is left out, even if the lock was not to be had in time, as beside writers that
    hand it to each other: a rotation moves a file to the next number, so that it is still ahead, or comes
    again.
    """
    seen: set[tuple[int, int]] = set()
    number, highest = 0, 0
    while number <= highest:
        file = _open_rotated_to_read(place, number) if number else _open_newest_to_read(place)
        if file is not None:
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in seen:
                file.close()
            else:
                seen.add((status.st_dev, status.st_ino))
                yield number, file
        number += 1
        if number > highest:
            highest = _highest(place)


def exists(path: Path) -> bool:
    """Return whether the log or a rotated file of it exists. It raises OSError if that cannot be seen."""
    try:
        with place_of(path, to_read=True, owner=_owner(path)) as place:
            return place.is_descriptor or place.status is not None or _highest(place) > 0
    except FileNotFoundError:
        return False


def _owner(path: Path) -> int | None:
    """Return the owner of the log's directory; None if it is a link, which may be somebody else's."""
    try:
        status = path.parent.lstat()
    except OSError:
        return None
    return status.st_uid if stat.S_ISDIR(status.st_mode) else None


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


def _append_to_stream(place: Place, data: bytes, deadline: float) -> None:
    # Without O_NONBLOCK, a pipe that nobody reads would hold up this thread for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
    with _closing(place.open(flags)) as descriptor:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISBLK(kind):
            raise OSError(errno.EINVAL, "it is a disk")
        if stat.S_ISREG(kind) and not place.is_descriptor:
            raise OSError(errno.EAGAIN, "it changed meanwhile")
        if stat.S_ISFIFO(kind) and not place.is_descriptor:
            check_owned(descriptor, place)
        _write(descriptor, data, deadline)


def _append_to_newest(
    place: Place, data: bytes, max_bytes: int, keep: int, deadline: float, *, whole: bool
) -> bool:
    """Append; False where the file was rotated, by whomever, and the new one is to be opened."""
    with _closing(_open_newest(place)) as descriptor:
        _lock(descriptor, deadline)
        if not _is_named(descriptor, place):
            return False
        check_owned(descriptor, place)
        size = os.fstat(descriptor).st_size
        if size and size + len(data) > max_bytes and _rotate(place, keep):
            return False
        try:
            _write(descriptor, _after_torn_line(descriptor, size) + data, deadline)
            os.fsync(descriptor)
        except OSError:
            if whole:  # every writer waits for the lock, so that what follows `size` is this data alone
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
            raise
        if not size:
            _flush_directory(place)
        return True


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_newest(place: Place) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return place.open(flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = place.open(flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another writer was quicker
        return place.open(flags)
    _inherit(descriptor, place)
    return descriptor


def _inherit(descriptor: int, place: Place) -> None:
    """Give a new file the owner and group of the last one, and what its group may do.

    In a directory of root's own, root may rotate the log of a daemon, which must go on writing it. Where
    others make files too, the last one may be anybody's, and is not gone by.
    """
    if place.is_shared:
        return
    with suppress(OSError):
        last = _status(place, 1)
        if last is not None and stat.S_ISREG(last.st_mode):
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


def _is_named(descriptor: int, place: Place) -> bool:
    try:
        named = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), named)


def _rotate(place: Place, keep: int) -> bool:
    """Move every file to the next number; the caller holds the lock.

    False where that cannot be done, because this user may not, or because somebody made a directory of one
    of the names: a log that grows too large is better than none.
    """
    # A gap is where a rotation was cut short; nothing beyond it has to move.
    gap = next((number for number in range(1, keep) if _status(place, number) is None), keep)
    try:
        for number in range(gap, 0, -1):
            older, newer = _rotated(place.path, number).name, _rotated(place.path, number - 1).name
            os.rename(newer, older, src_dir_fd=place.directory, dst_dir_fd=place.directory)
    except OSError:
        return False
    _flush_directory(place)
    return True


def _status(place: Place, number: int) -> os.stat_result | None:
    """A rotated file's own; None if it does not exist."""
    name = _rotated(place.path, number).name
    try:
        return os.stat(name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _rotated(target: Path, number: int) -> Path:
    return target.with_name(f"{target.name}.{number}") if number else target


def _highest(place: Place) -> int:
    """The highest number of a rotated file; 0 where there is none."""
    numbered = re.compile(re.escape(place.name) + r"\.([1-9][0-9]{0,3})")
    with _directory(place) as descriptor:
        names = os.listdir(descriptor)  # noqa: PTH208 - the open directory, whatever its path leads to by now
    return max((int(found[1]) for name in names if (found := numbered.fullmatch(name))), default=0)


def _flush_directory(place: Place) -> None:
    with _directory(place) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _directory(place: Place) -> Iterator[int]:
    """The directory, open to be read."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with _closing(os.open(".", flags, dir_fd=place.directory)) as descriptor:
        yield descriptor


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
                raise TimeoutError("its reader does not read") from None


def _after_torn_line(descriptor: int, size: int) -> bytes:
    """A line end where the last writer died in the middle of its line, so that it takes no other with it."""
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


def open_to_read(place: Place, number: int = 0) -> BinaryIO | None:
    """Return the file; None if there is none. Raises OSError also if it is not a file, which could hang."""
    # Looked at before it is opened: to open some devices is to do something.
    status = _status(place, number)
    if status is None:
        return None
    if place.is_descriptor or not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a file")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_rotated(place.path, number).name, flags, dir_fd=place.directory)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a file")
    return os.fdopen(descriptor, "rb")


def _open_rotated_to_read(place: Place, number: int) -> BinaryIO | None:
    """The file; None for a link, a pipe or the like: the log never made one."""
    status = _status(place, number)
    is_file = status is not None and stat.S_ISREG(status.st_mode)
    return open_to_read(place, number) if is_file else None


def _open_newest_to_read(place: Place) -> BinaryIO | None:
    """The newest file, locked against writing and rotating where that can be had in time; None for none.

    It comes without the lock where one writer hangs, or several never leave a moment in between.
    """
    deadline = time.monotonic() + READER_LOCK_SECONDS
    while (file := open_to_read(place)) is not None:
        while not locked_to_read(file) and time.monotonic() < deadline:
            time.sleep(_RETRY_SECONDS)
        if _is_named(file.fileno(), place) or time.monotonic() >= deadline:
            return file
        file.close()
    return None


def locked_to_read(file: BinaryIO) -> bool:
    """Lock the file against writing and rotating; return False where another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
