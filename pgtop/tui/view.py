"""View: the dashboard's panels and how they are painted."""

import time
from contextlib import ExitStack
from typing import Final

from textual.app import ComposeResult
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Input

from pgtop.core.activity import Snapshot
from pgtop.core.filter_sort import parse_filter, sort_backends
from pgtop.core.outage import Limit, Outage
from pgtop.poller import Poller
from pgtop.postgres.errors import FULL, SILENT
from pgtop.reaping.reaper import Report
from pgtop.settings.config import Config
from pgtop.tui.lines import notice, panels
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.waiting import Awaited, connecting_lines, waiting_lines
from pgtop.tui.lines.wall import LOW, figure_lines, top_count, top_lines
from pgtop.tui.state.daemon_watch import DaemonWatch
from pgtop.tui.state.dashboard_state import DashboardState
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.widgets.connection_graph import DEFAULT_WINDOW, ConnectionGraph, fitting_window
from pgtop.tui.widgets.groups_table import GroupsTable
from pgtop.tui.widgets.painted import Lines
from pgtop.tui.widgets.sessions_table import SessionsTable

SHORT_LINES: Final = 15
"""From this height on there is room for more than the list of backends."""
LATE_SECONDS: Final = 2.0
"""A poll that is not answered so long after it was due is late: what is shown is no longer live."""


