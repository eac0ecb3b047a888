"""PlayerScreen: the dashboard's panels over a recording.

It has no connection, no plan and no reaper: nothing can be terminated or cancelled from here.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input

from pgtop.core.activity import MICROSECONDS, Backend, BackendId
from pgtop.core.blocking import blocking_words
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast, still_said
from pgtop.core.lock_tree import LockQueue
from pgtop.core.moment_text import parse_moment
from pgtop.core.session_groups import GroupBy, GroupHistory, GroupKey, group
from pgtop.core.text import clip, clock, duration, printable
from pgtop.errors import PgtopError
from pgtop.history.recording import Position
from pgtop.postgres.backend_detail import BackendDetail
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.head import Standing
from pgtop.tui.lines.keys import RECORDING_SAID
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.replay_banner import Replayed, banner_line, speed_words
from pgtop.tui.lines.server_label import ServerLabel, server_label
from pgtop.tui.lines.waiting_for_server import Awaited
from pgtop.tui.messages import TitleChanged
from pgtop.tui.screens.column_menu import ColumnMenu
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.live_screen import LiveScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.main_screen import MainScreen
from pgtop.tui.screens.over_dashboard import AboutFindings, AboutSessions
from pgtop.tui.screens.session_acts import SessionActs, SessionSource
from pgtop.tui.state.deck import Deck
from pgtop.tui.state.notice_board import NoticeBoard
from pgtop.tui.state.playback import ZOOMS, GroupPast, Playback, PlayedPoll
from pgtop.tui.state.recorded_sessions import recorded_detail, recorded_locks
from pgtop.tui.widgets.connection_graph import Stretch
from pgtop.tui.widgets.dashboard_panels import CLASSES, DashboardView, Panels, size_class
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.moment_line import MomentLine
from pgtop.tui.widgets.painted_lines import Lines

FRAME_SECONDS: Final = 0.1
"""Seconds between two polls on the screen at least, however fast they are played."""
_ON_THE_LIST: Final = frozenset(
    {"tag", "tag_listed", "untag", "filter", "match", "sort", "columns", "reverse", "copy"}
)
_WITHOUT_DATA: Final = frozenset({"diagnosis", "lock_tree", "group", *_ON_THE_LIST})


class PlayerScreen(MainScreen):
    """A recording on the dashboard's panels, with the keys of a player."""

    AUTO_FOCUS = "#backends"
    VERTICAL_BREAKPOINTS = CLASSES

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "play", "Play or pause"),
        Binding("plus,equals_sign", "faster(1)", "Faster"),
        Binding("minus", "faster(-1)", "Slower"),
        Binding("left", "poll(-1)", "One poll back"),
        Binding("right", "poll(1)", "One poll on"),
        Binding("left_square_bracket", "jump(-60)", "One minute back"),
        Binding("right_square_bracket", "jump(60)", "One minute on"),
        Binding("full_stop", "stop(1)", "Next alert, verdict, act, server change or outage"),
        Binding("comma", "stop(-1)", "Previous alert, verdict, act, server change or outage"),
        Binding("t", "time", "Go to a time"),
        # Before the tables, whose first and last row they would be.
        Binding("home", "first", "First poll", priority=True),
        Binding("end", "last", "Last poll, or back to now", priority=True),
        Binding("z", "zoom", "Graph: the whole recording, an hour, 15 minutes"),
        Binding("K,f9,C,S,A,B", "refuse", "Nothing can be terminated here", show=False),
        Binding("space", "tag", "Tag or untag the selected session"),
        Binding("asterisk", "tag_listed", "Tag all sessions of the list"),
        Binding("U", "untag", "Untag all sessions"),
        Binding("slash,f3", "filter", "Filter the sessions"),
        Binding("n", "match(1)", "Next match of the last filter"),
        Binding("N", "match(-1)", "Previous match of the last filter"),
        Binding("escape", "clear", "Close the notice, the filter or the group"),
        Binding("o,f6", "columns", "Sort menu, and columns to show"),
        Binding("s", "sort", "Sort by the next column"),
        Binding("r", "reverse", "Reverse the order"),
        Binding("g", "group", "Group by application, user, database, address, statement"),
        Binding("w", "wall", "Switch between wall and tables"),
        Binding("b,f5", "lock_tree", "Lock tree: which sessions block which"),
        Binding("d", "diagnosis", "Diagnosis: what fills the server"),
        Binding("c", "copy", "Copy the selected session"),
        Binding("f1,question_mark", "help", "Help"),
        Binding("q,f10", "app.quit", "Quit"),
    ]

    def __init__(
        self,
        playback: Playback,
        poll: PlayedPoll,
        config: Config,
        *,
        name: str | None = None,
        filters: Mapping[str, str] | None = None,
        ascii_only: bool = False,
        is_over_live: bool = False,
        wall: bool = False,
    ) -> None:
        """Set up the player at a poll.

        `name` is that of the server in the configuration file, `filters` are the saved ones by name,
        `ascii_only` is for a terminal without UTF-8. `is_over_live` tells that a dashboard goes on below.
        """
        super().__init__()
        self.playback = playback
        self.deck = Deck(playback, poll, prepare=self._prepare)
        self.wall = wall
        self.panels = Panels(config, filters=filters, ascii_only=ascii_only, lines_above=1)
        self.moment_line = MomentLine(id="moment")
        self.notices = NoticeBoard()
        self.is_over_live = is_over_live
        self._config = config
        self._name = name
        self._banner = Lines(id="replay")
        self._groups = GroupPast()
        self._revision = 0
        self._title = ""
        self._told: Notice | None = None
        """The notice about an event of the recording: the next one takes its place."""
        self._of_place: Notice | None = None
        """The notice that is true at one poll alone, such as that nothing follows."""
        self._of_place_at: Position | None = None
        """The position of that poll."""
        self._asked_at: int | None = None
        """The time that a person asked for, until it is shown."""
        self._acts = SessionActs(
            source=SessionSource(
                server=printable(playback.recording.server),
                hides_queries=playback.hides_queries,
                detail=self._detail,
                locks=self._locks,
                is_live=False,
            ),
            plan=lambda _act, _backend, _said: self.action_refuse(),
            show_in_list=self._show_in_list,
            show_lock_tree=self._show_lock_tree,
            current_notice=lambda: self.notices.current,
            dismiss_notice=self._dismiss_notice,
            show_outcomes=lambda: None,
            refusal=RECORDING_SAID,
        )

    def expect(self, size: Size) -> None:
        """Have the class of a terminal of that size from the start: its first size would style all again."""
        self.add_class(size_class(size), update=False)

    def compose(self) -> ComposeResult:
        yield self._banner
        yield self.panels
        yield self.moment_line

    def on_mount(self) -> None:
        self.panels.set_class(self.poll.snapshot is None, "-waiting")
        self.run_worker(self.deck.run(self._shown), name="deck", group="deck")
        self.set_interval(FRAME_SECONDS, self._advance)
        self.app.screen_change_signal.subscribe(self, lambda _: self._show_above())
        self._shown(self.poll, "")
        if problems := self.playback.recording.problems:
            self.say(" · ".join(problems[:2]), "alarm")
        if self.wall:
            self.set_focus(None)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def come_back(self) -> None:
        """Pause, and show everything after the program was stopped."""
        self.deck.is_playing = False
        self._show()

    # Going to another poll

    @property
    def poll(self) -> PlayedPoll:
        """The poll on the screen."""
        return self.deck.poll

    def _prepare(self, poll: PlayedPoll) -> None:
        """Count the groups of the poll and of those before it, off the screen's own time."""
        if not self.wall:
            self._groups.history(self.panels.groups.by, poll)

    def _shown(self, before: PlayedPoll, said: str) -> None:
        """Show the poll on the deck, and what there is to be said."""
        self._revision += 1
        self._tell_events(before)
        if before.snapshot is None and self.poll.snapshot is not None and not self.wall:
            self.panels.remove_class("-waiting")  # a hidden list cannot take the focus
            self.panels.sessions.focus()
        self._show()
        for screen in self._above():
            if isinstance(screen, LiveScreen):
                screen.ask_soon()
        if said:
            self._say_of_place(said)

    def _tell_events(self, before: PlayedPoll) -> None:
        """Post what happened at the poll, and on the way there while it is played."""
        poll, stops = self.poll, self.poll.stops
        if self.deck.is_playing and before.next_at is not None:
            end = poll.next_at
            stops = tuple(
                each
                for each in self.playback.stops
                if before.next_at <= each.at and (end is None or each.at < end)
            )
        said = [f"{clock(each.at)} {each.words}" for each in stops[-3:]]
        if poll.gap is not None:
            begin, end = poll.gap
            apart = duration((end - begin) / MICROSECONDS)
            said.insert(0, f"nothing was recorded from {clock(begin)} to {clock(end)} ({apart})")
        asked, self._asked_at = self._asked_at, None
        if asked is not None and poll.is_before_gap and poll.seen.at < asked < (poll.next_at or 0):
            said.insert(0, f"nothing was recorded at {clock(asked)}: this is the last poll before")
        if said:
            self._told = Notice(" · ".join(said))
            self.notices.post(self._told)
        elif self._is_over(poll):
            self.notices.dismiss()

    def _is_over(self, poll: PlayedPoll) -> bool:
        """Return whether the notice on the screen is about an earlier poll than the one shown."""
        current = self.notices.current
        if current is self._of_place:
            return poll.position != self._of_place_at
        return current is self._told and not self.deck.is_playing

    def _advance(self) -> None:
        """Go on while it is played; called several times a second."""
        if self.deck.advance():
            self._say_of_place(
                "the end of the recording" + (": End returns to now" if self.is_over_live else "")
            )
        if self.deck.seeking is not None:
            self._show_banners()

    # Display

    def say(self, said: str, style: str = "note") -> None:
        """Show a notice until it is dismissed (Esc)."""
        self.notices.post(Notice(said, style))
        self._show()

    def _say_of_place(self, said: str) -> None:
        """Show a notice until another poll is shown, of which it would not be true."""
        self.say(said)
        self._of_place, self._of_place_at = self.notices.current, self.poll.position

    def _above(self) -> list[Screen[object]]:
        stack = self.app.screen_stack if self.is_attached else []
        return stack[stack.index(self) + 1 :] if self in stack else []

    def _show(self) -> None:
        """Show everything as it was at the poll."""
        if not self.is_attached:
            return
        self.panels.show(self._view())
        title = f"pgtop replay {self._label().name} {clock(self.poll.seen.at)}"
        if title != self._title:
            self._title = title
            self.post_message(TitleChanged(title))
        self._show_above()

    def _show_above(self) -> None:
        """Show the poll on the screens above, too."""
        findings, forecast = self._said()
        for screen in self._above():
            if isinstance(screen, AboutFindings) and self.poll.snapshot is not None:
                screen.update(findings, self.poll.snapshot, forecast)
            if isinstance(screen, AboutSessions):
                screen.show_notice(self.notices.current)
        self._show_banners()

    def _show_banners(self) -> None:
        """Show the banner here, and on each screen above."""
        self._banner.show([self._banner_line()])
        for screen in self._above():
            banners = [each for each in screen.children if isinstance(each, Lines) and each.id == "replay"]
            if banners:
                banners[0].show([self._banner_line()])
            elif screen.is_attached:
                banner = Lines(id="replay")
                screen.mount(banner)
                banner.show([self._banner_line()])

    def _banner_line(self) -> list[Cell]:
        return banner_line(self._replayed(), self.app.size.width)

    def _replayed(self) -> Replayed:
        deck = self.deck
        return Replayed(
            at=self.poll.seen.at,
            number=self.poll.number,
            polls=self.playback.recording.polls,
            is_playing=deck.is_playing,
            speed=deck.speed,
            is_over_live=self.is_over_live,
            seeking=deck.seeking,
        )

    def _said(self) -> tuple[tuple[Finding, ...], Forecast | None]:
        poll = self.poll
        return still_said(poll.findings, poll.forecast, poll.seen.at, is_outage=poll.outage is not None)

    def _view(self) -> DashboardView:
        poll, graph = self.poll, self.poll.graph
        shown, outage = poll.snapshot, poll.outage
        return DashboardView(
            standing=self._standing(),
            outage=outage,
            awaited=self._awaited() if shown is None else None,
            host=None,
            break_glass=False,
            automatic=None,
            notice=self.notices.current,
            wall=self.wall,
            history=graph.history,
            marks=self.playback.marks,
            blocking=blocking_words(poll.seen.facts.blocked_by),
            groups=lambda by: group(shown.backends, by, shown.taken_at, shown.slots) if shown else (),
            group_history=self._group_history,
            revision=self._revision,
            label=self._label(),
            replay=self._replayed(),
            stretch=Stretch(poll.seen.at, graph.end, graph.seconds, graph.is_whole),
        )

    def _standing(self) -> Standing | None:
        poll = self.poll
        if poll.snapshot is None:
            return None
        findings, forecast = self._said()
        return Standing(
            snapshot=poll.snapshot,
            warn_at=self._config.warn_at,
            interval_seconds=poll.seen.interval_seconds,
            over_since=poll.over_since,
            outage=poll.outage,
            age_seconds=poll.age_seconds,
            refusing=poll.seen.refusing,
            findings=findings,
            forecast=forecast,
            label=self._label(),
            recorded=True,
        )

    def _awaited(self) -> Awaited | None:
        if self.poll.outage is None:
            return None
        return Awaited(target=printable(self.playback.recording.server), outage=self.poll.outage)

    def _group_history(self, by: GroupBy) -> GroupHistory[GroupKey]:
        return self._groups.history(by, self.poll)

    def _label(self) -> ServerLabel:
        shown = self.poll.snapshot
        address = shown.server.address if shown is not None else self.playback.recording.server
        return server_label(self._name, address, "", self._config.color)

    async def _detail(self, identity: BackendId) -> BackendDetail | None:
        shown = self.poll.snapshot
        return recorded_detail(self.poll.seen, shown, identity) if shown is not None else None

    async def _locks(self) -> LockQueue:
        if self.poll.snapshot is None:
            raise PgtopError("nothing is known of the sessions at this time")
        return recorded_locks(self.poll.seen, self.poll.snapshot)

    # Keys of the player

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return False for an action that is not available now."""
        is_typing = self.panels.filter.has_focus or self.moment_line.has_focus
        if is_typing and action in ("first", "last"):
            return False  # the keys move in the text
        if self.poll.snapshot is None and action in _WITHOUT_DATA:
            return False
        if self.wall and action in _ON_THE_LIST:
            return False
        return super().check_action(action, parameters)

    def action_play(self) -> None:
        """Play from the poll on the screen, or pause."""
        self.deck.toggle()
        self._show()

    def action_faster(self, by: int) -> None:
        """Play at the next higher or lower speed."""
        self.deck.faster(by)
        if not self.deck.is_playing:
            self.say(f"speed {speed_words(self.deck.speed)}: p plays")
        self._show()

    def action_poll(self, by: int) -> None:
        """Go one poll on or back, and pause."""
        self.deck.is_playing = False
        self.deck.wish(lambda position: self.playback.step(position, by), self._edge_words(by))

    def action_jump(self, seconds: int) -> None:
        """Go so many seconds on or back."""
        self.deck.wish(
            lambda position: self.playback.by_seconds(position, seconds), self._edge_words(seconds)
        )

    def _edge_words(self, by: int) -> str:
        if by < 0:
            return "this is the first recorded poll"
        return "this is the last recorded poll" + (": End returns to now" if self.is_over_live else "")

    def action_stop(self, by: int) -> None:
        """Go to the next event or the one before, and pause."""
        self.deck.is_playing = False
        missing = f"no alert, verdict, act, server change or outage {'after' if by > 0 else 'before'} this"
        self.deck.wish(lambda position: self.playback.to_stop(position, by), missing)

    def action_first(self) -> None:
        """Go to the first poll."""
        self.deck.wish(lambda _: self.playback.recording.first())

    def action_last(self) -> None:
        """Go to the last poll; over a live dashboard, back to now."""
        if self.is_over_live:
            self.dismiss()
        else:
            self.deck.wish(lambda _: self.playback.recording.last())

    def action_time(self) -> None:
        """Ask for a time to go to."""
        self.deck.is_playing = False
        self.moment_line.open()
        self._show()

    @on(Input.Submitted, "#moment")
    def _time_typed(self, message: Input.Submitted) -> None:
        message.stop()
        typed = message.value.strip()
        if not typed:
            self._close_moment_line()
            return
        try:
            moment = parse_moment(typed, self._near(typed))
        except ValueError as error:
            self.say(printable(str(error)), "alarm")
            return
        self._close_moment_line()
        self.notices.dismiss()
        self.go_to(moment)

    def _near(self, typed: str) -> int:
        """Return the time that a typed one is meant from: the one shown for a time back."""
        return self.poll.seen.at if typed.startswith("-") else self.playback.recording.last_at

    def go_to(self, moment: int) -> None:
        """Go to the last poll at or before a time, microseconds; if it is another time, say so."""
        recording, self._asked_at = self.playback.recording, moment
        said = ""
        if moment < recording.first_at:
            said = f"the recording begins at {clock(recording.first_at)}"
        elif moment > recording.last_at + MICROSECONDS:
            said = f"the recording ends at {clock(recording.last_at)}"

        self.deck.wish(lambda _: self.playback.at(moment))
        if said:
            self.deck.wish(lambda position: position, said)

    def _close_moment_line(self) -> None:
        self.moment_line.close()
        if not self.wall:
            self.panels.sessions.focus()

    def action_zoom(self) -> None:
        """Show the whole recording in the graph, or the hour or the 15 minutes around."""
        self.playback.zoom = ZOOMS[(ZOOMS.index(self.playback.zoom) + 1) % len(ZOOMS)]
        self.deck.wish(lambda position: position)

    def action_refuse(self) -> None:
        """Say why nothing can be terminated."""
        self.say(RECORDING_SAID)

    # Keys that show something

    def action_diagnosis(self) -> None:
        """Show what filled the server."""
        shown = self.poll.snapshot
        if shown is not None:
            findings, forecast = self._said()
            screen = DiagnosisScreen(
                findings,
                shown,
                self._config.warn_at,
                forecast,
                read_only=True,
                replay=True,
                totals_of=self._totals_of,
            )
            self.app.push_screen(screen)

    def _totals_of(self, application_name: str) -> list[int]:
        key = GroupKey(application_name=application_name)
        return self._group_history(GroupBy.APPLICATION).series(key)

    def action_lock_tree(self) -> None:
        """Show the sessions that waited for locks, below those that blocked them."""
        self.app.push_screen(LockTreeScreen(self._acts, self._label().name))

    def _show_lock_tree(self) -> None:
        while isinstance(self.app.screen, DetailScreen):
            self.app.pop_screen()
        if not isinstance(self.app.screen, LockTreeScreen):
            self.action_lock_tree()

    @on(LineTable.Chosen, "#backends")
    def _session_chosen(self, message: LineTable.Chosen) -> None:
        if isinstance(message.row, Backend) and self.is_active:
            listed = [row for row in self.panels.sessions.rows if isinstance(row, Backend)]
            self.app.push_screen(DetailScreen(self._acts, message.row, listed))

    def _show_in_list(self, backend: BackendId) -> None:
        while self.app.screen is not self and isinstance(self.app.screen, AboutSessions):
            self.app.pop_screen()
        if self.wall:
            self.action_wall()
        if not self.panels.jump_to(backend):
            self.say(f"session {backend.pid} is not in the list")

    def _dismiss_notice(self) -> bool:
        had_notice = self.notices.current is not None
        self.notices.dismiss()
        self._show()
        return had_notice

    def action_tag(self) -> None:
        """Tag the selected session, or untag it: it stays tagged at other times."""
        self.panels.toggle_tag()

    def action_tag_listed(self) -> None:
        """Tag all sessions of the list."""
        self.panels.tag_listed()

    def action_untag(self) -> None:
        """Untag all sessions."""
        self.panels.untag()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.panels.sort_by_next()

    def action_columns(self) -> None:
        """Open the menu of the list's columns."""
        self.app.push_screen(ColumnMenu(self.panels))

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.panels.reverse()

    def action_group(self) -> None:
        """Group by the next of application, user, database, address and statement."""
        self.panels.group_by_next()

    def action_filter(self) -> None:
        """Open the filter's line."""
        self.panels.open_filter()

    def action_match(self, by: int) -> None:
        """Go to the next session that matches the last filter, or to the one before."""
        text = self.panels.filter.last
        if not text:
            self.action_filter()
        elif not self.panels.find(by):
            self.say(f"no match: {clip(printable(text), 60)}")

    def action_clear(self) -> None:
        """Clear one thing: what is typed, the notice, the later of filter and group; then the recording."""
        panels = self.panels
        if self.moment_line.has_focus:
            self._close_moment_line()
        elif not self.wall and panels.filter.has_focus:
            panels.drop_filter()
            panels.sessions.focus()
        elif self.notices.current is not None:
            self.notices.dismiss()
        elif not self.wall and panels.is_narrowed:
            panels.step_back()
        elif self.is_over_live:
            self.dismiss()
            return
        self._show()

    def action_copy(self) -> None:
        """Copy the selected session's line to the clipboard."""
        from pgtop.tui.lines.copied_session import session_line

        row = self.panels.sessions.cursor_row
        if row is not None and self.poll.snapshot is not None:
            self.app.copy_to_clipboard(session_line(row, self.poll.snapshot))
            self.say(f"copied session {row.pid}")

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen(read_only=True, replay=True))

    def action_wall(self) -> None:
        """Show the wall view, or the tables again."""
        self.wall = not self.wall
        self._show()
        if self.wall:
            self.set_focus(None)
        elif self.poll.snapshot is not None:
            self.panels.sessions.focus()
