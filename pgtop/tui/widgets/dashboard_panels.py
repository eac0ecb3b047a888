"""The dashboard's panels: one widget that gets its data by `show`, and keeps only the lists' own state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Input

from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.connection_limits import limit_uses
from pgtop.core.event_marks import Mark
from pgtop.core.filter_sort import Filter, SortColumn, parse_filter, sort_backends, stale
from pgtop.core.outage import Outage
from pgtop.core.plan import Scope
from pgtop.core.sample_history import History
from pgtop.core.session_groups import Group, GroupBy, GroupHistory, GroupKey, group_words
from pgtop.core.text import clip, printable
from pgtop.postgres.host.watcher import HostView
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.lines import keys, notice
from pgtop.tui.lines.automatic_sweeps import AutomaticState, auto_lines
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.head import Standing, head_lines
from pgtop.tui.lines.key_situation import Focus, Situation, incident_of, run_queries
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.outage import outage_lines
from pgtop.tui.lines.replay_banner import Replayed
from pgtop.tui.lines.server_label import ServerLabel
from pgtop.tui.lines.sessions_title import Listed, sessions_title
from pgtop.tui.lines.waiting_for_server import Awaited, connecting_lines, waiting_lines
from pgtop.tui.lines.wall_view import LOW, TALL, figure_lines, top_count, top_lines
from pgtop.tui.widgets.connection_graph import (
    DEFAULT_WINDOW,
    ConnectionGraph,
    Stretch,
    fitting_window,
    next_window,
)
from pgtop.tui.widgets.filter_line import FilterLine
from pgtop.tui.widgets.groups_table import GroupsTable
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.painted_lines import Lines
from pgtop.tui.widgets.sessions_table import SORT_COLUMNS, SessionsTable

_LINES: Final = ("head", "banner", "auto", "connecting", "figures", "waiting", "top", "notice", "keys")
"""The parts that are lines of text, by their ids."""

_FILTER_NAMED: Final = 20
"""The most cells of the filter that a sentence names."""

TIGHT_LINES: Final = 10
"""The least height with room for what fills the server above the list of sessions."""
SHORT_LINES: Final = 15
"""The least height with room for the table of groups."""
GRAPH_LINES: Final = 18
"""The least height with room for the graph, too."""


TALL_LINES: Final = 30
"""The least height with room for blank lines between the parts."""
CLASSES: Final = [
    (0, "-tiny"),
    (TIGHT_LINES, "-tight"),
    (SHORT_LINES, "-squat"),
    (GRAPH_LINES, "-short"),
    (TALL_LINES, "-tall"),
    (38, "-roomy"),
]
"""The least height of the terminal for each class of the screen, in the .tcss."""
_LEAST_GROUPS: Final = 2


_HEAD: Final = ((38, 5), (TALL_LINES, 4), (TIGHT_LINES, 3))
"""The least height of the terminal for each number of lines of the head."""


def size_class(size: Size) -> str:
    """Return the class of the screen on a terminal of that size."""
    return next(name for least, name in reversed(CLASSES) if size.height >= least)


def head_count(height: int) -> int:
    """Return the number of lines of the head on a terminal of that height, as in the .tcss."""
    return next((count for least, count in _HEAD if height >= least), 2)


def groups_lines(wanted: int, height: int) -> int:
    """Return the lines of the table of groups, of those `wanted`, on a terminal of that height."""
    most = height * 3 // 10 if height >= TALL_LINES else 5 if height >= 20 else 4
    return max(_LEAST_GROUPS, min(wanted, most))


class DashboardView(NamedTuple):
    """Everything that the panels show at one moment."""

    standing: Standing | None
    """The state that the head shows; None before the first snapshot."""
    outage: Outage | None
    """The present outage, or one made of a poll that is late; None if there is neither."""
    awaited: Awaited | None
    """The content of the screen during an outage before the first snapshot; None otherwise."""
    host: HostView | None
    """The server as its own host shows it; None if that is not known."""
    break_glass: bool
    """True if the server is full, and its sessions can be terminated from its own host."""
    automatic: AutomaticState | None
    """The state of automatic sweeps; None while they are off."""
    notice: Notice | None
    """The notice above the keys; None for none."""
    wall: bool
    """True while the wall view is shown in place of the tables."""
    history: History
    """The history that the graph shows."""
    marks: tuple[Mark, ...]
    """The events that the graph marks, oldest first."""
    blocking: str
    """The sessions that block others, in words; "" if none is known to."""
    groups: Callable[[GroupBy], Sequence[Group]]
    """The groups of the snapshot."""
    group_history: Callable[[GroupBy], GroupHistory[GroupKey]]
    """The history of a grouping, for the change of each group."""
    revision: int
    """A number that changes with the snapshot and the history: views of one revision look alike."""
    label: ServerLabel
    """The name of the server."""
    is_recorded: bool = False
    """True if polls are recorded, and can be played back."""
    replay: Replayed | None = None
    """The state of the player; None for a server that is live."""
    stretch: Stretch | None = None
    """The stretch of a recording that the graph shows; None for a server that is live."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot on the screen: what keys act on."""
        return self.standing.snapshot if self.standing is not None else None


