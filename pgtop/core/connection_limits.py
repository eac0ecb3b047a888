"""The use of CONNECTION LIMITs: of a role's own, or a database's own, whatever the usage of the server.

Only client backends count against one, not walsenders or parallel workers. Superusers are not subject to
one, but their sessions count against a database's. Source: PostgreSQL, CountUserBackends and
CountDBConnections in src/backend/storage/ipc/procarray.c, and InitPostgres in src/backend/utils/init.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from pgtop.core.activity import ConnectionLimit, LimitOf, Snapshot
from pgtop.core.session_groups import Group
from pgtop.core.session_labels import label
from pgtop.core.text import clip

AGAIN_SECONDS: Final = 600.0
"""Seconds for which a limit must not have been reached before people are told of it again."""
_NAME_CELLS: Final = 30


class LimitUse(msgspec.Struct, frozen=True):
    """A CONNECTION LIMIT and the sessions that count against it."""

    limit: ConnectionLimit
    used: int
    is_bound: bool = False
    """True if `used` is an upper bound: this role cannot see which sessions are client backends."""

    @property
    def is_reached(self) -> bool:
        """True if the next login that the limit applies to is refused, as far as known.

        A limit of 0 is not reached: somebody has closed the role or the database on purpose.
        """
        return self.used >= self.limit.most > 0 and not self.is_bound

    @property
    def share(self) -> float:
        """The sessions divided by the limit; 1.0 for a limit of 0."""
        return self.used / self.limit.most if self.limit.most else 1.0

    @property
    def figures(self) -> str:
        """The use in short: `15/15`, or `≤ 15/15` for an upper bound."""
        return f"{'≤ ' if self.is_bound else ''}{self.used}/{self.limit.most}"

    @property
    def owner(self) -> str:
        """The role or database that has the limit, printable: `role bill`."""
        return f"{self.limit.of} {clip(label(self.limit.name, '?'), _NAME_CELLS)}"


def limit_uses(snapshot: Snapshot) -> tuple[LimitUse, ...]:
    """Return the uses of all CONNECTION LIMITs that may be reached: those that are first, then by share."""
    if not snapshot.connection_limits:
        return ()
    by_role, by_database = snapshot.sessions_by_role, snapshot.sessions_by_database
    is_bound = not snapshot.counts.exact
    # A limit beyond what the server has room for is never reached before that.
    most = snapshot.server.limits.max_connections
    uses = [
        LimitUse(each, (by_role if each.of is LimitOf.ROLE else by_database)[each.name], is_bound)
        for each in snapshot.connection_limits
        if each.most < most
    ]
    return tuple(sorted(uses, key=_rank))


def _rank(use: LimitUse) -> tuple[bool, float, bool, str]:
    # Of those that are reached, the one that holds most comes first.
    weight = float(use.used) if use.is_reached else use.share
    return not use.is_reached, -weight, use.limit.of is LimitOf.DATABASE, use.limit.name


def reached(uses: Iterable[LimitUse]) -> tuple[LimitUse, ...]:
    """Return those that refuse the next login, in the same order."""
    return tuple(use for use in uses if use.is_reached)


def reached_words(uses: Iterable[LimitUse]) -> str:
    """Return whose limits are reached: `role bill at its limit of 15, and 2 more`; "" if none is.

    >>> bill = LimitUse(ConnectionLimit(LimitOf.ROLE, "bill", 15), 15)
    >>> reached_words([bill])
    'role bill at its limit of 15'
    """
    found = reached(uses)
    if not found:
        return ""
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0].owner} at its limit of {found[0].limit.most}{more}"


def refusal_sentence(use: LimitUse) -> str:
    """Say whom a reached limit refuses.

    >>> refusal_sentence(LimitUse(ConnectionLimit(LimitOf.ROLE, "bill", 15), 15))
    'role bill at its limit of 15: the next login is refused'
    """
    return f"{reached_words([use])}: the next login is refused"


def newly_reached(
    uses: Iterable[LimitUse], reached_at: Mapping[ConnectionLimit, float], now: float
) -> tuple[tuple[LimitUse, ...], dict[ConnectionLimit, float]]:
    """Return the limits to tell of, and the times at which each limit was last seen to be reached.

    A limit is told of again once it has not been reached for AGAIN_SECONDS: a pool as large as its limit
    touches it time and again. Times are seconds by any clock that only runs forward.
    """
    found = reached(uses)
    recent = {limit: at for limit, at in reached_at.items() if now - at < AGAIN_SECONDS}
    new = tuple(use for use in found if use.limit not in recent)
    return new, recent | {use.limit: now for use in found}


def use_of_group(group: Group, uses: Iterable[LimitUse]) -> LimitUse | None:
    """Return the most used limit that the group's sessions count against; None if there is none.

    A group of users has only limits of roles, one of databases only those of databases, and one of addresses
    has none: a limit beside another name would be taken for its own.
    """
    key = group.key
    is_of_role = key.usename is not UNSET or key.application_name is not UNSET
    is_of_database = key.datname is not UNSET or key.application_name is not UNSET
    for use in uses:
        is_role = use.limit.of is LimitOf.ROLE
        names = group.users if is_role else group.databases
        if (is_of_role if is_role else is_of_database) and names == {use.limit.name}:
            return use
    return None
