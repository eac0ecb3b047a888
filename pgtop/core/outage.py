"""The limits that refuse a login for lack of a slot, the slots that no view shows, and a failed poll."""

from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import Limits


class Limit(StrEnum):
    """A limit that refuses a login. The value is the phrase that people read."""

    ORDINARY = "only reserved slots are left"
    RESERVED = "only slots reserved for superusers are left"
    EVERY = "every slot is taken, including the superusers'"
    CLIENTS = "too many clients are connecting at once"
    """The postmaster's own limit of child processes. Clients that hold no slot yet count towards it."""
    ROLE = "the role's own CONNECTION LIMIT is reached"
    DATABASE = "the database's own CONNECTION LIMIT is reached"
    UNKNOWN = "no slot is left"
    """The limit is not known, for example because a pooler or a provider stripped the error text."""

    @property
    def is_the_servers(self) -> bool:
        """False for the limit of a role or a database: the server itself is then not full."""
        return self not in _OF_ONE


_OF_ONE: Final = frozenset({Limit.ROLE, Limit.DATABASE})


def connecting_words(number: int) -> str:
    """Return a sentence that gives the number of slots held by clients still connecting.

    >>> connecting_words(1), connecting_words(12)
    ('1 slot is held by clients still connecting', '12 slots are held by clients still connecting')
    """
    held = "1 slot is" if number == 1 else f"{number} slots are"
    return f"{held} held by clients still connecting"


def held_by_connecting(limit: Limit | None, limits: Limits, total: int) -> int:
    """Return the number of slots held by clients still connecting, if a view counts `total` client backends.

    The limit that refuses a login implies how many slots are taken at least. Up to PostgreSQL 17,
    pg_stat_activity does not show clients before the end of their authentication. The number is 0 if no limit
    refuses logins, or if the limit says nothing about slots.

    >>> held_by_connecting(Limit.ORDINARY, Limits(100, 3), 85)
    12
    >>> held_by_connecting(Limit.ROLE, Limits(100, 3), 85)
    0
    """
    taken = {
        Limit.ORDINARY: limits.slots,
        Limit.RESERVED: limits.max_connections - limits.superuser_reserved_connections,
        Limit.EVERY: limits.max_connections,
        Limit.UNKNOWN: limits.slots,
    }
    return max(0, taken[limit] - total) if limit in taken else 0


class OutageKind(StrEnum):
    """The reason a poll gave no data. The value is the word in logs and metrics."""

    FULL = "full"
    """No slot is left for this login."""
    LIMIT = "limit"
    """The CONNECTION LIMIT of the role or the database is reached."""
    STARTING = "starting"
    """The server takes no logins at the moment: it starts, stops or recovers."""
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The login was refused for another reason than want of a slot."""
    LOST = "lost"
    TIMEOUT = "timeout"
    FAILED = "failed"
    SILENT = "silent"
    """A poll is late: there is no answer yet, and no error."""


class Outage(msgspec.Struct, frozen=True):
    """The result of a poll that gave no data."""

    kind: OutageKind
    message: str
    """One plain sentence, safe to print."""
    retry_after_seconds: float | None = None
    """The seconds before the next try, where refused logins are counted; None leaves them to the poller."""
    limit: Limit | None = None
    """The limit that refuses the login, if it is refused for lack of a slot."""
    tries: int = 0
    """The number of logins refused so far for lack of a slot."""
    seconds: float = 0.0
    """The seconds since the first of these refused logins."""
    rescue_problem: str = ""
    """The reason the rescue role cannot log in, if that is not want of a slot; printable."""
