"""The words for a backend's names, state, address and wait, on the screen and in a filter.

A name that is missing or hidden has a word too.
"""

import re
from typing import Final

from pgtop.core.activity import (
    ACTIVE,
    DISABLED,
    FASTPATH,
    IDLE,
    IDLE_IN_TRANSACTION,
    IDLE_IN_TRANSACTION_ABORTED,
    STARTING,
    Backend,
    Snapshot,
)
from pgtop.core.text import clip, duration, printable

LOCAL: Final = "local"
"""The word for the address of a session over a Unix socket, which has none."""

NO_APPLICATION: Final = "(no name)"
"""The word for a missing application_name. A session that is really named so is shown in quotes."""
NO_USER: Final = "(no user)"
NO_DATABASE: Final = "(no database)"
NO_STATEMENT: Final = "(no statement)"
HIDDEN: Final = "hidden"
"""The word for a value that this role cannot see."""

STATE_WORDS: Final = {
    IDLE: "idle",
    ACTIVE: "active",
    IDLE_IN_TRANSACTION: "idle in txn",
    IDLE_IN_TRANSACTION_ABORTED: "aborted",
    FASTPATH: "fastpath",
    DISABLED: "disabled",
    STARTING: "starting",
}
"""PostgreSQL's states as the list shows them, in at most eleven cells."""

_OWN_INHERIT_OPTION: Final = 160_000
"""The first version in which each membership has an INHERIT option of its own."""
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_EMPTY: Final = frozenset({NO_APPLICATION, NO_USER, NO_DATABASE, NO_STATEMENT, HIDDEN})


def label(value: str | None, empty: str) -> str:
    """Return a name as it is shown: printable, `empty` for none, in quotes if it is such a word itself.

    >>> label("", NO_APPLICATION), label("(no name)", NO_APPLICATION), label(" ", NO_APPLICATION)
    ('(no name)', '"(no name)"', '" "')
    """
    if not value:
        return empty
    shown = printable(value)
    if not shown:
        return '" "'
    return f'"{shown}"' if shown in _EMPTY else shown


TRACK_STATES: Final = ("ALTER SYSTEM SET track_activities = on;", "SELECT pg_reload_conf();")
"""The statements that let the server track the states of sessions."""


def monitor_grant(snapshot: Snapshot) -> str:
    """Return the statement that lets pgtop's role see all states, printable."""
    return inheriting_grant(snapshot, "pg_monitor", inherits=snapshot.privileges.inherits)


def inheriting_grant(snapshot: Snapshot, group: str, *, inherits: bool) -> str:
    """Return the statement that gives pgtop's role the privileges of a group, printable.

    `inherits` is False for a member without the privileges, to whom the plain grant would give nothing.
    """
    role, has_own_option = snapshot.privileges.role, snapshot.server.version_num >= _OWN_INHERIT_OPTION
    is_plain = inherits and snapshot.privileges.role_inherits
    if is_plain or has_own_option:
        return grant(group, role, "" if is_plain else " WITH INHERIT TRUE")
    altered = f"ALTER ROLE {_quoted(role)} INHERIT;"
    return f"{altered} {grant(group, role)}" if inherits else altered


def grant(granted: str, role: str, option: str = "") -> str:
    """Return the statement that grants this to a role, printable.

    >>> grant("pg_monitor", "ops"), grant("pg_monitor", "On call")
    ('GRANT pg_monitor TO ops;', 'GRANT pg_monitor TO "On call";')
    """
    return f"GRANT {granted} TO {_quoted(role)}{option};"


def _quoted(role: str) -> str:
    return role if _PLAIN_NAME.fullmatch(role) else '"' + printable(role.replace('"', '""')) + '"'


def state(backend: Backend) -> str:
    """Return the session's state in at most eleven cells: `idle`, `idle in txn`, `aborted`, `hidden` …"""
    if backend.is_hidden:
        return HIDDEN
    return STATE_WORDS.get(backend.state or "") or clip(printable(backend.state), 11)


def address(backend: Backend) -> str | None:
    """Return the session's client_addr: `LOCAL` over a Unix socket, None if hidden."""
    if backend.client_addr is not None:
        return backend.client_addr
    return LOCAL if backend.client_port == -1 else None


def client(backend: Backend) -> str:
    """Return the client of a session: `10.0.4.7:511`, `[::1]:5432`, `local`, `hidden`, or "" if unknown."""
    host, port = address(backend), backend.client_port
    if host is None:
        return HIDDEN if backend.is_hidden else ""
    if host == LOCAL:
        return LOCAL
    shown = printable(f"[{host}]" if ":" in host else host)
    return shown if port is None else f"{shown}:{port}"


def idle_age(backend: Backend, now: int) -> str:
    """Return a session's idle age at `now` (microseconds): `12m`, `≥ 3s` for a lower bound, "" if unknown."""
    return rest_age(backend, now) if backend.idle_seconds(now) is not None else ""


def rest_age(backend: Backend, now: int) -> str:
    """Return how long a session has been idle, in a transaction or not, in the same form."""
    age = duration(backend.state_seconds(now))
    return f"≥ {age}" if age and backend.idle_at_least else age


def wait(backend: Backend) -> str:
    """Return a session's wait event, such as `Lock/transactionid`; "" for none."""
    return printable("/".join(part for part in (backend.wait_event_type, backend.wait_event) if part))
