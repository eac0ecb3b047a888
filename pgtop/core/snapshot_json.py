"""A snapshot as JSON, for `pgtop snapshot --json` and for the alert command.

The structs are the schema of the JSON: their fields and the order of these are a contract.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import Backend, Counts, Snapshot
from pgtop.core.connection_limits import limit_uses
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.report import FindingReport, finding_report
from pgtop.core.filter_sort import SortColumn, sort_backends
from pgtop.core.json_text import optional_timestamp, timestamp
from pgtop.core.session_groups import Group, applications

SCHEMA: Final = 1


class ServerReport(msgspec.Struct, frozen=True):
    """The server and its limits."""

    host: str
    port: int
    version_num: int
    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int
    slots: int
    in_recovery: bool
    system_identifier: str | UnsetType
    """A string, since a JSON number may not hold it exactly; left out if the role may not read it."""


class ApplicationReport(msgspec.Struct, frozen=True):
    """The sessions of one application, user and database. Each count has the same meaning as in `counts`."""

    application_name: str
    usename: str | None
    datname: str | None
    total: int
    idle: int
    active: int
    idle_in_transaction: int
    oldest_idle_seconds: float | None


class ConnectionLimitReport(msgspec.Struct, frozen=True):
    """The CONNECTION LIMIT of a role or a database that has sessions, if it is below max_connections."""

    kind: str
    """`role` or `database`."""
    name: str
    limit: int
    used: int
    """The sessions that count against it; an upper bound if `counts.exact` is false."""


class BackendReport(msgspec.Struct, frozen=True):
    """One client backend. null means that the server has no value, or hides it from this role."""

    pid: int
    backend_start: str | None
    state_change: str | None
    application_name: str | None
    usename: str | None
    datname: str | None
    client_addr: str | None
    client_port: int | None
    state: str | None
    idle_seconds: float | None
    xact_seconds: float | None
    wait_event_type: str | None
    wait_event: str | None
    query: str | None
    """The first 200 characters; null for all backends with --hide-queries."""


class OutageWords(msgspec.Struct, frozen=True):
    """The reason that there is no data."""

    kind: str
    message: str


class RecordedReport(msgspec.Struct, frozen=True):
    """The place of a snapshot in a recording: it is from the past."""

    asked_at: str
    """The moment that was asked for; `taken_at` is that of the last poll until then."""
    age_seconds: float
    """The age of the snapshot, by this host's clock."""
    outage: OutageWords | UnsetType
    """The reason that there was no data at that moment; left out if there was."""


class SnapshotReport(msgspec.Struct, frozen=True):
    """One snapshot. Ages are seconds, times are ISO 8601 in UTC, both by the server's clock."""

    schema: int
    server: ServerReport
    taken_at: str
    poll_seconds: float
    counts: Counts
    usage: float
    warn_at: float
    rescue: bool | UnsetType
    """True if the rescue role made the poll; left out if the ordinary role did."""
    recorded: RecordedReport | UnsetType
    """Only of a snapshot that a recording has (`--at`)."""
    connecting: int | UnsetType
    """The slots held by clients still connecting that no backend stands for; left out if none are known of.
    They count in `usage`, and not in `counts`."""
    connection_limits: tuple[ConnectionLimitReport, ...]
    """The limits of roles and databases, the most used first."""
    applications: tuple[ApplicationReport, ...]
    """The applications, the largest first."""
    findings: tuple[FindingReport, ...]
    """The findings of a diagnosis, as `pgtop diagnose --json` has them."""
    backends: tuple[BackendReport, ...]
    """The backends: the longest idle first, then those in other states by the age of their state."""


class OutageReport(msgspec.Struct, frozen=True):
    """A line of `pgtop snapshot --watch --json` for a poll that gave no data."""

    schema: int
    outage: OutageWords
    at: str
    """The time by pgtop's own clock, in ISO 8601 and UTC."""


def snapshot_report(
    snapshot: Snapshot,
    warn_at: float,
    findings: Iterable[Finding],
    recorded: RecordedReport | UnsetType = UNSET,
) -> SnapshotReport:
    """Return the report of a snapshot, with what fills the server, and its place in a recording."""
    limits = snapshot.server.limits
    identity = snapshot.server.identity
    return SnapshotReport(
        schema=SCHEMA,
        server=ServerReport(
            host=snapshot.server.host,
            port=snapshot.server.port,
            version_num=snapshot.server.version_num,
            max_connections=limits.max_connections,
            superuser_reserved_connections=limits.superuser_reserved_connections,
            reserved_connections=limits.reserved_connections,
            slots=limits.slots,
            in_recovery=identity.in_recovery,
            system_identifier=UNSET if identity.system_identifier is None else identity.system_identifier,
        ),
        taken_at=timestamp(snapshot.taken_at),
        poll_seconds=round(snapshot.poll_seconds, 6),
        counts=snapshot.counts,
        usage=snapshot.usage,
        warn_at=warn_at,
        rescue=snapshot.is_rescue or UNSET,
        recorded=recorded,
        connecting=snapshot.unlisted or UNSET,
        connection_limits=tuple(
            ConnectionLimitReport(use.limit.of, use.limit.name, use.limit.most, use.used)
            for use in limit_uses(snapshot)
        ),
        applications=tuple(map(_application, applications(snapshot))),
        findings=tuple(map(finding_report, findings)),
        backends=tuple(
            _backend(backend, snapshot.taken_at)
            for backend in sort_backends(snapshot.backends, SortColumn.IDLE_AGE)
        ),
    )


def _application(group: Group) -> ApplicationReport:
    key, counts = group.key, group.counts
    return ApplicationReport(
        application_name=key.application_name or "",
        usename=key.usename or None,
        datname=key.datname or None,
        total=counts.total,
        idle=counts.idle,
        active=counts.active,
        idle_in_transaction=counts.idle_in_transaction,
        oldest_idle_seconds=group.oldest_idle_seconds,
    )


def _backend(backend: Backend, now: int) -> BackendReport:
    return BackendReport(
        pid=backend.pid,
        backend_start=optional_timestamp(backend.backend_start),
        state_change=optional_timestamp(backend.state_change),
        application_name=backend.application_name,
        usename=backend.usename,
        datname=backend.datname,
        client_addr=backend.client_addr,
        client_port=backend.client_port,
        state=backend.state,
        idle_seconds=backend.idle_seconds(now),
        xact_seconds=backend.xact_seconds(now),
        wait_event_type=backend.wait_event_type,
        wait_event=backend.wait_event,
        query=backend.query,
    )
