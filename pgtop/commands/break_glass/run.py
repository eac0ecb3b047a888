"""The face of `pgtop break-glass`: sessions of a full server terminated from its own host.

It needs neither a slot nor a driver. It finds the server, reads its processes, watches Unix sockets if it
must, and makes the plan. The shared reaper carries the plan out through a HostTerminator.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from pgtop.core.activity import IDLE
from pgtop.core.break_glass_plan import Ask, is_enough, plan_break_glass, plan_stalled_logins
from pgtop.core.plan import DecidedBy, Plan, ReapPolicy
from pgtop.core.text import plural, span
from pgtop.errors import UsageError
from pgtop.postgres.host.server_settings import ask_settings
from pgtop.postgres.host.servers import HostServer, Wanted, find_server
from pgtop.postgres.host.terminate import HostTerminator
from pgtop.postgres.host.watcher import HostView, HostWatcher
from pgtop.reaping.reaper import Reaper
from pgtop.reaping.report_json import Answer
from pgtop.settings.defaults_and_bounds import Config

FACE: Final = "break-glass"

_WATCHED_A_LITTLE_LONGER: Final = 0.05
"""Seconds added to the watch: a lower bound that is slightly too short would skip all sessions."""


class Prepared(msgspec.Struct, frozen=True):
    """A plan that is ready to be shown and carried out."""

    view: HostView
    plan: Plan
    watcher: HostWatcher
    ask: Ask = Ask()

    @property
    def server(self) -> HostServer:
        """The server that the plan is for."""
        return self.watcher.server

    def check_rights(self) -> None:
        """Raise NotPermittedError if this user may not terminate the victims. No session is signalled."""
        HostTerminator(self.watcher).check_rights(self.plan)


def find(wanted: Wanted) -> HostServer:
    """Return the wanted server of this host. It raises as `find_server` does, and UsageError off Linux."""
    if sys.platform != "linux":
        raise UsageError(
            "break-glass reads Linux's /proc, and this is not Linux", "run it on the server's host"
        )
    return find_server(wanted)


def prepare(server: HostServer, policy: ReapPolicy, ask: Ask, tell: Callable[[str], None]) -> Prepared:
    """Make the plan for a server. `tell` receives a message if sessions have to be watched.

    It raises UsageError if the number of slots is unknown and no number of sessions was asked for; otherwise
    it raises as `HostWatcher` and its `look` do.
    """
    asked = ask_settings(server)
    watcher = HostWatcher(server, asked.answers())
    view = watcher.look()
    if ask.stalled_logins_seconds is not None:
        plan = plan_stalled_logins(view.snapshot, view.silent, policy, ask)
        return Prepared(view, plan, watcher, ask)
    if ask.count is None and not view.has_limits:
        raise UsageError("the number of slots is unknown", "use --count N")
    plan = plan_break_glass(view.snapshot, policy, ask)
    untimed = sum(each.pid in view.untimed and each.state == IDLE for each in view.snapshot.backends)
    if untimed and not is_enough(plan, ask):
        seconds = ask.least_seconds(policy)
        tell(f"watching {plural(untimed, 'session')} on Unix sockets for {span(seconds)}")
        time.sleep(seconds + _WATCHED_A_LITTLE_LONGER)
        view = watcher.look()
        plan = plan_break_glass(view.snapshot, policy, ask)
    return Prepared(view, plan, watcher, ask)


async def carry_out(prepared: Prepared, config: Config, *, decided_by: DecidedBy) -> Answer:
    """Terminate the plan's victims.

    It raises AuditError if the audit log cannot be written. No session was terminated then.
    """
    reaper = Reaper.configured(HostTerminator(prepared.watcher), config, FACE)
    report = await reaper.run(prepared.plan, decided_by=decided_by)
    return Answer(prepared.plan, report, dry_run=False, usage_after=report.usage_after)


def not_ended(prepared: Prepared, *, dry_run: bool) -> Answer:
    """Return the answer of a run that terminated no session."""
    return Answer(prepared.plan, None, dry_run, prepared.plan.usage_after)
