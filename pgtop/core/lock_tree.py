"""The lock tree: the sessions that wait for locks below those that block them, each of them once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pgtop.core.activity import ACTIVE, IDLE, IN_TRANSACTION, Backend, BackendId
from pgtop.core.blocking import PREPARED, PreparedTransaction


class Queued(msgspec.Struct, frozen=True):
    """A session that waits for a lock, or that blocks one that does."""

    backend: Backend
    is_client: bool = True
    """False for a background process, such as autovacuum."""
    waits: bool = False
    wait_start: int | None = None
    """The start of its wait, microseconds since the Unix epoch; None if it does not wait, or just began."""
    mode: str = ""
    """The mode of the lock that it waits for, or of the strongest that it holds and others wait for."""
    target: str = ""
    """The locked object, in words."""
    is_advisory: bool = False
    """True if that is an advisory lock."""
    keeps_advisory: bool = False
    """True if it holds an advisory lock that others wait for; it can outlast its query."""
    blocked_by: frozenset[int] = frozenset()
    """The pids that block it; PREPARED for a prepared transaction."""
    unnamed_blockers: int = 0
    """The number of its blockers that are not in `blocked_by`."""


class LockQueue(msgspec.Struct, frozen=True):
    """All that wait for locks on a server, and all that block them, at one moment."""

    now: int
    """Microseconds since the Unix epoch by the server's clock."""
    sessions: tuple[Queued, ...] = ()
    prepared: tuple[PreparedTransaction, ...] = ()
    waiting: int = 0
    """The number of sessions that wait; some of them are not in `sessions` if there are very many."""


class LockNode(NamedTuple):
    """One line of the tree: a session, or a prepared transaction."""

    queued: Queued | None
    """The session; None for a prepared transaction."""
    prepared: PreparedTransaction | None
    """The prepared transaction; None for a session, and if nothing is known about it."""
    trunk: tuple[bool, ...]
    """For each level from the root to this node, the root left out: True if more siblings follow there."""
    behind: int
    """The number of sessions that wait behind it, directly or behind others."""
    frees: int
    """The number of those that go on once it is terminated: they wait for nothing else."""
    frees_by_cancel: int
    """The number of those that go on once its query is cancelled; 0 if it runs none."""
    other_blockers: int
    """The number of blockers besides the one that it is listed under."""
    is_in_ring: bool
    """True if it waits for itself by way of others: a deadlock, until the server ends one of them."""

    @property
    def depth(self) -> int:
        """The number of levels above it; 0 for a root."""
        return len(self.trunk)

    @property
    def is_freed_by_cancel(self) -> bool:
        """True if cancelling its query is enough for those that wait for nothing but it."""
        return 0 < self.frees == self.frees_by_cancel

    @property
    def runs_query(self) -> bool:
        """True if it has a query that can be cancelled."""
        return self.queued is not None and (self.queued.waits or self.queued.backend.state == ACTIVE)

    @property
    def key(self) -> BackendId | str:
        """The identity of the node, the same in each later tree."""
        if self.queued is not None:
            return self.queued.backend.id
        return self.prepared.gid if self.prepared is not None else ""


def lock_tree(queue: LockQueue) -> tuple[LockNode, ...]:
    """Return the nodes of all trees from each root to its leaves, the largest tree first.

    A session that waits for several stands once: below the one that is closest to a root.

    >>> from pgtop.core.activity import Backend
    >>> def one(pid, *blockers):
    ...     backend = Backend(pid, pid, *[None] * 11, False, None)
    ...     return Queued(backend, waits=bool(blockers), blocked_by=frozenset(blockers))
    >>> nodes = lock_tree(LockQueue(0, (one(1), one(2, 1), one(3, 2), one(4, 1, 2), one(9, 8), one(8))))
    >>> [(node.queued.backend.pid, node.depth, node.behind, node.frees) for node in nodes]
    [(1, 0, 3, 3), (2, 1, 2, 1), (3, 2, 0, 0), (4, 1, 0, 0), (8, 0, 1, 1), (9, 1, 0, 0)]
    """
    return _Forest(queue).nodes()


