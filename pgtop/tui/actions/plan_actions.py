"""The path from a key to a plan, to the dialog that asks about it, and to a run of the shared reaper."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from textual.screen import Screen

from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.canary import CANARY_SECONDS, canary_sentence
from pgtop.core.diagnosis.findings import Finding, Kind, Remedy
from pgtop.core.diagnosis.sweepable_kinds import against_sweeping, refilling
from pgtop.core.outage import Limit
from pgtop.core.plan import Act, DecidedBy, Plan, ReapPolicy, Scope
from pgtop.core.policy import DIAGNOSED
from pgtop.core.stalled_logins import stall_of
from pgtop.errors import PgtopError
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.reaping.canary import run_canary
from pgtop.reaping.plan_wording import stall_sentence
from pgtop.reaping.reaper import Reaper
from pgtop.tui.messages import Begun, Reaped, Trouble
from pgtop.tui.screens.sweep_choice import CHANGING_KEYS, Replan, SweepChoice

if TYPE_CHECKING:
    from pgtop.tui.screens.plan_dialog import PlanDialog

LONGEST_RUN_SECONDS: Final = 30.0
"""The longest wait of a closed dashboard for the outcomes of a run that has begun."""

_BEGUN: Final = "canary: one session of each application goes first, then pgtop looks again"
_OLD: Final = "the data is from before an outage: nothing was terminated"


class PlanActions:
    """The actions that ask about a plan and carry it out on behalf of a screen, one plan at a time."""

    def __init__(
        self,
        screen: Screen[Any],
        own_connection: OwnConnection,
        reaper: Reaper,
        policy: ReapPolicy,
        stood_still: Callable[[], bool],
        look: Callable[[], Awaitable[Snapshot]],
        findings: Callable[[], Iterable[Finding]],
        age_words: Callable[[Snapshot], str],
        returning: Callable[[Snapshot], frozenset[BackendId]] = lambda _: frozenset(),
    ) -> None:
        """`stood_still` returns whether this program was suspended just now, `look` the next snapshot.

        `findings` returns those on the screen: the dialogs say what speaks against a plan. `age_words` says
        of a snapshot that it is old; "" if it is not. `returning` returns the sessions of a snapshot that
        come back when they are terminated, as others did before.
        """
        self._screen = screen
        self._own_connection = own_connection
        self._reaper = reaper
        self._policy = policy
        self._stood_still = stood_still
        self._look = look
        self._findings = findings
        self._age_words = age_words
        self._returning = returning
        self._closed = asyncio.Event()
        self.canary_seconds = CANARY_SECONDS
        """Seconds between the canary's first step and the look at what came back."""
        self.is_busy = False
        """True from the key to the last outcome: no second plan is made meanwhile."""
        self.keeps_keys = False
        """True while a plan is being made: keys that change it are kept for its dialog."""
        self._typed: list[str] = []
        self.one_run = asyncio.Lock()
        """The lock held while sessions are terminated, by a person's plan or automatically: never two runs
        at once."""
        self._running: asyncio.Task[Reaped] | None = None

    async def finish(self) -> None:
        """Wait for a run that has begun, after the screen is closed. A canary ends with its first step."""
        self._closed.set()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=LONGEST_RUN_SECONDS)
        await self._reaper.write_owed()

    def keep_key(self, key: str) -> bool:
        """Keep a key that changes the plan that is being made, and return whether it was one."""
        if not self.keeps_keys or key not in CHANGING_KEYS:
            return False
        self._typed.append(key)
        return True

    async def terminate(self, snapshot: Snapshot, selected: Iterable[BackendId]) -> None:
        """Ask whether to terminate the selected sessions, and do so."""
        plan = self._reaper.plan_terminate(snapshot, self._policy, selected)
        await self._ask_and_run(snapshot, plan)

    async def cancel(self, snapshot: Snapshot, selected: Iterable[BackendId]) -> None:
        """Ask whether to cancel the queries of the selected sessions, and do so."""
        await self._ask_and_run(snapshot, self._reaper.plan_cancel(snapshot, self._policy, selected))

    async def act_on_shown(self, act: Act, shown: Backend, said: str) -> None:
        """Ask whether to terminate one session, or to cancel its query, and do so.

        `shown` is the session as another screen shows it, with newer data than the list's: the plan is made
        from a snapshot taken now, and only while it is what was shown. `said` is shown with the plan.
        """
        from pgtop.core.lock_tree import changed_since

        with self._telling():
            snapshot = await self._look()
            cancels = act is Act.CANCEL
            if changed := changed_since(shown, snapshot.by_id.get(shown.id), cancels=cancels):
                raise PgtopError(f"{changed}: nothing was done")
            make = self._reaper.plan_cancel if cancels else self._reaper.plan_terminate
            await self._ask_and_run(snapshot, make(snapshot, self._policy, [shown.id]), said=said)

    async def sweep(
        self,
        snapshot: Snapshot,
        scope: Scope | None,
        refusing: Limit | None = None,
    ) -> None:
        """Ask whether to terminate the stale sessions, and do so; on a full server, ask about an emergency's
        plan first.

        `scope` is the list on the screen; None if it shows all sessions. Keys in the dialog widen the plan to
        all of them, and change the idle age. `refusing` is the limit that refuses logins. The dialog says if
        terminating sessions does not help.
        """

        asked = self._policy.include_idle_in_transaction_seconds

        async def plan_for(choice: SweepChoice) -> Plan:
            seconds = (asked or choice.idle_after_seconds) if choice.in_transaction else None
            policy = msgspec.structs.replace(
                self._policy,
                idle_after_seconds=choice.idle_after_seconds,
                emergency_idle_after_seconds=choice.emergency_idle_after_seconds,
                include_idle_in_transaction_seconds=seconds,
            )
            if choice.emergency:
                return await self._reaper.plan_emergency(
                    snapshot, policy, refused=refusing, scope=choice.scope
                )
            return await self._reaper.plan_sweep(snapshot, policy, scope=choice.scope)

        stall = stall_of(snapshot, self._policy.warn_at, refusing)
        full = snapshot.is_full and stall is None
        stalled = stall_sentence(stall) if stall is not None else ""
        said = " · ".join(filter(None, (stalled, against_sweeping(self._findings()))))
        first = SweepChoice(
            emergency=full,
            in_transaction=asked is not None,
            scope=scope,
            idle_after_seconds=self._policy.idle_after_seconds,
            emergency_idle_after_seconds=self._policy.emergency_idle_after_seconds,
        )
        await self._ask_and_run(snapshot, plan_for(first), Replan(first, plan_for), said)

    async def remedy(self, snapshot: Snapshot, kind: Kind, remedy: Remedy) -> None:
        """Ask whether to do what a finding of that snapshot calls for, and do so.

        The dialog and the audit log name its kind as the reason.
        """
        make = self._reaper.plan_cancel if remedy.act is Act.CANCEL else self._reaper.plan_terminate
        planning = make(snapshot, self._policy, remedy.backends, reason_words(kind))
        await self._ask_and_run(snapshot, planning, said=remedy.caution)

    async def break_glass(self, plan: Plan, reaper: Reaper, said: str = "") -> None:
        """Ask whether to terminate sessions from the server's own host, without a connection, and do so.

        `reaper` is the one that works from the host; `said` is a warning to show with the plan.
        """
        from pgtop.tui.screens.plan_dialog import PlanDialog

        with self._telling():
            await self._ask(PlanDialog(plan, caution=said), reaper)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Show an error as a notice, and accept the next plan afterwards."""
        try:
            yield
        except PgtopError as error:
            self._screen.post_message(Trouble(str(error)))
        finally:
            self.is_busy = self.keeps_keys = False
            self._typed = []

    async def _run(self, plan: Plan, reaper: Reaper, canary_from: Snapshot | None) -> Reaped:
        """Carry out a plan; with the snapshot that it was made from, by a canary first."""
        async with self.one_run:
            if canary_from is None:
                return Reaped(await reaper.run(plan, decided_by=DecidedBy.PERSON))
            done = await run_canary(
                reaper,
                plan,
                canary_from,
                decided_by=DecidedBy.PERSON,
                poll=self._look_again,
                pause_seconds=0.0,  # it is in the look, which the end of the program cuts short
            )
            seen = " · ".join(filter(None, (*map(canary_sentence, done.seen), done.problem)))
            return Reaped(done.report, seen=seen)

    async def _look_again(self) -> Snapshot:
        """Return what there is after the canary's pause. Raises PgtopError if pgtop is closed before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.canary_seconds):
                await self._closed.wait()
        looking = asyncio.ensure_future(self._look())
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({looking, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                raise PgtopError("pgtop was closed before it looked again: the others are left alone")
            return looking.result()
        finally:
            looking.cancel()
            closed.cancel()

    async def _ask_and_run(
        self,
        snapshot: Snapshot,
        planning: Coroutine[Any, Any, Plan],
        replan: Replan | None = None,
        said: str = "",
    ) -> None:
        from pgtop.tui.screens.plan_dialog import PlanDialog

        # A plan made as the rescue role is carried out as the rescue role.
        with self._own_connection.steady(), self._telling(), contextlib.closing(planning):
            if snapshot.interruptions != self._own_connection.interruptions:
                raise PgtopError(_OLD)
            dialog = PlanDialog(
                await planning,
                replan=replan,
                caution=" · ".join(filter(None, (self._age_words(snapshot), said))),
                refilling=refilling(self._findings()) | self._returning(snapshot),
                typed=self._typed,
            )
            await self._ask(dialog, self._reaper, snapshot)

    async def _ask(self, dialog: "PlanDialog", reaper: Reaper, snapshot: Snapshot | None = None) -> None:
        plan = await self._screen.app.push_screen_wait(dialog)
        self.keeps_keys = False
        if plan is not None and self._stood_still():
            raise PgtopError("pgtop was suspended after planning: nothing was terminated", "try again")
        if plan is not None:
            self._screen.post_message(Trouble(_BEGUN, "note") if dialog.is_canary else Begun(plan))
            # A run that has begun goes on after the screen is closed, so that each signal gets its outcome.
            canary_from = snapshot if dialog.is_canary else None
            self._running = asyncio.ensure_future(self._run(plan, reaper, canary_from))
            self._screen.post_message(await asyncio.shield(self._running))


def reason_words(kind: Kind) -> str:
    """Return a finding's kind as the reason of a plan.

    >>> reason_words(Kind.LOCK_QUEUE)
    'diagnosis: lock queue'
    """
    return f"{DIAGNOSED}{kind.replace('_', ' ')}"
