"""The one notice above the keys, and the time for which it stays."""

from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.tui.lines import notice
from pgtop.tui.lines.notice import Notice
from pgtop.tui.state.suspend_clock import elapsed

WALL_NOTE_SECONDS: Final = 60.0
"""The time for which the wall shows a note that needs no reaction."""


class NoticeBoard:
    """The notice that is shown until it is dismissed, or until another takes its place."""

    def __init__(self) -> None:
        self.current: Notice | None = None
        self.posted_at = 0.0
        """The time at which it was posted (seconds of `elapsed()`, which counts sleep)."""

    @property
    def dated(self) -> Notice | None:
        """The notice with its age."""
        if self.current is None:
            return None
        return self.current._replace(age_seconds=elapsed() - self.posted_at)

    def post(self, posted: Notice) -> None:
        """Show this notice from now on."""
        self.current = posted
        self.posted_at = elapsed()

    def post_alert(self, alert: Notice) -> None:
        """Show an alert while the display is paused, unless the results of an action are shown."""
        if self.current is None or self.current.report is None:
            self.post(notice.with_alert(self.current, alert))

    def add_usage(self, result: Snapshot | Outage) -> None:
        """Add the usage after an action, taken from a poll after it."""
        if self.current is not None:
            snapshot = result if isinstance(result, Snapshot) else None
            self.current = notice.with_usage(self.current, snapshot)

    def dismiss(self) -> None:
        """Remove the notice."""
        self.current = None

    def dismiss_old_note(self) -> None:
        """Dismiss a note after WALL_NOTE_SECONDS, since nobody presses a key at the wall."""
        current = self.current
        is_note = current is not None and current.style == "note" and current.report is None
        if is_note and elapsed() - self.posted_at >= WALL_NOTE_SECONDS:
            self.dismiss()
