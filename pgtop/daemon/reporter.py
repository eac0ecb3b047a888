"""The daemon's reports on its polls, to the log, the metrics and systemd. Each thing is reported once."""

import math
import time
from collections.abc import Sequence
from typing import Final

from pgtop.core.activity import PGTOP_PREFIX, ConnectionLimit, ServerIdentity, Snapshot
from pgtop.core.connection_limits import limit_uses, newly_reached
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.steady import cause_of
from pgtop.core.leadership import PassedOver, passed_over_sentence
from pgtop.core.masking import masked
from pgtop.core.outage import Outage
from pgtop.core.plan import Outcome, ReapPolicy, Trigger
from pgtop.core.policy import is_emergency
from pgtop.core.retaken_slots import Patience
from pgtop.core.server_change import succession
from pgtop.core.signal_rights import powerless_sentence
from pgtop.core.text import percent, plural, printable
from pgtop.daemon.log import DaemonLog
from pgtop.daemon.metrics import Figures
from pgtop.daemon.systemd import Systemd
from pgtop.reaping.automatic import Turn, Unfit
from pgtop.reaping.plan_wording import stall_sentence

_NOT_AGAIN_SECONDS: Final = {Trigger.USAGE: 600.0, Trigger.EMERGENCY: 60.0, Trigger.NONE: 600.0}
"""Seconds before the daemon says again that there are no sessions to terminate."""


_FORGOTTEN_SECONDS: Final = 600.0
"""Seconds after which what was said, and did not hold any more, is said again when it is back."""
_PASSED_OVER_SECONDS: Final = 60.0
"""The least number of seconds before other sessions are named that hold pgtop's key and do not count."""
_MOST_PASSED_OVER: Final = 1000
_MOST_NAMED: Final = 3


