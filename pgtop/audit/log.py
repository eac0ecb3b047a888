"""AuditLog: a JSON line before and after each act, flushed to the disk, so that what was done can be told.

The attempts of a plan are one write and one fsync, before the first signal. Where they cannot be written,
nothing may be ended.
"""

import errno
import os
import pwd
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from pgtop.audit import rotating_files
from pgtop.core.json_text import json_line
from pgtop.core.text import printable
from pgtop.errors import AuditError
from pgtop.safe_files import UnsafeFileError
from pgtop.settings.defaults_and_bounds import Config

_ANOTHER: Final = "name another with --audit-log PATH (--audit-log - for standard error)"


_MENDS: Final = (
    (frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}), "make room"),
    (frozenset({errno.EACCES, errno.EPERM}), "let this user write there"),
    (frozenset({errno.ENOENT, errno.ENOTDIR}), "create its directory"),
    (frozenset({errno.EMFILE, errno.ENFILE}), "raise the limit of open files"),
)
"""The remedies of a file that cannot be written, by the system's error numbers."""


class Operator(msgspec.Struct, frozen=True, omit_defaults=True):
    """The person acting: the OS user, the user before sudo, and the host pgtop runs on."""

    user: str
    sudo_user: str | None
    host: str
    program: str | None = None
    """The program that acts through `pgtop.api`, as it names itself; left out elsewhere."""

    @property
    def words(self) -> str:
        """The operator with the user who called sudo, or the program, if there is one.

        >>> Operator("root", "ann", "db1").words, Operator("ann", None, "db1").words
        ('ann as root@db1', 'ann@db1')
        >>> Operator("app", None, "db1", "supervisor").words
        'app@db1 (supervisor)'
        """
        user = f"{self.sudo_user} as {self.user}" if self.sudo_user else self.user
        program = f" ({self.program})" if self.program else ""
        return f"{user}@{self.host}{program}"


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
    role: str | None = None
    """The server's role that acted; None where the host's own rights did."""
    rescue: bool = False
    """True where that was the rescue role, since the ordinary one was refused."""
    act: str
    """`terminate` or `cancel`."""
    trigger: str
    decided_by: str | None = None
    """`person`, `command` or `policy`; None in lines of older versions, as for all that follows with None."""
    usage_before: float | None = None
    """Taken slots divided by slots in the snapshot that the plan was made from; None if slots are unknown."""
    usage_after: float | None = None
    """The same as counted after the last signal; None for an attempt, and where it could not be counted."""
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
    state_seconds: float | None = None
    """The age of its state, whichever that is; `idle_seconds` is the same for the state `idle` alone."""
    idle_at_least: bool = False
    """True if these two are lower bounds, as from the server's host over a Unix socket."""
    blocked_sessions: int | None = None
    """The sessions that waited for its locks, directly or behind others; None where that is unknown."""
    waiting_sessions: int | None = None
    """The sessions that waited for locks at all when the plan was made; None where some were not visible."""
    query: str | None
    """The current or last statement, up to `core.plan.LONGEST_QUERY_BYTES`."""
    reason: str
    outcome: str | None = None
    """None for an attempt."""
    detail: str | None = None
    """The server's message, if it sent one."""


def operator(environ: Mapping[str, str], program: str | None = None) -> Operator:
    """The operator of this process: by its user id, since LOGNAME and USER say whatever one likes."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as containers have
        user = str(os.getuid())
    sudo_user = environ.get("SUDO_USER")
    sudo_user, program = (None if each is None else _text(each) for each in (sudo_user, program))
    return Operator(_text(user), sudo_user, _text(socket.gethostname()), program)


def _text(name: str) -> str:
    """A name of this host's; bytes of it that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


class Sink(Protocol):
    """A sink written to like a text stream. Both methods raise OSError on failure."""

    def write(self, text: str, /) -> object:
        """Take the text."""

    def flush(self) -> object:
        """Keep nothing back."""


class AuditLog:
    """Append lines to a file, or to a stream. Several processes may write the same file at once."""

    def __init__(
        self,
        path: Path | None,
        stream: Sink | None = None,
        *,
        max_bytes: int = rotating_files.DEFAULT_MAX_BYTES,
        keep: int = rotating_files.DEFAULT_KEEP,
        lock_seconds: float = rotating_files.DEFAULT_LOCK_SECONDS,
    ) -> None:
        """Write to `path`; where that is None to `stream`, standard error by default.

        A file that would grow beyond `max_bytes` becomes `path.1`, what was that `path.2`, up to `keep`.
        `lock_seconds` bounds how long the other writers are waited for.
        """
        self.path = path
        self._stream = stream
        self._max_bytes = max_bytes
        self._keep = max(keep, 1)
        self._lock_seconds = lock_seconds

    @classmethod
    def configured(cls, config: Config, stream: Sink | None = None) -> "AuditLog":
        """The log that the settings ask for; `stream` as above."""
        return cls(config.audit_log, stream, max_bytes=config.audit_max_size_bytes, keep=config.audit_keep)

    @property
    def name(self) -> str:
        """The name of the log for a person; printable."""
        return "standard error" if self.path is None else printable(str(self.path))

    def append(self, lines: Iterable[AuditLine], *, whole: bool = False) -> None:
        """Write all lines at once and flush them to the disk.

        Raises AuditError, which names the file and the mend; the lines may then be there in part, unless the
        `whole` of them or none was asked for, and the log is a file.
        """
        encoded = "".join(map(json_line, lines)).encode()
        if not encoded:
            return
        with self._naming_it():
            if self.path is None:
                self._write_stream(encoded)
            else:
                self._write_file(self.path, encoded, whole=whole)

    def check(self) -> None:
        """Find out whether lines could be appended now, and leave none in a file.

        A device or a pipe is sent an empty line: it tells in no other way. Raises AuditError.
        """
        with self._naming_it():
            if self.path is not None:
                rotating_files.check(self.path, lock_seconds=self._lock_seconds)

    @contextmanager
    def _naming_it(self) -> Iterator[None]:
        try:
            yield
        except UnsafeFileError as error:
            raise AuditError(
                f"the audit log {self.name} is not written: {printable(error.problem)}",
                f"{printable(error.mend)}, or {_ANOTHER}",
            ) from error
        except (OSError, ValueError) as error:
            raise AuditError(
                f"cannot write the audit log {self.name} ({_words(error)})", _mend(error)
            ) from error

    def _write_stream(self, encoded: bytes) -> None:
        stream = self._stream or sys.stderr
        if stream is None:
            raise OSError(errno.EBADF, "it is closed")
        stream.write(encoded.decode("utf-8"))
        stream.flush()

    def _write_file(self, path: Path, encoded: bytes, *, whole: bool) -> None:
        rotating_files.append(
            path,
            encoded,
            max_bytes=self._max_bytes,
            keep=self._keep,
            lock_seconds=self._lock_seconds,
            whole=whole,
        )


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _mend(error: Exception) -> str:
    if isinstance(error, rotating_files.LockHeldError):
        return f"stop or resume that process (fuser shows it), or {_ANOTHER}"
    number = error.errno if isinstance(error, OSError) else None
    mend = next((said for numbers, said in _MENDS if number in numbers), "")
    return f"{mend} or {_ANOTHER}" if mend else _ANOTHER
