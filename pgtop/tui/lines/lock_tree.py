"""The lock tree in words: the branch of a node, its lock, and what ending it does for the sessions behind."""

from collections.abc import Sequence
from typing import Final

from pgtop.core.activity import IDLE, IN_TRANSACTION, seconds_between
from pgtop.core.lock_tree import LockNode, LockQueue
from pgtop.core.plan import Act
from pgtop.core.session_labels import NO_APPLICATION, label, state
from pgtop.core.text import cell_width, clip, duration, folded, plural, printable
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import few_lines

NO_WAITS: Final = "No lock waits"
DEEPEST: Final = 5
"""The number of levels that are drawn; deeper ones are counted."""
_PREPARED: Final = "prepared transaction"


def branch(node: LockNode) -> str:
    """Return the lines that lead to a node from the nodes above it.

    >>> branch(LockNode(None, None, (True, False), 0, 0, 0, 0, False))
    '│ └ '
    """
    if not node.trunk:
        return ""
    shown = node.trunk[-DEEPEST:]
    above = "".join("│ " if goes_on else "  " for goes_on in shown[:-1])
    if node.depth > DEEPEST:
        above = f"{node.depth:<2}{above[2:]}"
    return above + ("├ " if shown[-1] else "└ ")


def name(node: LockNode) -> str:
    """Return a node's pid and application, or the name of a prepared transaction; printable."""
    if node.queued is None:
        return f"{_PREPARED} {_quoted_gid(node)}".rstrip()
    backend = node.queued.backend
    if not node.queued.is_client:
        return f"{backend.pid} (not a client)"
    return f"{backend.pid} {label(backend.application_name, NO_APPLICATION)}"


def _quoted_gid(node: LockNode) -> str:
    return f"'{printable(node.prepared.gid)}'" if node.prepared is not None else ""


def state_words(node: LockNode) -> str:
    """Return the state of a node in at most eleven cells: `waits`, `idle in txn`, `prepared` …"""
    queued = node.queued
    if queued is None:
        return "prepared"
    if queued.waits:
        return "waits"
    if not queued.is_client:
        return "background"
    return state(queued.backend)


def age(node: LockNode, now: int) -> float | None:
    """Return the seconds for which a session has waited, or for which a root has been in its transaction."""
    if node.queued is None:
        return seconds_between(node.prepared.prepared, now) if node.prepared is not None else None
    queued = node.queued
    if queued.waits:
        start = queued.wait_start if queued.wait_start is not None else queued.backend.query_start
        return seconds_between(start, now)
    return queued.backend.xact_seconds(now)


def lock_words(node: LockNode) -> str:
    """Return the lock that a session waits for, or holds while others wait: `ShareLock on public.orders`."""
    if node.queued is None or not node.queued.mode:
        return ""
    return f"{printable(node.queued.mode)} on {node.queued.target}"


def short_lock_words(node: LockNode) -> str:
    """Return the same with what matters most first: `orders Share`."""
    if node.queued is None or not node.queued.mode:
        return ""
    mode = printable(node.queued.mode).removesuffix("Lock")
    return f"{node.queued.target.removeprefix('public.')} {mode}"


def freed_words(node: LockNode, *, is_long: bool = False) -> str:
    """Return how many sessions go on once a node's query is cancelled, or its transaction ended; "" for none.

    `C frees 26` names the key; `is_long` gives `cancelling frees 26`.
    """
    if not node.frees or not is_within_reach(node):
        return ""
    cancels = node.is_freed_by_cancel
    word = ("cancelling" if cancels else "terminating") if is_long else ("C" if cancels else "K")
    return f"{word} frees {node.frees}"


def is_within_reach(node: LockNode) -> bool:
    """Return whether pgtop acts on a node: on a client's session whose identity is not hidden."""
    return node.queued is not None and node.queued.is_client and not node.queued.backend.is_hidden


def node_of(nodes: Sequence[LockNode], pid: int) -> LockNode | None:
    """Return the node of a session; None if it neither waits for a lock nor blocks others."""
    return next((each for each in nodes if each.queued is not None and each.queued.backend.pid == pid), None)


