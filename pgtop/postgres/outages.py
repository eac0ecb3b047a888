"""No session, or none any more: the errors that the seat raises, and each as an Outage."""

from typing import Final

import asyncpg

from pgtop.core.activity import Outage
from pgtop.core.refusal import Limit
from pgtop.core.text import printable
from pgtop.errors import ConnectError, ExitCode, FullError, PgtopError

FULL: Final = "full"
LIMIT: Final = "limit"
STARTING: Final = "starting"
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"
LOST: Final = "lost"
TIMEOUT: Final = "timeout"
FAILED: Final = "failed"
SILENT: Final = "silent"
"""No answer yet: said by whoever waits, and by no error."""

RETRY_AFTER_SECONDS: Final = {
    FULL: 0.4,
    LIMIT: 0.4,
    STARTING: 1.0,
    UNREACHABLE: 1.0,
    REFUSED: 1.5,
    LOST: 0.25,
    TIMEOUT: 1.0,
    FAILED: 1.5,
}
"""How long to wait after an outage of each kind, where nobody keeps count as `tries.Tries` does.

Less than two seconds, so that whoever looks sees a server come back at once; a refused login costs the server
about 2 ms, and one that nobody answers nothing.
"""


class LoginError(ConnectError):
    """No session came about; `kind` is the word for it in an Outage."""

    def __init__(self, problem: str, mend: str = "", kind: str = REFUSED) -> None:
        super().__init__(problem, mend)
        self.kind = kind


class LimitReachedError(LoginError):
    """A login was refused with 53300 by a CONNECTION LIMIT: the role's own, or the database's."""

    def __init__(self, problem: str, mend: str, limit: Limit) -> None:
        super().__init__(problem, mend, LIMIT)
        self.limit = limit


def refusing_limit(error: BaseException | None) -> Limit | None:
    """Which limit an error speaks of; None for every error that is no 53300."""
    if isinstance(error, LimitReachedError):
        return error.limit
    if isinstance(error, FullError):
        return Limit(error.limit) if error.limit else Limit.UNKNOWN
    return None


class PasswordNeededError(LoginError):
    """The server asks for a password and none was given: whoever can ask a person for it may try again."""


class SeatLostError(PgtopError):
    """The session ended, or was given up, while or before a statement ran; `kind` is `lost` or `timeout`."""

    exit_code = ExitCode.CANNOT_CONNECT

    def __init__(self, problem: str, mend: str = "", kind: str = LOST) -> None:
        super().__init__(problem, mend)
        self.kind = kind


def outage(error: BaseException) -> Outage:
    """An error of taking the seat or of a statement on it, as a value."""
    kind = _kind(error)
    if isinstance(error, PgtopError):
        message = str(error)
    elif isinstance(error, asyncpg.QueryCanceledError):
        message = "the server took longer than the statement's time limit"
    else:
        message = f"the server could not be asked: {text_of(error)}"
    return Outage(kind, message, RETRY_AFTER_SECONDS[kind])


def _kind(error: BaseException) -> str:
    if isinstance(error, FullError):
        return FULL
    if isinstance(error, LoginError | SeatLostError):
        return error.kind
    if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
        return TIMEOUT
    if isinstance(error, OSError | asyncpg.PostgresConnectionError):
        return LOST
    return FAILED


def text_of(error: BaseException) -> str:
    """What an error says, safe to print; its type's name where it says nothing."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return printable(message)
