"""The events of a watch. The family is closed: `Event` is all of it."""

from typing import TypeAlias

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.leadership import Key
from pgtop.core.outage import Limit, Outage
from pgtop.core.plan import Plan
from pgtop.core.retaken_slots import Rebound
from pgtop.core.stalled_logins import Stall
from pgtop.errors import PgtopError
from pgtop.reaping.automatic import Unfit
from pgtop.reaping.reaper import Report


class Polled(msgspec.Struct, frozen=True):
    """A poll that succeeded, with what fills the server. Each poll gives this or an Unanswered."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    """The causes, the first one kept steady; none if there is nothing to say."""
    forecast: Forecast | None = None
    """The time at which the server is full if it goes on so; None if no trend holds."""
    refusing: Limit | None = None
    """The limit that refuses new connections, as the last test login found; None if none does."""
    stall: Stall | None = None
    """The login stall that the poll shows: terminating sessions does not help."""
    wont_hold: Finding | None = None
    """The finding whose application takes at once what a sweep frees; None if there is none."""


class Unanswered(msgspec.Struct, frozen=True):
    """A poll that gave no data. The watch goes on, and connects again by itself."""

    outage: Outage


class Standing(msgspec.Struct, frozen=True):
    """A change of who sweeps. Of several watches and daemons on a server one is active."""

    is_active: bool
    """True if it is this watch."""
    holders: tuple[Key, ...]
    """All that sweep automatically or stand by, the active one first."""
    unfit: Unfit | None = None
    """The reason this watch leaves it to another that may do better; None if it does not."""
    keyless: str = ""
    """The reason this watch could not take pgtop's key, printable; "" if it holds it."""


class Planned(msgspec.Struct, frozen=True):
    """A plan that was due and is not carried out: the server is read-only, or the plan has no sessions."""

    plan: Plan


class Swept(msgspec.Struct, frozen=True):
    """A sweep, with the outcome of each session; they are in the audit log."""

    report: Report

    @property
    def plan(self) -> Plan:
        """The plan that was carried out."""
        return self.report.plan


class Rebounded(msgspec.Struct, frozen=True):
    """The measure of how much of an earlier sweep's room was taken again."""

    rebound: Rebound
    pause_seconds: float = 0.0
    """The seconds for which sweeps are paused since they do not help; 0 if they are not."""


class Withheld(msgspec.Struct, frozen=True):
    """The reason nothing is swept over the line: no finding is of a kind that was asked for.

    It is told when it changes.
    """

    reason: str
    """A sentence; printable."""


class Troubled(msgspec.Struct, frozen=True):
    """A poll that asked for something that could not be done. The watch goes on with the next one."""

    error: PgtopError
    """AuditError if the audit log cannot be written, ConnectError if a pooler has come in between, …"""


Event: TypeAlias = Polled | Unanswered | Standing | Planned | Swept | Rebounded | Withheld | Troubled
"""All that a watch tells."""
