"""The server's state as the dashboard saw it, and which part of it is on the screen."""

from collections.abc import Sequence
from typing import Final

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding, Grade
from pgtop.core.diagnosis.forecast import Forecast, still_said
from pgtop.core.event_marks import Event, EventMarks, Mark
from pgtop.core.outage import Outage
from pgtop.core.plan import Act, Trigger
from pgtop.core.sample_history import History, Since, held_since, sample_of
from pgtop.core.server_change import ServerChange, server_change
from pgtop.core.session_groups import GROUP_EVERY_SECONDS, Group, GroupBy, GroupHistory, GroupKey, group
from pgtop.reaping.reaper import Report
from pgtop.tui.state.suspend_clock import elapsed

LATE_SECONDS: Final = 2.0
"""The time after a poll was due from which it counts as late, and the screen as no longer live."""

_KEPT_UNSHOWN: Final = tuple(by for by in GroupBy if by is not GroupBy.STATEMENT)
"""The groupings whose history is kept while another is shown. Thousands of statements take too long."""
_ALERTS: Final = {Alert.OVER: Event.OVER, Alert.FULL: Event.FULL, Alert.LIMIT: Event.LIMIT}
"""The alerts that the graph marks: it shows the others by itself."""


class DashboardState:
    """The last snapshot, the last outage, the history of both, and what is shown of them.

    While the display is paused, `shown` and `shown_history` stay the same; the rest is still updated.
    """

    def __init__(self, warn_at: float) -> None:
        self.warn_at = warn_at
        self.snapshot: Snapshot | None = None
        self.outage: Outage | None = None
        """The present outage; None while polls succeed."""
        self.cluster: str | None = None
        """The last known system identifier; None if the role may not read it."""
        self.interval_seconds = 2.0
        """The intended time between the last two polls."""
        self.shown: Snapshot | None = None
        """The snapshot on the screen: what keys act on."""
        self.over_since: Since | None = None
        """The time since which the usage shown has been over the 80% line; None below it."""
        self.findings: tuple[Finding, ...] = ()
        """The findings of the last snapshot."""
        self.forecast: Forecast | None = None
        """The time at which the server is full, as of the last snapshot; None if no trend holds."""
        self.shown_findings: tuple[Finding, ...] = ()
        """The findings of the snapshot on the screen."""
        self.shown_forecast: Forecast | None = None
        self.paused = False
        self.revision = 0
        """A number that grows whenever the snapshot on the screen or its history changes."""
        self._received = 0.0
        self._forget()
        self.shown_history = self.history

    def _forget(self) -> None:
        self.history = History()
        self._marks = EventMarks()
        self._group_history: dict[GroupBy, GroupHistory[GroupKey]] = {by: GroupHistory() for by in GroupBy}
        self._groups: dict[GroupBy, tuple[Group, ...]] = {}
        self._all_groups_at = 0

    def diagnosed(self, findings: tuple[Finding, ...], forecast: Forecast | None) -> None:
        """Take in the findings of the last snapshot; they are shown with it."""
        self.findings, self.forecast = findings, forecast
        if self.snapshot is not None:
            names = [each.kind.replace("_", " ") for each in findings if each.grade is not Grade.MIXED]
            self._marks.add_findings(names, self.snapshot.taken_at, self.history.clock_shift)
        if self.shown is self.snapshot:
            self.shown_findings, self.shown_forecast = findings, forecast

    def alerted(self, alert: Alert) -> None:
        """Mark an alert in the graph, if it is one of the usage."""
        if alert in _ALERTS:
            self._mark(_ALERTS[alert])

    def reaped(self, report: Report) -> None:
        """Mark a sweep or termination in the graph, unless no session is gone."""
        gone, plan = len(report.terminated), report.plan
        if gone and plan.act is Act.TERMINATE:
            is_sweep = plan.trigger not in (Trigger.SELECTED, Trigger.BREAK_GLASS)
            self._mark(Event.SWEEP if is_sweep else Event.TERMINATION, gone)

    def _mark(self, event: Event, count: int = 0) -> None:
        """Mark an event of this moment, by the server's clock."""
        if self.snapshot is not None:
            at = self.snapshot.taken_at + int(self.age_seconds * MICROSECONDS)
            self._marks.add(Mark(at, event, count), self.history.clock_shift)

    @property
    def shown_marks(self) -> tuple[Mark, ...]:
        """The marks of the graph, by the clock of the history shown."""
        return self._marks.shown(self.shown_history.clock_shift)

    def take(self, result: Snapshot | Outage, interval_seconds: float) -> None:
        """Take in a poll's result, and show it unless the display is paused."""
        self._take_in(result, interval_seconds)
        if not self.paused or self.shown is None:
            self.show_latest()

    def _take_in(self, result: Snapshot | Outage, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        if isinstance(result, Outage):
            self.outage = result
            self.history.add_gap()
            return
        self.outage = None
        heard = result.server.identity.system_identifier
        if heard is not None:
            # Another database cluster at the same address has a history of its own.
            if self.cluster not in (None, heard):
                self._forget()
            self.cluster = heard
        change = server_change(self.snapshot, result) if self.snapshot is not None else None
        self.snapshot = result
        self._received = elapsed()
        self._groups.clear()
        self.history.add(sample_of(result), interval_seconds)
        if change is not None:
            self._mark(Event.RESTART if change is ServerChange.RESTARTED else Event.FAILOVER)
        # All groupings keep a history, so that `g` shows the change at once; hidden ones less often.
        if abs(result.taken_at - self._all_groups_at) >= GROUP_EVERY_SECONDS * MICROSECONDS:
            self._all_groups_at = result.taken_at
            for by in _KEPT_UNSHOWN:
                self.groups(by, result)

    @property
    def age_seconds(self) -> float:
        """The age of the last snapshot, including time that this machine was asleep."""
        return elapsed() - self._received

    def age_of(self, snapshot: Snapshot) -> float:
        """Return the age of a snapshot: the last one, or an earlier one that the display is paused on."""
        latest = self.snapshot or snapshot
        return self.age_seconds + max(0, latest.taken_at - snapshot.taken_at) / MICROSECONDS

    def is_late(self, interval_seconds: float) -> bool:
        """Return whether a poll should have been answered by now, and has not failed yet."""
        return self.snapshot is not None and self.age_seconds > interval_seconds + LATE_SECONDS

    def show_latest(self) -> None:
        """Show the last snapshot and its history."""
        self.shown, self.shown_history = self.snapshot, self.history
        self.shown_findings, self.shown_forecast = self.findings, self.forecast
        held = None if self.shown is None else held_since(self.shown, self.warn_at)
        self.over_since = self.history.over_line_since(self.warn_at, held)
        self.revision += 1

    def diagnosis_to_show(self) -> tuple[tuple[Finding, ...], Forecast | None]:
        """Return the findings on the screen and the forecast, as far as they still hold."""
        findings, forecast = self.shown_findings, self.shown_forecast
        if self.shown is None:
            return findings, forecast
        now = self.shown.taken_at + int(self.age_of(self.shown) * MICROSECONDS)
        return still_said(findings, forecast, now, is_outage=self.outage is not None)

    def put_groups_before(self, earlier: Sequence[Snapshot]) -> None:
        """Put the groups of earlier snapshots, oldest first, in front of those that were seen."""
        for by in _KEPT_UNSHOWN:
            totals = [
                (
                    each.taken_at,
                    {row.key: row.total for row in group(each.backends, by, each.taken_at, each.slots)},
                )
                for each in earlier
            ]
            self._group_history[by].put_before(totals)
        self.revision += 1

    def past_added(self) -> None:
        """Show the history again after an earlier one was added to it, unless the display is paused."""
        if not self.paused:
            self.show_latest()

    def toggle_pause(self) -> None:
        """Pause the display, or resume it."""
        self.paused = not self.paused
        if self.paused:
            self.shown_history = self.history.copy()
            self.revision += 1
        else:
            self.show_latest()

    def groups(self, by: GroupBy, snapshot: Snapshot) -> tuple[Group, ...]:
        """Return the groups of a snapshot: the last one, or one that the display is paused on."""
        if snapshot is not self.snapshot:
            return group(snapshot.backends, by, snapshot.taken_at, snapshot.slots)
        if by not in self._groups:
            groups = group(snapshot.backends, by, snapshot.taken_at, snapshot.slots)
            self._groups[by] = groups
            self._group_history[by].add(snapshot.taken_at, {row.key: row.total for row in groups})
        return self._groups[by]

    def totals_of(self, application_name: str) -> list[int]:
        """Return an application's numbers of sessions over the last minutes, the oldest first."""
        key = GroupKey(application_name=application_name)
        return self.group_history(GroupBy.APPLICATION).series(key)

    def group_history(self, by: GroupBy) -> GroupHistory[GroupKey]:
        """Return the history of that grouping."""
        return self._group_history[by]