class View(Screen[None]):
    """The panels of the ordinary view. What there is to show, the dashboard tells."""

    AUTO_FOCUS = "#backends"
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared an instance variable by Textual
        (0, "-tiny"),
        (SHORT_LINES, "-short"),
        (30, "-tall"),
    ]

    def __init__(self, *, poller: Poller, config: Config, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii_only = ascii_only
        self._poller = poller
        self._config = config
        self._unpainted = ExitStack()
        self._reapers = DaemonWatch(self, poller)
        self.seen = DashboardState(config.warn_at)
        self.shown: Snapshot | None = None
        """The snapshot on the screen: what keys act on."""
        self._over_since: int | None = None
        self._history = self.seen.history
        self.refusing: Limit | None = None
        """What of the server's refuses other logins, where that is known."""
        self.host_watch: HostWatch | None = None
        """The server as its own host shows it, where that is this one."""
        self.paused = False
        self.wall = config.wall
        """True while the wall view is shown in place of the tables."""
        self._window_seconds = DEFAULT_WINDOW
        self._wall_window_seconds: int | None = None
        """Chosen for the wall; None: as much as is known, up to the longest."""
        self.notice: Notice | None = None
        self.said_at = 0.0
        """When that was said (seconds, monotonic)."""

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Lines(id="banner")
        yield Lines(id="auto")
        yield Lines(id="connecting")
        yield Lines(id="figures")
        yield Lines(id="waiting")
        yield ConnectionGraph(ascii_only=self._ascii_only, draws_at_once=False, id="graph")
        yield GroupsTable(id="applications")
        yield Lines(id="top")
        yield SessionsTable(
            idle_after_seconds=self._config.idle_after_seconds,
            hides_queries=self._config.hide_queries,
            id="backends",
        )
        yield Input(placeholder="words, app:web, user:, db:, state:idle, -not", id="filter", compact=True)
        yield Lines(id="notice")
        yield Lines(id="keys")

    # What is on the screen

    @property
    def _applications(self) -> GroupsTable:
        return self.query_one("#applications", GroupsTable)

    @property
    def _backends(self) -> SessionsTable:
        return self.query_one("#backends", SessionsTable)

    @property
    def _graph(self) -> ConnectionGraph:
        return self.query_one("#graph", ConnectionGraph)

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#{name}", Lines)

    def hold(self) -> None:
        """Paints nothing until the screen has its size."""
        self._unpainted.enter_context(self.app.batch_update())

    def show_all(self) -> None:
        """Paints what is seen in one batch."""
        with self.app.batch_update():
            self._show_head()
            self._show_graph()
            if self.wall:
                self._show_top()
            elif self.shown is not None:
                self._show_tables(self.shown)
            self._show_foot()

    def show_latest(self) -> None:
        """From now on what was seen last is what is shown."""
        self.shown, self._over_since = self.seen.snapshot, self.seen.over_since
        self._history = self.seen.history

    def _show_head(self) -> None:
        snapshot, width, late = self.shown, self.size.width, self._is_late
        outage = self.seen.outage or (self._silence() if late else None)
        banner = self._lines("banner")
        banner.display = outage is not None and snapshot is not None and not self.wall
        self._show_connecting(width)
        self.set_class(snapshot is None, "-waiting")
        if outage is not None and snapshot is None:
            room = max(0, self._lines("waiting").size.height)
            self._lines("waiting").show(waiting_lines(self._awaited(outage), width, room))
        self.set_class(outage is not None, "-outage")
        self.set_class(self.wall, "-wall")
        for greyed in (self._applications, self._backends, self._lines("head"), self._lines("top")):
            greyed.set_class(outage is not None, "-greyed")
        self._graph.greyed = outage is not None
        age = self.seen.age_of(snapshot) if snapshot is not None else None
        if outage is not None:
            banner.fit(panels.outage_lines(outage, age, width, 2 if self.size.height >= SHORT_LINES else 1))
        standing = self._standing(snapshot, age or 0.0) if snapshot is not None else None
        if standing is not None:
            self._lines("head").show(panels.head_lines(standing, width))
        if self.wall:
            self._show_wall(standing)

    def _standing(self, snapshot: Snapshot, age_seconds: float) -> panels.Standing:
        interval = self._poller.interval_seconds
        return panels.Standing(
            snapshot=snapshot,
            warn_at=self._config.warn_at,
            interval_seconds=interval,
            over_since=self._over_since,
            outage=self.seen.outage,
            age_seconds=age_seconds,
            paused=self.paused,
            read_only=self._config.read_only,
            late=self._is_late,
            refusing=self.refusing,
            reapers=self._reapers.reapers,
        )

    def _show_wall(self, standing: panels.Standing | None) -> None:
        width, height = self.size
        self.set_class(height < LOW, "-low")
        self._lines("figures").fit(figure_lines(standing, self.seen.outage, width, height))

    def _show_top(self) -> None:
        width, height = self.size
        by = self._applications.by
        groups = self.seen.groups(by, self.shown) if self.shown is not None else ()
        self._lines("top").fit(top_lines(groups, by, width, top_count(height)))

    @property
    def _is_late(self) -> bool:
        """True where a poll should have been answered by now, and nobody says yet that it failed."""
        seen, interval = self.seen, self._poller.interval_seconds
        return seen.snapshot is not None and seen.age_seconds > interval + LATE_SECONDS

    def _silence(self) -> Outage:
        """What is wrong while a poll is late."""
        return Outage(SILENT, f"{self._poller.probe.seat.label} does not answer", 0.0)

    @property
    def may_break_glass(self) -> bool:
        """True where no seat can be had for want of a slot, and this host is the server's own."""
        outage = self.seen.outage
        is_full = outage is not None and outage.kind == FULL
        return self._is_on_host and is_full and not self._config.read_only

    @property
    def _is_on_host(self) -> bool:
        return self.host_watch is not None and self.host_watch.is_here

    def _show_connecting(self, width: int) -> None:
        line = self._lines("connecting")
        view = self.host_watch.view if self.host_watch is not None else None
        lines = connecting_lines(view, width, 2 if self.size.height >= SHORT_LINES else 0)
        line.display = bool(lines)
        if lines:
            line.fit(lines)

    def _awaited(self, outage: Outage) -> Awaited:
        target = self._poller.probe.seat.target
        rescue = target.rescue.label if target.rescue is not None else ""
        return Awaited(
            target=target.label,
            outage=outage,
            rescue=rescue,
            on_host=self._is_on_host,
            host_problem=self.host_watch.problem if self.host_watch is not None else "",
            view=self.host_watch.view if self.host_watch is not None else None,
            read_only=self._config.read_only,
        )

    def _show_graph(self) -> None:
        snapshot = self.shown
        if snapshot is not None:
            self._graph.window_seconds = self._window(snapshot)
            self._graph.show(
                self._history,
                now=snapshot.taken_at,
                slots=snapshot.slots,
                warn_at=self._config.warn_at,
                max_connections=snapshot.server.limits.max_connections,
            )

    def _window(self, snapshot: Snapshot) -> int:
        if not self.wall:
            return self._window_seconds
        return self._wall_window_seconds or fitting_window(self._history.span_seconds(snapshot.taken_at))

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
        listed = notice.Listed(
            chosen=self._applications.chosen_name,
            filter=self._filter.value,
            column=table.sort_column,
            tagged=frozenset(table.tagged & snapshot.by_id.keys()),
            idle_after_seconds=table.idle_after_seconds,
        )
        title = notice.backends_title(snapshot, rows, listed, self.size.width)
        table.show_snapshot(snapshot, rows, title)

    def _show_foot(self) -> None:
        line = self._lines("notice")
        line.display = self.notice is not None
        if self.notice is not None:
            line.fit(notice.lines(self.notice, self.size.width, 2 if self.size.height >= SHORT_LINES else 1))
        focus = self.focused.id if self.focused is not None else None
        if self.shown is None:
            keys = notice.waiting_keys(break_glass=self.may_break_glass)
        elif self.wall:
            keys = notice.wall_keys(
                self.notice, read_only=self._config.read_only, break_glass=self.may_break_glass
            )
        else:
            keys = notice.keys(
                focus,
                len(self._backends.tagged),
                self.notice,
                read_only=self._config.read_only,
                break_glass=self.may_break_glass,
            )
        self._lines("keys").show([panels.key_line(keys, self.size.width)])

    def say(self, said: str, style: str = "note", report: Report | None = None) -> None:
        """Shows a notice that stays until it is read (Esc)."""
        self.notify_of(Notice(said, style, report))

    def notify_of(self, notice: Notice) -> None:
        """Shows this notice until it is read."""
        self.notice = notice
        self.said_at = time.monotonic()
        self._show_foot()

    def _reshow(self) -> None:
        if self.wall:
            self._show_top()
        elif self.shown is not None:
            self._show_tables(self.shown)
        self._show_foot()

    def drop_filter(self) -> None:
        """Empties the filter and takes its line away."""
        self._filter.value = ""
        self._filter.display = False

    def on_descendant_focus(self) -> None:
        if not self._filter.has_focus:
            self._filter.can_focus = False  # Tab goes from table to table
            self._filter.display = bool(self._filter.value)
        self._show_foot()

    def on_resize(self, event: Resize) -> None:
        if event.size != self.app.size:
            # The next size is on its way. A screen echoes each that it is laid out for: two that are under
            # way at once would make it change between them for ever.
            event.prevent_default()
            return
        self.call_later(self._paint)
        self.call_after_refresh(self.show_all)

    def _paint(self) -> None:
        """Lets be painted what has its place by now: on the way there, all is laid out more than once."""
        self._unpainted.close()
        self.call_after_refresh(self._graph.begin)
