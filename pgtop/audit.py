"""AuditLog: a JSON line before and after each act, flushed to the disk, so that what was done can be told.

The attempts of a plan are one write and one fsync, before the first signal. Where they cannot be written,
nothing may be ended.
"""

import os
import pwd
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

import msgspec

from pgtop import audit_files
from pgtop.config import Config
from pgtop.core.text import printable
from pgtop.errors import AuditError


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
    role: str | None = None
    """The server's role that acted; None where the host's own rights did."""
    rescue: bool = False
    """True where that was the rescue role, since the ordinary one was refused."""
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
        max_bytes: int = audit_files.DEFAULT_MAX_BYTES,
        keep: int = audit_files.DEFAULT_KEEP,
        lock_seconds: float = audit_files.DEFAULT_LOCK_SECONDS,
    ) -> None:
        """Writes to `path`; where that is None to `stream`, standard error by default.

        A file that would grow beyond `max_bytes` becomes `path.1`, what was that `path.2`, up to `keep`.
        `lock_seconds` bounds how long the other writers are waited for.
        """
        self.path = path
        self._stream = stream
        self._max_bytes = max_bytes
        self._keep = max(keep, 1)
        self._lock_seconds = lock_seconds

    @classmethod
    def configured(cls, config: Config, stream: TextIO | None = None) -> "AuditLog":
        """The log that the settings ask for; `stream` as above."""
        return cls(config.audit_log, stream, max_bytes=config.audit_max_size_bytes, keep=config.audit_keep)

    @property
    def name(self) -> str:
        """How to name the log to a person; printable."""
        return "standard error" if self.path is None else printable(str(self.path))

    def append(self, lines: Iterable[AuditLine]) -> None:
        """Writes all lines at once and flushes them to the disk.

        Raises AuditError, which names the file and the mend; the lines may then be there in part.
        """
        encoded = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        if not encoded:
            return
        try:
            if self.path is None:
                self._write_stream(encoded)
            else:
                self._write_file(self.path, encoded)
        except (OSError, ValueError) as error:
            raise AuditError(
                f"cannot write the audit log {self.name} ({_words(error)})", _mend(error)
            ) from error

    def _write_stream(self, encoded: bytes) -> None:
        stream = self._stream or sys.stderr
        stream.write(encoded.decode("utf-8"))
        stream.flush()

    def _write_file(self, path: Path, encoded: bytes) -> None:
        audit_files.append(
            path, encoded, max_bytes=self._max_bytes, keep=self._keep, lock_seconds=self._lock_seconds
        )


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _mend(error: Exception) -> str:
    another = "name another with --audit-log PATH (--audit-log - for standard error)"
    if isinstance(error, audit_files.LockHeldError):
        return f"end or continue that process (fuser names it), or {another}"
    return f"make room or {another}"
