"""What the daemon tells of its polls, to all who listen: the log, the metrics, systemd. Each thing once."""

import math
import time
from typing import Final

from pgtop.autoreaper import Turn
from pgtop.core.activity import Outage, ServerIdentity, Snapshot
from pgtop.core.plan import ReapPolicy, Trigger
from pgtop.core.rebound import Patience
from pgtop.core.text import percent, plural, printable
from pgtop.daemon_log import DaemonLog
from pgtop.metrics import Figures
from pgtop.systemd import Systemd

_NOT_AGAIN_SECONDS: Final = {Trigger.USAGE: 600.0, Trigger.EMERGENCY: 60.0, Trigger.NONE: 600.0}
"""How long it is not said again that there is nobody to end."""


class DaemonReport:
    """Turns what happens into lines, figures and a status; says again only what has changed."""

    def __init__(self, log: DaemonLog, systemd: Systemd) -> None:
        self.log = log
        self.figures = Figures()
        """What the metrics tell."""
        self._systemd = systemd
        self._seat: tuple[ServerIdentity, int] | None = None
        self._lost_at: float | None = None
        self._outage_kind = ""
        self._standing: bool | None = None
        self._patience = Patience()
        self._nobody: Trigger | None = None
        self._said_nobody: dict[Trigger, float] = {}
        self._trouble = ""
        self._refused = False

    def polled(self, snapshot: Snapshot, fresh_seconds: float) -> None:
        """A poll succeeded; it counts as new for so long."""
        now = time.monotonic()
        self.figures.snapshot, self.figures.polled_at = snapshot, now
        self.figures.fresh_seconds = fresh_seconds
        # A seat that is lost between two polls is taken again by the next one: no outage tells of it.
        seat = (snapshot.server.identity, snapshot.own_pid)
        if seat != self._seat or self._lost_at is not None:
            before = None if self._seat is None else self._seat[0]
            gone = None if before is None else now - (now if self._lost_at is None else self._lost_at)
            self.log.connected(snapshot, gone, is_other=before not in (None, seat[0]))
            self._standing = None
        self._seat, self._lost_at, self._outage_kind = seat, None, ""

    def outage(self, outage: Outage) -> None:
        """A poll gave no data."""
        self.figures.snapshot = None
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
        said = printable(str(error)) or type(error).__name__
        if said != self._trouble:
            self.log.tell("trouble", said, warning=True)
            self._systemd.status(said)
        self._trouble = said

    def login(self, refused: bool | None) -> None:
        """What a login of the daemon's own came to; None is nothing to go by."""
        if refused:
            self.figures.refused_logins += 1
        if refused is not None and refused is not self._refused:
            said = "a login was refused: no slot is left" if refused else "logins are no longer refused"
            self.log.tell("login", said, warning=refused, refused=refused)
            self._refused = refused

    def turn(self, turn: Turn, snapshot: Snapshot, policy: ReapPolicy, *, dry_run: bool) -> None:
        """What a poll led to."""
        if turn.report is not None or snapshot.usage <= policy.warn_at:
            self._trouble = ""
        self.figures.is_leader = turn.is_active and not dry_run
        if turn.is_active is not self._standing and not dry_run:
            self._tell_standing(turn)
        self._standing = turn.is_active
        for measured in turn.measured:
            self.figures.rebound[measured.after_seconds] = measured
            self.log.rebounded(measured)
        if turn.patience.until > self._patience.until:
            self.log.rests(turn.patience)
        self._patience = turn.patience
        self.figures.is_resting = turn.patience.is_resting(time.monotonic())
        self._tell_plan(turn, snapshot, policy)
        doing = "reaping" if turn.is_active else "standing by"
        usage = f"{snapshot.counts.total} of {plural(snapshot.slots, 'slot')}, {percent(snapshot.usage)}"
        self._systemd.status(f"{doing}: {usage}")

    def _tell_standing(self, turn: Turn) -> None:
        if turn.is_active:
            self.log.tell("active", "active: this daemon reaps", others=len(turn.holders) - 1)
        elif turn.active is not None:
            name = turn.active.application_name
            self.log.tell("standby", f"standing by: {name.removeprefix('pgtop ')} reaps", active=name)
        else:
            said = "standing by, and nobody reaps: another program holds pgtop's advisory key"
            self.log.tell("standby", said, warning=True, active=None)

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
        elif plan is not None and plan.trigger is not self._nobody and self._may_repeat(plan.trigger):
            self.log.nobody(plan, policy)
        if plan is not None and not plan.victims:
            self._nobody = plan.trigger
        elif plan is not None or snapshot.usage <= policy.warn_at:
            self._nobody = None

    def _may_repeat(self, trigger: Trigger) -> bool:
        """Whether it is long enough ago that this was said: usage comes and goes around the line."""
        now = time.monotonic()
        if now - self._said_nobody.get(trigger, -math.inf) < _NOT_AGAIN_SECONDS[trigger]:
            return False
        self._said_nobody[trigger] = now
        return True
