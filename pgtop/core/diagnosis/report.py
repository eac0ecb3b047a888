"""Findings as JSON, for `pgtop diagnose --json` and `pgtop snapshot --json`.

The structs are the schema of the JSON: their fields and the order of these are a contract.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Advice, Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.wording import earliest
from pgtop.core.json_text import timestamp

SCHEMA: Final = 1


class AddressReport(msgspec.Struct, frozen=True):
    """An address and the number of the finding's sessions that come from it."""

    client_addr: str
    total: int


class AdviceReport(msgspec.Struct, frozen=True):
    """One thing to do."""

    text: str
    key: str | UnsetType
    """The dashboard's keys for it."""
    command: str | UnsetType
    sql: str | UnsetType


class FindingReport(msgspec.Struct, frozen=True):
    """One cause. What does not apply is left out; times are ISO 8601 in UTC, by the server's clock."""

    kind: str
    grade: str
    slots: int
    """The slots that would be free without it."""
    application_name: str | UnsetType
    usename: str | UnsetType
    datname: str | UnsetType
    addresses: tuple[AddressReport, ...]
    since: str | UnsetType
    """The time since which it lasts at least."""
    per_minute: float | UnsetType
    full_at: str | UnsetType
    pids: tuple[int, ...]
    sentence: str
    evidence: dict[str, str]
    advice: tuple[AdviceReport, ...]


class ServerReport(msgspec.Struct, frozen=True):
    """The server that was diagnosed."""

    host: str
    port: int
    version_num: int
    slots: int
    in_recovery: bool


class DiagnosisReport(msgspec.Struct, frozen=True):
    """All findings, the heaviest first; none if there is nothing to say."""

    schema: int
    server: ServerReport
    taken_at: str
    usage: float
    warn_at: float
    full_at: str | UnsetType
    """The time at which the server is full if it goes on growing."""
    hidden: int | UnsetType
    """The sessions whose state is hidden from this role: the findings are then not complete."""
    findings: tuple[FindingReport, ...]


def diagnosis_report(
    snapshot: Snapshot, findings: Iterable[Finding], warn_at: float, forecast: Forecast | None = None
) -> DiagnosisReport:
    """Return the report of a diagnosis; without a forecast, the first finding that grows tells of full."""
    found = tuple(findings)
    full_at = forecast.full_at if forecast is not None else earliest(each.full_at for each in found)
    server = snapshot.server
    return DiagnosisReport(
        schema=SCHEMA,
        server=ServerReport(
            host=server.host,
            port=server.port,
            version_num=server.version_num,
            slots=snapshot.slots,
            in_recovery=server.identity.in_recovery,
        ),
        taken_at=timestamp(snapshot.taken_at),
        usage=snapshot.usage,
        warn_at=warn_at,
        full_at=_moment(full_at),
        hidden=snapshot.counts.hidden or UNSET,
        findings=tuple(map(finding_report, found)),
    )


def finding_report(finding: Finding) -> FindingReport:
    """Return the report of one finding."""
    return FindingReport(
        kind=finding.kind,
        grade=finding.grade,
        slots=finding.slots,
        application_name=_known(finding.application_name),
        usename=_known(finding.usename),
        datname=_known(finding.datname),
        addresses=tuple(AddressReport(name, total) for name, total in finding.addresses),
        since=_moment(finding.since),
        per_minute=UNSET if finding.per_minute is None else round(finding.per_minute, 3),
        full_at=_moment(finding.full_at),
        pids=tuple(each.pid for each in finding.backends),
        sentence=finding.sentence,
        evidence=dict(finding.evidence),
        advice=tuple(map(_advice, finding.advice)),
    )


def _advice(advice: Advice) -> AdviceReport:
    return AdviceReport(advice.text, advice.key or UNSET, advice.command or UNSET, advice.sql or UNSET)


def _known(value: str | None) -> str | UnsetType:
    return UNSET if value is None else value


def _moment(microseconds: int | None) -> str | UnsetType:
    return UNSET if microseconds is None else timestamp(microseconds)
