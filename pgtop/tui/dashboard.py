"""DashboardScreen: routes messages between the poll, the panels, the notice and the actions of the keys."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import on
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key, Resize, ScreenResume
from textual.geometry import Size

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.core.plan import Act, DecidedBy, Plan
from pgtop.core.stalled_logins import with_unlisted
from pgtop.core.text import clip, duration, printable
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.errors import HistoryError, PgtopError
from pgtop.flight_recorder import FlightRecorder
from pgtop.login_watch import LoginWatch
from pgtop.postgres.errors.network_and_driver import pooled_sentence
from pgtop.reaping.plan_wording import begun_sentence
from pgtop.reaping.reaper import Reaper, Report
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.actions.automatic_sweeps import AutomaticSweeps
from pgtop.tui.actions.available_actions import (
    ACTING,
    is_permitted,
    leads_to_list,
)
from pgtop.tui.actions.plan_actions import PlanActions
from pgtop.tui.actions.plan_expiry import PlanExpiry
from pgtop.tui.alerts.notifier import AlertNotifier
from pgtop.tui.back_in_time import READING, BackInTime, load_player
from pgtop.tui.lines import notice
from pgtop.tui.lines.head import Standing
from pgtop.tui.lines.key_names import key_names
from pgtop.tui.lines.keys import READ_ONLY_SAID
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.server_label import ServerLabel, server_label
from pgtop.tui.lines.terminal_title import terminal_title
from pgtop.tui.lines.waiting_for_server import Awaited
from pgtop.tui.messages import AutoChanged, Begun, FactsKnown, Polled, Reaped, TitleChanged, Trouble
from pgtop.tui.screens.main_screen import MainScreen
from pgtop.tui.screens.over_dashboard import AboutFindings, AboutSessions, load_screens
from pgtop.tui.screens.session_acts import SessionActs, live_source
from pgtop.tui.state.daemon_watch import DaemonWatch
from pgtop.tui.state.dashboard_state import LATE_SECONDS, DashboardState
from pgtop.tui.state.day_watch import DayWatch
from pgtop.tui.state.history_keeper import HistoryKeeper
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.state.notice_board import NoticeBoard
from pgtop.tui.widgets.dashboard_panels import CLASSES, DashboardView, Panels, size_class
from pgtop.tui.widgets.line_table import LineTable
from pgtop.wiring import Wiring

if TYPE_CHECKING:
    from pgtop.tui.screens.diagnosis import Chosen

INTERVALS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0)
"""The intervals between two polls that `+` and `-` choose from, in seconds."""

_LOADS_AFTER_SECONDS: Final = 0.2
"""The seconds after which the first frame is on the terminal."""


class DashboardScreen(MainScreen):
    """The dashboard: the tables or the wall view, updated with every poll."""

    AUTO_FOCUS = "#backends"
    VERTICAL_BREAKPOINTS = CLASSES

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K,f9", "terminate", "Terminate the tagged or selected sessions"),
        Binding("C", "cancel", "Cancel the queries of the tagged or selected sessions"),
        Binding("S", "sweep", "Sweep the stale sessions of the list"),
        Binding("B", "break_glass", "Free slots from the server's own host"),
        Binding("A", "auto", "Toggle automatic sweeps"),
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
        Binding("p", "pause", "Pause or resume"),
        Binding("plus,equals_sign", "slower(1)", "Longer interval"),
        Binding("minus", "slower(-1)", "Shorter interval"),
        Binding("left_square_bracket", "window(-1)", "Shorter graph window"),
        Binding("right_square_bracket", "window(1)", "Longer graph window"),
        Binding("left", "back", "Back into the recording"),
        Binding("w", "wall", "Switch between wall and tables"),
        Binding("b,f5", "lock_tree", "Lock tree: which sessions block which"),
        Binding("d", "diagnosis", "Diagnosis: what fills the server"),
        Binding("O", "outcomes", "Results of the last action"),
        Binding("c", "copy", "Copy the selected session"),
        Binding("f1,question_mark", "help", "Help"),
        Binding("q,f10", "app.quit", "Quit"),
    ]

    def __init__(
        self,
        *,
        wiring: Wiring,
        config: Config,
        first: Snapshot | Outage,
        host_watch: HostWatch | None = None,
        ascii_only: bool = False,
        recorder: FlightRecorder | None = None,
        thresholds: Thresholds = STANDARD,
        filters: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        """Set up the dashboard over a first result.

        `host_watch` is for a server that may run on this host, `ascii_only` for a terminal without UTF-8,
        `recorder` for a past that is kept. `thresholds` are those of the diagnosis, `filters` the
        saved ones by name. `name` is that of the server in the configuration file.
        """
        super().__init__()
        own_connection, poller, reaper = wiring
        self.poller = poller
        self.state = DashboardState(config.warn_at)
        self.panels = Panels(config, filters=filters, ascii_only=ascii_only)
        self.notices = NoticeBoard()
        self.host_watch = host_watch
        self.logins = LoginWatch(poller, config.login_probe_seconds)
        self.diagnosis = DiagnosisWatch(own_connection, config.warn_at, thresholds)
        self.recorder = recorder
        self.history_keeper = (
            HistoryKeeper(recorder, self.state, self.diagnosis) if recorder is not None else None
        )
        self.plan_expiry = PlanExpiry(self, own_connection)
        self.plan_actions = PlanActions(
            self,
            own_connection,
            reaper,
            config.policy,
            self.plan_expiry.beat,
            self._next_snapshot,
            lambda: self.state.shown_findings,
            self._age_words,
            self.diagnosis.returning,
        )
        self._looking: list[asyncio.Future[Snapshot]] = []
        self.automatic = AutomaticSweeps(self, wiring.automatic(config), poller, self.plan_actions)
        self.refusing: Limit | None = None
        """The server's limit that refuses new connections; None if none is known to."""
        self.wall = config.wall
        """True while the wall view is shown in place of the tables."""
        self._config = config
        self._name = name
        self._title = ""
        self._first = first
        self._daemons = DaemonWatch(self, poller)
        self._alerts = AlertNotifier(config, own_connection.target.label, self.state, self._ring)
        self._day_watch = DayWatch(recorder, config.warn_at) if recorder is not None else None
        if recorder is not None:
            self._alerts.on_alert = recorder.alerted
        self._session_acts = SessionActs(
            source=live_source(own_connection),
            plan=self._plan_shown,
            show_in_list=self._show_in_list,
            show_lock_tree=self._show_lock_tree,
            current_notice=lambda: self.notices.current,
            dismiss_notice=self._dismiss_notice,
            show_outcomes=self.action_outcomes,
            refusal=READ_ONLY_SAID if config.read_only else "",
        )
        self._report: Report | None = None
        self._pointer: Notice | None = None
        """The notice about a key that led from the wall to the list."""
        self._no_match: Notice | None = None
        """The notice that `n` found nothing, until it finds something."""
        self.back_in_time = BackInTime(
            recorder, config, thresholds, name=name, filters=filters, ascii_only=ascii_only
        )
        self._is_back = False
        """True while the player is open, or about to be."""
        self._unpainted = ExitStack()
        self._is_unpainted = True
        self._first_resume = True
        self._loading = False

    def expect(self, size: Size) -> None:
        """Have the class of a terminal of that size from the start: its first size would style all again."""
        self.add_class(size_class(size), update=False)

    def compose(self) -> ComposeResult:
        yield self.panels

    def on_mount(self) -> None:
        # Nothing is painted until the screen has its final size: until then it is laid out more than once.
        self._unpainted.enter_context(self.app.batch_update())
        self.take(self._first)
        if self.wall:
            self.set_focus(None)  # the list got it before its style could hide it
        self.run_worker(self._poll(), name="poll", group="poll")
        self.run_worker(self.logins.run(), name="logins", group="logins")
        if self.host_watch is not None:
            self.run_worker(self.host_watch.run(self._show), name="host watch", group="host watch")
        if self.history_keeper is not None and self.recorder is not None:
            self.call_after_refresh(self._keep, self.history_keeper, self.recorder)
        self.set_interval(1.0, self.tick)

    def on_screen_resume(self, event: ScreenResume) -> None:
        if self._first_resume:
            self._first_resume = False
            event.refresh_styles = False  # every widget has just got them

    def on_resize(self, event: Resize) -> None:
        if event.size != self.app.size:
            # A newer size is on its way. A screen echoes each size that it is laid out for: with two under
            # way at once, it would change between them for ever.
            event.prevent_default()
            return
        self.call_later(self._paint)
        if not self._loading:
            self._loading = True
            self.set_timer(_LOADS_AFTER_SECONDS, self._load_screens)
        self.call_after_refresh(self._show)

    def _paint(self) -> None:
        self._unpainted.close()
        if self._is_unpainted:
            self._is_unpainted = False
            self._on_timer_update()  # Textual would wait for its next sixtieth of a second

    def _load_screens(self) -> None:
        self.run_worker(self._load(), name="load", group="load")

    async def _load(self) -> None:
        """Load what keys open, once the first frame is painted."""
        with contextlib.suppress(Exception):  # the key that needs it says why
            await unawaited_at_exit(load_screens)
            await unawaited_at_exit(load_player)

    def _keep(self, history_keeper: HistoryKeeper, recorder: FlightRecorder) -> None:
        self.run_worker(history_keeper.run(self._past_added), name="history", group="history")
        self.run_worker(recorder.run(), name="recorder", group="recorder")
        if self._day_watch is not None:
            shown = self._day_watch.run(lambda: self.state.snapshot if self.wall else None, self._show)
            self.run_worker(shown, name="last day", group="last day")

    def _past_added(self) -> None:
        self.state.past_added()
        self._show()

    async def finish(self) -> None:
        """Finish the work in progress, after the screen is closed."""
        await self.plan_actions.finish()
        await self.automatic.finish()
        await self._daemons.finish()
        if self.recorder is not None:
            await self.recorder.finish()
        await self._alerts.finish()

    # Display

    def _show(self) -> None:
        """Show everything as it is now."""
        view = self._view()
        self.panels.show(view)
        if self.back_in_time.player is not None:
            return  # what is above shows the recording
        title = terminal_title(view.label, view.standing, self.state.outage)
        if title != self._title:
            self._title = title
            self.post_message(TitleChanged(title))
        shown, top = self.state.shown, self.app.screen_stack[-1:]
        if shown is not None and top and isinstance(top[0], AboutFindings):
            findings, forecast = self.state.diagnosis_to_show()
            top[0].update(findings, shown, forecast)
        for screen in self.app.screen_stack[1:]:
            if isinstance(screen, AboutSessions):
                screen.show_notice(self.notices.current)

    def _view(self) -> DashboardView:
        state, host_watch = self.state, self.host_watch
        shown, interval = state.shown, self.poller.interval_seconds
        is_late = state.is_late(interval)
        outage = state.outage
        if outage is None and is_late:
            outage = Outage(OutageKind.SILENT, f"{self.poller.probe.own_connection.label} does not answer")
        standing = None
        findings, forecast = state.diagnosis_to_show()
        if shown is not None:
            standing = Standing(
                snapshot=shown,
                warn_at=self._config.warn_at,
                interval_seconds=interval,
                over_since=state.over_since,
                outage=state.outage,
                age_seconds=state.age_of(shown),
                paused=state.paused,
                read_only=self._config.read_only,
                late=is_late,
                refusing=self.refusing,
                reapers=self._daemons.reapers,
                findings=findings,
                forecast=forecast,
                label=self._label(),
                last_day=self._day_watch.line if self._day_watch is not None else "",
            )
        return DashboardView(
            standing=standing,
            outage=outage,
            awaited=self._awaited(outage) if outage is not None and shown is None else None,
            host=host_watch.view if host_watch is not None else None,
            break_glass=self.may_break_glass,
            automatic=self.automatic.standing(state.paused) if self.automatic.is_on else None,
            notice=self.notices.dated,
            wall=self.wall,
            history=state.shown_history,
            marks=state.shown_marks,
            blocking=self.diagnosis.blocking,
            groups=lambda by: state.groups(by, shown) if shown is not None else (),
            group_history=state.group_history,
            revision=state.revision,
            label=self._label(),
            is_recorded=self.recorder is not None,
        )

    def _age_words(self, snapshot: Snapshot) -> str:
        """Say how old a snapshot is if the display is paused; "" for a fresh one."""
        age = self.state.age_of(snapshot)
        if not self.state.paused or age <= LATE_SECONDS + self.poller.interval_seconds:
            return ""
        return f"The display is paused: this is as of {duration(age)} ago"

    def _label(self) -> ServerLabel:
        target, shown = self.poller.probe.own_connection.target, self.state.shown
        address = shown.server.address if shown is not None else target.endpoints[0].label
        return server_label(self._name, address, target.database, self._config.color)

    def _awaited(self, outage: Outage) -> Awaited:
        target = self.poller.probe.own_connection.target
        return Awaited(
            target=target.label if self._name is None else f"{self._label().name}  {target.label}",
            outage=outage,
            rescue=target.rescue.label if target.rescue is not None else "",
            on_host=self._is_on_host,
            host_problem=self.host_watch.problem if self.host_watch is not None else "",
            view=self.host_watch.view if self.host_watch is not None else None,
            read_only=self._config.read_only,
        )

    @property
    def _is_on_host(self) -> bool:
        return self.host_watch is not None and self.host_watch.is_here

    @property
    def may_break_glass(self) -> bool:
        """True if the server is full and runs on this host, and pgtop is not read-only."""
        outage = self.state.outage
        is_full = outage is not None and outage.kind == OutageKind.FULL
        return self._is_on_host and is_full and not self._config.read_only

    def say(self, said: str, style: str = "note") -> None:
        """Show a notice until it is dismissed (Esc)."""
        self._post(Notice(said, style))

    def _post(self, posted: Notice) -> None:
        self.notices.post(posted)
        self._show()

    # Polling

    async def _poll(self) -> None:
        await self._ask_facts(self._first)
        while True:
            result = await self.poller.next()
            refused = isinstance(result, Snapshot) and await self.logins.settle(result)
            self.post_message(Polled(result, refused=refused))
            await self._ask_facts(result)

    async def _ask_facts(self, result: Snapshot | Outage) -> None:
        """Ask for the facts of a diagnosis that are due, after the snapshot itself is on its way."""
        if isinstance(result, Snapshot) and await self.diagnosis.ask(result):
            self.post_message(FactsKnown())

    @on(FactsKnown)
    def _facts_known(self) -> None:
        if self.state.snapshot is not None:
            self._diagnose(self.state.snapshot)
            if self.recorder is not None:
                self.recorder.facts_known(self.diagnosis.facts)
            self._show()

    def _diagnose(self, snapshot: Snapshot) -> None:
        found = self.diagnosis.take(snapshot, self.refusing)
        self.state.diagnosed(found, self.diagnosis.forecast)

    @on(Polled)
    def _polled(self, message: Polled) -> None:
        self.take(message.result, refused=message.refused)

    def take(self, result: Snapshot | Outage, *, refused: bool = False) -> None:
        """Take in a poll's result, and show and act on what follows from it.

        `refused` tells that a login was just refused, although the result shows free slots.
        """
        if self.plan_expiry.beat():
            self.poller.wake()  # this result may be from before the suspension
        self.refusing = self.logins.limit
        if self.host_watch is not None:
            self.host_watch.want(self._is_refused_here(result))
        if isinstance(result, Snapshot):
            result = with_unlisted(result, self.logins.limit_here)
        before, is_first = self.state.snapshot, self.state.shown is None and isinstance(result, Snapshot)
        self.state.take(result, self.poller.interval_seconds)
        if self.history_keeper is not None:
            self.history_keeper.polled()
        if is_first:
            self._begin()
        if said := self.plan_expiry.polled(before, result):
            self._server_changed(said, is_alien=not self.plan_expiry.is_same_cluster)
        self.notices.add_usage(result)
        if isinstance(result, Snapshot):
            self._diagnose(result)
        self._record(result)
        self._show()
        self._answer_lookers(result)
        self.automatic.polled(result, refused=refused, refusing=self.refusing, findings=self.state.findings)
        self._daemons.polled(result)
        self._show_alert(self._alerts.polled(result, self.refusing, self.state.forecast))

    def _record(self, result: Snapshot | Outage) -> None:
        if self.recorder is None:
            return
        self.recorder.polled(result, self.poller.interval_seconds, self.refusing, self.diagnosis.facts)
        if isinstance(result, Snapshot):
            self.recorder.diagnosed(self.state.findings)

    def _is_refused_here(self, result: Snapshot | Outage) -> bool:
        """Return whether logins are refused, also if this role's own are not: the host then shows why."""
        if isinstance(result, Outage):
            return result.kind == OutageKind.FULL
        return self.refusing is not None or (result.is_full and result.unlisted > 0)

    async def _next_snapshot(self) -> Snapshot:
        """Poll at once, and return the snapshot. Raises PgtopError if the poll fails."""
        looking: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._looking.append(looking)
        self.poller.wake()
        return await looking

    def _answer_lookers(self, result: Snapshot | Outage) -> None:
        looking, self._looking = self._looking, []
        for each in looking:
            if each.done():
                continue
            if isinstance(result, Outage):
                each.set_exception(PgtopError(result.message))
            else:
                each.set_result(result)

    def _begin(self) -> None:
        """Show the tables for the first time."""
        self.panels.remove_class("-waiting")  # a hidden list cannot take the focus
        if not self.wall:
            self.panels.sessions.focus()
        if self.poller.probe.own_connection.pooled:
            self.say(pooled_sentence(self.poller.probe.own_connection.label), "alarm")

    def _server_changed(self, said: str, *, is_alien: bool) -> None:
        """Post a notice that the server has changed, and untag the sessions of the old one.

        Turn automatic sweeps off if it `is_alien`, another database cluster than the one they are meant for.
        """
        self.panels.untag()
        if is_alien and self.automatic.is_on:
            self.automatic.turn_off()
            said += " · automatic sweeps are off"
        self._post(Notice(said, "alarm" if is_alien else "note", succession=said))

    def tick(self) -> None:
        """Update what changes without a poll; called every second."""
        self._show_alert(self._alerts.tick())
        if self.plan_expiry.beat():
            self.poller.wake()
        if self.wall:
            self.notices.dismiss_old_note()
        recorder, alerts = self.recorder, self._alerts
        if recorder is not None and recorder.notice and self.notices.current is None:
            self.notices.post(Notice(recorder.notice))
            recorder.notice = ""
        if alerts.problem and self.notices.current is None:
            self.notices.post(Notice(alerts.problem, "alarm"))
            alerts.problem = ""
        self._show()

    def _ring(self) -> None:
        self.app.bell()

    def _show_alert(self, alert: Notice | None) -> None:
        """Show an alert while the display is paused or shows a recording, which itself does not show it."""
        if alert is not None:
            self.back_in_time.tell(alert)
        if alert is not None and self.state.paused:
            self.notices.post_alert(alert)
            self._show()

    def come_back(self) -> None:
        """Show how old the data is after the program was stopped, and poll at once."""
        self._show()
        self.poller.wake()

    # Messages from the actions and the tables

    @on(AutoChanged)
    def _auto_changed(self) -> None:
        self._show()

    @on(Begun)
    def _begun(self, message: Begun) -> None:
        self.say(begun_sentence(message.plan))

    @on(Reaped)
    def _reaped(self, message: Reaped) -> None:
        self._report = message.report
        self.diagnosis.swept(message.report.terminated)
        self.state.reaped(message.report)
        if self.recorder is not None:
            decided_by = DecidedBy.POLICY if message.by_itself else DecidedBy.PERSON
            self.recorder.reaped(message.report, decided_by)
        self.notices.post(notice.of_report(message.report, by_itself=message.by_itself, seen=message.seen))
        self.panels.untag(each.victim.backend.id for each in message.report.results)
        self.poller.wake()
        self._show()

    @on(Trouble)
    def _trouble(self, message: Trouble) -> None:
        self.say(message.said, message.style)

    @on(LineTable.Chosen, "#backends")
    def _session_chosen(self, message: LineTable.Chosen) -> None:
        from pgtop.tui.screens.detail import DetailScreen

        if isinstance(message.row, Backend) and self.is_active:  # else the details are open already
            listed = [row for row in self.panels.sessions.rows if isinstance(row, Backend)]
            self.app.push_screen(DetailScreen(self._session_acts, message.row, listed))

    # Keys that terminate or cancel

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return False for an action that is not available now: no key, click or palette entry runs it."""
        if not is_permitted(
            action,
            has_data=self.state.shown is not None,
            wall=self.wall,
            read_only=self._config.read_only,
        ):
            return False
        return super().check_action(action, parameters)

    def _selected(self) -> list[BackendId]:
        """Return what `K` and `C` mean, by identity."""
        return [backend.id for backend in self.panels.meant()]

    def _act(self, act: Coroutine[Any, Any, None], *, plans: bool = True) -> None:
        """Run an action in the background, one at a time; `plans` tells that it makes a plan first."""
        if self.plan_actions.is_busy:
            act.close()
            self.say("the last action is still under way: press the key again when it is done")
            return
        self.plan_actions.is_busy = True
        self.plan_actions.keeps_keys = plans
        self.run_worker(act, name="act", group="act")

    def _is_list_meant(self) -> bool:
        """Return whether keys may act on the list; if the filter has an error, say so.

        Nothing is listed then: an act on all sessions, or on tags out of sight, is not what was typed.
        """
        problem = "" if self.wall else self.panels.filter_problem
        if problem:
            self.say(f"{problem} · first correct the filter (/) or clear it", "alarm")
        return not problem

    def action_terminate(self) -> None:
        """Ask whether to terminate the tagged sessions, or the selected one."""
        if not self._is_list_meant():
            return
        if self.state.shown is not None and (selected := self._selected()):
            self._act(self.plan_actions.terminate(self.state.shown, selected))

    def action_cancel(self) -> None:
        """Ask whether to cancel the queries of the tagged sessions, or of the selected one."""
        if not self._is_list_meant():
            return
        if self.state.shown is not None and (selected := self._selected()):
            self._act(self.plan_actions.cancel(self.state.shown, selected))

    def action_sweep(self) -> None:
        """Ask whether to terminate the stale sessions among those that are listed."""
        if self.state.shown is not None and self._is_list_meant():
            scope = None if self.wall else self.panels.scope(self.state.shown)
            self._act(self.plan_actions.sweep(self.state.shown, scope, self.refusing))
        elif not self.plan_actions.is_busy:
            self.plan_actions.keeps_keys = False

    def action_break_glass(self) -> None:
        """Ask whether to terminate idle sessions of a full server from its own host."""
        if not self.may_break_glass or self.host_watch is None or self.plan_actions.is_busy:
            return
        plan, reaper = self.host_watch.plan(), self.host_watch.reaper
        if plan is not None and reaper is not None:
            self._act(self._break_glass(self.host_watch, plan, reaper), plans=False)

    async def _break_glass(self, host_watch: HostWatch, plan: Plan, reaper: Reaper) -> None:
        host_watch.is_held = True
        try:
            await self.plan_actions.break_glass(plan, reaper, host_watch.caution)
        finally:
            host_watch.is_held = False

    def action_auto(self) -> None:
        """Turn automatic sweeps off at once, or ask whether to turn them on."""
        if self.automatic.is_on:
            self.automatic.turn_off()
            self.say("automatic sweeps are off")
        else:
            self._act(self.automatic.ask(), plans=False)

    # Keys that show something

    def action_diagnosis(self) -> None:
        """Show what fills the server, each finding with its evidence and what to do."""
        from pgtop.tui.screens.diagnosis import DiagnosisScreen

        shown = self.state.shown
        if shown is not None:
            read_only = self._config.read_only
            findings, forecast = self.state.diagnosis_to_show()
            screen = DiagnosisScreen(
                findings,
                shown,
                self._config.warn_at,
                forecast,
                read_only=read_only,
                totals_of=self.state.totals_of,
            )
            self.app.push_screen(screen, self._remedy_chosen)

    def _remedy_chosen(self, chosen: "Chosen | None") -> None:
        if chosen is not None:
            self._act(self.plan_actions.remedy(chosen.snapshot, chosen.kind, chosen.remedy))

    def action_outcomes(self) -> None:
        """Show the result of the last action for each session."""
        from pgtop.tui.screens.plan_dialog import ReportDialog

        if self._report is not None:
            self.app.push_screen(ReportDialog(self._report))

    def action_lock_tree(self) -> None:
        """Show the sessions that wait for locks, below those that block them."""
        from pgtop.tui.screens.lock_tree import LockTreeScreen

        label = self._label()
        self.app.push_screen(LockTreeScreen(self._session_acts, label.name if label.is_configured else ""))

    def _plan_shown(self, act: Act, shown: Backend, said: str) -> None:
        self._act(self.plan_actions.act_on_shown(act, shown, said))

    def _dismiss_notice(self) -> bool:
        had_notice = self.notices.current is not None
        self.notices.dismiss()
        self._show()
        return had_notice

    def _show_in_list(self, backend: BackendId) -> None:
        """Close what is above the tables, and put the list's cursor on a session."""
        while self.app.screen is not self and isinstance(self.app.screen, AboutSessions):
            self.app.pop_screen()
        if self.wall:
            self.action_wall()
        if not self.panels.jump_to(backend):
            self.say(f"session {backend.pid} is not in the list")

    def _show_lock_tree(self) -> None:
        from pgtop.tui.screens.detail import DetailScreen
        from pgtop.tui.screens.lock_tree import LockTreeScreen

        while isinstance(self.app.screen, DetailScreen):
            self.app.pop_screen()
        if not isinstance(self.app.screen, LockTreeScreen):
            self.action_lock_tree()

    def action_tag(self) -> None:
        """Tag the selected session, or untag it."""
        self.panels.toggle_tag()

    def action_tag_listed(self) -> None:
        """Tag all sessions of the list: those of the chosen group that match the filter."""
        if self._is_list_meant():
            self.panels.tag_listed()

    def action_untag(self) -> None:
        """Untag all sessions."""
        self.panels.untag()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.panels.sort_by_next()

    def action_columns(self) -> None:
        """Open the menu of the list's columns: the order, and which are shown."""
        from pgtop.tui.screens.column_menu import ColumnMenu

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
        elif self.panels.find(by):
            if self._no_match is not None and self.notices.current is self._no_match:
                self.notices.dismiss()
                self._show()
        else:
            self.say(f"no match: {clip(printable(text), 60)}")
            self._no_match = self.notices.current

    def action_window(self, by: int) -> None:
        """Show a longer or shorter time in the graph."""
        self.panels.change_window(by)

    def action_clear(self) -> None:
        """Clear one thing: the filter being typed, the notice, the later of filter and chosen group."""
        panels = self.panels
        if self.wall:
            self.notices.dismiss()  # the filter and the group are not on the wall
        elif panels.filter.has_focus:
            panels.drop_filter()
            panels.sessions.focus()
        elif self.notices.current is not None:
            self.notices.dismiss()
        else:
            panels.step_back()
        self._show()

    def action_pause(self) -> None:
        """Pause the display, or resume it."""
        self.state.toggle_pause()
        self._show()

    def action_slower(self, by: int) -> None:
        """Poll at the next longer or shorter interval."""
        present = self.poller.interval_seconds
        if by > 0:
            self.poller.interval_seconds = next((each for each in INTERVALS if each > present), present)
        else:
            shorter = [each for each in INTERVALS if each < present]
            self.poller.interval_seconds = shorter[-1] if shorter else present
        self.automatic.paced()
        self._show()

    def action_copy(self) -> None:
        """Copy the selected session's line to the clipboard."""
        from pgtop.tui.lines.copied_session import session_line

        row = self.panels.sessions.cursor_row
        if row is not None and self.state.shown is not None:
            self.app.copy_to_clipboard(session_line(row, self.state.shown))
            self.say(f"copied session {row.pid}")

    def action_back(self) -> None:
        """Go back into the recording; polls, alerts and automatic sweeps go on meanwhile."""
        if self.plan_actions.is_busy:
            self.say("an action is under way: press the key again when it is done")
        elif not self._is_back:
            self._is_back = True
            self.run_worker(self._play(), name="player", group="player")

    async def _play(self) -> None:
        """Show the poll before the one on the screen, until the player is closed."""
        shown = self.state.shown
        try:
            await self.back_in_time.open(
                self,
                shown.taken_at if shown is not None else None,
                wall=self.wall,
                say=self.say,
                is_free=lambda: self.is_active and not self.plan_actions.is_busy,
            )
        except HistoryError as error:
            self.say(str(error), "alarm")
        finally:
            self._is_back, self._title = False, ""
        if self.notices.current is not None and self.notices.current.said == READING:
            self.notices.dismiss()
        self._show()

    def action_help(self) -> None:
        """Show the keys."""
        from pgtop.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(read_only=self._config.read_only))

    def action_wall(self) -> None:
        """Show the wall view, or the tables again."""
        self.wall = not self.wall
        if self.notices.current is self._pointer:
            self.notices.dismiss()
        self._show()
        if self.wall:
            self.set_focus(None)
        elif self.state.shown is not None:
            self.panels.sessions.focus()

    def on_key(self, event: Key) -> None:
        """Keep a key for a dialog under way; if its action is not available, say why or show its list."""
        if self.plan_actions.keep_key(event.key):
            event.stop()
            return
        binding = next((each for each in self.BINDINGS if _has_key(each, event.key)), None)
        if not isinstance(binding, Binding):
            return
        _, action, _ = parse(binding.action)
        if action == "sweep" and not self.plan_actions.is_busy and self.check_action(action, ()):
            self.plan_actions.keeps_keys = True  # the next key may be here before the action is run
        if self.state.shown is None:
            return
        read_only = self._config.read_only
        if read_only and action in ACTING:
            event.stop()
            self.say(READ_ONLY_SAID)
        elif self.wall and leads_to_list(action, read_only=read_only):
            event.stop()  # the key acts only when pressed again
            self.action_wall()
            name = key_names(event.key)
            said = "Select a session, then press" if action in ACTING else "Now press"
            self.say(f"{said} {name}")
            self._pointer = self.notices.current


def _has_key(binding: BindingType, key: str) -> bool:
    return isinstance(binding, Binding) and key in binding.key.split(",")
