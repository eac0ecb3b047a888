"""Lock queues: their root blockers and their lengths, from the pids that block each waiting session."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from pgtop.core.plan import Plan

PREPARED: Final = 0
"""The pid that `pg_blocking_pids` gives for a prepared transaction."""


class PreparedTransaction(msgspec.Struct, frozen=True):
    """A prepared transaction that others wait for. It is not a session, so it cannot be terminated."""

    gid: str
    owner: str
    database: str
    prepared: int
    """The time of PREPARE TRANSACTION: microseconds since the Unix epoch by the server's clock."""
    waiting_pids: frozenset[int]


class RootBlocker(msgspec.Struct, frozen=True):
    """A session that blocks others and waits for none itself, or all prepared transactions together."""

    pid: int
    """The session's pid; PREPARED for prepared transactions."""
    waiting: frozenset[int]
    """The pids of those that wait for it, directly or behind others."""

    @property
    def blocked(self) -> int:
        """The number of sessions that wait for it."""
        return len(self.waiting)


def root_blockers(blocked_by: Mapping[int, frozenset[int]]) -> list[RootBlocker]:
    """Return the root blockers, the one with the most sessions behind it first.

    Sessions in a deadlock wait for one another in a ring until the server's deadlock check ends one. If no
    other root is behind the ring, each of them counts as a root.

    >>> found = root_blockers({2: frozenset({1}), 3: frozenset({2}), 5: frozenset({4})})
    >>> [(root.pid, root.blocked) for root in found]
    [(1, 2), (4, 1)]
    """
    roots = {pid for pids in blocked_by.values() for pid in pids if not blocked_by.get(pid)}
    behind: dict[int, set[int]] = {}
    for waiting in blocked_by:
        reached = _reachable(waiting, blocked_by)
        for pid in (reached & roots) or (reached & blocked_by.keys()):
            behind.setdefault(pid, set()).add(waiting)
    found = [RootBlocker(pid, frozenset(waiting - {pid})) for pid, waiting in behind.items()]
    return sorted(found, key=lambda root: (-root.blocked, root.pid))


def blocking_words(blocked_by: Mapping[int, frozenset[int]]) -> str:
    """Return how many block how many: `1 blocks 12`; "" if none does.

    >>> blocking_words({2: frozenset({1}), 3: frozenset({2}), 5: frozenset({4})})
    '2 block 3'
    """
    roots = root_blockers(blocked_by)
    if not roots:
        return ""
    return f"{len(roots)} {'blocks' if len(roots) == 1 else 'block'} {len(blocked_by)}"


def blocked_counts(pids: Iterable[int], blocked_by: Mapping[int, frozenset[int]]) -> dict[int, int]:
    """Return the number of sessions that wait for each of these, directly or behind others.

    >>> blocked_counts([1, 2, 3], {2: frozenset({1}), 3: frozenset({2})})
    {1: 2, 2: 1, 3: 0}
    """
    blocks = _blocks(blocked_by)
    return {pid: len(_reachable(pid, blocks) - {pid}) for pid in pids}


def released_by(pid: int, blocked_by: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Return the sessions that wait for nothing but this one, directly or behind others: they can go on.

    3 would still wait for 1 if 2 were gone.

    >>> released_by(2, {2: frozenset({1}), 3: frozenset({1, 2}), 4: frozenset({2}), 5: frozenset({4})})
    frozenset({4, 5})
    """
    blocks = _blocks(blocked_by)
    left = {waiting: len(blockers) for waiting, blockers in blocked_by.items()}
    released: set[int] = set()
    todo = [pid]
    while todo:
        for waiting in blocks.get(todo.pop(), ()):
            left[waiting] -= 1
            if left[waiting] == 0 and waiting != pid:
                released.add(waiting)
                todo.append(waiting)
    return frozenset(released)


def with_blocked(plan: Plan, blocked_by: Mapping[int, frozenset[int]]) -> Plan:
    """Return the plan with the number of sessions that wait behind each victim, and behind all of them.

    A victim that waits behind another one counts for that one, and not for the plan.
    """
    pids = {victim.backend.pid for victim in plan.victims}
    counts = blocked_counts(pids, blocked_by)
    blocks = _blocks(blocked_by)
    behind = {waiting for pid in pids for waiting in _reachable(pid, blocks)}
    victims = tuple(replace(each, blocked_sessions=counts[each.backend.pid]) for each in plan.victims)
    return replace(plan, victims=victims, blocked_sessions=len(behind - pids))


def _blocks(blocked_by: Mapping[int, frozenset[int]]) -> dict[int, set[int]]:
    """Return the sessions that wait for each pid directly."""
    blocks: dict[int, set[int]] = {}
    for waiting, blockers in blocked_by.items():
        for pid in blockers:
            blocks.setdefault(pid, set()).add(waiting)
    return blocks


def _reachable(start: int, links: Mapping[int, Iterable[int]]) -> set[int]:
    reached: set[int] = set()
    todo = list(links.get(start, ()))
    while todo:
        pid = todo.pop()
        if pid not in reached:
            reached.add(pid)
            todo += links.get(pid, ())
    return reached
