"""The face of `pgtop reap`: one plan from one poll, carried out or only shown."""

from collections.abc import Callable
from typing import Final

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.canary import canaries
from pgtop.core.diagnosis.sweepable_kinds import policy_for, scope_of
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Limit
from pgtop.core.plan import DecidedBy
from pgtop.core.retaken_slots import totals
from pgtop.core.stalled_logins import with_unlisted
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe
from pgtop.reaping.canary import run_canary
from pgtop.reaping.reaper import Reaper
from pgtop.reaping.refusals import refuse_unsure, refuse_untracked
from pgtop.reaping.report_json import Answer, Canaries
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import wire

FACE: Final = "reap"


async def reap(
    target: Target,
    config: Config,
    *,
    dry_run: bool,
    always: bool,
    pause_seconds: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    thresholds: Thresholds = STANDARD,
) -> Answer:
    """Make the plan that the usage asks for, and carry it out unless `dry_run`.

    With `pause_seconds`, it goes in two steps with a pause (`core.canary`). `tell` receives messages that
    cannot wait for the answer. `thresholds` are those of the diagnosis.

    It raises PgtopError: ConnectError also for a connection through a pooler, NotPermittedError if states are
    hidden, AuditError if the audit log cannot be written. No session was terminated then.
    """
    own_connection, poller, reaper = wire(target, config, FACE)
    await enter(own_connection, config.wait_seconds, tell)
    try:
        snapshot = await _look(poller.probe)
        refuse_unsure(own_connection, snapshot)
        refused = await _refused(own_connection)
        snapshot = with_unlisted(snapshot, refused)
        diagnosis = DiagnosisWatch(own_connection, config.warn_at, thresholds)
        await diagnosis.ask(snapshot)
        findings, only = diagnosis.take(snapshot, refused), config.findings
        plan = await reaper.plan_reap(
            snapshot,
            policy_for(config.policy, only),
            always=always,
            refused=refused,
            scope=scope_of(findings, only) if only else None,
        )
        refuse_untracked(plan, snapshot)
        answer = Answer(plan, None, dry_run, plan.usage_after, findings, only)
        if pause_seconds is not None and plan.victims:
            intended = Canaries(pause_seconds, canaries(plan, totals(snapshot)))
            answer = msgspec.structs.replace(answer, canaries=intended)
        if dry_run or not plan.victims:
            return answer
        if answer.canaries is not None:
            return await _in_two_steps(reaper, answer, answer.canaries, snapshot, poller.probe)
        report = await reaper.run(plan, decided_by=DecidedBy.COMMAND)
        return msgspec.structs.replace(answer, report=report, usage_after=report.usage_after)
    finally:
        await own_connection.release()


async def _in_two_steps(
    reaper: Reaper, answer: Answer, intended: Canaries, snapshot: Snapshot, probe: Probe
) -> Answer:
    done = await run_canary(
        reaper,
        answer.plan,
        snapshot,
        decided_by=DecidedBy.COMMAND,
        poll=lambda: _look(probe),
        pause_seconds=intended.pause_seconds,
    )
    seen = msgspec.structs.replace(
        intended, seen=done.seen, first_usage=done.first_usage, problem=done.problem
    )
    return msgspec.structs.replace(
        answer,
        plan=done.report.plan,
        report=done.report,
        usage_after=done.report.usage_after,
        canaries=seen,
    )


async def _look(probe: Probe) -> Snapshot:
    try:
        return await probe.snapshot()
    except DRIVER_ERRORS as error:
        raise answer_error(error, "nothing was terminated; try again") from error


async def _refused(own_connection: OwnConnection) -> Limit | None:
    """The limit that refused the ordinary role; None if another server may have refused it."""
    try:
        return await own_connection.refused_here()
    except DRIVER_ERRORS as error:
        raise answer_error(error, "nothing was terminated; try again") from error
