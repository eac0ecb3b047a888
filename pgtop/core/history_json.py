"""The history of a server as JSON, for `pgtop history --json`.

The structs are the schema of the JSON: their fields and the order of these are a contract. Times are ISO 8601
in UTC, by the server's clock.
"""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.diagnosis.report import FindingReport, finding_report
from pgtop.core.episodes import Cause
from pgtop.core.incident_history import IncidentHistory, ToldEpisode, ToldOutage
from pgtop.core.json_text import optional_timestamp, timestamp
from pgtop.core.load_over_time import Gap
from pgtop.core.recorded import ServerChanged
from pgtop.core.recorded_acts import ToldAct

SCHEMA: Final = 1


class PeakReport(msgspec.Struct, frozen=True):
    """The highest load of an episode."""

    at: str
    total: int
    slots: int
    usage: float


class SecondsReport(msgspec.Struct, frozen=True):
    """The seconds of an episode by the state of the server; together they make up its whole length."""

    full: float
    over: float
    """On or above the line, but not full."""
    below: float
    no_answer: float
    unrecorded: float


class CauseReport(msgspec.Struct, frozen=True):
    """A cause that was said in an episode, and since when."""

    said_at: str
    kind: str
    grade: str
    slots: int
    application_name: str | UnsetType
    sentence: str


class GrowthReport(msgspec.Struct, frozen=True):
    """The sessions of an application before an episode and at its peak."""

    application_name: str | None
    before: int
    at_peak: int
    difference: int


class OutcomeReport(msgspec.Struct, frozen=True):
    """An outcome, and the number of sessions with it."""

    outcome: str | None
    """None if it was not written."""
    total: int


class ApplicationTotal(msgspec.Struct, frozen=True):
    """An application, and the number of its sessions that are gone."""

    application_name: str
    total: int


class ActReport(msgspec.Struct, frozen=True):
    """An act on sessions."""

    at: str
    act: str
    trigger: str
    decided_by: str | None
    operator: str
    face: str
    gone: int
    """The sessions that were terminated, or whose queries were cancelled."""
    outcomes: tuple[OutcomeReport, ...]
    applications: tuple[ApplicationTotal, ...]
    usage_before: float | None
    usage_after: float | None


class OutageSpanReport(msgspec.Struct, frozen=True):
    """A time in which the server did not answer."""

    started_at: str
    ended_at: str | None
    """None if it is not known that it answered again."""
    message: str


class ChangeReport(msgspec.Struct, frozen=True):
    """A restart, a promotion, or another server at the same address."""

    at: str
    change: str
    sentence: str


class EpisodeReport(msgspec.Struct, frozen=True):
    """A time over the line."""

    started_at: str
    ended_at: str | None
    """None while it goes on."""
    ending: str
    begins_unrecorded: bool
    seconds: SecondsReport
    peak: PeakReport | None
    filled_by: FindingReport | None
    causes: tuple[CauseReport, ...]
    grew_since: str | None
    """The time of the counts before the episode."""
    grew: tuple[GrowthReport, ...]
    acts: tuple[ActReport, ...]
    outages: tuple[OutageSpanReport, ...]
    changes: tuple[ChangeReport, ...]


class UnrecordedReport(msgspec.Struct, frozen=True):
    """A time of which nothing was recorded."""

    started_at: str
    ended_at: str


class HistoryReport(msgspec.Struct, frozen=True):
    """The past of one server. Acts, outages and changes of an episode stand in it alone."""

    schema: int
    server: str
    since: str
    until: str
    warn_at: float
    full_seconds: float
    episodes: tuple[EpisodeReport, ...]
    acts: tuple[ActReport, ...]
    outages: tuple[OutageSpanReport, ...]
    changes: tuple[ChangeReport, ...]
    unrecorded: tuple[UnrecordedReport, ...]
    notes: tuple[str, ...]
    """Sentences about what could not be read."""


def history_report(history: IncidentHistory) -> HistoryReport:
    """Return the report of a history."""
    return HistoryReport(
        schema=SCHEMA,
        server=history.server,
        since=timestamp(history.start),
        until=timestamp(history.end),
        warn_at=history.warn_at,
        full_seconds=round(history.full_seconds, 3),
        episodes=tuple(map(_episode, history.episodes)),
        acts=tuple(map(_act, history.acts)),
        outages=tuple(map(_outage, history.outages)),
        changes=tuple(map(_change, history.changes)),
        unrecorded=tuple(map(_gap, history.gaps)),
        notes=history.notes,
    )


def _episode(told: ToldEpisode) -> EpisodeReport:
    episode = told.episode
    peak, filled_by, seconds = episode.peak, episode.filled_by, episode.seconds
    return EpisodeReport(
        started_at=timestamp(episode.start),
        ended_at=None if episode.goes_on else timestamp(episode.end),
        ending=episode.ending,
        begins_unrecorded=episode.begins_unrecorded,
        seconds=SecondsReport(*(round(each, 3) for each in msgspec.structs.astuple(seconds))),
        peak=None if peak is None else PeakReport(timestamp(peak.at), peak.total, peak.slots, peak.usage),
        filled_by=None if filled_by is None else finding_report(filled_by.finding),
        causes=tuple(map(_cause, episode.causes)),
        grew_since=optional_timestamp(episode.calm_at if told.grew else None),
        grew=tuple(
            GrowthReport(each.application_name, each.before, each.at_peak, each.difference)
            for each in told.grew
        ),
        acts=tuple(map(_act, told.acts)),
        outages=tuple(map(_outage, told.outages)),
        changes=tuple(map(_change, told.changes)),
    )


def _cause(cause: Cause) -> CauseReport:
    finding = cause.finding
    return CauseReport(
        said_at=timestamp(cause.at),
        kind=finding.kind,
        grade=finding.grade,
        slots=finding.slots,
        application_name=UNSET if finding.application_name is None else finding.application_name,
        sentence=finding.sentence,
    )


def _act(act: ToldAct) -> ActReport:
    return ActReport(
        at=timestamp(act.at),
        act=act.act,
        trigger=act.trigger,
        decided_by=act.decided_by,
        operator=act.operator,
        face=act.face,
        gone=act.gone,
        outcomes=tuple(OutcomeReport(outcome, total) for outcome, total in act.outcomes),
        applications=tuple(ApplicationTotal(name, total) for name, total in act.applications),
        usage_before=act.usage_before,
        usage_after=act.usage_after,
    )


def _outage(outage: ToldOutage) -> OutageSpanReport:
    ended_at = timestamp(outage.end) if outage.is_over else None
    return OutageSpanReport(timestamp(outage.start), ended_at, outage.message)


def _change(changed: ServerChanged) -> ChangeReport:
    return ChangeReport(timestamp(changed.at), changed.change, changed.sentence)


def _gap(gap: Gap) -> UnrecordedReport:
    return UnrecordedReport(timestamp(gap.start), timestamp(gap.end))
