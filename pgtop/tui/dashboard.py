"""DashboardScreen: the one router of messages between the poll, the panels and the keys that act."""

from collections.abc import Coroutine
from typing import Any, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType

from pgtop.core.activity import BackendId, Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Plan
from pgtop.history.store import HistoryStore
from pgtop.login_watch import LoginWatch
from pgtop.poller import Poller
from pgtop.postgres.errors import FULL
from pgtop.reaping.automatic import AutomaticReaper
from pgtop.reaping.reaper import Reaper, Report
from pgtop.reaping.wording import begun_sentence
from pgtop.settings.config import Config
from pgtop.tui.actions.automatic import AutomaticSweeps
from pgtop.tui.actions.plan_actions import PlanActions
from pgtop.tui.actions.plan_expiry import PlanExpiry
from pgtop.tui.alerts.notifier import AlertNotifier
from pgtop.tui.lines import notice
from pgtop.tui.lines.automatic import auto_lines
from pgtop.tui.lines.notice import Notice
from pgtop.tui.messages import AutoChanged, Begun, Polled, Reaped, Trouble
from pgtop.tui.screens.plan_dialog import ReportDialog
from pgtop.tui.state.history_keeper import HistoryKeeper
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.view import SHORT_LINES
from pgtop.tui.walling import Walling

ACTING_KEYS: Final = frozenset({"terminate", "cancel", "sweep", "auto", "break_glass"})
"""The actions that end or cancel something: there is none of them where read_only is in force."""


WAITING_ACTIONS: Final = frozenset({"break_glass", "clear", "help", "outcomes", "wall"})
"""The dashboard's own actions that mean something before there is anything to see."""


