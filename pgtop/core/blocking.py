"""Who blocks whom: from the pids that each waiting session is blocked by to the roots of the queue."""

from collections.abc import Mapping
from typing import Final

import msgspec

PREPARED: Final = 0
"""`pg_blocking_pids` gives 0 where a prepared transaction blocks."""


class PreparedTransaction(msgspec.Struct, frozen=True):
    """A prepared transaction that holds what somebody waits for: no session, so nothing to terminate."""

    gid: str
    owner: str
    database: str
    prepared: int
    """Microseconds since the Unix epoch, the server's clock."""
    waiting_pids: frozenset[int]


class RootBlocker(msgspec.Struct, frozen=True):
    """A session that blocks others and waits for nobody, or a prepared transaction."""

    pid: int
    """PREPARED for prepared transactions."""
    blocked: int
    """How many sessions wait for it, directly or behind others."""


def root_blockers(blocked_by: Mapping[int, frozenset[int]]) -> list[RootBlocker]:
    """The roots of the queues, the one with most waiting behind it first.

    Sessions that wait for one another in a ring (until the server's deadlock check ends one) count as a root
    each where no other root is behind the ring.

    >>> root_blockers({2: frozenset({1}), 3: frozenset({2}), 5: frozenset({4})})
    [RootBlocker(pid=1, blocked=2), RootBlocker(pid=4, blocked=1)]
    """
    roots = {pid for pids in blocked_by.values() for pid in pids if not blocked_by.get(pid)}
    behind: dict[int, set[int]] = {}
    for waiting in blocked_by:
        reached = _reachable(waiting, blocked_by)
        for pid in (reached & roots) or (reached & blocked_by.keys()):
            behind.setdefault(pid, set()).add(waiting)
    found = [RootBlocker(pid, len(waiting - {pid})) for pid, waiting in behind.items()]
    return sorted(found, key=lambda root: (-root.blocked, root.pid))


def _reachable(start: int, blocked_by: Mapping[int, frozenset[int]]) -> set[int]:
    reached: set[int] = set()
    todo = list(blocked_by.get(start, ()))
    while todo:
        pid = todo.pop()
        if pid not in reached:
            reached.add(pid)
            todo += blocked_by.get(pid, ())
    return reached
