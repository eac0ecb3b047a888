"""The facts of a diagnosis that no poll tells, asked for only where they matter, and seldom."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import BackendId, Snapshot, Whole
from pgtop.core.diagnosis.scene import NOTHING_BLOCKS, Facts
from pgtop.core.diagnosis.thresholds import STANDARD
from pgtop.core.outage import Limit
from pgtop.core.stalled_logins import stall_of
from pgtop.postgres.blockers import blocking_pids
from pgtop.postgres.queries.diagnosis_facts import KEEPALIVE, LOGINS
from pgtop.postgres.row_decoding import the_one
from pgtop.postgres.session.own_connection import OwnConnection

BLOCKERS_EVERY_SECONDS: Final = 10.0
"""Seconds between two questions for blocking pids: each takes the lock manager exclusively for a moment.

A queue that has doubled meanwhile is asked for at once: that happens a few times at most.
"""
BLOCKERS_AGAIN_SECONDS: Final = 3.0
"""The same once a blocker has left or ended its transaction: the answer is then of the past."""
LOGINS_EVERY_SECONDS: Final = 30.0
"""Seconds between two readings of the counter of logins."""
KEEPALIVE_EVERY_SECONDS: Final = 60.0
"""Seconds for which tcp_keepalives_idle counts as known."""


_Transaction = tuple[BackendId, int | None]
"""A session, and the start of the transaction that it was in."""


class _Keepalive(msgspec.Struct, frozen=True):
    seconds: Whole | None


class _Logins(msgspec.Struct, frozen=True):
    logins: Whole | None


class KnownFacts:
    """The facts as they were last asked for, each at its own pace."""

    def __init__(self, own_connection: OwnConnection, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and only runs forward."""
        self._own_connection = own_connection
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self._known_of = self._own_connection.peer
        self._blocked_by: Mapping[int, frozenset[int]] = NOTHING_BLOCKS
        self._blockers: frozenset[_Transaction] = frozenset()
        self._waiting = 0
        self._blockers_at = self._keepalive_at = self._logins_at = -math.inf
        self._keepalive: float | None = None
        self._logins: int | None = None
        self._logins_per_minute: float | None = None

    def of(self, snapshot: Snapshot, warn_at: float, refusing: Limit | None) -> Facts:
        """Return what is known for a snapshot.

        `warn_at` is a fraction of the slots, `refusing` the limit that refuses logins.
        """
        queued = _has_queue(snapshot)
        return Facts(
            blocked_by=self._blocked_by if queued and not self._is_past(snapshot) else NOTHING_BLOCKS,
            stall=stall_of(snapshot, warn_at, refusing),
            logins_per_minute=self._logins_per_minute,
            keepalive_seconds=self._keepalive,
        )

    async def ask(self, snapshot: Snapshot) -> bool:
        """Ask for the facts that are due for a snapshot just taken; return whether any was asked for.

        Raises what the connection raises; what this role may not ask is left out, and not asked again: each
        refusal is a line in the server's log.
        """
        if self._own_connection.peer != self._known_of:
            self._forget()
        now = self._clock()
        asked = False
        waiting = snapshot.waiting_on_locks
        pause = BLOCKERS_AGAIN_SECONDS if self._is_past(snapshot) else BLOCKERS_EVERY_SECONDS
        # A queue grows fast at first: what bars it may be known only of its first few sessions.
        is_due = now - self._blockers_at >= pause or waiting >= 2 * self._waiting
        if _has_queue(snapshot) and is_due and self._blockers_at != math.inf:
            self._blockers_at, self._waiting, asked = now, waiting, True
            try:
                self._blocked_by = await blocking_pids(self._own_connection)
            except asyncpg.InsufficientPrivilegeError:
                self._blocked_by, self._blockers_at = NOTHING_BLOCKS, math.inf
            pids = {pid for blockers in self._blocked_by.values() for pid in blockers}
            self._blockers = frozenset(
                (each.id, each.xact_start) for each in snapshot.backends if each.pid in pids
            )
        if now - self._keepalive_at >= KEEPALIVE_EVERY_SECONDS:
            self._keepalive_at, asked = now, True
            try:
                self._keepalive = await self._keepalive_seconds()
            except asyncpg.InsufficientPrivilegeError:
                self._keepalive_at = math.inf
        if now - self._logins_at >= LOGINS_EVERY_SECONDS:
            asked = True
            try:
                await self._count_logins(now)
            except asyncpg.InsufficientPrivilegeError:
                self._logins_at = math.inf
        return asked

    def _is_past(self, snapshot: Snapshot) -> bool:
        """Return whether a session that blocked others has left, or has ended the transaction it was in."""
        for session, transaction in self._blockers:
            now = snapshot.by_id.get(session)
            if now is None or now.xact_start != transaction:
                return True
        return False

    async def _keepalive_seconds(self) -> float | None:
        """Return tcp_keepalives_idle as other sessions get it; None if the operating system decides."""
        keepalive = the_one(await self._own_connection.fetchrow(KEEPALIVE), _Keepalive)
        return float(keepalive.seconds) if keepalive.seconds else None

    async def _count_logins(self, now: float) -> None:
        counted = the_one(await self._own_connection.fetchrow(LOGINS), _Logins).logins
        before, elapsed = self._logins, now - self._logins_at
        # A counter that fell was reset.
        known = before is not None and counted is not None and counted >= before
        self._logins_per_minute = (
            (counted - before) / elapsed * 60
            if known and counted is not None and before is not None
            else None
        )
        self._logins, self._logins_at = counted, now


def _has_queue(snapshot: Snapshot) -> bool:
    return snapshot.waiting_on_locks >= STANDARD.floor(snapshot.slots)


async def facts_for(
    own_connection: OwnConnection, snapshot: Snapshot, warn_at: float, refusing: Limit | None
) -> Facts:
    """Return the facts for the one snapshot of a command. Arguments and errors are those of KnownFacts."""
    known = KnownFacts(own_connection)
    await known.ask(snapshot)
    return known.of(snapshot, warn_at, refusing)
