"""The jump to the session that blocks others: a question to the server, and the session for the cursor."""

from typing import NamedTuple

from pgtop.core.activity import ACTIVE, Backend, BackendId, Snapshot
from pgtop.core.blocking import PREPARED, RootBlocker, root_blockers
from pgtop.core.session_labels import NO_APPLICATION, label, state
from pgtop.core.text import duration, plural, printable
from pgtop.errors import PgtopError
from pgtop.postgres.backend_detail import Blocking, who_blocks
from pgtop.postgres.session.own_connection import OwnConnection


class Found(NamedTuple):
    """The session to jump to, and the notice about it."""

    said: str
    identity: BackendId | None = None
    """The session; None if there is none to jump to."""
    style: str = "note"


class RootBlockers:
    """The sessions that block others and are not blocked themselves, one at each press of the key."""

    def __init__(self, own_connection: OwnConnection, *, read_only: bool = False) -> None:
        """`read_only` keeps keys that terminate or cancel from being named."""
        self._own_connection = own_connection
        self._read_only = read_only
        self._turn = 0

    async def next(self, snapshot: Snapshot, *, tagged: int = 0) -> Found:
        """Ask the server who blocks whom, and return the root that blocks most; at the next call, the next.

        `tagged` is the number of tagged sessions: keys act on those, and not on the one jumped to.
        """
        turn = self._turn
        self._turn += 1
        try:
            blocking = await who_blocks(self._own_connection)
        except PgtopError as error:
            return Found(str(error), style="alarm")
        roots = root_blockers(blocking.blocked_by)
        if not roots:
            return Found("No lock waits")
        root = roots[turn % len(roots)]
        more = f" (b: next of {len(roots)})" if len(roots) > 1 else ""
        if root.pid == PREPARED:
            return Found(_prepared(blocking, root) + more)
        backend = next((each for each in snapshot.backends if each.pid == root.pid), None)
        blocks = f"blocks {plural(root.blocked, 'session')}"
        if backend is None:
            return Found(f"{root.pid} {blocks}: not a client session, or newer than the display{more}")
        name = label(backend.application_name, NO_APPLICATION)
        age = duration(backend.state_seconds(snapshot.taken_at))
        key = self._key(backend, tagged)
        return Found(f"{root.pid} {name} {blocks}: {state(backend)} for {age}{key}{more}", backend.id)

    def _key(self, backend: Backend, tagged: int) -> str:
        """Return the words for the key that ends the wait; "" if read-only."""
        if self._read_only:
            return ""
        untag = "U untags the others, then " if tagged else ""
        return f" · {untag}{'C cancels its query' if backend.state == ACTIVE else 'K terminates it'}"


def _prepared(blocking: Blocking, root: RootBlocker) -> str:
    blocked = plural(root.blocked, "session")
    if not blocking.prepared:
        return f"a prepared transaction blocks {blocked}: see pg_prepared_xacts"
    oldest = blocking.prepared[0]
    others = f" and {len(blocking.prepared) - 1} more" if len(blocking.prepared) > 1 else ""
    gid, owner, database = printable(oldest.gid), printable(oldest.owner), printable(oldest.database)
    return (
        f"prepared transaction '{gid}'{others} of {owner} in {database} blocks {blocked}: "
        "ROLLBACK PREPARED ends it"
    )
