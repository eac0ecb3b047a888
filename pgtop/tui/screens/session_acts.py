"""The acts on one session that a screen above the dashboard offers; the dashboard carries them out."""

from collections.abc import Callable
from typing import NamedTuple

from pgtop.core.activity import Backend, BackendId
from pgtop.core.plan import Act
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.tui.lines.notice import Notice


class SessionActs(NamedTuple):
    """The dashboard as the screens above it see it."""

    own_connection: OwnConnection
    """The connection over which they ask."""
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
    read_only: bool = False