class PassedOverReport:
    """Tell of the sessions that hold pgtop's key and do not count, each kind of them once.

    Whoever opens session after session with a name of its own does not fill the log: one line a minute.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str | None, str, str]] = set()
        self._told_at = -math.inf

    def tell(self, passed_over: Sequence[PassedOver], log: DaemonLog) -> None:
        """Name those that were not named yet."""
        kinds = {(each.key.usename, each.key.application_name, each.reason): each for each in passed_over}
        self._told &= kinds.keys()
        new = [each for kind, each in kinds.items() if kind not in self._told]
        now = time.monotonic()
        if not new or now - self._told_at < _PASSED_OVER_SECONDS:
            return
        self._told_at = now
        self._told |= set(list(kinds)[:_MOST_PASSED_OVER])
        named = [
            {
                "pid": each.key.pid,
                "usename": each.key.usename,
                "application_name": each.key.application_name,
                "reason": each.reason,
            }
            for each in new[:_MOST_NAMED]
        ]
        said = passed_over_sentence(new, _MOST_NAMED)
        log.tell("passed_over", said, warning=True, sessions=named, in_all=len(passed_over))


class _Once:
    """The last thing said of its kind: said again only once another one was, or after a long while."""

    def __init__(self) -> None:
        self._said: object = None
        self._seen_at = -math.inf

    def is_new(self, said: object) -> bool:
        """Return whether this is to be said now; None is nothing to say."""
        now = time.monotonic()
        if said is None:
            return False
        is_new = said != self._said or now - self._seen_at >= _FORGOTTEN_SECONDS
        self._said, self._seen_at = said, now
        return is_new


class DaemonReport:
    """Turn what happens into lines, figures and a status; say again only what has changed."""

    def __init__(self, log: DaemonLog, systemd: Systemd) -> None:
        self.log = log
        self.figures = Figures()
        """The figures that the metrics serve."""
        self.figures.lost_lines = lambda: log.lost
        self._systemd = systemd
        self._own_connection: tuple[ServerIdentity, int] | None = None
        self._seen: Snapshot | None = None
        self._lost_at: float | None = None
        self._outage_kind = ""
        self._reached_at: dict[ConnectionLimit, float] = {}
        self._standing = ""
        self._resigned: Unfit | None = None
        self._passed_over = PassedOverReport()
        self._patience = Patience()
        self._nobody: Trigger | None = None
        self._said_nobody: dict[Trigger, float] = {}
        self._trouble = ""
        self._refused = False
        self._is_told_powerless = False
        self._cause, self._wont_hold, self._hands_off = _Once(), _Once(), _Once()

    def polled(self, snapshot: Snapshot, fresh_seconds: float) -> None:
        """A poll succeeded; it counts as new for so long."""
        now = time.monotonic()
        self.figures.snapshot, self.figures.polled_at = snapshot, now
        self.figures.fresh_seconds = fresh_seconds
        # A connection that is lost between two polls is opened again by the next one: no outage tells of it.
        own_connection = (snapshot.server.identity, snapshot.own_pid)
        if own_connection != self._own_connection or self._lost_at is not None:
            before = self._seen
            gone = None if before is None else now - (now if self._lost_at is None else self._lost_at)
            stayed = self._lost_at is None and before is not None and before.own_pid == snapshot.own_pid
            change = "" if before is None else succession(before, snapshot)
            self.log.connected(snapshot, gone, change=change, stayed=stayed)
            self._standing, self._is_told_powerless = "", False
        self._own_connection, self._lost_at, self._outage_kind = own_connection, None, ""
        self._seen = snapshot
        new, self._reached_at = newly_reached(limit_uses(snapshot), self._reached_at, now)
        for use in new[:_MOST_NAMED]:
            self.log.limit_reached(use)

    def diagnosed(self, findings: tuple[Finding, ...], forecast: Forecast | None) -> None:
        """Report what fills the server: its first cause once a change."""
        self.figures.findings, self.figures.forecast = findings, forecast
        if findings and self._cause.is_new(cause_of(findings[0])):
            self.log.found(findings[0])

    def outage(self, outage: Outage) -> None:
        """A poll gave no data."""
        self.figures.snapshot = None
        self.figures.stall = None
        self.figures.is_leader = False
        self.figures.outages[outage.kind] += 1
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        if outage.kind != self._outage_kind:
            self.log.outage(outage)
            self._systemd.status(f"no data: {outage.message}")
        self._outage_kind = outage.kind

    def trouble(self, error: BaseException) -> None:
        """A poll succeeded, and what it asked for could not be done."""
        self.figures.is_leader = False
        said = printable(masked(str(error))) or type(error).__name__
        if said != self._trouble:
            self.log.tell("trouble", said, warning=True)
            self._systemd.status(said)
        self._trouble = said

    def login(self, refused: bool | None) -> None:
        """Report the result of a login of the daemon's own; None tells nothing."""
        if refused:
            self.figures.refused_logins += 1
        if refused is not None and refused is not self._refused:
            said = (
                "a new connection was refused: no slot is left"
                if refused
                else "new connections are no longer refused"
            )
            self.log.tell("login", said, warning=refused, refused=refused)
            self._refused = refused

    def turn(self, turn: Turn, snapshot: Snapshot, policy: ReapPolicy, *, dry_run: bool) -> None:
        """Report what a poll led to."""
        if turn.report is not None or snapshot.usage <= policy.warn_at:
            self._trouble = ""
        self.figures.is_leader = turn.is_active and not dry_run
        self.figures.is_unfit = turn.unfit is not None
        self._passed_over.tell(turn.passed_over, self.log)
        self._tell_powerless(snapshot, policy)
        if not dry_run:
            self._tell_standing(turn)
        for measured in turn.measured:
            self.figures.rebound[measured.after_seconds] = measured
            self.log.rebounded(measured)
        if turn.patience.until > self._patience.until:
            self.log.rests(turn.patience)
        self._patience = turn.patience
        self.figures.is_resting = turn.patience.is_resting(time.monotonic())
        self._tell_stall(turn)
        self._tell_cause(turn, snapshot)
        self._tell_plan(turn, snapshot, policy)
        doing = "reaping" if turn.is_active else "standing by"
        usage = f"{snapshot.taken} of {plural(snapshot.slots, 'slot')}, {percent(snapshot.usage)}"
        stalled = f"; {stall_sentence(turn.stall)}" if turn.stall is not None else ""
        self._systemd.status(f"{doing}: {usage}{stalled}")

    def _tell_powerless(self, snapshot: Snapshot, policy: ReapPolicy) -> None:
        """Tell, once a connection, of a role that may terminate nothing, before the day when it should."""
        said = "" if self._is_told_powerless else powerless_sentence(snapshot, policy.only)
        if said:
            self._is_told_powerless = True
            self.log.tell("powerless", said, warning=True)

    def _tell_stall(self, turn: Turn) -> None:
        """Tell of a login stall once, and once that it is over."""
        self.figures.stall = turn.stall
        if turn.stall is not None and turn.stall_begins:
            self.log.stalled(turn.stall)
        if turn.stall_is_over:
            self.log.tell("stall_over", "clients still connecting no longer block new connections")

    def _tell_cause(self, turn: Turn, snapshot: Snapshot) -> None:
        """Tell once why nothing is swept, or why what is swept does not hold."""
        if self._hands_off.is_new(turn.hands_off or None):
            self.log.hands_off(turn.hands_off, emergency=is_emergency(snapshot))
        if turn.wont_hold is not None and turn.is_active and self._wont_hold.is_new(cause_of(turn.wont_hold)):
            self.log.wont_hold(turn.wont_hold)

    def _tell_standing(self, turn: Turn) -> None:
        ended = turn.report is not None and turn.report.count(Outcome.TERMINATED)
        others = len(turn.holders) - (not turn.keyless)
        if ended or others < 1:
            self._resigned = None
        if turn.is_active and self._resigned is not None:
            return  # it tries again beside another; that is worth a line once it has done something
        if turn.is_active and self._trouble:
            return  # it cannot sweep, as its warning says; it is active once it can
        standing = "active" if turn.is_active else turn.unfit or "standby"
        if standing == self._standing:
            return
        self._standing = standing
        if turn.is_active:
            self._resigned = None
            without = f", without pgtop's key: {turn.keyless}" if turn.keyless else ""
            said = f"active: this daemon sweeps{without}"
            self.log.tell("active", said, warning=bool(without), others=max(0, others))
            return
        name = turn.active.application_name if turn.active is not None else ""
        who = name.removeprefix(PGTOP_PREFIX) or "nobody"
        if turn.unfit is None:
            self.log.tell("standby", f"standing by: {who} is active", active=name)
            return
        self._resigned = turn.unfit
        # Where all are at work on a full server, there is nothing wrong with this one.
        is_fault = turn.unfit is not Unfit.NOBODY
        said = f"resigned, since {turn.unfit}: {who} is active"
        self.log.tell("resigned", said, warning=is_fault, reason=turn.unfit.name.lower(), active=name)

    def _tell_plan(self, turn: Turn, snapshot: Snapshot, policy: ReapPolicy) -> None:
        plan, report = turn.plan, turn.report
        if report is not None:
            trigger = report.plan.trigger
            self.figures.sweeps[trigger] += 1
            for result in report.results:
                self.figures.outcomes[result.outcome, trigger] += 1
            self.log.swept(report)
        elif plan is not None and plan.victims:
            self.log.would_sweep(plan)
        elif turn.stall is not None:
            return  # said already, and there is nobody whose end would help
        elif plan is not None and plan.trigger is not self._nobody and self._may_repeat(plan.trigger):
            self.log.nobody(plan, policy)
        if plan is not None and not plan.victims:
            self._nobody = plan.trigger
        elif plan is not None or snapshot.usage <= policy.warn_at:
            self._nobody = None

    def _may_repeat(self, trigger: Trigger) -> bool:
        """Return whether this was last said long enough ago: usage comes and goes around the line."""
        now = time.monotonic()
        if now - self._said_nobody.get(trigger, -math.inf) < _NOT_AGAIN_SECONDS[trigger]:
            return False
        self._said_nobody[trigger] = now
        return True
