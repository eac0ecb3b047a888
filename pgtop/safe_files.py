"""Find and open files only where no other user of the host can put something else in their place.

A path is walked from the root, each part relative to the directory before it, so that nothing can be swapped
on the way. A directory is safe where it belongs to root or to the user that pgtop runs as, and nobody else
may write it; in one with the sticky bit, such as /tmp, others may make files, but not replace one. A symbolic
link is followed where it belongs to root or to that user. So do sudo and OpenSSH (StrictModes) with theirs.

A group may write where it has no member but root and the user: Debian, Fedora and others give each user such
a group, and a umask that lets it write. Group 0 is root's. Where an access control list lets another user or
group write, the mode's bits for the group stand for that too, and the list is read.
"""

import errno
import grp
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

LONGEST_BYTES: Final = 4 * 1024 * 1024
"""The most bytes read of a file that a person writes, such as a configuration or a password file."""

_MOST_LINKS: Final = 40
_DIRECTORY: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DESCRIPTOR: Final = re.compile(r"/dev/fd/[0-9]+|/proc/([0-9]+)/fd/[0-9]+")
_ACL: Final = "system.posix_acl_access"
_ACL_HEAD: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")
"""Of an access control list in its extended attribute: what it is for, its rights, a user's or group's id.

Source: include/uapi/linux/posix_acl_xattr.h and posix_acl.h.
"""
_ACL_USER: Final = 0x02
_ACL_GROUP: Final = 0x08
_ACL_WRITE: Final = 0x02

_LOGS: Final = Path("/var/log")
"""Ubuntu lets the group of its logger write here. Whoever is the logger can change every log anyway."""


class UnsafeFileError(OSError):
    """A path where another user could put something else.

    `problem` says where and who that is, `mend` what to do about it beside naming another path.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(errno.EPERM, problem)
        self.problem = problem
        self.mend = mend


class Place(msgspec.Struct, frozen=True):
    """The place of a file that exists or is to be created: a directory held open, and a name in it."""

    directory: int
    """The directory's descriptor: for `dir_fd`, and for nothing else."""
    path: Path
    """The file's path without any symbolic link."""
    status: os.stat_result | None
    """The file's own as it was found, never a symbolic link's; None if the file does not exist."""
    is_shared: bool
    """True where others may make files beside it, as in /tmp."""
    may_be_planted: bool = False
    """True if anybody could have put here what belongs to a stranger, or to the additional owner.

    It, or a directory on the way, is theirs, and lies where everybody makes files, as in /tmp: who owns it is
    not a reason to believe them.
    """
    is_descriptor: bool = False
    """True for a name of an open file of this process, such as /dev/stderr: opened by its path."""

    @property
    def name(self) -> str:
        """The file's name in its directory."""
        return self.path.name

    def open(self, flags: int, mode: int = 0o600) -> int:
        """Open the file itself; a symbolic link that has come in its place is an error. Raises OSError."""
        if self.is_descriptor:
            return os.open(self.path, flags | os.O_CLOEXEC)
        return os.open(self.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.directory)


@contextmanager
def place_of(
    path: Path, *, create: bool = False, to_read: bool = False, owner: int | None = None
) -> Iterator[Place]:
    """Find a file's place, safe to use while the block lasts; `create` makes missing directories, mode 0700.

    With `to_read`, a directory on a file system that is mounted read-only is safe whoever owns it, as a
    container's volumes are. An `owner` is believed as if pgtop ran as that user. Raises UnsafeFileError, or
    another OSError where the path leads nowhere.
    """
    walk = _Walk(create, to_read, os.geteuid() if owner is None else owner)
    try:
        yield walk.to(path)
    finally:
        os.close(walk.descriptor)


def check_owned(descriptor: int, place: Place) -> None:
    """Check an open file that is to be appended to. Raises UnsafeFileError.

    In a directory that others write, another user's file is refused, and everywhere one with a second name:
    a hard link to a file that matters is as good as a symbolic one.
    """
    status = os.fstat(descriptor)
    if place.is_shared and not is_trusted(status.st_uid):
        raise UnsafeFileError(
            f"{place.path} belongs to {user_name(status.st_uid)}, in a directory that everybody may write",
            f"remove it (rm {place.path})",
        )
    if status.st_nlink > 1:
        raise UnsafeFileError(
            f"{place.path} has another name beside this one (a hard link)",
            "put a copy of its own in its place (cp, then mv)",
        )


