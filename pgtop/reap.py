"""The face of `pgtop reap`: one plan over one poll, carried out or only shown, as a table or as JSON.

The structs are the JSON's schema: their fields and the order of them are a contract.
"""

import os
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.audit import AuditLog, operator
from pgtop.config import Config
from pgtop.core.activity import Backend, Snapshot
from pgtop.core.json_text import optional_timestamp
from pgtop.core.plan import Plan, Trigger
from pgtop.core.text import printable
from pgtop.errors import ExitCode
from pgtop.postgres.faults import DRIVER_ERRORS, answer_error, hidden_states_error, pooler_error
from pgtop.postgres.probe import Probe
from pgtop.postgres.seat import Seat
from pgtop.postgres.seat_hand import SeatHand
from pgtop.postgres.target import Target
from pgtop.reaper import Outcome, Reaper, Report

FACE: Final = "reap"
SCHEMA: Final = 1


class Answer(msgspec.Struct, frozen=True):
    """What one run came to."""

    plan: Plan
    report: Report | None
    """None for a dry run, and where there was nobody to end."""
    dry_run: bool
    usage_after: float
    """Measured by a poll after a real run; the plan's for a dry one."""

    @property
    def exit_code(self) -> ExitCode:
        """As the report has it; where the outcomes could not be written down, done in part at best."""
        if self.report is None:
            return ExitCode.DONE
        code = self.report.exit_code
        return ExitCode.PARTLY if self.report.audit_problem and code is ExitCode.DONE else code


async def reap(target: Target, config: Config, *, dry_run: bool, always: bool) -> Answer:
    """Makes the plan that the usage asks for, and carries it out unless `dry_run`.

    Raises PgtopError: a ConnectError also where a pooler is in between, a NotPermittedError where states are
    hidden, an AuditError where the audit log cannot be written; nobody was ended then.
    """
    seat = Seat(target, FACE)
    audit = AuditLog(config.audit_log, max_bytes=config.audit_max_size_bytes, keep=config.audit_keep)
    reaper = Reaper(SeatHand(seat), audit, FACE, operator(os.environ))
    await seat.take()
    try:
        probe = Probe(seat)
        snapshot = await _look(probe)
        _refuse_unsure(seat, snapshot)
        plan = await reaper.plan_reap(snapshot, config.policy, always=always)
        if dry_run or not plan.victims:
            return Answer(plan, None, dry_run, plan.usage_after)
        report = await reaper.run(plan)
        return Answer(plan, report, dry_run, await _usage_after(probe, report))
    finally:
        await seat.release()


async def _look(probe: Probe) -> Snapshot:
    try:
        return await probe.snapshot()
    except DRIVER_ERRORS as error:
        raise answer_error(error, "nobody was ended; try again") from error


def _refuse_unsure(seat: Seat, snapshot: Snapshot) -> None:
    """Raises where what the snapshot shows may not be what is ended."""
    if seat.pooled:
        raise pooler_error(printable(snapshot.server.address))
    if not snapshot.counts.exact:
        raise hidden_states_error(snapshot)


async def _usage_after(probe: Probe, report: Report) -> float:
    """The usage as a poll shows it; as the outcomes tell where there is no connection any more."""
    result = await probe.poll() if probe.seat.is_held else None
    if isinstance(result, Snapshot):
        return result.usage
    plan = report.plan
    return (plan.total - report.count(Outcome.TERMINATED)) / plan.slots


class SessionReport(msgspec.Struct, frozen=True):
    """One session of the plan; null is what the server has no value for."""

    pid: int
    backend_start: str | None
    state_change: str | None
    application_name: str | None
    usename: str | None
    datname: str | None
    client_addr: str | None
    state: str | None
    idle_seconds: float | None
    reason: str
    outcome: str | UnsetType | None
    """null in a dry run; left out for the spared."""


class ReapReport(msgspec.Struct, frozen=True):
    """One run."""

    schema: int
    trigger: Trigger
    usage_before: float
    usage_after: float
    dry_run: bool
    victims: tuple[SessionReport, ...]
    """The longest idle first."""
    spared: tuple[SessionReport, ...]


def as_report(answer: Answer) -> ReapReport:
    """What a run came to, in the words of the JSON."""
    plan, now = answer.plan, answer.plan.taken_at
    results = answer.report.results if answer.report else ()
    outcomes = {result.victim.backend.id: result.outcome.value for result in results}
    return ReapReport(
        schema=SCHEMA,
        trigger=plan.trigger,
        usage_before=plan.usage_before,
        usage_after=answer.usage_after,
        dry_run=answer.dry_run,
        victims=tuple(
            _session(each.backend, now, each.reason, outcomes.get(each.backend.id)) for each in plan.victims
        ),
        spared=tuple(_session(each.backend, now, each.reason, UNSET) for each in plan.spared),
    )


def _session(backend: Backend, now: int, reason: str, outcome: str | UnsetType | None) -> SessionReport:
    return SessionReport(
        pid=backend.pid,
        backend_start=optional_timestamp(backend.backend_start),
        state_change=optional_timestamp(backend.state_change),
        application_name=backend.application_name,
        usename=backend.usename,
        datname=backend.datname,
        client_addr=backend.client_addr,
        state=backend.state,
        idle_seconds=backend.idle_seconds(now),
        reason=reason,
        outcome=outcome,
    )