class DashboardScreen(Walling):
    """The ordinary view, alive."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "terminate", "Terminate the tagged or selected sessions"),
        Binding("C", "cancel", "Cancel the queries of the tagged or selected sessions"),
        Binding("S", "sweep", "Sweep all stale sessions"),
        Binding("B", "break_glass", "Free slots from the server's own host"),
        Binding("A", "auto", "Toggle automatic sweeps"),
        Binding("space", "tag", "Tag or untag the selected session"),
        Binding("U", "untag", "Untag all sessions"),
        Binding("slash", "filter", "Filter the sessions"),
        Binding("escape", "clear", "Close the notice, the filter or the group"),
        Binding("s", "sort", "Sort by the next column"),
        Binding("r", "reverse", "Reverse the order"),
        Binding("g", "group", "Group by application, user, database, address"),
        Binding("p", "pause", "Pause or resume"),
        Binding("plus,equals_sign", "slower(1)", "Longer interval"),
        Binding("minus", "slower(-1)", "Shorter interval"),
        Binding("left_square_bracket", "window(-1)", "Shorter graph window"),
        Binding("right_square_bracket", "window(1)", "Longer graph window"),
        Binding("w", "wall", "Switch between wall and tables"),
        Binding("b", "root_blocker", "Jump to the blocker of waiting sessions"),
        Binding("o", "outcomes", "Results of the last action"),
        Binding("c", "copy", "Copy the selected session"),
        Binding("f1,question_mark", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(
        self,
        *,
        poller: Poller,
        reaper: Reaper,
        config: Config,
        first: Snapshot | Outage,
        host_watch: HostWatch | None = None,
        ascii_only: bool = False,
        history: HistoryStore | None = None,
    ) -> None:
        """`ascii_only` is for a terminal without UTF-8, `history` for what is kept of it."""
        super().__init__(poller=poller, config=config, ascii_only=ascii_only)
        self.host_watch = host_watch
        self._first = first
        seat = poller.probe.seat
        self._plan_expiry = PlanExpiry(self, seat)
        self._plan_actions = PlanActions(self, seat, reaper, config.policy, self._plan_expiry.beat)
        engine = AutomaticReaper(
            reaper, seat, config.policy, config.every_seconds, interval_seconds=config.interval_seconds
        )
        self._history_keeper = HistoryKeeper(history, self.seen, seat.target) if history is not None else None
        self._logins = LoginWatch(poller, config.login_probe_seconds)
        self._auto = AutomaticSweeps(self, engine, poller, self._plan_actions)
        self._alert_notifier = AlertNotifier(config, seat.target.label, self.seen, self._ring)
        self._blockers_shown = 0
        self._report: Report | None = None

    def on_mount(self) -> None:
        self.hold()
        self._take(self._first)
        if self.wall:
            self.set_focus(None)  # the list had it before there was a style to hide it
        self.run_worker(self._poll(), name="poll", group="poll")
        self.run_worker(self._logins.run(), name="logins", group="logins")
        if self.host_watch is not None:
            self.run_worker(self.host_watch.run(self._looked), name="host watch", group="host watch")
        if self._history_keeper is not None:
            self.call_after_refresh(self._keep, self._history_keeper)
        self.set_interval(1.0, self._tick)

    def _keep(self, history_keeper: HistoryKeeper) -> None:
        self.run_worker(history_keeper.run(self._past_taken_up), name="history", group="history")

    def _past_taken_up(self) -> None:
        if not self.paused:
            self.show_latest()
        self.show_all()

    # Polling

    async def _poll(self) -> None:
        while True:
            result = await self._poller.next()
            refused = isinstance(result, Snapshot) and await self._logins.settle(result)
            self.post_message(Polled(result, refused=refused))

    @on(Polled)
    def _polled(self, message: Polled) -> None:
        self._take(message.result, refused=message.refused)

    def _take(self, result: Snapshot | Outage, *, refused: bool = False) -> None:
        if self._plan_expiry.beat():
            self._poller.wake()  # it may have been asked for before
        self.refusing = self._logins.limit
        if self.host_watch is not None:
            refused_here = result.kind == FULL if isinstance(result, Outage) else self.refusing is not None
            self.host_watch.want(refused_here)
        before = self.seen.snapshot
        self.seen.take(result, self._poller.interval_seconds)
        if self._history_keeper is not None:
            self._history_keeper.polled()
        is_first = self.shown is None and isinstance(result, Snapshot)
        if not self.paused or is_first:
            self.show_latest()
        if is_first:
            self._begin()
        if said := self._plan_expiry.polled(before, result):
            self._succeeded(said, is_alien=not self._plan_expiry.is_same_cluster)
        if isinstance(result, Snapshot) and self.notice is not None:
            self.notice = notice.with_usage(self.notice, result)
        self.show_all()
        self._auto.polled(result, refused=refused, refusing=self.refusing)
        self._reapers.polled(result)
        self._alert(self._alert_notifier.polled(result, self.refusing))

    def _begin(self) -> None:
        """There is something to see now."""
        self.remove_class("-waiting")
        if not self.wall:
            self._backends.focus()
        if self._poller.probe.seat.pooled:
            self.say("Connected through a pooler: counts are wrong. Connect to the server directly", "alarm")

    def _succeeded(self, said: str, *, is_alien: bool) -> None:
        """Another server answers now: what was chosen on the old one is dropped.

        Whoever asked for automatic reaping asked for it on that database cluster, and not on an alien one.
        """
        self._backends.tagged.clear()
        if is_alien and self._auto.is_on:
            self._auto.turn_off()
            said += " · automatic sweeps are off"
        self.notify_of(Notice(said, "alarm" if is_alien else "note", succession=said))

    def _tick(self) -> None:
        self._alert(self._alert_notifier.tick())
        if self._plan_expiry.beat():
            self._poller.wake()
        self.drop_old_note()
        self._show_head()
        if self._history_keeper is not None and self._history_keeper.notice and self.notice is None:
            self.say(self._history_keeper.notice)
            self._history_keeper.notice = ""
        if self._alert_notifier.problem and self.notice is None:
            self.say(self._alert_notifier.problem, "alarm")
            self._alert_notifier.problem = ""

    def _ring(self) -> None:
        self.app.bell()

    def _alert(self, alert: Notice | None) -> None:
        """What is paused does not show it."""
        if alert is not None and self.paused and (self.notice is None or self.notice.report is None):
            self.notify_of(notice.with_alert(self.notice, alert))

    def come_back(self) -> None:
        """Says how old the data is after the program was stopped, and polls at once."""
        self._show_head()
        self._poller.wake()

    def _show_head(self) -> None:
        super()._show_head()
        line = self._lines("auto")
        line.display = self._auto.is_on
        if self._auto.is_on:
            most = 2 if self.size.height >= SHORT_LINES else 1
            line.fit(auto_lines(self._auto.standing(self.paused), self.size.width, most))

    def _looked(self) -> None:
        self._show_head()
        self._show_foot()

    # Acting

    async def finish(self) -> None:
        """Waits for what was begun, after the screen is closed."""
        await self._plan_actions.finish()
        await self._auto.finish()
        await self._reapers.finish()
        if self._history_keeper is not None:
            await self._history_keeper.finish()
        await self._alert_notifier.finish()

    def _selected(self) -> list[BackendId]:
        """The tagged sessions, or the one under the cursor of the list of backends."""
        table = self._backends
        if self.shown is None:
            return []
        if table.tagged:
            return [backend.id for backend in self.shown.backends if backend.id in table.tagged]
        if self._applications.has_focus:
            self.say("No session selected: Enter lists this group's sessions, Tab moves to the list")
            return []
        row = table.cursor_row
        return [row.id] if row is not None else []

    def _act(self, act: Coroutine[Any, Any, None]) -> None:
        if self._plan_actions.is_busy:
            act.close()
            return
        self._plan_actions.is_busy = True
        self.run_worker(act, name="act", group="act")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """False for what read_only forbids: then neither a key, the mouse nor the palette gets there."""
        if self._config.read_only and action in ACTING_KEYS:
            return False
        if self.shown is None and action not in WAITING_ACTIONS:
            return False
        return super().check_action(action, parameters)

    def action_terminate(self) -> None:
        """Asks whether to end the tagged sessions, or the selected one."""
        if self.shown is not None and (selected := self._selected()):
            self._act(self._plan_actions.terminate(self.shown, selected))

    def action_cancel(self) -> None:
        """Asks whether to cancel what the tagged sessions run, or the selected one."""
        if self.shown is not None and (selected := self._selected()):
            self._act(self._plan_actions.cancel(self.shown, selected))

    def action_sweep(self) -> None:
        """Asks whether to end the stale sessions."""
        if self.shown is not None:
            self._act(self._plan_actions.sweep(self.shown, self.refusing))

    def action_break_glass(self) -> None:
        """Asks whether to end idle sessions from the server's own host, where no seat can be had."""
        if not self.may_break_glass or self.host_watch is None or self._plan_actions.is_busy:
            return
        plan, reaper = self.host_watch.plan(), self.host_watch.reaper
        if plan is not None and reaper is not None:
            self._act(self._break_glass(self.host_watch, plan, reaper))

    async def _break_glass(self, host_watch: HostWatch, plan: Plan, reaper: Reaper) -> None:
        host_watch.is_held = True
        try:
            await self._plan_actions.break_glass(plan, reaper)
        finally:
            host_watch.is_held = False

    def paced(self) -> None:
        self._auto.paced()

    def action_auto(self) -> None:
        """Turns automatic reaping off at once, or asks whether to turn it on."""
        if self._auto.is_on:
            self._auto.turn_off()
            self._show_head()
            self.say("automatic sweeps are off")
        else:
            self._act(self._auto.ask())

    @on(AutoChanged)
    def _auto_changed(self) -> None:
        self._show_head()

    @on(Begun)
    def _begun(self, message: Begun) -> None:
        self.say(begun_sentence(message.plan))

    @on(Reaped)
    def _reaped(self, message: Reaped) -> None:
        self._backends.tagged -= {each.victim.backend.id for each in message.report.results}
        self._report = message.report
        self.notice = notice.of_report(message.report, by_itself=message.by_itself)
        self._poller.wake()
        self.show_all()

    @on(Trouble)
    def _trouble(self, message: Trouble) -> None:
        self.say(message.said, message.style)

    def action_outcomes(self) -> None:
        """Shows what became of each session of the last plan."""
        if self._report is not None:
            self.app.push_screen(ReportDialog(self._report))

    def action_root_blocker(self) -> None:
        """Jumps to who blocks most; again to the next."""
        self.run_worker(self._jump_to_root_blocker(), name="blockers", group="blockers", exclusive=False)

    async def _jump_to_root_blocker(self) -> None:
        snapshot = self.shown
        if snapshot is None:
            return
        found = await notice.find_root_blocker(
            self._poller.probe.seat,
            snapshot,
            self._blockers_shown,
            tagged=len(self._backends.tagged),
            read_only=self._config.read_only,
        )
        self._blockers_shown += 1
        if found.identity is not None:
            if not self._backends.move_to(found.identity):
                self._applications.chosen = None
                self.drop_filter()
                self._show_tables(snapshot)
                self._backends.move_to(found.identity)
            self._backends.focus()
        self.say(found.said, found.style)
