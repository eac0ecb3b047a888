"""The keys of the dashboard that only look, and do nothing to a session."""

from typing import Final

from textual import on
from textual.widgets import Input

from pgtop.core.activity import Backend
from pgtop.core.filter_sort import Column as SortColumn
from pgtop.core.groups import Group, GroupBy
from pgtop.tui.lines import notice
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.view import View
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.sessions_table import SORT_COLUMNS

INTERVALS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0)


class Looking(View):
    """What a person does to see more, or something else."""

    @on(LineTable.Chosen, "#backends")
    def _chosen_backend(self, message: LineTable.Chosen) -> None:
        row = message.row
        if isinstance(row, Backend):
            self.app.push_screen(DetailScreen(self._poller.probe.seat, row))

    @on(LineTable.Chosen, "#applications")
    def _chosen_group(self, message: LineTable.Chosen) -> None:
        if isinstance(message.row, Group):
            self._applications.choose(message.row)
            self._reshow()

    @on(LineTable.HeadClicked, "#backends")
    def _head_clicked(self, message: LineTable.HeadClicked) -> None:
        column = SORT_COLUMNS.get(message.column)
        if column is self._backends.sort_column:
            self.action_reverse()
        elif column is not None:
            self._sort_by(column)

    def action_tag(self) -> None:
        """Tags the selected session, or untags it."""
        self._backends.toggle_tag()
        self._reshow()

    def action_untag(self) -> None:
        """Untags all sessions."""
        self._backends.tagged.clear()
        self._reshow()

    def _sort_by(self, column: SortColumn) -> None:
        self._backends.sort_column = column
        self._backends.sort_reversed = False
        self._reshow()

    def action_sort(self) -> None:
        """Sorts by the next column."""
        columns = list(SortColumn)
        self._sort_by(columns[(columns.index(self._backends.sort_column) + 1) % len(columns)])

    def action_reverse(self) -> None:
        """Turns the order round."""
        self._backends.sort_reversed = not self._backends.sort_reversed
        self._reshow()

    def action_group(self) -> None:
        """Groups by the next of application, user, database and address."""
        groupings = list(GroupBy)
        table = self._applications
        table.by = groupings[(groupings.index(table.by) + 1) % len(groupings)]
        table.chosen = None
        self._reshow()

    def action_pause(self) -> None:
        """Lets what is shown stand still, or go on."""
        self.paused = not self.paused
        if self.paused:
            self._history = self.seen.history.copy()
        else:
            self.show_latest()
        self.show_all()

    def action_slower(self, by: int) -> None:
        """Polls at the next longer or shorter interval."""
        present = self._poller.interval_seconds
        if by > 0:
            self._poller.interval_seconds = next((each for each in INTERVALS if each > present), present)
        else:
            shorter = [each for each in INTERVALS if each < present]
            self._poller.interval_seconds = shorter[-1] if shorter else present
        self.paced()
        self._show_head()

    def paced(self) -> None:
        """Called when the interval was changed."""

    def action_filter(self) -> None:
        """Opens the filter's line."""
        self._filter.display = self._filter.can_focus = True
        self._filter.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self) -> None:
        self._reshow()

    @on(Input.Submitted, "#filter")
    def _filter_submitted(self) -> None:
        self._backends.focus()

    def action_clear(self) -> None:
        """Takes away one thing: the filter being typed, the notice, the filter, the choice."""
        if self._filter.has_focus or (self.notice is None and self._filter.value):
            self.drop_filter()
            self._backends.focus()
        elif self.notice is not None:
            self.notice = None
        elif self._applications.chosen is not None:
            self._applications.chosen = None
        self._reshow()

    def action_copy(self) -> None:
        """Copies the selected session's line."""
        row = self._backends.cursor_row
        if row is not None and self.shown is not None:
            self.app.copy_to_clipboard(notice.copied(row, self.shown))
            self.say(f"copied session {row.pid}")

    def action_help(self) -> None:
        """Shows the keys."""
        self.app.push_screen(HelpScreen(read_only=self._config.read_only))
