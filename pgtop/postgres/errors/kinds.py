"""No session, or none any more: the errors that the connection raises, and each as an Outage."""

from typing import Final

import asyncpg

from pgtop.core.masking import masked
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.core.text import clip, printable
from pgtop.errors import ConnectError, Peer, PgtopError
from pgtop.exit_codes import ExitCode

LONGEST_SAID: Final = 500
"""Cells of an error's own words: a server may send very many."""
_LOOKED_AT: Final = 4096
"""Characters of them that are looked at: more than are told, since blanks collapse and passwords go."""


class LoginError(ConnectError):
    """No session came about; `kind` is the word for it in an Outage."""

    def __init__(self, problem: str, mend: str = "", kind: OutageKind = OutageKind.REFUSED) -> None:
        super().__init__(problem, mend)
        self.kind = kind


class LimitReachedError(LoginError):
    """A login was refused with 53300 by a CONNECTION LIMIT: the role's own, or the database's."""

    def __init__(self, problem: str, mend: str, limit: Limit) -> None:
        super().__init__(problem, mend, OutageKind.LIMIT)
        self.limit = limit
        self.peer: Peer | None = None
        """The server that refused the login; None if that is not known for sure."""


def limit_at(peer: Peer | None, error: BaseException | None) -> Limit | None:
    """Return the limit that an error names, if it comes from the server `peer`; None for another server's."""
    refuser = error.peer if isinstance(error, FullError | LimitReachedError) else None
    return refusing_limit(error) if refuser is not None and refuser == peer else None


def refusing_limit(error: BaseException | None) -> Limit | None:
    """Return the limit an error speaks of; None for every error other than 53300."""
    if isinstance(error, LimitReachedError):
        return error.limit
    if isinstance(error, FullError):
        return error.limit
    return None


class PasswordNeededError(LoginError):
    """The server asks for a password and none was given: whoever can ask a person for it may try again."""


class ConnectionLostError(PgtopError):
    """The session ended, or was given up, while or before a statement ran; `kind` is `lost` or `timeout`."""

    exit_code = ExitCode.CANNOT_CONNECT

    def __init__(self, problem: str, mend: str = "", kind: OutageKind = OutageKind.LOST) -> None:
        super().__init__(problem, mend)
        self.kind = kind


class UnreadableError(ConnectionLostError):
    """An answer that no honest server gives: it cannot be trusted, and its connection is dropped."""

    def __init__(self, problem: str) -> None:
        said = clip(printable(problem), LONGEST_SAID)
        super().__init__(f"the server's answer could not be read ({said})", "", OutageKind.FAILED)


def unreadable_login(problem: str, label: str) -> LoginError:
    """The same during a login; `label` is the server's, safe to print."""
    said = clip(printable(problem), LONGEST_SAID)
    return LoginError(
        f"the server's answer could not be read: {label} does not log in as PostgreSQL does ({said})",
        "check host and port",
    )


def outage(error: BaseException) -> Outage:
    """An error of connecting or of a statement, as a value."""
    kind = _kind(error)
    if isinstance(error, PgtopError):
        message = str(error)
    elif is_lock_table_full(error):
        message = f"the server could not be asked, since {LOCK_TABLE_FULL} ({text_of(error)})"
    elif isinstance(error, asyncpg.QueryCanceledError):
        message = "the server took longer than the statement's time limit"
    else:
        message = f"the server could not be asked: {text_of(error)}"
    return Outage(kind, message)


LOCK_TABLE_FULL: Final = "its lock table is full: some session holds thousands of locks"
LOCK_TABLE_MEND: Final = (
    "where a session is open, pg_locks tells which; on the server's own host, "
    "pgtop break-glass --user … --count 1 needs no lock"
)

_TAKES_LOCKS: Final = frozenset({"LockAcquireExtended", "FastPathGetRelationLockEntry", "VirtualXactLock"})


def is_lock_table_full(error: BaseException) -> bool:
    """Return whether the server could not take a lock, as every login and nearly every statement requires.

    Any single client may cause that, with advisory locks.
    Source: PostgreSQL, src/backend/storage/lmgr/lock.c, "out of shared memory" (53200).
    """
    function = getattr(error, "server_source_function", None)
    return isinstance(error, asyncpg.OutOfMemoryError) and function in _TAKES_LOCKS


def _kind(error: BaseException) -> OutageKind:
    if isinstance(error, FullError):
        return OutageKind.FULL
    if isinstance(error, LoginError | ConnectionLostError):
        return error.kind
    if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
        return OutageKind.TIMEOUT
    if isinstance(error, OSError | asyncpg.PostgresConnectionError):
        return OutageKind.LOST
    return OutageKind.FAILED


def text_of(error: BaseException) -> str:
    """Return an error's message, safe to print and not too long; its type's name if it has none.

    A server's DETAIL and HINT follow: `the database system is not accepting connections: Hot standby mode is
    disabled.`
    """
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    more = (getattr(error, name, None) for name in ("detail", "hint"))
    said = ": ".join(str(each)[:_LOOKED_AT] for each in (message, *more) if each)
    return clip(printable(masked(said)), LONGEST_SAID)


class FullError(PgtopError):
    """The server refused the login for lack of a slot (SQLSTATE 53300)."""

    exit_code = ExitCode.FULL

    def __init__(self, problem: str, mend: str = "", limit: Limit = Limit.UNKNOWN) -> None:
        super().__init__(problem, mend)
        self.limit = limit
        self.peer: Peer | None = None
        """The server that refused the login; None if that is not known for sure."""