def read_trusted(path: Path) -> tuple[bytes, int]:
    """Read a regular file that nobody but root and this user may change, with its mode.

    Raises UnsafeFileError, and another OSError where it cannot be read or is too large.
    """
    with place_of(path, to_read=True) as place:
        descriptor = place.open(_READ)
        try:
            data = _content(descriptor)
            status = os.fstat(descriptor)
            if not _is_read_only(descriptor):
                _refuse_others(descriptor, status, place.path, os.geteuid(), place.may_be_planted)
            return data, status.st_mode
        finally:
            os.close(descriptor)


def read_regular(path: Path) -> bytes:
    """Read a regular file, whoever owns it: never waits for a pipe. Raises OSError as `read_trusted` does."""
    descriptor = os.open(path, _READ)
    try:
        return _content(descriptor)
    finally:
        os.close(descriptor)


def check_readable(path: Path) -> None:
    """Raise OSError for a file that somebody else is to read, and that is not regular or cannot be read."""
    descriptor = os.open(path, _READ)
    try:
        _check_regular(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    _check_regular(os.fstat(descriptor))
    parts = []
    left = LONGEST_BYTES + 1
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise OSError(errno.EFBIG, f"it has more than {LONGEST_BYTES // 1024**2} MB")
    return b"".join(parts)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


class _Walk:
    """One walk from the root; `descriptor` is the directory that it has come to."""

    def __init__(self, create: bool, to_read: bool, owner: int) -> None:
        self._create = create
        self._to_read = to_read
        self._owner = owner
        self._at = Path("/")
        self._is_shared = False
        self._may_be_planted = False
        self._links = 0
        self._rest: list[str] = []
        """The parts still to go, the next one last."""
        self.descriptor = os.open("/", _DIRECTORY)

    def to(self, path: Path) -> Place:
        """Walk to the place of a file. Raises OSError; the descriptor is open all the same."""
        self._go_on(Path.cwd() / path)
        self._check()
        while self._rest:
            name = self._rest.pop()
            if name == "..":
                self._enter("..", self._at.parent)
                continue
            path = self._at / name
            if not self._rest and _is_descriptor(path):
                return Place(self.descriptor, path, None, is_shared=False, is_descriptor=True)
            status = self._status(name)
            if status is not None and self._is_shared and not is_trusted(status.st_uid):
                self._may_be_planted = True
            if status is not None and stat.S_ISLNK(status.st_mode):
                self._follow(name, status)
            elif not self._rest:
                return Place(self.descriptor, path, status, self._is_shared, self._may_be_planted)
            else:
                self._enter(name, path)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _go_on(self, path: Path) -> None:
        """Put a path before what is left; an absolute one begins at the root again."""
        parts = path.parts
        if path.is_absolute():
            parts = parts[1:]
            self._enter("/", Path("/"))
        self._rest.extend(reversed(parts))

    def _status(self, name: str) -> os.stat_result | None:
        """Look at the next part; None where it is the last one and is not there."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            if not self._rest:
                return None
            if not self._create:
                raise
        with suppress(FileExistsError):  # another process was quicker
            os.mkdir(name, 0o700, dir_fd=self.descriptor)
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def _follow(self, name: str, status: os.stat_result) -> None:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not is_trusted(status.st_uid, self._owner) and not (
            self._to_read and _is_read_only(self.descriptor)
        ):
            raise UnsafeFileError(
                f"the symbolic link {self._at / name} belongs to {user_name(status.st_uid)}",
                f"remove it (rm {self._at / name})",
            )
        if self._is_shared and status.st_nlink > 1:
            # Some systems let anybody give a link of root's another name.
            raise UnsafeFileError(
                f"the symbolic link {self._at / name} has another name beside this one (a hard link)",
                f"remove it (rm {self._at / name})",
            )
        self._go_on(Path(os.readlink(name, dir_fd=self.descriptor)))

    def _enter(self, name: str, path: Path) -> None:
        descriptor = os.open(name, _DIRECTORY, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor, self._at = descriptor, path
        self._check()

    def _check(self) -> None:
        """Look whether anybody else may change what is in the directory. Raises UnsafeFileError."""
        status = os.fstat(self.descriptor)
        if self._to_read and _is_read_only(self.descriptor):
            self._is_shared = False
            return
        self._is_shared = _others_may_write(self.descriptor, status, self._at, self._owner)
        is_own = is_trusted(status.st_uid, self._owner)
        if self._is_shared and status.st_mode & stat.S_ISVTX and is_own:
            return
        _refuse_others(self.descriptor, status, self._at, self._owner, self._may_be_planted)


def _refuse_others(
    descriptor: int, status: os.stat_result, path: Path, own: int, may_be_planted: bool
) -> None:
    """Raise UnsafeFileError for a directory or file that others may change."""
    me = user_name(os.geteuid())
    if not is_trusted(status.st_uid, own):
        owner = user_name(status.st_uid)
        raise UnsafeFileError(
            f"{path} belongs to {owner}, who may change it, and pgtop runs as {me}",
            # What runs as a user is theirs to change, and so is the terminal that it runs on.
            "put it into a directory of your own"
            if may_be_planted
            else f"run pgtop as {owner} (sudo -u {owner} pgtop …)",
        )
    if _others_may_write(descriptor, status, path, own):
        others = "everybody" if status.st_mode & stat.S_IWOTH else _who_else_writes(descriptor, status, own)
        raise UnsafeFileError(f"{path} may be changed by {others}", f"chmod go-w {path}")


def is_trusted(uid: int, owner: int | None = None) -> bool:
    """Return whether a user is root, the user pgtop runs as, or the additional trusted owner."""
    return uid in (0, os.geteuid(), owner)


def _others_may_write(descriptor: int, status: os.stat_result, path: Path, own: int) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    if not status.st_mode & stat.S_IWGRP or (path == _LOGS and status.st_uid == 0):
        return False
    return bool(_who_else_writes(descriptor, status, own))


def _who_else_writes(descriptor: int, status: os.stat_result, own: int) -> str:
    """Return whoever may write by the mode's bits for the group: "" for root and the user alone."""
    if not _is_private(status.st_gid, own):
        return f"group {_group(status.st_gid)}"
    for tag, rights, number in _access_list(descriptor):
        if not rights & _ACL_WRITE:
            continue
        if tag == _ACL_USER and not is_trusted(number, own):
            return f"user {user_name(number)}, by an access control list"
        if tag == _ACL_GROUP and not _is_private(number, own):
            return f"group {_group(number)}, by an access control list"
    return ""


def _access_list(descriptor: int) -> list[tuple[int, int, int]]:
    """The entries of an open file's or directory's access control list; none where it has none."""
    if not hasattr(os, "getxattr"):
        return []
    try:
        # By its name: a directory that is open as a place alone has no attributes.
        found = os.getxattr(f"/proc/self/fd/{descriptor}", _ACL)
    except OSError:
        return []
    return list(_ACL_ENTRY.iter_unpack(found[_ACL_HEAD:]))


@lru_cache(maxsize=64)
def _is_private(gid: int, uid: int) -> bool:
    """True for a group without any member but root and the user, as far as the system can list them."""
    if gid == 0:
        return True
    try:
        names = {pwd.getpwuid(each).pw_name for each in (0, uid)}
        members = {
            *grp.getgrgid(gid).gr_mem,
            *(each.pw_name for each in pwd.getpwall() if each.pw_gid == gid),
        }
    except KeyError:  # nobody knows its members
        return False
    return members <= names


def _is_read_only(descriptor: int) -> bool:
    try:
        return bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
    except OSError:  # an O_PATH descriptor on an old kernel
        return False


def _is_descriptor(path: Path) -> bool:
    """True for a name of an open file of this process.

    >>> [_is_descriptor(Path(each)) for each in ("/dev/fd/2", "/proc/1/fd/x", "/dev/null")]
    [True, False, False]
    """
    found = _DESCRIPTOR.fullmatch(str(path))
    return found is not None and found[1] in (None, str(os.getpid()))


def user_name(uid: int) -> str:
    """A user's name; the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"#{gid}"
