"""The screens over the dashboard, as the dashboard sees them.

Their own modules are loaded after its first frame: a start that needs none of them does not wait for them.
"""

from collections.abc import Sequence

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.plan import Plan
from pgtop.tui.lines.notice import Notice


class AboutSessions:
    """A screen about sessions of the list, which shows the dashboard's notice."""

    def show_notice(self, shown: Notice | None) -> None:
        """Show the dashboard's notice; None for none."""
        raise TypeError(f"{type(self).__name__} shows no notice")


class AboutFindings:
    """A screen about the findings of the snapshot on the dashboard."""

    def update(self, findings: Sequence[Finding], snapshot: Snapshot, forecast: Forecast | None) -> None:
        """Show the findings of a newer snapshot."""
        raise TypeError(f"{type(self).__name__} shows no findings")


class AboutPlan:
    """A dialog about a plan."""

    plan: Plan
    """The plan that it asks about."""

    def expire(self, said: str) -> None:
        """Make the plan void, and show the reason."""
        raise TypeError(f"{type(self).__name__} has a plan that cannot expire")


class AboutServer:
    """A screen about one server, which makes no sense on another."""

    def server_changed(self) -> None:
        """Close the screen: another server answers."""
        raise TypeError(f"{type(self).__name__} stays open")


class Armed:
    """A dialog that can be confirmed only after it has been on the screen for a moment."""

    def arm(self) -> None:
        """Begin that moment again."""
        raise TypeError(f"{type(self).__name__} is not armed")


def load_screens() -> None:
    """Load the modules of all screens that a key of the dashboard opens.

    A key is then never late, nor in want of a file that an upgrade has replaced meanwhile.
    """
    import pgtop.tui.screens.automatic_dialog
    import pgtop.tui.screens.column_menu
    import pgtop.tui.screens.detail
    import pgtop.tui.screens.diagnosis
    import pgtop.tui.screens.help
    import pgtop.tui.screens.lock_tree
    import pgtop.tui.screens.plan_dialog  # noqa: F401
