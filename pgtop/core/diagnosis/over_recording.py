"""The diagnosis of a recording: what would have been said when, and for how long."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pgtop.core.activity import MICROSECONDS, Backend, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.diagnosis.steady import HOLD_SECONDS, Cause, cause_of
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.diagnosis.traffic import REPORTED_SECONDS
from pgtop.core.plan import Act
from pgtop.core.recorded import Acted, Event, Seen


class Said(msgspec.Struct, frozen=True):
    """One cause, for as long as the diagnosis names it."""

    began_at: int
    """The time of the first poll that shows it, microseconds by the server's clock."""
    ended_at: int | None
    """The time of the first poll that does not show it any more; None if it lasts to the end."""
    first: Finding
    """The finding as it was first said."""
    heaviest: Finding
    """The finding when it held the most slots."""


def in_order(polls: Iterable[Seen], events: Iterable[Event]) -> Iterator[Seen | Event]:
    """Yield polls and events as they came; both are in order already. An event stands before its poll."""
    waiting = deque(events)
    for poll in polls:
        while waiting and waiting[0].at <= poll.at:
            yield waiting.popleft()
        yield poll
    yield from waiting


class DiagnosisOfRecording:
    """The findings of a recording, from one poll to the next; sweeps are taken from its events."""

    def __init__(self, warn_at: float, thresholds: Thresholds = STANDARD) -> None:
        """`warn_at` is a fraction of the slots."""
        self.findings: tuple[Finding, ...] = ()
        """The findings of the last snapshot."""
        self._over_time = DiagnosisOverTime(warn_at, thresholds)
        self._present: Mapping[BackendId, Backend] = {}
        self._left: dict[BackendId, tuple[int, Backend]] = {}

    @property
    def forecast(self) -> Forecast | None:
        """The time at which the server is full if it goes on so; None if no trend holds."""
        return self._over_time.forecast

    def take(self, each: Seen | Event) -> None:
        """Take in what came next. An outage changes nothing: the next snapshot tells."""
        if isinstance(each, Acted):
            if each.act is Act.TERMINATE:
                self._over_time.swept(filter(None, map(self._session, each.backends)))
        elif isinstance(each, Seen) and isinstance(each.result, Snapshot):
            self._note_sessions(each.result)
            self.findings = self._over_time.take(each.result, each.facts)

    def _session(self, which: BackendId) -> Backend | None:
        """Return a session that was there at the last poll, or shortly before: a sweep is reported later."""
        found = self._present.get(which)
        return self._left[which][1] if found is None and which in self._left else found

    def _note_sessions(self, snapshot: Snapshot) -> None:
        now, present = snapshot.taken_at, snapshot.by_id
        oldest = now - round(REPORTED_SECONDS * MICROSECONDS)
        self._left = {each: left for each, left in self._left.items() if left[0] >= oldest}
        for each in self._present.keys() - present.keys():
            self._left[each] = (now, self._present[each])
        self._present = present


class _Cause:
    """A cause that is named."""

    def __init__(self, began_at: int, finding: Finding) -> None:
        self.began_at = began_at
        self.first = self.heaviest = finding
        self.missing_since: int | None = None
        """The time of the first poll in a row that does not show it; None if the last one does."""

    def again(self, finding: Finding) -> None:
        self.missing_since = None
        if finding.slots > self.heaviest.slots:
            self.heaviest = finding

    def said(self, ended_at: int | None) -> Said:
        return Said(self.began_at, ended_at, self.first, self.heaviest)


class Verdicts:
    """Collects the causes that a diagnosis names. One that is missing for some seconds only goes on."""

    def __init__(self) -> None:
        self._named: dict[Cause, _Cause] = {}
        self._over: list[Said] = []
        self._identity: ServerIdentity | None = None
        self._last_at = 0

    def take(self, snapshot: Snapshot, findings: Iterable[Finding]) -> None:
        """Take in the findings of the next snapshot."""
        at = snapshot.taken_at
        if snapshot.server.identity != self._identity or at < self._last_at:
            self._end(list(self._named), max(at, self._last_at))
        self._identity, self._last_at = snapshot.server.identity, at
        found = {cause_of(each): each for each in reversed(list(findings))}
        for cause, finding in reversed(found.items()):
            if cause in self._named:
                self._named[cause].again(finding)
            else:
                self._named[cause] = _Cause(at, finding)
        for cause in self._named.keys() - found.keys():
            named = self._named[cause]
            named.missing_since = at if named.missing_since is None else named.missing_since
        hold = round(HOLD_SECONDS * MICROSECONDS)
        gone = ((cause, each.missing_since) for cause, each in self._named.items())
        for cause, since in [(cause, since) for cause, since in gone if since is not None]:
            if at - since >= hold:
                self._end([cause], since)

    def so_far(self) -> list[Said]:
        """Return all causes in the order in which they were first said."""
        lasting = [each.said(each.missing_since) for each in self._named.values()]
        return sorted([*self._over, *lasting], key=lambda each: each.began_at)

    def _end(self, causes: Iterable[Cause], at: int) -> None:
        for cause in causes:
            named = self._named.pop(cause)
            self._over.append(named.said(at if named.missing_since is None else named.missing_since))


def verdicts_of(
    polls: Iterable[Seen], events: Iterable[Event], warn_at: float, thresholds: Thresholds = STANDARD
) -> list[Said]:
    """Return what the diagnosis would have said of a recording's polls and events, both in order.

    `warn_at` is a fraction of the slots.
    """
    diagnosis, verdicts = DiagnosisOfRecording(warn_at, thresholds), Verdicts()
    for each in in_order(polls, events):
        diagnosis.take(each)
        if isinstance(each, Seen) and isinstance(each.result, Snapshot):
            verdicts.take(each.result, diagnosis.findings)
    return verdicts.so_far()
