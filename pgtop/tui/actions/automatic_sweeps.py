"""The dashboard's automatic sweeps, on or off: one turn after the other, never during a person's run.

The engine is the daemon's: of all pgtops that hold its key, one sweeps and the others stand by.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from textual.screen import Screen

from pgtop.concurrency import undisturbed
from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.leadership import Ranking
from pgtop.core.outage import Limit, Outage
from pgtop.core.retaken_slots import LATER_SECONDS, SOON_SECONDS
from pgtop.core.signal_rights import powerless_sentence, reaping_grants
from pgtop.core.stalled_logins import STALL_HELP
from pgtop.core.text import printable
from pgtop.errors import AuditError, PgtopError
from pgtop.poller import Poller
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, pooled_sentence
from pgtop.reaping.automatic import AutomaticReaper, Turn
from pgtop.reaping.plan_wording import stall_sentence
from pgtop.tui.actions.plan_actions import LONGEST_RUN_SECONDS, PlanActions
from pgtop.tui.lines.automatic_sweeps import AutomaticState, named, rules
from pgtop.tui.messages import AutoChanged, Reaped, Trouble

_HIDDEN: Final = "the states of sessions are hidden from role {role}. Run: {grant}"


class AutomaticSweeps:
    """The automatic sweeps of a screen."""

    def __init__(
        self, screen: Screen[Any], engine: AutomaticReaper, poller: Poller, plan_actions: PlanActions
    ) -> None:
        self.is_on = False
        """True while this dashboard sweeps automatically, or stands by to."""
        self.engine = engine
        """The reaper that takes the turns."""
        self._screen = screen
        self._poller = poller
        self._plan_actions = plan_actions
        self._snapshot: Snapshot | None = None
        self._out = False
        self._turn: Turn | None = None
        self._problem = ""
        self._unwritten = False
        self._may_hold_key = False
        self._task: asyncio.Task[None] | None = None

    def standing(self, paused: bool) -> AutomaticState:
        """Return the state of automatic sweeps, for their line on the screen."""
        return AutomaticState(
            policy=self.engine.policy,
            snapshot=self._snapshot,
            turn=self._turn,
            seconds_to_sweep=self.engine.seconds_to_sweep(),
            seconds_to_rest=self.engine.seconds_to_rest(),
            out=self._out,
            waits=self._plan_actions.is_busy,
            paused=paused,
            problem=self._problem,
        )

    # On and off

    async def ask(self) -> None:
        """Ask whether to turn automatic sweeps on, unless another pgtop sweeps already, and do so."""
        from pgtop.tui.screens.automatic_dialog import AutomaticDialog

        try:
            if await self._is_refused():
                return
            engine, snapshot = self.engine, self._snapshot
            powerless = powerless_sentence(snapshot, engine.policy.only) if snapshot is not None else ""
            told = rules(engine.policy, engine.every_seconds, engine.only, powerless=powerless)
            dialog = AutomaticDialog(told)
            # Another pgtop may have begun while the dialog was open.
            if await self._screen.app.push_screen_wait(dialog) and not await self._is_refused():
                self.is_on = True
                self._turn, self._problem, self._unwritten = None, "", False
                self._poller.wake()
        except (PgtopError, *DRIVER_ERRORS) as error:
            self._screen.post_message(Trouble(_said(error)))
        finally:
            self._plan_actions.is_busy = False
            self._screen.post_message(AutoChanged())

    async def _is_refused(self) -> bool:
        """Return whether automatic sweeps cannot be turned on, and say why."""
        own_connection, snapshot = self._poller.probe.own_connection, self._snapshot
        if own_connection.pooled:
            self._screen.post_message(Trouble(pooled_sentence(own_connection.label)))
            return True
        if snapshot is not None and not snapshot.counts.exact:
            role = snapshot.privileges.role
            said = _HIDDEN.format(role=printable(role), grant=reaping_grants(snapshot))
            self._screen.post_message(Trouble(said))
            return True
        ranking = await undisturbed(self._look())
        others = [holder for holder in ranking.holders if holder.pid != own_connection.own_pid]
        if others:
            said = f"{named(others[0].application_name)} is already sweeping this server"
            self._screen.post_message(Trouble(said, "note"))
        return bool(others)

    async def _look(self) -> Ranking:
        return await self.engine.look()

    def turn_off(self) -> None:
        """Turn automatic sweeps off at once, and give the key to a pgtop that stands by.

        A run that has begun first gets its outcomes.
        """
        self.is_on = False
        self._turn, self._problem, self._unwritten = None, "", False
        before = self._task
        if before is not None and not self.engine.is_ending:
            before.cancel()
        self._task = asyncio.ensure_future(self._leave(before))

    async def _leave(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        await self._give_key_back()

    async def _give_key_back(self) -> None:
        """Give the key back; if that fails, the next poll tries again. A lost connection has lost its key."""
        with contextlib.suppress(PgtopError, *DRIVER_ERRORS):
            await self.engine.stop()
            self._may_hold_key = False

    async def finish(self) -> None:
        """Wait for the outcomes of a run that has begun, after the screen is closed.

        The key goes with the connection: giving it back first would make `q` wait for a silent server.
        """
        self.is_on = False
        if self._task is not None and self.engine.is_ending:
            await asyncio.wait({self._task}, timeout=LONGEST_RUN_SECONDS)
        elif self._task is not None:
            self._task.cancel()

    def paced(self) -> None:
        """Take note of a new interval: the next turn, which follows at once, tells the other pgtops of it."""
        if self.is_on:
            self._poller.wake()

    # One turn after the other

    def polled(
        self,
        result: Snapshot | Outage,
        *,
        refused: bool = False,
        refusing: Limit | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        """Take note of a poll; take a turn if this is on, unless one is under way or a person acts.

        `refused` is True if a login was just refused although the result shows free slots; `refusing` is the
        limit that refuses logins. `findings` are those of the result.
        """
        self._out = isinstance(result, Outage)
        if isinstance(result, Outage):
            return
        self._snapshot = result
        if result.interruptions != self._poller.probe.own_connection.interruptions:
            return  # from before an interruption
        if self._task is not None and not self._task.done():
            return
        if self.is_on and not self._plan_actions.is_busy:
            self._may_hold_key = True
            self._task = asyncio.ensure_future(self._take_turn(result, refused, refusing, findings))
        elif self._may_hold_key:
            # Also while a person's own plan is open: another pgtop may have to free slots meanwhile.
            self._task = asyncio.ensure_future(self._give_key_back())

    async def _take_turn(
        self, snapshot: Snapshot, refused: bool, refusing: Limit | None, findings: Sequence[Finding]
    ) -> None:
        try:
            if self._poller.probe.own_connection.pooled:
                raise PgtopError(pooled_sentence(self._poller.probe.own_connection.label))
            async with self._plan_actions.one_run:
                self.engine.interval_seconds = self._poller.interval_seconds
                self._turn = turn = await self.engine.turn(
                    snapshot, refused=refused, refusing=refusing, findings=findings
                )
            if turn.stall is not None and turn.stall_begins:
                said = f"{stall_sentence(turn.stall)}. What helps: {STALL_HELP}"
                self._screen.post_message(Trouble(said, "note"))
            if turn.report is not None or not self._is_unwritten(snapshot):
                self._problem, self._unwritten = "", False
        except (PgtopError, *DRIVER_ERRORS) as error:
            self._problem, self._unwritten = _said(error), isinstance(error, AuditError)
        else:
            if turn.report is not None:
                self._tell(turn)
        self._screen.post_message(AutoChanged())

    def _is_unwritten(self, snapshot: Snapshot) -> bool:
        """Return whether the last sweep failed at the audit log, and another is still needed.

        The next one comes only after a while: until then, the screen shows why the last one failed.
        """
        return self._unwritten and snapshot.usage > self.engine.policy.warn_at

    def _tell(self, turn: Turn) -> None:
        if turn.report is None:
            return
        self._screen.post_message(Reaped(turn.report, by_itself=True))
        # Poll in time to measure the rebound, however long the interval is.
        for seconds in (SOON_SECONDS, LATER_SECONDS):
            self._screen.set_timer(seconds, self._poller.wake)


def _said(error: BaseException) -> str:
    return printable(str(error)) or type(error).__name__
