"""All of one session in lines: the facts, its place in the lock tree, its query and its locks."""

from typing import Final

from pgtop.core.activity import ACTIVE, IN_TRANSACTION, Backend, instant, seconds_between
from pgtop.core.lock_tree import LockNode, lock_tree
from pgtop.core.session_labels import (
    HIDDEN,
    NO_APPLICATION,
    NO_DATABASE,
    NO_USER,
    client,
    label,
    state,
    wait,
)
from pgtop.core.text import ago, clip, duration, plural, printable, printable_lines
from pgtop.postgres.backend_detail import BackendDetail, Lock
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.lock_tree import age, branch, lock_words, name, node_of, state_words

UNSURE_SESSION: Final = "its start is hidden, so it may be another by now"
"""The caution about a session that this role knows by its pid alone: a busy server reuses pids soon."""
LONGEST_QUERY_LINES: Final = 2_000
_MOST_BEHIND: Final = 5
"""The most sessions behind it that are listed."""


def detail_lines(detail: BackendDetail, width: int) -> list[list[Cell]]:
    """Return all that is known of a session, in lines of at most `width` cells."""
    backend, now = detail.backend, detail.now
    host = f" ({printable(detail.client_hostname)})" if detail.client_hostname else ""
    tls = "" if detail.is_recorded else f", {printable(detail.tls) or 'no TLS'}"
    ids = f"{printable(detail.backend_xid) or 'none'}, xmin {printable(detail.backend_xmin) or 'none'}"
    facts = [
        ("application", label(backend.application_name, NO_APPLICATION)),
        ("user", label(backend.usename, NO_USER) + (" (superuser)" if backend.is_superuser else "")),
        ("database", label(backend.datname, NO_DATABASE)),
        ("client", f"{client(backend)}{host}{tls}"),
        ("state", _state(backend, now)),
        *([("idle age", idle_age)] if (idle_age := _idle_age(backend, now)) else []),
        ("session began", _moment(backend.backend_start, now)),
        ("transaction began", _moment(backend.xact_start, now)),
        ("query began", _moment(backend.query_start, now)),
        ("wait event", printable(wait(backend)) or "none"),
        ("transaction id", "not recorded" if detail.is_recorded else ids),
    ]
    lines = [
        [Cell(f" {fact:<18} ", "dim"), Cell(clip(value, width - 20), _fact_style(fact, backend))]
        for fact, value in facts
    ]
    lines += _tree_lines(detail, width)
    lines += [[], [Cell(" query" if backend.state == ACTIVE else " last query", "title")]]
    if detail.query is None:
        why = "not recorded" if detail.is_recorded else f"{HIDDEN} (hide_queries)"
        lines.append([Cell(f" {why}", "dim")])
    else:
        pieces = wrapped(detail.query, width - 1)
        lines += [[Cell(f" {piece}")] for piece in pieces] or [[Cell(" none", "dim")]]
    if detail.is_recorded:
        return [*lines, [], [Cell(" locks: not recorded", "title")]]
    lines += [[], [Cell(f" locks: {len(detail.locks)}", "title")]]
    return lines + [_lock(lock, width) for lock in detail.locks]


def _fact_style(fact: str, backend: Backend) -> str:
    if fact == "state" and backend.state in IN_TRANSACTION:
        return "amber"
    return "strong-amber" if fact == "wait event" and backend.waits_on_lock else ""


def _state(backend: Backend, now: int) -> str:
    word, since = printable(backend.state) or state(backend), backend.state_change
    if since is None:
        return word
    return f"{word} for {duration(seconds_between(since, now))} ({_clock(since, now)})"


def _idle_age(backend: Backend, now: int) -> str:
    """Return how long a session has been idle, in a transaction or not; "" if it is not idle."""
    if backend.state in IN_TRANSACTION:
        return f"{duration(backend.state_seconds(now))}, in a transaction: it keeps its locks"
    return duration(backend.idle_seconds(now))


def _moment(microseconds: int | None, now: int) -> str:
    if microseconds is None:
        return "none"
    return f"{ago(seconds_between(microseconds, now))} ({_clock(microseconds, now)})"


def _clock(microseconds: int, now: int) -> str:
    """Return the time of day, with the date if it is not today's."""
    day, today = (f"{instant(at):%Y-%m-%d}" for at in (microseconds, now))
    time_of_day = f"{instant(microseconds):%H:%M:%S} UTC"
    return time_of_day if day == today else f"{day} {time_of_day}"


def _tree_lines(detail: BackendDetail, width: int) -> list[list[Cell]]:
    """Return the part of the lock tree that leads to the session, and what waits behind it."""
    nodes = lock_tree(detail.queue)
    own = node_of(nodes, detail.backend.pid)
    if own is None:
        return [[Cell(f" {'lock waits':<18} ", "dim"), Cell("waits for none, blocks none")]]
    start = nodes.index(own)
    above: list[LockNode] = []
    for node in reversed(nodes[:start]):
        if node.depth < (above[-1].depth if above else own.depth):
            above.append(node)
    below: list[LockNode] = []
    for node in nodes[start + 1 :]:
        if node.depth <= own.depth:
            break
        below.append(node)
    said = f" lock tree: blocks {plural(own.behind, 'session')}" if own.behind else " lock tree"
    lines = [[], [Cell(said, "title")]]
    shown = [*reversed(above), own, *below[:_MOST_BEHIND]]
    lines += [_tree_line(node, detail.queue.now, width, is_own=node is own) for node in shown]
    if own.other_blockers and own.trunk:
        said = f" it also waits for {plural(own.other_blockers, 'other session')}: b shows all"
        lines.append([Cell(clip(said, width), "amber")])
    left = len(below) - _MOST_BEHIND
    if left > 0:
        lines.append([Cell(clip(f" … {left} more: b shows all", width), "dim")])
    return lines


def _tree_line(node: LockNode, now: int, width: int, *, is_own: bool) -> list[Cell]:
    """Return a node: its name, how long it has waited or been in its transaction, and its lock."""
    lead = f" {'▸' if is_own else ' '}{branch(node)}"
    told = [name(node), f"{state_words(node)} {duration(age(node, now))}".strip(), lock_words(node)]
    waits = node.queued is not None and node.queued.waits
    style = "strong-amber" if is_own or waits else "amber"
    return [Cell(clip(lead + "  ".join(filter(None, told)), width), style)]


def _lock(lock: Lock, width: int) -> list[Cell]:
    granted = Cell(" holds  ", "dim") if lock.granted else Cell(" waits  ", "strong-amber")
    return [granted, Cell(clip(f"{printable(lock.mode)} on {printable(lock.target)}", width - 8))]


def wrapped(query: str, width: int) -> list[str]:
    """Return a query in at most 2,000 printable lines of at most `width` cells, with its indentation.

    Lines break at blanks, except in words that are longer than half a line.

    >>> wrapped("SELECT a, b  FROM t", 9)
    ['SELECT a,', 'b  FROM t']
    """
    pieces: list[str] = []
    for text in printable_lines(query):
        rest = text
        while rest and len(pieces) < LONGEST_QUERY_LINES:
            piece = clip(rest, width, "")
            blank = rest[: len(piece) + 1].rfind(" ")
            if len(piece) < len(rest) and blank > len(piece) // 2:
                piece = rest[:blank]
            pieces.append(piece)
            rest = rest[len(piece) :].removeprefix(" ")
        if not text:
            pieces.append("")
    return pieces[:LONGEST_QUERY_LINES]