def title_cells(queue: LockQueue | None, nodes: Sequence[LockNode], server: str, width: int) -> list[Cell]:
    """Return the line above the tree: how many wait, in how many trees; `queue` is None before the first."""
    if queue is None:
        said = "loading …"
    elif not nodes:
        said = NO_WAITS
    else:
        trees = sum(not node.trunk for node in nodes)
        verb = "waits" if queue.waiting == 1 else "wait"
        said = f"{plural(queue.waiting, 'session')} {verb} for locks"
        said += f" in {trees} trees" if trees > 1 else ""
        listed = sum(node.queued is not None and node.queued.waits for node in nodes)
        if listed < queue.waiting:
            said += f", the {listed} longest are shown"
    title = Cell(" lock tree  ", "title")
    style = "strong-amber" if nodes else "strong"
    room = width - cell_width(title.text)
    said = clip(said, room)
    right = clip(f"{printable(server)} ", max(0, room - cell_width(said) - 2))
    gap = " " * max(0, room - cell_width(said) - cell_width(right))
    return [title, Cell(said, style), Cell(gap), Cell(right, "dim")]


def story(node: LockNode, now: int, *, read_only: bool) -> list[tuple[str, str]]:
    """Return sentences about a node, each with its style: what it does, and what its end does for others."""
    doing = f"{name(node)} {_doing(node, now)}"
    told = [(doing, "strong")]
    others = _others(node)
    if others:
        told.append((others, "amber"))
    if node.behind:
        verb = "waits" if node.behind == 1 else "wait"
        told.append(
            (f"{plural(node.behind, 'session')} {verb} behind it{_way_out(node, read_only)}", "accent")
        )
    return told


def _doing(node: LockNode, now: int) -> str:
    for_seconds = duration(age(node, now))
    since = f" for {for_seconds}" if for_seconds else ""
    lock = lock_words(node)
    queued = node.queued
    if queued is None:
        prepared = node.prepared
        if prepared is None:
            return "holds a lock: see pg_prepared_xacts"
        return f"of {printable(prepared.owner)} in {printable(prepared.database)} holds its locks{since}"
    if queued.waits:
        return f"waits{since} for {lock}"
    holds = f", holds {lock}" if lock else ""
    backend = queued.backend
    if backend.is_hidden:
        return f"holds {lock or 'a lock'}; its state is hidden from this role"
    if backend.state in IN_TRANSACTION:
        idle = duration(backend.state_seconds(now))
        return f"is {state(backend)} for {idle}{holds}, at most for {for_seconds}"
    if backend.state == IDLE:
        return f"is idle for {duration(backend.state_seconds(now))}{holds}"
    ran = duration(seconds_between(backend.query_start, now))
    return f"runs its query for {ran}{holds}"


def _others(node: LockNode) -> str:
    if node.is_in_ring:
        return (
            "it waits for itself by way of others: a deadlock, which the server ends after deadlock_timeout"
        )
    if node.other_blockers and node.trunk:
        return f"it also waits for {plural(node.other_blockers, 'other session')}"
    if node.queued is not None and node.queued.waits and not node.trunk:
        return "the sessions that it waits for are not known"
    return ""


def _way_out(node: LockNode, read_only: bool) -> str:
    if node.queued is None:
        return ": only COMMIT PREPARED or ROLLBACK PREPARED ends it"
    if not node.frees:
        return ", and for others too"
    if read_only or not is_within_reach(node):
        return f", {node.frees} of them for nothing else"
    word = "cancelling its query (C)" if node.is_freed_by_cancel else "terminating it (K)"
    return f"; {word} frees {node.frees}"


def caution(node: LockNode, act: Act) -> str:
    """Return what a dialog says of ending a node's query or session: what it frees, and the rollback."""
    if act is Act.CANCEL and not node.runs_query:
        return ""
    said = []
    frees = node.frees_by_cancel if act is Act.CANCEL else node.frees
    kept = node.frees - frees
    if frees:
        said.append(f"Frees {plural(frees, 'waiting session')}")
    if kept:
        may = f"{kept} more may wait on" if frees else "May free none"
        said.append(f"{may}: a session can keep its advisory lock")
    elif node.behind and not frees:
        said.append(f"Frees none of the {plural(node.behind, 'session')} behind it: they wait for others too")
    backend = node.queued.backend if node.queued is not None else None
    if backend is not None and (backend.xact_start is not None or backend.is_hidden):
        said.append("Its transaction is rolled back")
    return ". ".join(said)


def story_lines(
    node: LockNode | None, now: int, width: int, height: int, *, read_only: bool
) -> list[list[Cell]]:
    """Return what is known of the node under the cursor in exactly `height` lines of `width` cells."""
    lines: list[list[Cell]] = []
    if node is not None:
        for said, style in story(node, now, read_only=read_only):
            lines += [[Cell(f" {line}", style)] for line in folded(said, max(1, width - 2))]
        query = printable(node.queued.backend.query) if node.queued is not None else ""
        room = height - len(lines)
        if query and room > 0:
            lines += [[Cell(f" {piece}", "dim")] for piece in few_lines(query, max(1, width - 2), room)]
    return [*lines, *[[] for _ in range(height)]][:height]
