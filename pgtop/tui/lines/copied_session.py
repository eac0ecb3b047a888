"""A session as text for the clipboard."""

from msgspec.structs import replace

from pgtop.core.activity import Backend, Snapshot
from pgtop.core.lock_tree import LockNode
from pgtop.core.session_labels import NO_APPLICATION, client, label, state
from pgtop.core.text import duration, printable, printable_lines
from pgtop.postgres.backend_detail import BackendDetail
from pgtop.tui.lines.lock_tree import age, lock_words, state_words


def session_line(row: Backend, snapshot: Snapshot) -> str:
    """Return a session as text for the clipboard: printable, one line."""
    return _line(row, duration(row.idle_seconds(snapshot.taken_at)))


def detailed_session(detail: BackendDetail) -> str:
    """Return a session as text for the clipboard: its line, and its whole query below; printable."""
    backend = replace(detail.backend, query=None)
    lines = [_line(backend, duration(backend.idle_seconds(detail.now))), *printable_lines(detail.query)]
    return "\n".join(lines)


def locked_line(node: LockNode, now: int) -> str:
    """Return a node of the lock tree as text: the session with its lock, or the end of what was prepared.

    A prepared transaction whose name is not printable has no such statement.
    """
    if node.queued is not None:
        words = f"{state_words(node)} {duration(age(node, now))}".strip()
        return "  ".join(filter(None, (_line(node.queued.backend, ""), words, lock_words(node))))
    gid = node.prepared.gid if node.prepared is not None else ""
    if gid and printable(gid) == gid:
        return "ROLLBACK PREPARED '{}';".format(gid.replace("'", "''"))
    return "SELECT * FROM pg_prepared_xacts;"


def _line(row: Backend, idle_age: str) -> str:
    parts = [
        f"pid {row.pid}",
        label(row.application_name, NO_APPLICATION),
        f"user {printable(row.usename)}",
        f"database {printable(row.datname)}",
        client(row),
        f"{state(row)} {idle_age}".strip(),
        printable(row.query),
    ]
    return "  ".join(part for part in parts if part)
