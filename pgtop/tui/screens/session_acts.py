"""The acts on one session that a screen above the dashboard offers; the dashboard carries them out."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from pgtop.core.activity import Backend, BackendId
from pgtop.core.plan import Act
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.tui.lines.notice import Notice

if TYPE_CHECKING:
    from pgtop.core.lock_tree import LockQueue
    from pgtop.postgres.backend_detail import BackendDetail


class SessionSource(NamedTuple):
    """The place that such a screen asks for sessions: the server, or a recording of it."""

    server: str
    """The name of the server, printable."""
    hides_queries: bool
    detail: Callable[[BackendId], "Coroutine[Any, Any, BackendDetail | None]"]
    """Return all of one session; None if it is gone. Raises PgtopError."""
    locks: Callable[[], "Coroutine[Any, Any, LockQueue]"]
    """Return the sessions that wait for locks, and those that block them. Raises PgtopError."""
    is_live: bool = True
    """False for a recording."""


def live_source(own_connection: OwnConnection) -> SessionSource:
    """Return a server as the place to ask; what asks it is loaded with the first question."""

    async def detail(identity: BackendId) -> "BackendDetail | None":
        from pgtop.postgres.backend_detail import backend_detail

        return await backend_detail(own_connection, identity)

    async def locks() -> "LockQueue":
        from pgtop.postgres.lock_queue import lock_queue

        return await lock_queue(own_connection)

    return SessionSource(own_connection.target.label, own_connection.hides_queries, detail, locks)


class SessionActs(NamedTuple):
    """The dashboard as the screens above it see it."""

    source: SessionSource
    """The place that they ask."""
    plan: Callable[[Act, Backend, str], None]
    """Ask whether to terminate a session, or to cancel its query; the text is shown with the plan."""
    show_in_list: Callable[[BackendId], None]
    """Close what is above the list, and put its cursor on a session."""
    show_lock_tree: Callable[[], None]
    """Close the details, and show the lock tree."""
    current_notice: Callable[[], Notice | None]
    """Return the notice on the dashboard."""
    dismiss_notice: Callable[[], bool]
    """Dismiss the notice, and return False if there is none."""
    show_outcomes: Callable[[], None]
    """Show the results of the last action."""
    refusal: str = ""
    """The reason that nothing can be terminated or cancelled, printable; "" if something can."""

    @property
    def read_only(self) -> bool:
        """True if nothing can be terminated or cancelled."""
        return bool(self.refusal)
