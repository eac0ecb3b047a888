"""All that decides which keys count now, as values."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from pgtop.core.activity import ACTIVE, Backend, Snapshot
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.diagnosis.sweepable_kinds import NOT_SWEEPABLE
from pgtop.tui.lines.replay_banner import Replayed

_LATELY: Final = 5.0
"""The seconds for which a session that has finished a query still counts as one that runs queries."""


class Focus(Enum):
    """The part of the screen that has the focus."""

    LIST = auto()
    GROUPS = auto()
    FILTER = auto()
    """The filter's line, in which letters are text."""


class Incident(Enum):
    """The kind of trouble that the diagnosis names, as far as the order of the keys depends on it."""

    NONE = auto()
    SWEEPABLE = auto()
    """A sweep makes room that lasts."""
    OTHER = auto()
    """A sweep does not help."""


class Situation(NamedTuple):
    """All that decides which keys count now."""

    focus: Focus = Focus.LIST
    incident: Incident = Incident.NONE
    read_only: bool = False
    break_glass: bool = False
    """True if the server is full, and its sessions can be terminated from its own host."""
    has_notice: bool = False
    """True if a notice is shown, which names its own keys."""
    outage: bool = False
    """True while the server does not answer: nothing can be asked of it."""
    listed: int = 0
    """The number of sessions in the list."""
    groups: int = 0
    """The number of groups in the table above it; 0 also where the table has no room."""
    tagged: int = 0
    can_terminate: bool = False
    """True if `K` has a session that is not pgtop's own."""
    can_cancel: bool = False
    """True if one of the sessions that `C` means runs a query."""
    sweepable: int = 0
    """The number of listed sessions that are idle for long enough for `S`."""
    sweep_digits: int = 1
    """The cells for that number, so that it grows without moving the keys behind it; 0 to leave it out."""
    waits_on_locks: bool = False
    filtered: bool = False
    grouped: bool = False
    """True if a chosen group narrows the list."""
    paused: bool = False
    automatic: bool = False
    """True while automatic sweeps are on."""
    saved_filter: str = ""
    """The name of the saved filter that stands in the filter's line, printable."""
    has_filters: bool = False
    """True if there are saved filters, or earlier ones, to choose from."""
    searches: bool = False
    """True if there is a last filter whose matches `n` goes through."""
    on_the_wall: bool = False
    is_recorded: bool = False
    """True if what is seen is recorded, and can be played back."""
    replay: Replayed | None = None
    """The state of the player; None for a server that is live."""


def incident_of(findings: Sequence[Finding], *, is_full: bool) -> Incident:
    """Return the kind of trouble by the first finding. A full server without one is a matter of a sweep."""
    if not findings:
        return Incident.SWEEPABLE if is_full else Incident.NONE
    kind = findings[0].kind
    return Incident.OTHER if kind in NOT_SWEEPABLE and kind is not Kind.MIXED else Incident.SWEEPABLE


def run_queries(backends: Sequence[Backend], snapshot: Snapshot) -> bool:
    """Return whether one of the sessions, other than pgtop's own, runs a query.

    A single one that has just finished a query counts too, since its next is likely to come. Otherwise the
    key to cancel would come and go with each poll of a busy session.
    """
    others = [each for each in backends if each.pid != snapshot.own_pid]
    if len(others) == 1:
        idle = others[0].idle_seconds(snapshot.taken_at)
        if idle is not None and idle < _LATELY:
            return True
    return any(each.state == ACTIVE for each in others)