class _Rows(NamedTuple):
    """The rows of the list of sessions, and what they were chosen from and by."""

    snapshot: Snapshot
    asked: tuple[object, ...]
    rows: list[Backend]


class _Titled(NamedTuple):
    """The title of the list of sessions, and what it was made from."""

    rows: Sequence[Backend]
    asked: tuple[Listed, int]
    title: list[Cell]


class Panels(Widget):
    """Head, graph, tables, notice and keys.

    The filter, the order, the tags, the chosen group and the graph's window are its own state: a change to
    one of them repaints at once, from the view that was shown last.
    """

    DEFAULT_CSS = "Panels { layout: vertical; width: 100%; height: 100%; overflow: hidden; }"

    def __init__(
        self,
        config: Config,
        *,
        filters: Mapping[str, str] | None = None,
        ascii_only: bool = False,
        lines_above: int = 0,
    ) -> None:
        """`filters` are the saved ones by name; `ascii_only` is for a terminal without UTF-8.

        `lines_above` is the number of lines that the screen shows above the panels.
        """
        super().__init__()
        self._lines_above = lines_above
        self._config = config
        self._ascii_only = ascii_only
        self._view: DashboardView | None = None
        self._painted: tuple[object, ...] = ()
        self._rows: _Rows | None = None
        self._window_seconds: int | None = None
        """The window chosen for the graph; None to grow with what is known, up to the default."""
        self._wall_window_seconds: int | None = None
        """The window chosen for the wall; None to show as much as is known, up to the longest."""
        self.groups = GroupsTable(id="applications")
        self.sessions = SessionsTable(
            ascii_only=ascii_only,
            idle_after_seconds=config.idle_after_seconds,
            hides_queries=config.hide_queries,
            id="backends",
        )
        self._chose_last = False
        """True if the group was chosen after the filter was typed."""
        self._named = {name: Lines(id=name) for name in _LINES}
        self.graph = ConnectionGraph(ascii_only=ascii_only, id="graph")
        self.filter = FilterLine(filters or {}, id="filter")
        self._titled: _Titled | None = None
        self._sweepable = 0
        """The number of listed sessions that are idle for long enough for a sweep."""

    def compose(self) -> ComposeResult:
        yield self._lines("head")
        yield self._lines("banner")
        yield self._lines("auto")
        yield self._lines("connecting")
        yield self._lines("figures")
        yield self._lines("waiting")
        yield self.graph
        yield self.groups
        yield self._lines("top")
        yield self.sessions
        yield self.filter
        yield self._lines("notice")
        yield self._lines("keys")

    # Painting

    def show(self, view: DashboardView) -> None:
        """Show this view; tables and graph are drawn only if they would look different."""
        self._view = view
        if not self.is_attached:
            return  # the screen is being closed, and whoever looked has not heard of it yet
        forecast = view.standing.forecast if view.standing is not None else None
        painted = (view.revision, view.wall, self.screen.size, forecast, view.stretch)
        with self.app.batch_update():
            self._show_head(view)
            if painted != self._painted:
                self._painted = painted
                self._show_graph(view)
                self._show_lists(view)
            self._show_foot(view)

    @property
    def _room(self) -> Size:
        """The size of the screen without what is above."""
        width, height = self.screen.size
        return Size(width, max(0, height - self._lines_above))

    def _lines(self, name: str) -> Lines:
        return self._named[name]

    def _most(self, *, short: int = 1) -> int:
        """Return the most lines that a sentence may take: two, or `short` on a low terminal."""
        return 2 if self._room.height >= SHORT_LINES else short

    def _show_head(self, view: DashboardView) -> None:
        width, height = self._room
        outage, standing = view.outage, view.standing
        self.set_class(standing is None, "-waiting")
        self.set_class(view.wall, "-wall")
        self.set_class(view.wall and height < LOW, "-low")
        for greyed in (self.groups, self.sessions, self._lines("head"), self._lines("top")):
            greyed.set_class(outage is not None, "-greyed")
        self.graph.greyed = outage is not None
        if view.awaited is not None:
            waiting = self._lines("waiting")
            waiting.show(waiting_lines(view.awaited, width, max(0, waiting.size.height)))
        if standing is not None:
            is_named = not view.wall or height < TALL  # else the name is in large letters below
            self._lines("head").show(head_lines(standing, width, head_count(height), is_named=is_named))
        said = []
        if outage is not None and standing is not None and not view.wall:
            said = outage_lines(outage, standing.age_seconds, width, self._most())
        self._show_or_hide("banner", said)
        automatic = view.automatic
        said = auto_lines(automatic, width, self._most()) if automatic is not None else []
        self._show_or_hide("auto", said)
        self._show_or_hide("connecting", connecting_lines(view.host, width, self._most(short=0)))
        if view.wall:
            # The wall has its own word for a late poll, which is not an outage there.
            failed = standing.outage if standing is not None else outage
            figures = figure_lines(standing, failed, view.label, width, height, ascii_only=self._ascii_only)
            self._lines("figures").fit(figures)

    def _show_or_hide(self, name: str, lines: list[list[Cell]]) -> None:
        line = self._lines(name)
        line.display = bool(lines)
        if lines:
            line.fit(lines)

    def _show_graph(self, view: DashboardView) -> None:
        snapshot = view.snapshot
        if snapshot is None:
            return
        now, stretch = snapshot.taken_at, view.stretch
        chosen = self._wall_window_seconds if view.wall else self._window_seconds
        if stretch is not None:
            now, window = stretch.end, max(1, round(stretch.seconds))
        elif view.wall:
            window = chosen or fitting_window(view.history.span_seconds(now))
        else:
            known = view.history.known_seconds(now, DEFAULT_WINDOW)
            window = chosen or min(DEFAULT_WINDOW, fitting_window(known))
        self.graph.window_seconds = window
        self.graph.show(
            view.history,
            now=now,
            slots=snapshot.slots,
            warn_at=self._config.warn_at,
            max_connections=snapshot.server.limits.max_connections,
            marks=view.marks,
            forecast=view.standing.forecast if view.standing is not None and stretch is None else None,
            grows=stretch is None and chosen is None and window <= DEFAULT_WINDOW,
            stretch=stretch,
        )

    def _show_lists(self, view: DashboardView) -> None:
        """Show the tables, or the wall's list of the largest groups."""
        snapshot, by = view.snapshot, self.groups.by
        if view.wall:
            width, height = self._room
            groups = view.groups(by) if snapshot is not None else ()
            self._lines("top").fit(top_lines(groups, by, width, top_count(height)))
            self._sweepable = self._stale_among(snapshot.backends, snapshot) if snapshot is not None else 0
        elif snapshot is not None:
            limits = limit_uses(snapshot)
            self.groups.show_groups(view.groups(by), snapshot.taken_at, view.group_history(by), limits)
            self.groups.styles.height = groups_lines(self.groups.wanted_lines, self._room.height)
            self._show_sessions(snapshot)

    def _show_sessions(self, snapshot: Snapshot) -> None:
        table = self.sessions
        rows = self._sorted(snapshot)
        listed = Listed(
            chosen=self.groups.chosen_name,
            filter=self.filter.value,
            problem=self.filter_problem,
            column=table.sort_column,
            tagged=frozenset(table.tagged & snapshot.by_id.keys()),
            idle_after_seconds=table.idle_after_seconds,
            is_over=snapshot.usage >= self._config.warn_at,
            blocking=self._view.blocking if self._view is not None else "",
        )
        width = self._room.width
        if self._titled is None or self._titled.rows is not rows or self._titled.asked != (listed, width):
            # The counts look at every row, and most keys change nothing of them.
            title = sessions_title(snapshot, rows, listed, width)
            self._titled = _Titled(rows, (listed, width), title)
            self._sweepable = self._stale_among(rows, snapshot)
        table.show_snapshot(snapshot, rows, self._titled.title, is_over=listed.is_over)

    def _stale_among(self, rows: Sequence[Backend], snapshot: Snapshot) -> int:
        """Return how many are idle for long enough for a sweep, or for an emergency's on a full server."""
        policy = self._config.policy
        seconds = policy.emergency_idle_after_seconds if snapshot.is_full else policy.idle_after_seconds
        return sum(stale(each, snapshot.taken_at, seconds) for each in rows)

    @property
    def _filter(self) -> Filter:
        return parse_filter(self.filter.value)

    @property
    def filter_problem(self) -> str:
        """The reason that the filter is none, printable; nothing is listed then. "" if it is one."""
        return self._filter.problem

    def _sorted(self, snapshot: Snapshot) -> list[Backend]:
        """Return the listed sessions in the table's order.

        They are kept for the next key, since most keys change neither the list nor its order.
        """
        table = self.sessions
        asked = (self.groups.chosen, self.filter.value, table.sort_column, table.sort_reversed)
        if self._rows is None or self._rows.snapshot is not snapshot or self._rows.asked != asked:
            rows = sort_backends(self._listed(snapshot), table.sort_column, table.sort_reversed)
            self._rows = _Rows(snapshot, asked, rows)
        return self._rows.rows

    def _listed(self, snapshot: Snapshot) -> Sequence[Backend]:
        """Return the sessions of the chosen group that match the filter."""
        chosen, wanted = self.groups.chosen, self._filter
        if chosen is None and not wanted.narrows:
            return snapshot.backends
        return [
            backend
            for backend in snapshot.backends
            if (chosen is None or chosen.matches(backend)) and wanted.matches(backend, snapshot.taken_at)
        ]

    def scope(self, snapshot: Snapshot) -> Scope | None:
        """Return the listed sessions of a snapshot; None if neither a group nor a filter narrows the list."""
        chosen, narrows = self.groups.chosen, self._filter.narrows
        if chosen is None and not narrows:
            return None
        words = group_words(chosen, self.groups.by) if chosen is not None else ""
        if narrows:
            typed = f"filter {clip(printable(self.filter.value), _FILTER_NAMED)}"
            words = f"{words} ({typed})" if words else typed
        return Scope(frozenset(each.id for each in self._listed(snapshot)), words)

    def _show_foot(self, view: DashboardView) -> None:
        width = self._room.width
        said = notice.lines(view.notice, width, self._most()) if view.notice is not None else []
        self._show_or_hide("notice", said)
        self._lines("keys").show([keys.key_line(self._keys(view), width)])

    def _keys(self, view: DashboardView) -> list[keys.Key]:
        if view.standing is None and view.replay is not None:
            return keys.replay_keys(Situation(on_the_wall=view.wall), view.replay)
        if view.standing is None:
            return keys.waiting_keys(break_glass=view.break_glass)
        situation = self._situation(view, view.standing)
        if view.replay is not None:
            return keys.replay_keys(situation, view.replay)
        return keys.wall_keys(situation) if view.wall else keys.table_keys(situation)

    def _situation(self, view: DashboardView, standing: Standing) -> Situation:
        snapshot, focus = standing.snapshot, self._focus()
        meant = self.meant()
        return Situation(
            focus=focus,
            incident=incident_of(standing.findings, is_full=standing.level == "full"),
            read_only=self._config.read_only or view.replay is not None,
            break_glass=view.break_glass,
            has_notice=view.notice is not None,
            outage=standing.outage is not None,
            listed=len(self.sessions.rows),
            groups=len(self.groups.rows) if self.groups.display else 0,
            tagged=len(self.sessions.tagged),
            can_terminate=any(each.pid != snapshot.own_pid for each in meant),
            can_cancel=run_queries(meant, snapshot),
            sweepable=self._sweepable,
            # On a full server, a sweep opens with only as many as are needed.
            sweep_digits=0 if snapshot.is_full else len(str(snapshot.slots)),
            waits_on_locks=bool(snapshot.waiting_on_locks),
            filtered=bool(self.filter.value),
            grouped=self.groups.chosen is not None,
            paused=standing.paused,
            automatic=view.automatic is not None,
            saved_filter=printable(self.filter.saved_name),
            has_filters=self.filter.has_others,
            searches=bool(self.filter.last),
            on_the_wall=view.wall,
            is_recorded=view.is_recorded,
            replay=view.replay,
        )

    def _focus(self) -> Focus:
        if self.filter.has_focus:
            return Focus.FILTER
        return Focus.GROUPS if self.groups.has_focus else Focus.LIST

    def _repaint(self) -> None:
        """Repaint what depends on the lists' own state."""
        if self._view is not None:
            self._show_lists(self._view)
            self._show_foot(self._view)

    # The lists' own state

    def meant(self) -> list[Backend]:
        """Return the sessions that `K` and `C` mean: the tagged, all of the group, or the selected one.

        A group has all its sessions, whatever the filter hides of them.
        """
        snapshot = self._view.snapshot if self._view is not None else None
        if snapshot is None:
            return []
        tagged = self.sessions.tagged
        if tagged:
            return [each for each in snapshot.backends if each.id in tagged]
        if self._focus() is Focus.GROUPS:
            group = self.groups.cursor_row
            return [each for each in snapshot.backends if group is not None and group.key.matches(each)]
        row = self.sessions.cursor_row
        return [row] if row is not None else []

    def toggle_tag(self) -> None:
        """Tag the session under the cursor, or untag it."""
        self.sessions.toggle_tag()
        self._repaint()

    def tag_listed(self) -> None:
        """Tag all sessions of the list."""
        snapshot = self._view.snapshot if self._view is not None else None
        if snapshot is not None:
            self.sessions.tagged |= {backend.id for backend in self._listed(snapshot)}
            self._repaint()

    def untag(self, backends: Iterable[BackendId] | None = None) -> None:
        """Untag these sessions, or all of them."""
        if backends is None:
            self.sessions.tagged.clear()
        else:
            self.sessions.tagged -= set(backends)
        self._repaint()

    def sort_by(self, column: SortColumn) -> None:
        """Sort by a column, in its usual order."""
        self.sessions.sort_column = column
        self.sessions.sort_reversed = False
        self._repaint()

    def sort_by_next(self) -> None:
        """Sort by the next column."""
        columns = list(SortColumn)
        self.sort_by(columns[(columns.index(self.sessions.sort_column) + 1) % len(columns)])

    def reverse(self) -> None:
        """Reverse the order."""
        self.sessions.sort_reversed = not self.sessions.sort_reversed
        self._repaint()

    def group_by_next(self) -> None:
        """Group by the next of application, user, database, address and statement."""
        groupings = list(GroupBy)
        self.groups.by = groupings[(groupings.index(self.groups.by) + 1) % len(groupings)]
        self.drop_choice()

    def drop_choice(self) -> None:
        """List the sessions of all groups again."""
        self.groups.chosen = None
        self._repaint()

    @property
    def is_narrowed(self) -> bool:
        """True if a filter or a chosen group narrows the list."""
        return self.groups.chosen is not None or bool(self.filter.value)

    def step_back(self) -> None:
        """Take back the later of filter and chosen group; with the group, the focus goes to the groups."""
        if self.groups.chosen is not None and (self._chose_last or not self.filter.value):
            self.drop_choice()
            self.groups.focus()
        elif self.filter.value:
            self.drop_filter()

    def open_filter(self) -> None:
        """Show the filter's line and type into it."""
        self.filter.display = self.filter.can_focus = True
        self.filter.focus()

    def drop_filter(self) -> None:
        """Empty the filter and hide its line; `n` still finds what it matched."""
        self.filter.remember()
        self.filter.value = ""
        self.filter.display = False
        self._repaint()

    def jump_to(self, backend: BackendId) -> bool:
        """Put the cursor on a session, and return False if there is none.

        Drop the filter and the chosen group if they hide it.
        """
        self.sessions.focus()
        if self.sessions.move_to(backend):
            return True
        self.groups.chosen = None
        self.drop_filter()
        return self.sessions.move_to(backend)

    def find(self, by: int) -> bool:
        """Put the cursor on the next session of the list that matches the last filter, or the one before.

        After the last one comes the first. Return False if none matches.
        """
        snapshot = self._view.snapshot if self._view is not None else None
        if snapshot is None:
            return False
        wanted, table = parse_filter(self.filter.last), self.sessions
        rows = list(table.rows)
        at = next((index for index, row in enumerate(rows) if row.id == table.cursor_key), 0)
        steps = range(by, by * (len(rows) + 1), by)
        found = next(
            (
                row
                for row in (rows[(at + step) % len(rows)] for step in steps)
                if wanted.matches(row, snapshot.taken_at)
            ),
            None,
        )
        if found is None:
            return False
        table.move_to(found.id)
        table.focus()
        return True

    def toggle_column(self, key: str) -> None:
        """Hide a column of the list that is shown, or show one that is not."""
        table = self.sessions
        shown = key in table.shown_columns
        table.choice = table.choice.hide(key) if shown else table.choice.want(key)
        table.redraw()

    def change_window(self, by: int) -> None:
        """Show a longer or shorter time in the graph; the wall has a window of its own."""
        seconds = next_window(self.graph.window_seconds, by)
        if self._view is None:
            return
        if self._view.wall:
            self._wall_window_seconds = seconds
        else:
            self._window_seconds = seconds
        self._show_graph(self._view)

    @on(LineTable.Chosen, "#applications")
    def _group_chosen(self, message: LineTable.Chosen) -> None:
        if isinstance(message.row, Group):
            self.groups.choose(message.row)
            self._chose_last = True
            self._repaint()
            self.sessions.focus()

    @on(LineTable.Moved)
    def _cursor_moved(self) -> None:
        if self._view is not None:
            self._show_foot(self._view)

    @on(LineTable.HeadClicked, "#backends")
    def _head_clicked(self, message: LineTable.HeadClicked) -> None:
        column = SORT_COLUMNS.get(message.column)
        if column is self.sessions.sort_column:
            self.reverse()
        elif column is not None:
            self.sort_by(column)

    @on(Input.Changed, "#filter")
    def _filter_changed(self) -> None:
        self._chose_last = False
        self._repaint()

    @on(Input.Submitted, "#filter")
    def _filter_submitted(self) -> None:
        self.filter.remember()
        self.sessions.focus()

    def on_descendant_focus(self) -> None:
        if not self.groups.has_focus and self.groups.chosen is None:
            self.groups.let_go()
        if not self.filter.has_focus:
            self.filter.can_focus = False  # Tab goes from table to table
            self.filter.display = bool(self.filter.value)
        if self._view is not None:
            self._show_foot(self._view)