class _Forest:
    """The links between the sessions of a queue. A prepared transaction has a negative number as its pid."""

    def __init__(self, queue: LockQueue) -> None:
        self._queue = queue
        self._by_pid = {each.backend.pid: each for each in queue.sessions}
        self._blockers = {each.backend.pid: self._blockers_of(each) for each in queue.sessions if each.waits}
        self._blocks: dict[int, list[int]] = {}
        for pid, blockers in self._blockers.items():
            for blocker in blockers:
                self._blocks.setdefault(blocker, []).append(pid)
        everybody = list(dict.fromkeys([*self._by_pid, *self._blocks]))
        self._behind = _behind(everybody, self._blocks)
        self._pids = sorted(everybody, key=self._rank)
        self._parents: dict[int, int | None] = {}

    def _blockers_of(self, queued: Queued) -> frozenset[int]:
        """Return the blockers of a session, each prepared transaction by a number of its own."""
        if PREPARED not in queued.blocked_by:
            return queued.blocked_by
        prepared = enumerate(self._queue.prepared, 1)
        known = {-number for number, each in prepared if queued.backend.pid in each.waiting_pids}
        unknown = {-len(self._queue.prepared) - 1}
        return (queued.blocked_by - {PREPARED}) | (known or unknown)

    def _rank(self, pid: int) -> tuple[int, float, int]:
        """Return the sort key: most behind it first, then the longest waiting."""
        queued = self._by_pid.get(pid)
        start = queued.wait_start if queued is not None else None
        return -self._behind[pid].number, float("inf") if start is None else start, pid

    def nodes(self) -> tuple[LockNode, ...]:
        """Return all nodes."""
        # A session that got its lock while it was asked about neither waits nor blocks.
        roots = [pid for pid in self._pids if not self._blockers.get(pid) and pid in self._blocks]
        self._place(roots)
        for pid in self._pids:
            if pid not in self._parents and self._behind[pid].is_in_ring:  # a ring has no root of its own
                roots.append(pid)
                self._place([pid])
        children: dict[int, list[int]] = {}
        for pid in self._pids:
            parent = self._parents.get(pid)
            if parent is not None:
                children.setdefault(parent, []).append(pid)
        nodes: list[LockNode] = []
        todo: list[tuple[int, tuple[bool, ...]]] = [(pid, ()) for pid in sorted(roots, key=self._rank)[::-1]]
        while todo:
            pid, trunk = todo.pop()
            nodes.append(self._node(pid, trunk))
            below = children.get(pid, [])
            todo += [(child, (*trunk, child != below[-1])) for child in reversed(below)]
        return tuple(nodes)

    def _place(self, roots: Iterable[int]) -> None:
        """Give each session that waits behind these roots its place below the one closest to a root."""
        level = list(roots)
        self._parents |= dict.fromkeys(level)
        while level:
            following = []
            for blocker in level:
                for pid in self._blocks.get(blocker, ()):
                    if pid not in self._parents:
                        self._parents[pid] = blocker
                        following.append(pid)
            level = following

    def _node(self, pid: int, trunk: tuple[bool, ...]) -> LockNode:
        queued = self._by_pid.get(pid)
        blockers = self._blockers.get(pid, frozenset())
        unnamed = queued.unnamed_blockers if queued is not None else 0
        node = LockNode(
            queued=queued if queued is not None or pid < 0 else _unknown(pid),
            prepared=self._queue.prepared[-pid - 1] if -len(self._queue.prepared) <= pid < 0 else None,
            trunk=trunk,
            behind=self._behind[pid].number,
            frees=self._freed_by(pid, is_cancelled=False),
            frees_by_cancel=0,
            other_blockers=max(0, len(blockers) + unnamed - (1 if trunk else 0)),
            is_in_ring=self._behind[pid].is_in_ring,
        )
        if not node.runs_query:
            return node
        return node._replace(frees_by_cancel=self._freed_by(pid, is_cancelled=True))

    def _freed_by(self, gone: int, *, is_cancelled: bool) -> int:
        """Return how many sessions wait for nothing but this one, directly or behind others.

        A session that stays may keep its advisory locks: the one that `is_cancelled`, and each that goes on.
        """
        left: dict[int, int] = {}
        todo = [gone]
        while todo:
            blocker = todo.pop()
            holder = self._by_pid.get(blocker)
            stays = is_cancelled or blocker != gone
            keeps = stays and holder is not None and holder.keeps_advisory
            for pid in self._blocks.get(blocker, ()):
                queued = self._by_pid[pid]
                if keeps and queued.is_advisory:
                    continue
                number = left.get(pid, len(self._blockers[pid]) + queued.unnamed_blockers) - 1
                left[pid] = number
                if number == 0 and pid != gone:
                    todo.append(pid)
        return sum(number == 0 for pid, number in left.items() if pid != gone)


def _unknown(pid: int) -> Queued:
    """Return a blocker that the server no longer lists."""
    unknown = (None, None, None, None)
    backend = Backend(pid, *unknown, None, None, None, None, None, None, None, None, False, None)
    return Queued(backend, is_client=False)


class _Behind(NamedTuple):
    """The sessions that wait behind one, directly or behind others."""

    number: int
    is_in_ring: bool
    """True if it is among them itself, which does not count."""


def _behind(pids: Sequence[int], blocks: Mapping[int, Sequence[int]]) -> dict[int, _Behind]:
    """Return how many wait behind each of these; `blocks` has those that wait for each directly.

    Sets of bits make this quick: in a queue of 500 for one row, each waits for all that came before it.
    """
    bits = {pid: 1 << number for number, pid in enumerate(pids)}
    found = dict.fromkeys(pids, 0)
    changed = True
    while changed:
        changed = False
        for pid in reversed(pids):
            reached = 0
            for other in blocks.get(pid, ()):
                reached |= bits[other] | found[other]
            if reached != found[pid]:
                found[pid] = reached
                changed = True
    return {
        pid: _Behind((reached & ~bits[pid]).bit_count(), bool(reached & bits[pid]))
        for pid, reached in found.items()
    }


def changed_since(shown: Backend, now: Backend | None, *, cancels: bool) -> str:
    """Return why a session is no longer what was shown, so that nothing is to be done to it; "" if it is.

    `now` is the session in a newer snapshot. `cancels` is for its query alone. What counts is the identity
    by which a plan ends a session.
    """
    if now is None:
        return f"session {shown.pid} is gone"
    if cancels and shown.state == ACTIVE and shown.query_start != now.query_start:
        return f"session {shown.pid} no longer runs the query that was shown"
    if not cancels and shown.state in IN_TRANSACTION and shown.xact_start != now.xact_start:
        return f"session {shown.pid} has ended the transaction that was shown"
    if not cancels and shown.state == IDLE and shown.state_change != now.state_change:
        return f"session {shown.pid} has run a query since it was shown"
    return ""


def is_other_session(shown: Backend, now: Backend) -> bool:
    """Return whether a pid, whose session's start is hidden, is now certain to be another session's.

    Neither the user nor the database of a session changes. If both are the same, nothing tells.
    """
    return shown.is_hidden and (shown.usename, shown.datname) != (now.usename, now.datname)
