"""THE shared reaper: a plan becomes outcomes. Nothing else in the tree terminates a session.

Every face asks it for a plan, shows that plan, and hands the same plan back to be run. The order is its own:
audit lines, signals, one wait for all, audit lines. A terminator looks at a session, signals it and sees that
it is gone: `postgres/terminate.py` over SQL, `postgres/host/terminate.py` on the server's own host. No driver
is imported here, so that a sick host needs none.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import msgspec

from pgtop.audit.log import AuditedServer, AuditLine, AuditLog, Operator, Sink, operator
from pgtop.concurrency import outlast
from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.blocking import with_blocked
from pgtop.core.json_text import cut, optional_timestamp, timestamp
from pgtop.core.masking import masked
from pgtop.core.outage import Limit
from pgtop.core.plan import (
    LONGEST_QUERY_BYTES,
    Act,
    DecidedBy,
    HeldLocks,
    Outcome,
    Plan,
    ReapPolicy,
    Result,
    Scope,
    Victim,
)
from pgtop.core.policy import SELECTED, plan_cancel, plan_emergency, plan_reap, plan_sweep, plan_terminate
from pgtop.core.text import printable
from pgtop.errors import AuditError, PgtopError, ReadOnlyError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config

CONFIRM_SECONDS: Final = 2.0
"""Seconds within which all signalled sessions have to be gone."""

_FIRST_LOOK_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 0.1


class Termination(Protocol):
    """A hand laid on one plan's victims, for as long as the plan is carried out."""

    @property
    def queries(self) -> Mapping[BackendId, str]:
        """The victims' statements, as far as they can be known and are logged."""

    @property
    def blocked(self) -> Mapping[BackendId, int]:
        """The sessions that wait for a lock behind each victim; a victim is left out if that is unknown."""

    @property
    def role(self) -> str | None:
        """The server's role that acts; None where the host's own rights do."""

    @property
    def is_rescue(self) -> bool:
        """True where that is the rescue role."""

    async def signal(self, victim: Victim) -> Result | None:
        """Signal a victim that still is what was shown; None where that is yet to be confirmed.

        Never raises: what stands in the way is a Result.
        """

    async def remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        """Return the victims whose signal has not taken effect yet. Raise PgtopError if that is unknown."""

    async def taken(self) -> int | None:
        """Return the slots that are taken now; None where they cannot be counted. Never raises."""


class Terminator(Protocol):
    """Access to the sessions of one server."""

    async def held_locks(self) -> HeldLocks:
        """The sessions that hold advisory locks, and which of them are pgtop's.

        Raises PgtopError where they cannot be asked for.
        """

    async def blocking_pids(self) -> Mapping[int, frozenset[int]] | None:
        """Return the pids that block each waiting session; None if that cannot be known.

        Raises PgtopError where the connection is lost.
        """

    async def termination(self, plan: Plan) -> Termination:
        """Prepare the termination of a plan's victims. Raises PgtopError: nothing was terminated then."""


