"""The lock files in the directories that processes run in, read without ever waiting for their users.

Whoever opens a file in another user's directory may wait there for as long as that user likes, out of reach
of any signal: a program of theirs may serve the directory (FUSE). So this file is a program, too, which is
run apart, with a thread for each user, and given up when it does not answer. It needs the standard library
alone.
"""

import errno
import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final, NamedTuple

_LONGEST_LOCK_FILE: Final = 16_384
"""Bytes. Of what it holds two paths alone may be long."""

_ANSWER_SECONDS: Final = 2.0
_END_SECONDS: Final = 0.1
_DENIED: Final = "denied"


class LockFile(NamedTuple):
    """The lock file of the process that runs beside it."""

    place: tuple[int, int]
    """Device and inode of the directory."""
    content: bytes


class Answers(NamedTuple):
    """The answers, by the paths asked about."""

    files: dict[int, LockFile]
    """By the process that runs beside it."""
    denied: frozenset[int]
    """The processes whose directory this user may not look into."""
    unheard: frozenset[int]
    """The users who were still waited for when the time was over; nothing is known of theirs."""


def read_plain_file(path: str, most_bytes: int, owner: int | None = None) -> bytes:
    """The beginning of a file that others may have laid there.

    Raises OSError, for all but plain files too, and for another owner's where one is given.

    A pipe would wait for ever for somebody to write, and a link may lead to a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode) or owner not in (None, told.st_uid):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return file.read(most_bytes)


def read_lock_files(pids: dict[int, list[int]]) -> Answers:
    """The lock files beside processes, which are given by their users. May wait for ever."""
    files, denied = {}, set()
    for uid, theirs in pids.items():
        for pid in theirs:
            try:
                directory = os.stat(f"/proc/{pid}/cwd")  # noqa: PTH116 - dozens of them
                content = read_plain_file(f"/proc/{pid}/cwd/postmaster.pid", _LONGEST_LOCK_FILE, uid)
            except PermissionError:
                denied.add(pid)
            except OSError:
                continue
            else:
                files[pid] = LockFile((directory.st_dev, directory.st_ino), content)
    return Answers(files, frozenset(denied), frozenset())


def ask_for_lock_files(pids: dict[int, list[int]]) -> Answers:
    """The same, read by a program of its own; of users who keep it waiting nothing.

    Raises OSError where no program can be started.
    """
    asked = "".join(f"{uid} {pid}\n" for uid, theirs in pids.items() for pid in theirs)
    process = subprocess.Popen(
        # Isolated: nothing that lies around is imported by whom this runs as.
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(asked.encode(), _ANSWER_SECONDS)
    except subprocess.TimeoutExpired as late:
        told = late.output or b""
        process.kill()
        # One that waits for a disk, or as if for one, does not end by that.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    return _read(told.decode(), frozenset(pids))


def _read(told: str, users: frozenset[int]) -> Answers:
    """Read the program's output, line by line; the last line may lack its end."""
    files, denied, answered = {}, set(), set()
    for line in told.split("\n")[:-1]:
        uid, *parts = line.split(" ")
        answered.add(int(uid))
        for part in filter(None, parts):
            pid, *rest = part.split(":")
            if rest == [_DENIED]:
                denied.add(int(pid))
            else:
                files[int(pid)] = LockFile((int(rest[0]), int(rest[1])), bytes.fromhex(rest[2]))
    return Answers(files, frozenset(denied), users - answered)


_PRINTING: Final = threading.Lock()


def _tell(uid: int, pids: list[int]) -> None:
    """Print one line with the lock files found beside one user's processes."""
    found = read_lock_files({uid: pids})
    parts = [
        f"{pid}:{device}:{inode}:{content.hex()}" for pid, ((device, inode), content) in found.files.items()
    ]
    parts += [f"{pid}:{_DENIED}" for pid in found.denied]
    with _PRINTING:
        sys.stdout.write(f"{' '.join([str(uid), *parts])}\n")
        sys.stdout.flush()


def main() -> None:
    """The program: reads users and processes, and tells what is found as it is found."""
    pids: dict[int, list[int]] = {}
    for line in sys.stdin:
        uid, pid = map(int, line.split())
        pids.setdefault(uid, []).append(pid)
    threads = [threading.Thread(target=_tell, args=each, daemon=True) for each in pids.items()]
    with suppress(RuntimeError):  # no more threads can be had: the rest do not answer
        for thread in threads:
            thread.start()
    for thread in threads:
        if thread.ident is not None:
            thread.join()


if __name__ == "__main__":
    main()
