"""The one family of errors that people see, each with its exit code.

Every error carries two things: what is wrong, and what mends it. Only `commands.main` prints them.
"""

from typing import TypeAlias

from pgtop.core.masking import masked
from pgtop.exit_codes import ExitCode

Peer: TypeAlias = tuple[str, int]
"""The location of a server: one of its addresses, or a socket's directory, and the port."""


class PgtopError(Exception):
    """Something a person can mend.

    `problem` is one plain sentence naming the thing; `mend` says what to do about it ("" where there is
    nothing to do). Passwords in either are masked.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, problem: str, mend: str = "") -> None:
        # Here, so that no face has to think of it: screen, logs and audit log repeat what an error says.
        self.problem = masked(problem)
        self.mend = masked(mend)
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.problem}: {self.mend}" if self.mend else self.problem


class UsageError(PgtopError):
    """A command line, a conninfo or a configuration that cannot be understood."""

    exit_code = ExitCode.USAGE


class ReadOnlyError(UsageError):
    """Something was to be ended or cancelled where read_only is in force."""

    def __init__(self) -> None:
        super().__init__(
            "read_only is set: nothing may be terminated or cancelled",
            "remove read_only (see pgtop config)",
        )


class ConnectError(PgtopError):
    """The server cannot be reached, or will not have this role."""

    exit_code = ExitCode.CANNOT_CONNECT


class NotPermittedError(PgtopError):
    """The role may not see or may not end what was asked for."""

    exit_code = ExitCode.NOT_PERMITTED


class AuditError(PgtopError):
    """The audit log cannot be written, and nothing was ended; or it cannot be read back."""

    exit_code = ExitCode.USAGE


class HistoryError(PgtopError):
    """The past cannot be recorded or read. Nothing else depends on it."""


class HistoryBusyError(HistoryError):
    """Another process keeps it locked; later it may not."""


class HistoryDamagedError(HistoryError):
    """Its file was damaged and is set aside; a new one can be begun."""
