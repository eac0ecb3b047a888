"""AuditLog: a JSON line before and after each act, flushed to the disk, so that what was done can be told.

The attempts of a plan are one write and one fsync, before the first signal. Where they cannot be written,
nothing may be ended. Several processes write the same log, one after the other; a full file makes room for a
new one under the same lock, so that no line is lost or torn between them.
"""

import fcntl
import os
import pwd
import socket
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TextIO

import msgspec

from pgtop.errors import AuditError

MAX_BYTES: Final = 16 * 2**20
KEEP: Final = 20

_LOCK_SECONDS: Final = 5.0
"""How long another writer is waited for, all in all: one that hangs must not hang this one."""
_LOCK_PAUSE_SECONDS: Final = 0.01


class Operator(msgspec.Struct, frozen=True):
    """Who acts: the OS user, who that was before sudo, and the host pgtop runs on."""

    user: str
    sudo_user: str | None
    host: str


class AuditedServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server an act was done on."""

    host: str
    port: int
    version_num: int
    system_identifier: str | None = None


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log. Times are ISO 8601: `time` by this host's clock, the others by the server's."""

    schema: int = 1
    event: str
    """`attempt` or `outcome`."""
    plan: str
    """The same for all lines of one plan."""
    time: str
    operator: Operator
    face: str
    server: AuditedServer
    act: str
    """`terminate` or `cancel`."""
    trigger: str
    pid: int
    backend_start: str | None
    state: str | None
    state_change: str | None
    xact_start: str | None
    query_start: str | None
    application_name: str | None
    usename: str | None
    datname: str | None
    client_addr: str | None
    idle_seconds: float | None
    query: str | None
    """The current or last statement, whole."""
    reason: str
    outcome: str | None = None
    """None for an attempt."""
    detail: str | None = None
    """What the server said, where it said something."""


def operator(environ: Mapping[str, str]) -> Operator:
    """The operator of this process: by its user id, since LOGNAME and USER say whatever one likes."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as containers have
        user = str(os.getuid())
    sudo_user = environ.get("SUDO_USER")
    return Operator(_text(user), None if sudo_user is None else _text(sudo_user), _text(socket.gethostname()))


def _text(name: str) -> str:
    """A name of this host's; bytes of it that are no UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


class AuditLog:
    """Appends lines to a file, or to a stream. Several processes may write the same file at once."""

    def __init__(
        self,
        path: Path | None,
        stream: TextIO | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        keep: int = KEEP,
    ) -> None:
        """Writes to `path`; where that is None to `stream`, standard error by default.

        A file that would grow beyond `max_bytes` becomes `<path>.1`, the former one `.2`, up to `keep`.
        """
        self.path = path
        self._stream = stream
        self._max_bytes = max_bytes
        self._keep = keep

    @property
    def name(self) -> str:
        """How to name the log to a person."""
        return "standard error" if self.path is None else str(self.path)

    def append(self, lines: Iterable[AuditLine]) -> None:
        """Writes all lines at once and flushes them to the disk.

        Raises AuditError, which names the file and the mend; the lines may then be there in part.
        """
        encoded = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            if self.path is None:
                self._write_stream(encoded)
            else:
                _append_file(self.path, encoded, self._max_bytes, self._keep)
        except (OSError, ValueError) as error:
            problem = f"cannot write the audit log {self.name} ({_words(error)})"
            mend = "make room or name another with --audit-log PATH (--audit-log - for standard error)"
            raise AuditError(problem, mend) from error

    def _write_stream(self, encoded: bytes) -> None:
        stream = self._stream or sys.stderr
        stream.write(encoded.decode("utf-8"))
        stream.flush()


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _append_file(path: Path, encoded: bytes, max_bytes: int, keep: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Path(os.path.realpath(path))  # a link stays where it is, and what it names is turned over
    deadline = time.monotonic() + _LOCK_SECONDS
    descriptor = _open_locked(place, deadline)
    try:
        size = os.fstat(descriptor).st_size
        if size and size + len(encoded) > max_bytes and _is_file(descriptor):
            _turn_over(place, keep)
            # Locked before the old one is let go: nobody writes in between, or finds no file.
            new = _open_locked(place, deadline)
            os.close(descriptor)
            descriptor = new
        whole = _after_torn_line(descriptor) + encoded
        if os.write(descriptor, whole) != len(whole):
            raise OSError(0, "only a part could be written")
        if _is_file(descriptor):
            os.fsync(descriptor)
            if not size or size + len(encoded) > max_bytes:
                _flush_directory(place.parent)
    finally:
        os.close(descriptor)


def _open_locked(place: Path, deadline: float) -> int:
    """The log's file, open and locked for this writer alone; one that was turned over meanwhile is let go."""
    while True:
        descriptor = os.open(
            place, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
        )
        try:
            while not _lock(descriptor):
                if time.monotonic() >= deadline:
                    raise TimeoutError(0, "another program has held its lock for too long")
                time.sleep(_LOCK_PAUSE_SECONDS)
            if not _is_file(descriptor) or _is_still(place, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(place: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_file(descriptor: int) -> bool:
    """False for a device or a pipe: neither turned over nor flushed to a disk."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _turn_over(place: Path, keep: int) -> None:
    """Makes room for a new file; the oldest one beyond `keep` goes."""
    for number in range(keep, 1, -1):
        younger = turned_over(place, number - 1)
        if younger.exists():
            younger.replace(turned_over(place, number))
    place.replace(turned_over(place, 1))


def turned_over(place: Path, number: int) -> Path:
    """Where a full file of the log is: 1 is the last one that was turned over.

    >>> turned_over(Path("/var/log/audit.jsonl"), 1)
    PosixPath('/var/log/audit.jsonl.1')
    """
    return place.with_name(f"{place.name}.{number}")


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _after_torn_line(descriptor: int) -> bytes:
    """A line end where the last writer died in the middle of its line, so that it takes no other with it."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
