"""The data that the dashboard has seen so far, from which its panels are drawn."""

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.groups import GROUP_EVERY_SECONDS, Group, GroupBy, GroupHistory, GroupKey, group
from pgtop.core.history import History, sample_of
from pgtop.core.outage import Outage
from pgtop.tui.state.suspend_clock import elapsed


class DashboardState:
    """The last snapshot, the last outage, and the history of both."""

    def __init__(self, warn_at: float) -> None:
        self.warn_at = warn_at
        self.snapshot: Snapshot | None = None
        self.outage: Outage | None = None
        """The present outage; None while polls succeed."""
        self.cluster: str | None = None
        """The last known system identifier; None if the role may not read it."""
        self.interval_seconds = 2.0
        """The interval that was set between the last two polls."""
        self._received = 0.0
        self._forget()

    def _forget(self) -> None:
        self.history = History()
        self._group_history: dict[GroupBy, GroupHistory[GroupKey]] = {by: GroupHistory() for by in GroupBy}
        self._groups: dict[GroupBy, tuple[Group, ...]] = {}
        self._all_groups_at = 0

    def take(self, result: Snapshot | Outage, interval_seconds: float) -> None:
        """Take note of a poll's result."""
        self.interval_seconds = interval_seconds
        if isinstance(result, Outage):
            self.outage = result
            self.history.add_gap()
            return
        self.outage = None
        heard = result.server.identity.system_identifier
        if heard is not None:
            # Another database cluster at the same address has another past.
            if self.cluster not in (None, heard):
                self._forget()
            self.cluster = heard
        self.snapshot = result
        self._received = elapsed()
        self._groups.clear()
        self.history.add(sample_of(result), interval_seconds)
        # All groupings keep a history, so that `g` shows the change at once; hidden ones less often.
        if abs(result.taken_at - self._all_groups_at) >= GROUP_EVERY_SECONDS * MICROSECONDS:
            self._all_groups_at = result.taken_at
            for by in GroupBy:
                self.groups(by, result)

    @property
    def age_seconds(self) -> float:
        """The age of the last snapshot, including time that this machine was asleep."""
        return elapsed() - self._received

    def age_of(self, snapshot: Snapshot) -> float:
        """Return the age of a snapshot: the last one, or an earlier one that the display is paused on."""
        latest = self.snapshot or snapshot
        return self.age_seconds + max(0, latest.taken_at - snapshot.taken_at) / MICROSECONDS

    @property
    def over_since(self) -> int | None:
        """The moment when usage rose over the line, microseconds by the server's clock."""
        return self.history.over_line_since(self.warn_at)

    def groups(self, by: GroupBy, snapshot: Snapshot) -> tuple[Group, ...]:
        """Return the groups of a snapshot: the last one, or one that the display is paused on."""
        if snapshot is not self.snapshot:
            return group(snapshot.backends, by, snapshot.taken_at, snapshot.slots)
        if by not in self._groups:
            groups = group(snapshot.backends, by, snapshot.taken_at, snapshot.slots)
            self._groups[by] = groups
            self._group_history[by].add(snapshot.taken_at, {row.key: row.total for row in groups})
        return self._groups[by]

    def group_history(self, by: GroupBy) -> GroupHistory[GroupKey]:
        """Return the history of that grouping."""
        return self._group_history[by]