class Report(msgspec.Struct, frozen=True):
    """The outcome of a plan."""

    plan: Plan
    results: tuple[Result, ...]
    audit_problem: str = ""
    """The reason the outcomes could not be written down; "" where they were."""
    measured_usage: float | None = None
    """The usage counted after the last signal; None where it could not be counted."""

    @property
    def terminated(self) -> tuple[Backend, ...]:
        """The sessions that are gone."""
        ended = (each for each in self.results if each.outcome is Outcome.TERMINATED)
        return tuple(each.victim.backend for each in ended)

    def count(self, outcome: Outcome) -> int:
        """Return the number of victims with this outcome."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def usage_after(self) -> float:
        """The usage that was measured; where it was not, the one that the outcomes imply."""
        if self.measured_usage is not None:
            return self.measured_usage
        gone = sum(backend.holds_slot for backend in self.terminated)
        return (self.plan.total - gone) / self.plan.slots

    @property
    def exit_code(self) -> ExitCode:
        """0 done, 5 where every victim was denied, 6 where something was left undone."""
        done = {Outcome.TERMINATED, Outcome.CANCELLED, Outcome.CHANGED}
        if all(result.outcome in done for result in self.results):
            return ExitCode.DONE
        denied = self.count(Outcome.DENIED) == len(self.results)
        return ExitCode.NOT_PERMITTED if denied else ExitCode.PARTLY


class Reaper:
    """Plan and terminate, through one terminator, for one interface."""

    def __init__(
        self,
        terminator: Terminator,
        audit: AuditLog,
        face: str,
        operator: Operator,
        *,
        read_only: bool = False,
    ) -> None:
        self.read_only = read_only
        """True to make plans and never run them: the last guard, whatever an interface lets through."""
        self._terminator = terminator
        self._audit = audit
        self._face = face
        self._operator = operator
        self._owed: list[AuditLine] = []
        """Outcomes that the audit log did not take, as on a full disk."""

    @classmethod
    def configured(
        cls,
        terminator: Terminator,
        config: Config,
        face: str,
        audit_stream: Sink | None = None,
        *,
        program: str | None = None,
    ) -> "Reaper":
        """Return the reaper that the settings ask for, on behalf of whoever runs this process.

        `audit_stream` takes the audit log where no file is configured; standard error by default. `program`
        is the name of the program that acts, if it is not pgtop itself.
        """
        audit = AuditLog.configured(config, audit_stream)
        return cls(terminator, audit, face, operator(os.environ, program), read_only=config.read_only)

    def through(self, terminator: Terminator) -> "Reaper":
        """Return a reaper like this one that reaches its sessions through another terminator."""
        other = Reaper(terminator, self._audit, self._face, self._operator, read_only=self.read_only)
        other._owed = self._owed
        return other

    async def plan_sweep(self, snapshot: Snapshot, policy: ReapPolicy, *, scope: Scope | None = None) -> Plan:
        """Return a plan for all stale sessions, or those in `scope`.

        Raises PgtopError where the server cannot be asked for locks.
        """
        held = await self._terminator.held_locks()
        return await self._with_blocked(plan_sweep(snapshot, policy, held, scope=scope))

    async def plan_emergency(
        self,
        snapshot: Snapshot,
        policy: ReapPolicy,
        *,
        refused: Limit | None = None,
        scope: Scope | None = None,
    ) -> Plan:
        """Return a plan that makes just enough room, from all sessions or those in `scope`.

        Raises as `plan_sweep` does.
        """
        held = await self._terminator.held_locks()
        plan = plan_emergency(snapshot, policy, held, refused=refused, scope=scope)
        return await self._with_blocked(plan)

    async def plan_reap(
        self,
        snapshot: Snapshot,
        policy: ReapPolicy,
        *,
        always: bool = False,
        refused: Limit | None = None,
        stuck: frozenset[BackendId] = frozenset(),
        may_try: bool = False,
        scope: Scope | None = None,
    ) -> Plan:
        """The plan that the usage asks for: see `core.policy.plan_reap`. Raises as `plan_sweep` does."""
        make = partial(plan_reap, always=always, refused=refused, stuck=stuck, may_try=may_try, scope=scope)
        plan = make(snapshot, policy)
        if not plan.victims:
            return plan
        return await self._with_blocked(make(snapshot, policy, await self._terminator.held_locks()))

    async def plan_terminate(
        self,
        snapshot: Snapshot,
        policy: ReapPolicy,
        selected: Iterable[BackendId],
        reason: str = SELECTED,
    ) -> Plan:
        """Return a plan to terminate the selected sessions. Raises as `plan_sweep` does."""
        held = await self._terminator.held_locks()
        return await self._with_blocked(plan_terminate(snapshot, policy, selected, held, reason))

    async def plan_cancel(
        self,
        snapshot: Snapshot,
        policy: ReapPolicy,
        selected: Iterable[BackendId],
        reason: str = SELECTED,
    ) -> Plan:
        """Return a plan to cancel what the selected sessions run. Raises as `plan_sweep` does."""
        held = await self._terminator.held_locks()
        return await self._with_blocked(plan_cancel(snapshot, policy, selected, held, reason))

    async def _with_blocked(self, plan: Plan) -> Plan:
        """Return the plan with the sessions that wait behind its victims, and ask only while some wait."""
        if not plan.may_block:
            return with_blocked(plan, {})
        if not plan.waiting_on_locks:
            return plan if plan.has_unseen_states else with_blocked(plan, {})
        blocked_by = await self._terminator.blocking_pids()
        return plan if blocked_by is None else with_blocked(plan, blocked_by)

    async def run(self, plan: Plan, *, decided_by: DecidedBy) -> Report:
        """Terminate (or cancel) the plan's victims and tell what became of each.

        The audit log's attempt lines come first: where they cannot be written AuditError is raised and
        nothing is ended. Raises ReadOnlyError where that is in force, and PgtopError where the connection is
        lost before anything was done.
        """
        if self.read_only:
            raise ReadOnlyError
        if plan.refusal or not plan.victims:
            return Report(plan, ())
        termination = await self._terminator.termination(plan)
        await self.write_owed()
        lines = self._attempts(plan, termination, decided_by)
        run = _Run(plan, termination)
        # The whole of them: a line of a session that was never signalled would mislead.
        written = await self._write(lines, whole=True)
        if written.problem is not None:
            if written.is_cancelled:
                raise asyncio.CancelledError from written.problem
            raise written.problem
        run.is_cancelled = written.is_cancelled
        work = asyncio.ensure_future(run.results())
        is_cancelled = await outlast(work, run.cancel) or run.is_cancelled
        # An event loop that ends cancels every task there is, and a second Ctrl-C ends one anywhere.
        failure = None if work.cancelled() else work.exception()
        is_cut = work.cancelled() or failure is not None
        results, usage = (run.cut_short(), None) if is_cut else work.result()
        written = await self._write_outcomes(lines, results, usage)
        if failure is not None:
            raise failure
        if is_cancelled or written.is_cancelled:
            raise asyncio.CancelledError
        return Report(plan, tuple(results), str(written.problem or ""), usage)

    async def can_write_audit(self) -> bool:
        """Return whether the audit log would take a plan's lines now, as far as this shows unwritten."""
        try:
            await asyncio.to_thread(self._audit.check)
        except AuditError:
            return False
        return True

    def _attempts(self, plan: Plan, termination: Termination, decided_by: DecidedBy) -> list[AuditLine]:
        plan_id = uuid.uuid4().hex
        now = timestamp(time.time_ns() // 1_000)
        server = AuditedServer(
            plan.server.host,
            plan.server.port,
            plan.server.version_num,
            plan.server.identity.system_identifier,
        )
        return [
            AuditLine(
                event="attempt",
                plan=plan_id,
                time=now,
                operator=self._operator,
                face=self._face,
                server=server,
                role=termination.role,
                rescue=termination.is_rescue,
                act=plan.act,
                trigger=plan.trigger,
                decided_by=decided_by,
                usage_before=plan.usage_before if plan.server.limits.are_known else None,
                pid=backend.pid,
                backend_start=optional_timestamp(backend.backend_start),
                state=backend.state,
                state_change=optional_timestamp(backend.state_change),
                xact_start=optional_timestamp(backend.xact_start),
                query_start=optional_timestamp(backend.query_start),
                application_name=backend.application_name,
                usename=backend.usename,
                datname=backend.datname,
                client_addr=backend.client_addr,
                idle_seconds=backend.idle_seconds(plan.taken_at),
                state_seconds=backend.state_seconds(plan.taken_at),
                idle_at_least=backend.idle_at_least,
                blocked_sessions=termination.blocked.get(backend.id),
                waiting_sessions=None if plan.has_unseen_states else plan.waiting_on_locks,
                query=_cut(termination.queries.get(backend.id, backend.query)),
                reason=victim.reason,
            )
            for victim in plan.victims
            for backend in (victim.backend,)
        ]

    async def _write_outcomes(
        self, attempts: list[AuditLine], results: list[Result], usage: float | None
    ) -> "_Written":
        now = timestamp(time.time_ns() // 1_000)
        lines = [
            msgspec.structs.replace(
                attempt,
                event="outcome",
                time=now,
                usage_after=usage,
                outcome=result.outcome.value,
                detail=masked(result.detail) or None,
            )
            for attempt, result in zip(attempts, results, strict=True)
        ]
        written = await self._write(lines)
        if written.problem is not None:
            self._owed += lines
        return written

    async def write_owed(self) -> None:
        """Write the outcomes that the audit log did not take before, if it takes them now. Never raises.

        A part of them may be there already: an outcome that is there twice counts once.
        """
        owed = list(self._owed)
        if not owed:
            return
        written = await self._write(owed, whole=True)
        if written.problem is None:
            del self._owed[: len(owed)]
        if written.is_cancelled:
            raise asyncio.CancelledError

    async def _write(self, lines: list[AuditLine], *, whole: bool = False) -> "_Written":
        """Write lines, to the end also if cancelled meanwhile: a thread that writes cannot be stopped."""
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(None, partial(self._audit.append, lines, whole=whole))
        except RuntimeError as error:  # this user may have no more threads
            return _Written(AuditError(f"cannot write the audit log {self._audit.name} ({error})"))
        is_cancelled = await outlast(work)
        problem = work.exception()
        if problem is not None and not isinstance(problem, AuditError):
            raise problem
        return _Written(problem, is_cancelled)


class _Written(NamedTuple):
    """The end of an attempt to write lines."""

    problem: AuditError | None = None
    """The reason they could not be written."""
    is_cancelled: bool = False
    """True if the caller was cancelled meanwhile."""


class _Run:
    """The signals of one plan and their outcomes."""

    def __init__(self, plan: Plan, termination: Termination) -> None:
        self.is_cancelled = False
        """True if no further session is to be signalled."""
        self._plan = plan
        self._termination = termination
        self._signalled: list[Result | Victim] = []

    def cancel(self) -> None:
        """Signal no further session."""
        self.is_cancelled = True

    async def results(self) -> tuple[list[Result], float | None]:
        """Signal all victims, and return their outcomes and the usage after it, None if it is unknown."""
        for victim in self._plan.victims:
            self._signalled.append(
                _left_alone(victim) if self.is_cancelled else await self._termination.signal(victim) or victim
            )
        results = await _confirm(self._plan, self._signalled, self._termination)
        return results, await _usage(self._plan, self._termination)

    def cut_short(self) -> list[Result]:
        """Return the outcomes as far as they are known after `results` was itself cancelled."""
        signalled, reached = self._signalled, len(self._signalled)
        maybe = self._plan.victims[reached : reached + 1]  # the signal may have been on its way
        known = [
            Result(each, Outcome.UNKNOWN, "pgtop ended before this was confirmed")
            if isinstance(each, Victim)
            else each
            for each in (*signalled, *maybe)
        ]
        return [*known, *map(_left_alone, self._plan.victims[reached + 1 :])]


def _left_alone(victim: Victim) -> Result:
    return Result(victim, Outcome.FAILED, "not signalled: the run was cancelled")


async def _usage(plan: Plan, termination: Termination) -> float | None:
    """Return the usage as it is now; None where it cannot be measured."""
    taken = await termination.taken() if plan.server.limits.are_known else None
    return None if taken is None else taken / plan.slots


def _cut(query: str | None) -> str | None:
    return None if query is None else cut(query, LONGEST_QUERY_BYTES)


async def _confirm(plan: Plan, results: Sequence[Result | Victim], termination: Termination) -> list[Result]:
    """Wait for all signalled victims together, at most CONFIRM_SECONDS."""
    pending = {each.backend.id: each for each in results if isinstance(each, Victim)}
    gone = Outcome.CANCELLED if plan.act is Act.CANCEL else Outcome.TERMINATED
    known: dict[BackendId, Result] = {}
    deadline = time.monotonic() + CONFIRM_SECONDS
    pause = _FIRST_LOOK_SECONDS
    while pending:
        await asyncio.sleep(pause)
        pause = _LOOK_SECONDS
        try:
            there = await termination.remaining(list(pending.values()))
        except PgtopError as error:
            detail = f"signalled, then the connection was lost ({printable(str(error))})"
            known |= {each: Result(victim, Outcome.UNKNOWN, detail) for each, victim in pending.items()}
            break
        for identity in pending.keys() - there:
            known[identity] = Result(pending.pop(identity), gone)
        if time.monotonic() >= deadline:
            detail = f"signalled, and still there after {CONFIRM_SECONDS:.0f}s"
            known |= {each: Result(victim, Outcome.SURVIVED, detail) for each, victim in pending.items()}
            break
    return [known[each.backend.id] if isinstance(each, Victim) else each for each in results]
