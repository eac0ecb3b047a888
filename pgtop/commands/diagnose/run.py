"""The face of `pgtop diagnose`: one poll of a server, or several, and the findings."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast, forecast
from pgtop.core.diagnosis.scene import Before
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.diagnosis.traffic import TrafficWatch
from pgtop.core.stalled_logins import with_unlisted
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.diagnosis_facts import KnownFacts
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe

EVERY_SECONDS: Final = 2.0
"""Seconds between two polls while it watches."""


class Diagnosed(msgspec.Struct, frozen=True):
    """A snapshot and what fills the server."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    watched_seconds: float
    pooled: bool
    """True if the connection goes through a pooler."""
    forecast: Forecast | None = None
    """The time at which the server is full if it goes on so; None if no trend holds."""


async def examine(
    target: Target,
    warn_at: float,
    watch_seconds: float = 0.0,
    wait_seconds: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
    *,
    hides_queries: bool = False,
    thresholds: Thresholds = STANDARD,
) -> Diagnosed:
    """Diagnose a server, after watching it for `watch_seconds`.

    `wait_seconds` and `tell` are those of `wait_for_slot.enter`. It raises PgtopError:
    ConnectError also for a server that accepted the login and then did not answer.
    """
    own_connection = OwnConnection(target, "diagnose", hides_queries=hides_queries)
    await enter(own_connection, wait_seconds, tell)
    try:
        refusing = await own_connection.refused_here()
        known = KnownFacts(own_connection)
        snapshot, before = await _watched(Probe(own_connection), known, watch_seconds, thresholds)
        snapshot = with_unlisted(snapshot, refusing)
        facts = known.of(snapshot, warn_at, refusing)
        findings = diagnose(snapshot, before, facts, warn_at=warn_at, thresholds=thresholds)
        return Diagnosed(
            snapshot,
            findings,
            before.watched_seconds,
            own_connection.pooled,
            forecast(snapshot, before, findings),
        )
    except DRIVER_ERRORS as error:
        raise answer_error(error) from error
    finally:
        await own_connection.release()


async def _watched(
    probe: Probe, known: KnownFacts, seconds: float, thresholds: Thresholds
) -> tuple[Snapshot, Before]:
    """Return the last snapshot of the watch, and what was seen until then; ask for facts meanwhile."""
    traffic = TrafficWatch(thresholds)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        snapshot = await probe.snapshot()
        before = traffic.take(snapshot)
        await known.ask(snapshot)
        left = end - loop.time()
        if left <= 0:
            return snapshot, before
        await asyncio.sleep(min(EVERY_SECONDS, left))
