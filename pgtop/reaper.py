"""THE shared reaper: a plan becomes outcomes. Nothing else in the tree ends a session.

Every face asks it for a plan, shows that plan, and hands the same plan back to be run. Each victim is ended
by one statement that looks and signals at once, so that a session that is no longer what was shown lives.
"""

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import asyncpg
import msgspec

from pgtop.audit import AuditedServer, AuditLine, AuditLog, Operator
from pgtop.core.activity import ACTIVE, Backend, BackendId, Snapshot, iso8601
from pgtop.core.policy import (
    Act,
    Plan,
    ReapPolicy,
    Victim,
    plan_cancel,
    plan_emergency,
    plan_reap,
    plan_sweep,
    plan_terminate,
)
from pgtop.core.text import printable
from pgtop.errors import AuditError, ExitCode, PgtopError
from pgtop.postgres import queries
from pgtop.postgres.faults import DRIVER_ERRORS, NOT_TEXT, SeatLostError
from pgtop.postgres.guard import guarded_statement
from pgtop.postgres.seat import Seat

CONFIRM_SECONDS: Final = 2.0
"""How long the signalled sessions have to be gone, all together."""

_FIRST_LOOK_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 0.1


class Outcome(StrEnum):
    """What became of one victim."""

    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    """Its statement ended; the session lives."""
    CHANGED = "changed"
    """It turned active, left, or is another session now: nothing was done to it."""
    DENIED = "denied"
    """The server does not let this role end it."""
    SURVIVED = "survived"
    """It was signalled and still there at the limit."""
    FAILED = "failed"
    """It was not signalled."""
    UNKNOWN = "unknown"
    """The connection was lost after the signal."""


