"""A lock queue: the session that holds the lock (its root), and the waiter that bars the others (its head).

A statement that needs a strong lock waits for the root, and everything that comes after it waits behind it,
although it would not be in the root's way. The head is therefore the one to cancel: what waited behind it
goes on at once, and the root, perhaps a dump, lives.
"""

from typing import NamedTuple

from pgtop.core.activity import ACTIVE, IDLE, IN_TRANSACTION, Backend
from pgtop.core.blocking import PREPARED, blocked_counts, root_blockers
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.permission import missing_rights
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.statements import shown_statement
from pgtop.core.diagnosis.wording import age, application_name, by_application, earliest, named, since_words
from pgtop.core.plan import Act
from pgtop.core.text import plural

_NO_SWEEP = Advice("A sweep won't help: those who wait are active")
_PREVENTION = Advice("Before a schema change, set a limit for the wait", sql="SET lock_timeout = '3s';")

_BY_DESIGN = Advice(
    "An advisory lock is the application's own: sessions that wait to take the holder's place are in order"
)
_ADVISORY = "advisory"
"""The wait_event of whoever waits for a lock that only applications give a meaning."""
_TABLE_LOCK = "relation"
"""The wait_event of whoever waits for a lock on a whole table."""


class _Chain(NamedTuple):
    """The root of a queue, and its head if another session than the root keeps most of them waiting."""

    root: int | None
    """The root's pid; PREPARED for a prepared transaction, None if unknown."""
    head: Backend | None
    behind_head: int


def find(scene: Scene) -> list[Finding]:
    """Return the lock queue, if enough sessions wait."""
    waiting = [backend for backend in scene.left if backend.waits_on_lock]
    if len(waiting) < scene.floor:
        return []
    chain = _chain(scene, waiting)
    by_pid = {backend.pid: backend for backend in scene.snapshot.backends}
    root = by_pid.get(chain.root) if chain.root is not None else None
    since = earliest(each.query_start for each in waiting)
    last = _BY_DESIGN if _is_advisory(waiting) else _PREVENTION
    sentence = f"lock queue: {_who_waits(scene, waiting, chain)}{_what_they_wait_for(scene, chain, root)}"
    return [
        Finding(
            kind=Kind.LOCK_QUEUE,
            grade=Grade.IS,
            slots=len(waiting),
            sentence=sentence,
            backends=tuple(each.id for each in waiting),
            application_name=one_value(each.application_name for each in waiting),
            usename=one_value(each.usename for each in waiting),
            datname=one_value(each.datname for each in waiting),
            addresses=addresses_of(waiting),
            since=since,
            evidence=(
                ("sessions that wait for a lock", str(len(waiting))),
                ("of them", named(by_application(waiting))),
                ("waiting longest", f"{age(since, scene.now)}{since_words(since)}"),
                ("root", _told(scene, chain.root, root)),
                *([("head", _told(scene, chain.head.pid, chain.head))] if chain.head else []),
            ),
            statements=tuple(
                shown_statement(each.query) for each in (chain.head, root) if each is not None and each.query
            ),
            advice=(*_ways_out(chain, root), *_rights(scene, chain, root), _NO_SWEEP, last),
            remedy=_remedy(chain, root),
        )
    ]


def _chain(scene: Scene, waiting: list[Backend]) -> _Chain:
    blocked_by = scene.facts.blocked_by
    roots = root_blockers(blocked_by)
    if not roots:
        return _Chain(None, None, 0)
    behind = blocked_counts([each.pid for each in waiting], blocked_by)
    head = max(waiting, key=lambda each: behind[each.pid])
    # Of those that joined the queue since the server was asked it is not known yet whom they wait for.
    known = sum(each.pid in blocked_by for each in waiting)
    # Those who wait for one row queue up behind each other too; to cancel the first frees none of them.
    is_head = head.wait_event == _TABLE_LOCK and behind[head.pid] >= max(1, known / 2)
    return _Chain(roots[0].pid, head if is_head else None, behind[head.pid])


