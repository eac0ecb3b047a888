"""A lock queue: the session that holds the lock (its root), and the waiter that bars the others (its head).

A statement that needs a strong lock waits for the root, and everything that comes after it waits behind it,
although it would not be in the root's way. The head is therefore the one to cancel: what waited behind it
goes on at once, and the root, perhaps a dump, lives.
"""

from typing import NamedTuple

from pgtop.core.activity import ACTIVE, DISABLED, IDLE, IN_TRANSACTION, Backend
from pgtop.core.blocking import PREPARED, blocked_counts, released_by, root_blockers
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.permission import missing_rights
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.statements import shown_statement
from pgtop.core.diagnosis.wording import (
    age,
    application_name,
    brief,
    by_application,
    earliest,
    named,
    since_words,
)
from pgtop.core.plan import Act
from pgtop.core.session_labels import HIDDEN, STATE_WORDS
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


_HEADS_TRIED = 5
"""Of the waiters that most others wait behind, those that are tried as the head."""


class _Chain(NamedTuple):
    """The root of a queue, and its head if another session than the root keeps most of them waiting."""

    root: int | None
    """The root's pid; PREPARED for a prepared transaction, None if unknown."""
    behind_root: int
    head: Backend | None
    behind_head: int
    """The sessions that wait for nothing but the head, directly or behind others."""


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
    return [
        Finding(
            kind=Kind.LOCK_QUEUE,
            grade=Grade.IS,
            slots=len(waiting),
            sentence=f"lock queue: {_said(scene, waiting, chain, root)}",
            shorter=tuple(f"lock queue: {each}" for each in _shorter(waiting, chain, root)),
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
    blocked_by = _blocked_now(scene)
    roots = root_blockers(blocked_by)
    if not roots:
        return _Chain(None, 0, None, 0)
    behind = blocked_counts([each.pid for each in waiting], blocked_by)
    # Those who wait for one row queue up behind each other too; to cancel the first frees none of them.
    heads = sorted(
        (each for each in waiting if each.wait_event == _TABLE_LOCK and behind[each.pid]),
        key=lambda each: -behind[each.pid],
    )
    # A session keeps its advisory locks when its query is cancelled: those that wait for one do not go on.
    keys = {each.pid for each in waiting if each.wait_event == _ADVISORY}
    others = {pid: blockers for pid, blockers in blocked_by.items() if pid not in keys}
    released = [(len(released_by(each.pid, others)), each) for each in heads[:_HEADS_TRIED]]
    number, head = max(released, key=lambda each: each[0], default=(0, None))
    # Of those that joined the queue since the server was asked it is not known yet whom they wait for.
    known = sum(each.pid in blocked_by for each in waiting)
    if head is None or number == 0 or number < known / 2:
        return _Chain(roots[0].pid, roots[0].blocked, None, 0)
    root = next(each for each in roots if head.pid in each.waiting or each.pid == head.pid)
    return _Chain(root.pid, root.blocked, head, number)


def _blocked_now(scene: Scene) -> dict[int, frozenset[int]]:
    """Return who blocks whom, without the sessions that have stopped waiting since that was asked."""
    awake = {backend.pid for backend in scene.snapshot.backends if not backend.waits_on_lock}
    return {pid: blockers for pid, blockers in scene.facts.blocked_by.items() if pid not in awake}


def _is_advisory(waiting: list[Backend]) -> bool:
    return all(each.wait_event == _ADVISORY for each in waiting)


def _said(scene: Scene, waiting: list[Backend], chain: _Chain, root: Backend | None) -> str:
    number = len(waiting)
    lock = "an advisory lock" if _is_advisory(waiting) else "a lock"
    if chain.root is None:
        return f"{plural(number, 'session')} wait for {lock}"
    told = _told(scene, chain.root, root)
    if chain.head is not None:
        behind = chain.behind_head
        some = str(behind) if behind >= number - 1 else f"{behind} of {number}"
        return f"{some} wait behind {_told(scene, chain.head.pid, chain.head)}, which waits for {told}"
    if chain.behind_root < number:
        return f"{number} sessions wait for locks, {chain.behind_root} of them behind {told}"
    return f"{plural(number, 'session')} wait for {lock} that {told} holds"


def _shorter(waiting: list[Backend], chain: _Chain, root: Backend | None) -> tuple[str, ...]:
    number = len(waiting)
    if chain.head is not None:
        some, pid, query = chain.behind_head, chain.head.pid, shown_statement(chain.head.query or "")
        forms = [f"{some} wait behind pid {pid}"]
        if query:
            behind = f"{some} behind pid {pid}"
            forms[:0] = [
                f"{some} wait behind pid {pid} ({query})",
                *(f"{behind} ({brief(query, most)})" for most in (24, 20, 12)),
            ]
        return tuple(forms)
    if root is None:
        return (f"{plural(number, 'session')} wait",)
    some, state = min(chain.behind_root, number), STATE_WORDS.get(root.state or "", HIDDEN)
    return (
        f"{some} wait for pid {root.pid} ({application_name(root)}, {state})",
        f"{some} wait for pid {root.pid}",
    )


def _told(scene: Scene, pid: int | None, backend: Backend | None) -> str:
    """Return a session of the queue with what it does: `pid 4711 (ALTER TABLE orders, waiting 3m 12s)`."""
    if pid is None:
        return "unknown"
    if pid == PREPARED:
        return "a prepared transaction"
    if backend is None:
        return f"pid {pid} (not a client: autovacuum or another background process)"
    if backend.is_hidden:
        return f"pid {pid} ({application_name(backend)}, its state is hidden)"
    if backend.state == IDLE or backend.state in IN_TRANSACTION:
        state = "idle" if backend.state == IDLE else "idle in transaction"
        return f"pid {pid} ({application_name(backend)}, {state} for {age(backend.state_change, scene.now)})"
    if backend.state == DISABLED:
        return f"pid {pid} ({application_name(backend)}, its state is not tracked)"
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
    ended += [root] if root is not None and _holds_at_rest(root) else []
    return missing_rights(scene.snapshot, ended)


def _holds_at_rest(root: Backend) -> bool:
    return root.state == IDLE or root.state in IN_TRANSACTION


def _ways_out(chain: _Chain, root: Backend | None) -> list[Advice]:
    found = []
    if chain.head is not None:
        number = chain.behind_head
        leave = (
            "; the root may be a dump that should live" if root is not None and root.state == ACTIVE else ""
        )
        said = f"Cancel pid {chain.head.pid}: the {number} behind it go on{leave}"
        found.append(Advice(said, key=ACT_KEYS, sql=f"SELECT pg_cancel_backend({chain.head.pid});"))
    if root is not None and _holds_at_rest(root):
        said = f"Terminate pid {root.pid}, which is idle in transaction and holds the lock"
        sql = f"SELECT pg_terminate_backend({root.pid});"
        if root.state == IDLE:
            said = f"Pid {root.pid} is idle and holds an advisory lock, perhaps for a reason: ask first"
            sql = ""
        is_remedy = chain.head is None and root.state != IDLE
        found.append(Advice(said, key=ACT_KEYS if is_remedy else "b K", sql=sql))
    if chain.root == PREPARED:
        said = "A prepared transaction holds the lock: COMMIT PREPARED or ROLLBACK PREPARED ends it"
        found.append(Advice(said, sql="SELECT gid, prepared, owner FROM pg_prepared_xacts;"))
    return found
