"""A session as text for the clipboard."""

from pgtop.core.activity import Backend, Snapshot
from pgtop.core.session_labels import NO_APPLICATION, client, label, state
from pgtop.core.text import duration, printable


def session_line(row: Backend, snapshot: Snapshot) -> str:
    """Return a session as text for the clipboard: printable, one line."""
    age = duration(row.idle_seconds(snapshot.taken_at))
    parts = [
        f"pid {row.pid}",
        label(row.application_name, NO_APPLICATION),
        f"user {printable(row.usename)}",
        f"database {printable(row.datname)}",
        client(row),
        f"{state(row)} {age}".strip(),
        printable(row.query),
    ]
    return "  ".join(part for part in parts if part)
