"""Why a login is refused for want of a slot, and what follows for what no view shows."""

from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import Limits


class Limit(StrEnum):
    """Which limit refuses a login; the value is the phrase people read."""

    ORDINARY = "only reserved slots are left"
    RESERVED = "only slots reserved for superusers are left"
    EVERY = "every slot is taken, including the superusers'"
    CLIENTS = "too many clients are connecting at once"
    """The postmaster's own limit of children: clients that hold no slot yet count in it."""
    ROLE = "the role's own CONNECTION LIMIT is reached"
    DATABASE = "the database's own CONNECTION LIMIT is reached"
    UNKNOWN = "no slot is left"
    """The server's words were taken away on the way here."""

    @property
    def is_the_servers(self) -> bool:
        """False for a role's or a database's: the server itself is not full then."""
        return self not in _OF_ONE


_OF_ONE: Final = frozenset({Limit.ROLE, Limit.DATABASE})


def connecting_words(number: int) -> str:
    """So many slots, as a person reads of them.

    >>> connecting_words(1), connecting_words(12)
    ('1 slot is held by clients still connecting', '12 slots are held by clients still connecting')
    """
    held = "1 slot is" if number == 1 else f"{number} slots are"
    return f"{held} held by clients still connecting"


def held_by_connecting(limit: Limit | None, limits: Limits, total: int) -> int:
    """How many slots clients hold that are still connecting, while a view counts `total` client backends.

    What refuses a login tells how many slots are taken at least; up to PostgreSQL 17 pg_stat_activity does
    not show those whose authentication is not over. 0 where the limit says nothing about slots, or none
    refuses.

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


class Outage(msgspec.Struct, frozen=True):
    """A poll that gave no data: what is wrong, as a value."""

    kind: str
    """`full`, `limit`, `starting`, `unreachable`, `refused`, `lost`, `timeout` or `failed`."""
    message: str
    """One plain sentence, safe to print."""
    retry_after_seconds: float
    """How long the poller waits before it tries again."""
    limit: str | None = None
    """What refuses the connection (a `core.outage.Limit`), where it is refused for want of a slot."""
    tries: int = 0
    """How many logins were refused so far for that."""
    seconds: float = 0.0
    """Since the first of them."""
    rescue_problem: str = ""
    """Why the rescue role does not get in, where that is not for want of a slot; printable."""
