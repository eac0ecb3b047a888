"""View: the dashboard's panels, how they are painted, and the keys that only look."""

from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from pgtop.config import Config
from pgtop.core.activity import Backend, Snapshot
from pgtop.core.groups import Group, GroupBy
from pgtop.core.selection import Column as SortColumn
from pgtop.core.selection import parse_filter, sort_backends
from pgtop.poller import Poller
from pgtop.reaper import Report
from pgtop.tui import notices, panels
from pgtop.tui.applications import ApplicationsTable
from pgtop.tui.backends import SORT_COLUMNS, BackendsTable
from pgtop.tui.detail import DetailScreen
from pgtop.tui.graph import WINDOWS, ConnectionGraph
from pgtop.tui.help import HelpScreen
from pgtop.tui.notices import Notice
from pgtop.tui.paint import Lines
from pgtop.tui.seen import Seen
from pgtop.tui.table import LineTable

SHORT_LINES: Final = 15
"""From this height on there is room for more than the list of backends."""
LATE_SECONDS: Final = 2.0
"""A poll that is not answered so long after it was due is late: what is shown is no longer live."""
INTERVALS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0)


class View(Screen[None]):
    """The panels of the ordinary view. What there is to show, the dashboard tells."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared an instance variable by Textual
        (0, "-tiny"),
        (SHORT_LINES, "-short"),
        (30, "-tall"),
    ]

    def __init__(self, *, poller: Poller, config: Config) -> None:
        super().__init__()
        self._poller = poller
        self._config = config
        self.seen = Seen(config.warn_at)
        self.shown: Snapshot | None = None
        """The snapshot on the screen: what keys act on."""
        self._over_since: int | None = None
        self._history = self.seen.history
        self.paused = False
        self.notice: Notice | None = None

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Lines(id="banner")
        yield ConnectionGraph(ascii_only=not self.app.console.encoding.startswith("utf"), id="graph")
        yield ApplicationsTable(id="applications")
        yield BackendsTable(idle_after_seconds=self._config.idle_after_seconds, id="backends")
        yield Input(placeholder="words, app:web, user:, db:, state:idle, -not", id="filter", compact=True)
        yield Lines(id="notice")
        yield Lines(id="keys")

    # What is on the screen

    @property
    def _applications(self) -> ApplicationsTable:
        return self.query_one("#applications", ApplicationsTable)

    @property
    def _backends(self) -> BackendsTable:
        return self.query_one("#backends", BackendsTable)

    @property
    def _graph(self) -> ConnectionGraph:
        return self.query_one("#graph", ConnectionGraph)

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#{name}", Lines)

    def show_all(self) -> None:
        """Paints what is seen in one batch."""
        with self.app.batch_update():
            self._show_head()
            self._show_graph()
            if self.shown is not None:
                self._show_tables(self.shown)
            self._show_foot()

    def show_latest(self) -> None:
        """From now on what was seen last is what is shown."""
        self.shown, self._over_since = self.seen.snapshot, self.seen.over_since
        self._history = self.seen.history

    def _show_head(self) -> None:
        outage, snapshot, width = self.seen.outage, self.shown, self.size.width
        banner = self._lines("banner")
        banner.display = outage is not None
        self.set_class(outage is not None, "-outage")
        for greyed in (self._applications, self._backends, self._lines("head")):
            greyed.set_class(outage is not None, "-greyed")
        age = self.seen.age_of(snapshot) if snapshot is not None else None
        if outage is not None:
            banner.fit(panels.outage_lines(outage, age, width, 2 if self.size.height >= SHORT_LINES else 1))
        if snapshot is not None:
            interval = self._poller.interval_seconds
            standing = panels.Standing(
                snapshot=snapshot,
                warn_at=self._config.warn_at,
                interval_seconds=interval,
                over_since=self._over_since,
                outage=outage,
                age_seconds=age or 0.0,
                paused=self.paused,
                late=self.seen.age_seconds > interval + LATE_SECONDS,
            )
            self._lines("head").show(panels.head_lines(standing, width))

    def _show_graph(self) -> None:
        snapshot = self.shown
        self._graph.greyed = self.seen.outage is not None
        if snapshot is not None:
            self._graph.show(
                self._history,
                now=snapshot.taken_at,
                slots=snapshot.slots,
                warn_at=self._config.warn_at,
                max_connections=snapshot.server.limits.max_connections,
                level=panels.level(snapshot, self._config.warn_at),
            )

    def _show_tables(self, snapshot: Snapshot) -> None:
        by = self._applications.by
        groups = self.seen.groups(by, snapshot)
        self._applications.show_groups(groups, snapshot.taken_at, self.seen.group_history(by))
        self._show_backends(snapshot)

    def _show_backends(self, snapshot: Snapshot) -> None:
        table = self._backends
        chosen = self._applications.chosen
        wanted = parse_filter(self._filter.value)
        rows = [
            backend
            for backend in snapshot.backends
            if (chosen is None or chosen.matches(backend)) and wanted.matches(backend)
        ]
        rows = sort_backends(rows, table.sort_column, table.sort_reversed)
        listed = notices.Listed(
            chosen=self._applications.chosen_name,
            filter=self._filter.value,
            column=table.sort_column,
            tagged=frozenset(table.tagged & snapshot.by_id.keys()),
            idle_after_seconds=table.idle_after_seconds,
        )
        title = notices.backends_title(snapshot, rows, listed, self.size.width)
        table.show_snapshot(snapshot, rows, title)

    def _show_foot(self) -> None:
        line = self._lines("notice")
        line.display = self.notice is not None
        if self.notice is not None:
            line.fit(notices.lines(self.notice, self.size.width, 2 if self.size.height >= SHORT_LINES else 1))
        focus = self.focused.id if self.focused is not None else None
        tagged, read_only = len(self._backends.tagged), self._config.read_only
        keys = notices.keys(focus, tagged, self.notice, read_only=read_only)
        self._lines("keys").show([panels.key_line(keys, self.size.width)])

    def say(self, said: str, style: str = "note", report: Report | None = None) -> None:
        """Shows a notice that stays until it is read (Esc)."""
        self.notice = Notice(said, style, report)
        self._show_foot()

    # Looking

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

    def _reshow(self) -> None:
        if self.shown is not None:
            self._show_tables(self.shown)
        self._show_foot()

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
        self._show_head()

    def action_window(self, by: int) -> None:
        """Shows a longer or shorter time in the graph."""
        index = WINDOWS.index(self._graph.window_seconds) + by
        self._graph.window_seconds = WINDOWS[min(max(0, index), len(WINDOWS) - 1)]

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

    def drop_filter(self) -> None:
        """Empties the filter and takes its line away."""
        self._filter.value = ""
        self._filter.display = False

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
            self.app.copy_to_clipboard(notices.copied(row, self.shown))
            self.say(f"copied: backend {row.pid}")

    def action_help(self) -> None:
        """Shows the keys."""
        self.app.push_screen(HelpScreen())

    def on_descendant_focus(self) -> None:
        if not self._filter.has_focus:
            self._filter.can_focus = False  # Tab goes from table to table
            self._filter.display = bool(self._filter.value)
        self._show_foot()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show_all)