def _is_advisory(waiting: list[Backend]) -> bool:
    return all(each.wait_event == _ADVISORY for each in waiting)


def _who_waits(scene: Scene, waiting: list[Backend], chain: _Chain) -> str:
    if chain.head is None:
        lock = "an advisory lock" if _is_advisory(waiting) else "a lock"
        return f"{plural(len(waiting), 'session')} wait for {lock}"
    told = _told(scene, chain.head.pid, chain.head)
    # The head waits too. More may be behind it: only those are counted of which it is known.
    are_more = len(waiting) > chain.behind_head + 1
    number = f"{chain.behind_head} of {len(waiting)}" if are_more else f"{chain.behind_head}"
    return f"{number} wait behind {told}"


def _what_they_wait_for(scene: Scene, chain: _Chain, root: Backend | None) -> str:
    if chain.root is None:
        return ""
    told = _told(scene, chain.root, root)
    return f", which waits for {told}" if chain.head is not None else f" that {told} holds"


def _told(scene: Scene, pid: int | None, backend: Backend | None) -> str:
    """Return a session of the queue with what it does: `pid 4711 (ALTER TABLE orders, waiting 3m 12s)`."""
    if pid is None:
        return "unknown"
    if pid == PREPARED:
        return "a prepared transaction"
    if backend is None:
        return f"pid {pid} (not a client: autovacuum or another background process)"
    if backend.state in IN_TRANSACTION:
        rest = age(backend.state_change, scene.now)
        return f"pid {pid} ({application_name(backend)}, idle in transaction for {rest})"
    if backend.state == IDLE:
        return f"pid {pid} ({application_name(backend)}, idle for {age(backend.state_change, scene.now)})"
    doing = "waiting" if backend.waits_on_lock else "running"
    query = shown_statement(backend.query or "") or application_name(backend)
    ago = age(backend.query_start, scene.now)
    return f"pid {pid} ({query}, {doing} {ago})"


def _remedy(chain: _Chain, root: Backend | None) -> Remedy | None:
    """Return the head to cancel, or else a root that is idle in transaction to terminate; None for others.

    A root at work may be a dump, or a change that somebody waits for: that is for a person to decide.
    """
    if chain.head is not None:
        said = f"The {chain.behind_head} behind it go on"
        if root is not None and root.state == ACTIVE:
            said += f"; pid {root.pid}, which it waits for, is left alone: it may be a dump"
        return Remedy(Act.CANCEL, (chain.head.id,), said)
    if root is not None and root.state in IN_TRANSACTION:
        return Remedy(
            Act.TERMINATE, (root.id,), "Its transaction is rolled back; those that wait for it go on"
        )
    return None


def _rights(scene: Scene, chain: _Chain, root: Backend | None) -> tuple[Advice, ...]:
    """Return the rights that a way out takes and pgtop's role lacks."""
    ended = [chain.head] if chain.head is not None else []
    ended += [root] if root is not None and root.state in IN_TRANSACTION else []
    return missing_rights(scene.snapshot, ended)


def _ways_out(chain: _Chain, root: Backend | None) -> list[Advice]:
    found = []
    if chain.head is not None:
        number = chain.behind_head
        leave = (
            "; the root may be a dump that should live" if root is not None and root.state == ACTIVE else ""
        )
        said = f"Cancel pid {chain.head.pid}: the {number} behind it go on{leave}"
        found.append(Advice(said, key="d K", sql=f"SELECT pg_cancel_backend({chain.head.pid});"))
    if root is not None and root.state in IN_TRANSACTION:
        said = f"Terminate pid {root.pid}, which is idle in transaction and holds the lock"
        found.append(
            Advice(
                said,
                key="d K" if chain.head is None else "b K",
                sql=f"SELECT pg_terminate_backend({root.pid});",
            )
        )
    if chain.root == PREPARED:
        said = "A prepared transaction holds the lock: COMMIT PREPARED or ROLLBACK PREPARED ends it"
        found.append(Advice(said, sql="SELECT gid, prepared, owner FROM pg_prepared_xacts;"))
    return found
