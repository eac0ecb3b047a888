"""The face of `pgtop reap`: one plan over one poll, carried out or only shown."""

import os
from collections.abc import Callable
from typing import Final

from pgtop.audit.log import AuditLog, operator
from pgtop.core.activity import Snapshot
from pgtop.core.text import printable
from pgtop.postgres.connect_errors import DRIVER_ERRORS, answer_error, hidden_states_error, pooler_error
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.probe import Probe
from pgtop.postgres.session.enter import enter
from pgtop.postgres.session.seat import Seat
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.reaper import Reaper, Report
from pgtop.reaping.report import Answer
from pgtop.settings.config import Config

FACE: Final = "reap"


async def reap(
    target: Target,
    config: Config,
    *,
    dry_run: bool,
    always: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Makes the plan that the usage asks for, and carries it out unless `dry_run`.

    `tell` hears what is to be known before there is an answer.

    Raises PgtopError: a ConnectError also where a pooler is in between, a NotPermittedError where states are
    hidden, an AuditError where the audit log cannot be written; nobody was ended then.
    """
    seat = Seat(target, FACE, hides_queries=config.hide_queries)
    audit = AuditLog.configured(config)
    reaper = Reaper(SqlTerminator(seat), audit, FACE, operator(os.environ), read_only=config.read_only)
    await enter(seat, config.wait_seconds, tell)
    try:
        probe = Probe(seat)
        snapshot = await _look(probe)
        _refuse_unsure(seat, snapshot)
        plan = await reaper.plan_reap(snapshot, config.policy, always=always, refused=seat.refused)
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
        raise answer_error(error, "nothing was terminated; try again") from error


def _refuse_unsure(seat: Seat, snapshot: Snapshot) -> None:
    """Raises where what the snapshot shows may not be what is ended."""
    if seat.pooled:
        raise pooler_error(printable(snapshot.server.address))
    if not snapshot.counts.exact:
        raise hidden_states_error(snapshot)


async def _usage_after(probe: Probe, report: Report) -> float:
    """The usage as a poll shows it; as the outcomes tell where there is no connection any more."""
    try:
        result = await probe.poll() if probe.seat.is_held else None
    except Exception:  # noqa: BLE001 - the sessions are ended, whatever befalls this look
        result = None
    return result.usage if isinstance(result, Snapshot) else report.usage_after
