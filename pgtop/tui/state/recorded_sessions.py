"""A recorded poll, asked for what a screen about sessions asks the server for: as far as it was recorded."""

from pgtop.core.activity import BackendId, Snapshot
from pgtop.core.lock_tree import LockQueue, Queued
from pgtop.core.recorded import Seen
from pgtop.postgres.backend_detail import BackendDetail


def recorded_locks(seen: Seen, snapshot: Snapshot) -> LockQueue:
    """Return the sessions of a snapshot that wait for locks, and those that block them.

    The locks themselves are not recorded, and the blockers only as far as the diagnosis asked for them.
    """
    blocked_by = seen.facts.blocked_by
    waiting = {each.pid for each in snapshot.backends if each.waits_on_lock}
    blockers = {pid for each in waiting for pid in blocked_by.get(each, ())}
    sessions = tuple(
        Queued(each, waits=each.pid in waiting, blocked_by=blocked_by.get(each.pid, frozenset()))
        for each in snapshot.backends
        if each.pid in waiting | blockers
    )
    return LockQueue(snapshot.taken_at, sessions, waiting=len(waiting))


def recorded_detail(seen: Seen, snapshot: Snapshot, identity: BackendId) -> BackendDetail | None:
    """Return all that was recorded of a session; None if it was not there."""
    backend = snapshot.by_id.get(identity)
    if backend is None:
        return None
    return BackendDetail(
        now=snapshot.taken_at,
        backend=backend,
        client_hostname=None,
        backend_xid=None,
        backend_xmin=None,
        tls=None,
        query=backend.query,
        locks=(),
        queue=recorded_locks(seen, snapshot),
        is_recorded=True,
    )