class Result(msgspec.Struct, frozen=True):
    """The outcome of one victim, with what the server said where it said something."""

    victim: Victim
    outcome: Outcome
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """What became of a plan."""

    plan: Plan
    results: tuple[Result, ...]
    audit_problem: str = ""
    """Why the outcomes could not be written down; "" where they were."""

    def count(self, outcome: Outcome) -> int:
        """How many victims had this outcome."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def exit_code(self) -> ExitCode:
        """0 done, 5 where every victim was denied, 6 where something was left undone."""
        done = {Outcome.TERMINATED, Outcome.CANCELLED, Outcome.CHANGED}
        if all(result.outcome in done for result in self.results):
            return ExitCode.DONE
        denied = self.count(Outcome.DENIED) == len(self.results)
        return ExitCode.NOT_PERMITTED if denied else ExitCode.PARTLY


class Reaper:
    """Plans and ends, on one seat, for one face."""

    def __init__(self, seat: Seat, audit: AuditLog, face: str, operator: Operator) -> None:
        self._seat = seat
        self._audit = audit
        self._face = face
        self._operator = operator

    async def plan_sweep(self, snapshot: Snapshot, policy: ReapPolicy) -> Plan:
        """A plan over all stale sessions. Raises PgtopError where the server cannot be asked for locks."""
        return plan_sweep(snapshot, policy, await self._advisory_lock_holders())

    async def plan_emergency(self, snapshot: Snapshot, policy: ReapPolicy) -> Plan:
        """A plan that makes just enough room. Raises as `plan_sweep` does."""
        return plan_emergency(snapshot, policy, await self._advisory_lock_holders())

    async def plan_reap(
        self,
        snapshot: Snapshot,
        policy: ReapPolicy,
        *,
        always: bool = False,
        refused: bool = False,
        stuck: frozenset[BackendId] = frozenset(),
    ) -> Plan:
        """The plan that the usage asks for: see `core.policy.plan_reap`. Raises as `plan_sweep` does."""
        plan = plan_reap(snapshot, policy, always=always, refused=refused, stuck=stuck)
        if not plan.victims:
            return plan
        holders = await self._advisory_lock_holders()
        return plan_reap(snapshot, policy, holders, always=always, refused=refused, stuck=stuck)

    async def plan_terminate(
        self, snapshot: Snapshot, policy: ReapPolicy, selected: Iterable[BackendId]
    ) -> Plan:
        """A plan to end the selected sessions. Raises as `plan_sweep` does."""
        return plan_terminate(snapshot, policy, selected, await self._advisory_lock_holders())

    async def plan_cancel(
        self, snapshot: Snapshot, policy: ReapPolicy, selected: Iterable[BackendId]
    ) -> Plan:
        """A plan to cancel what the selected sessions run. Asks the server nothing."""
        return plan_cancel(snapshot, policy, selected)

    async def _advisory_lock_holders(self) -> frozenset[int]:
        rows = await self._ask("who holds advisory locks", queries.ADVISORY_LOCK_HOLDERS)
        return frozenset(row["pid"] for row in rows)

    async def _ask(self, what: str, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows that are needed before anything may be ended."""
        try:
            return await self._seat.fetch(query, *arguments)
        except (PgtopError, *DRIVER_ERRORS) as error:
            problem = f"the server could not be asked {what} ({printable(str(error))})"
            raise PgtopError(problem, "nothing was ended; try again") from error

    async def run(self, plan: Plan) -> Report:
        """Ends (or cancels) the plan's victims and tells what became of each.

        The audit log's attempt lines come first: where they cannot be written AuditError is raised and
        nothing is ended. Raises PgtopError where the connection is lost before anything was done.
        """
        if plan.refusal or not plan.victims:
            return Report(plan, ())
        queries_of = await self._whole_queries(plan)
        lines = self._attempts(plan, queries_of)
        seat_pid = self._seat.own_pid
        await asyncio.to_thread(self._audit.append, lines)
        signalled = [await self._signal(plan, victim, seat_pid) or victim for victim in plan.victims]
        results = await self._confirm(plan, signalled, seat_pid)
        return Report(plan, tuple(results), await self._write_outcomes(lines, results))

    async def _whole_queries(self, plan: Plan) -> dict[BackendId, str]:
        pids = [victim.backend.pid for victim in plan.victims]
        what = "for the victims' statements"
        try:
            rows = await self._ask(what, queries.WHOLE_QUERIES, pids)
        except PgtopError as error:
            if not isinstance(error.__cause__, NOT_TEXT):
                raise
            rows = await self._ask(what, queries.WHOLE_QUERIES_UNCONVERTED, pids)
        return {
            BackendId(row["pid"], row["backend_start"] or 0): row["query"].decode("utf-8", "replace")
            for row in rows
        }

    async def _signal(self, plan: Plan, victim: Victim, seat_pid: int) -> Result | None:
        """Looks and signals in one statement; None where the signal was sent and is yet to be confirmed."""
        if not self._seat.is_held or self._seat.own_pid != seat_pid:
            return Result(victim, Outcome.FAILED, "not signalled: the connection was lost")
        statement, arguments = guarded_statement(plan, victim)
        try:
            row = await self._seat.fetchrow(statement, *arguments)
        except asyncpg.InsufficientPrivilegeError as error:
            return Result(victim, Outcome.DENIED, printable(str(error)))
        except (PgtopError, *DRIVER_ERRORS) as error:
            refused = isinstance(error, asyncpg.PostgresError) and self._seat.is_held
            return Result(victim, Outcome.FAILED if refused else Outcome.UNKNOWN, printable(str(error)))
        if row is None:
            return Result(victim, Outcome.CHANGED, "no longer what was shown")
        if not row["signalled"]:
            return Result(victim, Outcome.CHANGED, "it had just left")
        return None

    async def _still_there(self, pids: list[int], seat_pid: int) -> list[asyncpg.Record]:
        # The poll may have taken the seat again, on another host even, where these pids mean nothing.
        if self._seat.own_pid != seat_pid:
            raise SeatLostError("the seat is another one by now")
        return await self._seat.fetch(queries.STILL_THERE, pids)

    async def _confirm(self, plan: Plan, results: Sequence[Result | Victim], seat_pid: int) -> list[Result]:
        """Waits for all signalled victims together, at most CONFIRM_SECONDS."""
        pending = {each.backend.id: each for each in results if isinstance(each, Victim)}
        gone = Outcome.CANCELLED if plan.act is Act.CANCEL else Outcome.TERMINATED
        known: dict[BackendId, Result] = {}
        deadline = time.monotonic() + CONFIRM_SECONDS
        pause = _FIRST_LOOK_SECONDS
        while pending:
            await asyncio.sleep(pause)
            pause = _LOOK_SECONDS
            try:
                rows = await self._still_there([identity.pid for identity in pending], seat_pid)
            except (PgtopError, *DRIVER_ERRORS) as error:
                detail = f"signalled, then the connection was lost ({printable(str(error))})"
                for identity, victim in pending.items():
                    known[identity] = Result(victim, Outcome.UNKNOWN, detail)
                break
            there = {BackendId(row["pid"], row["backend_start"] or 0): row for row in rows}
            for identity in list(pending):
                if not _unmoved(plan.act, pending[identity].backend, there.get(identity)):
                    known[identity] = Result(pending.pop(identity), gone)
            if time.monotonic() >= deadline:
                for identity, victim in pending.items():
                    detail = f"signalled, and still there after {CONFIRM_SECONDS:.0f}s"
                    known[identity] = Result(victim, Outcome.SURVIVED, detail)
                break
        return [known[each.backend.id] if isinstance(each, Victim) else each for each in results]

    def _attempts(self, plan: Plan, queries_of: dict[BackendId, str]) -> list[AuditLine]:
        plan_id = uuid.uuid4().hex
        now = datetime.now(UTC).isoformat()
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
                act=plan.act,
                trigger=plan.trigger,
                pid=backend.pid,
                backend_start=iso8601(backend.backend_start),
                state=backend.state,
                state_change=iso8601(backend.state_change),
                xact_start=iso8601(backend.xact_start),
                query_start=iso8601(backend.query_start),
                application_name=backend.application_name,
                usename=backend.usename,
                datname=backend.datname,
                client_addr=backend.client_addr,
                idle_seconds=backend.idle_seconds(plan.taken_at),
                query=queries_of.get(backend.id, backend.query),
                reason=victim.reason,
            )
            for victim in plan.victims
            for backend in (victim.backend,)
        ]

    async def _write_outcomes(self, attempts: list[AuditLine], results: list[Result]) -> str:
        now = datetime.now(UTC).isoformat()
        lines = [
            msgspec.structs.replace(
                attempt,
                event="outcome",
                time=now,
                outcome=result.outcome.value,
                detail=result.detail or None,
            )
            for attempt, result in zip(attempts, results, strict=True)
        ]
        try:
            await asyncio.to_thread(self._audit.append, lines)
        except AuditError as error:
            return str(error)
        return ""


def _unmoved(act: Act, backend: Backend, row: asyncpg.Record | None) -> bool:
    """True while a signalled victim is still there, or still runs the statement that was cancelled."""
    if row is None:
        return False
    if act is Act.TERMINATE:
        return True
    return bool(row["state"] == ACTIVE and row["query_start"] == backend.query_start)
