"""The facts of a diagnosis that no poll tells, asked for only where they matter."""

import asyncpg
import msgspec

from pgtop.core.activity import Snapshot, Whole
from pgtop.core.diagnosis.scene import NOTHING_BLOCKS, Facts
from pgtop.core.diagnosis.thresholds import STANDARD
from pgtop.core.outage import Limit
from pgtop.core.stalled_logins import stall_of
from pgtop.postgres.blockers import blocking_pids
from pgtop.postgres.queries.diagnosis_facts import KEEPALIVE
from pgtop.postgres.row_decoding import the_one
from pgtop.postgres.session.own_connection import OwnConnection


class _Keepalive(msgspec.Struct, frozen=True):
    seconds: Whole | None


async def facts_for(
    own_connection: OwnConnection, snapshot: Snapshot, warn_at: float, refusing: Limit | None
) -> Facts:
    """Return the facts for a snapshot that was just taken.

    `warn_at` is a fraction of the slots, `refusing` the limit that refuses logins. Lock queues are asked
    about only if enough sessions wait: the question takes the lock manager exclusively. Raises what the
    connection raises; what this role may not ask is left out.
    """
    blocked_by = NOTHING_BLOCKS
    if snapshot.waiting_on_locks >= STANDARD.floor(snapshot.slots):
        try:
            blocked_by = await blocking_pids(own_connection)
        except asyncpg.InsufficientPrivilegeError:
            blocked_by = NOTHING_BLOCKS
    return Facts(
        blocked_by=blocked_by,
        stall=stall_of(snapshot, warn_at, refusing),
        keepalive_seconds=await _keepalive_seconds(own_connection),
    )


async def _keepalive_seconds(own_connection: OwnConnection) -> float | None:
    """Return tcp_keepalives_idle as other sessions get it; None if it is left to the operating system."""
    try:
        keepalive = the_one(await own_connection.fetchrow(KEEPALIVE), _Keepalive)
    except asyncpg.InsufficientPrivilegeError:
        return None
    return float(keepalive.seconds) if keepalive.seconds else None
