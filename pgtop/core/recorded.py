"""The values that a recording keeps: what each poll saw, and the events between the polls."""

from typing import TypeAlias

import msgspec

from pgtop.core.activity import BackendId, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.outage import Limit, Outage
from pgtop.core.plan import Act, DecidedBy, Outcome, Trigger
from pgtop.core.server_change import ServerChange


class Seen(msgspec.Struct, frozen=True):
    """One poll's view of a server, with all that a diagnosis of it looks at."""

    at: int
    """Microseconds since the Unix epoch by the server's clock.

    Of an outage: the time of the last snapshot, plus the time that has passed since.
    """
    result: Snapshot | Outage
    interval_seconds: float
    """The intended seconds between two polls at that time."""
    facts: Facts = Facts()
    """The answers of the server beside the poll, as far as they were known."""
    refusing: Limit | None = None
    """The limit that refused new connections; None if none was known to."""


class AlertRaised(msgspec.Struct, frozen=True, tag="alert"):
    """An alert that people were told of."""

    at: int
    alert: Alert


class Diagnosed(msgspec.Struct, frozen=True, tag="findings"):
    """The findings from a moment on: kept when their causes change, and now and then while they last.

    They are kept without their sessions and remedies.
    """

    at: int
    findings: tuple[Finding, ...]
    """The heaviest first; empty once there is nothing left to say."""


class Acted(msgspec.Struct, frozen=True, tag="act"):
    """An act on sessions, and what became of them."""

    at: int
    act: Act
    trigger: Trigger
    decided_by: DecidedBy
    operator: str
    """The person or account that pgtop ran as, as the audit log has it."""
    face: str
    """`dashboard`, `daemon` and so on, as the audit log has it."""
    outcomes: tuple[tuple[Outcome, int], ...]
    """The number of sessions with each outcome."""
    usage_before: float
    """A fraction of the slots."""
    usage_after: float
    applications: tuple[tuple[str, int], ...]
    """The applications of the sessions that are gone, with the number of each, the largest first."""
    backends: tuple[BackendId, ...] = ()
    """The sessions that are gone; of a cancel, those whose queries were cancelled."""

    @property
    def gone(self) -> int:
        """The number of sessions that were terminated, or whose queries were cancelled."""
        done = (Outcome.TERMINATED, Outcome.CANCELLED)
        return sum(number for outcome, number in self.outcomes if outcome in done)


class ServerChanged(msgspec.Struct, frozen=True, tag="server"):
    """A restart, a promotion, or another server at the same address."""

    at: int
    change: ServerChange
    sentence: str
    """The change in one sentence, printable."""


class OutageBegan(msgspec.Struct, frozen=True, tag="outage"):
    """The first poll without an answer."""

    at: int
    outage: Outage


class OutageEnded(msgspec.Struct, frozen=True, tag="back"):
    """The first snapshot after an outage."""

    at: int


Event: TypeAlias = AlertRaised | Diagnosed | Acted | ServerChanged | OutageBegan | OutageEnded
"""An event of a recording. `at` is microseconds since the Unix epoch by the server's clock."""


def without_statements(seen: Seen) -> Seen:
    """Return a poll as it is with hidden queries: no session has its statement."""
    snapshot = seen.result
    if not isinstance(snapshot, Snapshot):
        return seen
    bare = tuple(msgspec.structs.replace(each, query=None) for each in snapshot.backends)
    return msgspec.structs.replace(seen, result=msgspec.structs.replace(snapshot, backends=bare))


def same_causes(one: tuple[Finding, ...], other: tuple[Finding, ...]) -> bool:
    """Return whether two diagnoses name the same causes, whatever their numbers."""

    def causes(findings: tuple[Finding, ...]) -> set[tuple[str, str | None, str | None, str | None]]:
        return {(each.kind, each.application_name, each.usename, each.datname) for each in findings}

    return causes(one) == causes(other)
