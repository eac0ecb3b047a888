"""The face of `pgtop snapshot`: one poll of a server."""

from collections.abc import Callable

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.snapshot_json import SnapshotReport, snapshot_report
from pgtop.core.stalled_logins import with_unlisted
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.diagnosis_facts import facts_for
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe


class Look(msgspec.Struct, frozen=True):
    """One poll of a server, and the facts learnt while logging in."""

    snapshot: Snapshot
    findings: tuple[Finding, ...] = ()
    """The findings of a diagnosis."""
    pooled: bool = False
    """True if the connection goes through a pooler."""


async def look(
    target: Target,
    wait_seconds: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
    *,
    hides_queries: bool = False,
    diagnoses_at: float | None = None,
) -> Look:
    """Poll the server once.

    It also tells what fills the server if `diagnoses_at` is given, the line as a fraction of the slots.
    `wait_seconds` and `tell` are those of `session.enter.enter`. It raises PgtopError: ConnectError also for
    a server that accepted the login and then did not answer.
    """
    own_connection = OwnConnection(target, "snapshot", hides_queries=hides_queries)
    await enter(own_connection, wait_seconds, tell)
    try:
        snapshot = await Probe(own_connection).snapshot()
        refusing = await own_connection.refused_here()
        snapshot = with_unlisted(snapshot, refusing)
        findings: tuple[Finding, ...] = ()
        if diagnoses_at is not None:
            facts = await facts_for(own_connection, snapshot, diagnoses_at, refusing)
            findings = diagnose(snapshot, facts=facts, warn_at=diagnoses_at)
        return Look(snapshot, findings, own_connection.pooled)
    except DRIVER_ERRORS as error:
        raise answer_error(error) from error
    finally:
        await own_connection.release()


def report(seen: Look, warn_at: float) -> SnapshotReport:
    """Return the report of a look."""
    return snapshot_report(seen.snapshot, warn_at, seen.findings)
