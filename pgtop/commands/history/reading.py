"""The history of a server, read from its recording and from the audit log."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pgtop.audit.log import AuditedServer
from pgtop.commands.history.audited_acts import audited_acts
from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.episodes import Cause, Episode
from pgtop.core.incident_history import IncidentHistory, incident_history
from pgtop.core.recorded import Acted
from pgtop.core.recorded_acts import ToldAct, all_acts
from pgtop.core.text import printable
from pgtop.history.recorded_episodes import recorded_episodes, recorded_growth
from pgtop.history.recording import Recording

_COUNTS_SHARE: Final = 0.3
"""The part of the work that reading the counts is."""
_SIGNALS: Final = frozenset({"pg_cancel_backend", "pg_terminate_backend"})
_RECENT_SECONDS: Final = 60.0
"""Seconds before an act in which a poll must have seen its sessions."""


class Question(NamedTuple):
    """The part of a recording that is asked for."""

    start: int
    """Microseconds, as `end`."""
    end: int
    now: int | None
    """The time at which an episode may go on; None for a recording of somewhere else."""
    warn_at: float
    audit_log: Path | None
    """None for a log on standard error, which cannot be read back."""
    has_audit: bool = True
    """False if that audit log is not about this server."""
    hides_queries: bool = False


def read_history(
    recording: Recording,
    question: Question,
    at: Callable[[float], object] = lambda _: None,
) -> IncidentHistory:
    """Return the history of a recording; `at` is told the part of the work that is done, from 0 to 1."""
    start, end, now = question.start, question.end, question.now
    loads, events, found = recorded_episodes(recording, start, end, question.warn_at, now)
    at(_COUNTS_SHARE)
    notes: list[str] = []
    episodes = []
    if not loads and not recording.is_empty:
        notes.append("the recording ends earlier: see --since")
    for number, episode in enumerate(found, 1):
        grew = recorded_growth(recording, episode)
        episodes.append((_as_asked(episode, hides_queries=question.hides_queries), grew))
        at(_COUNTS_SHARE + (1 - _COUNTS_SHARE) * number / len(found))
    reaches = min([start, *(episode.start for episode, _ in episodes)])
    audited = _audited(recording, question, reaches, notes) if question.has_audit else []
    if not question.has_audit:
        notes.append("acts that were not recorded, as by pgtop reap, are missing: see --audit-log")
    acts = all_acts([each for each in events if isinstance(each, Acted)], audited)
    return incident_history(
        printable(recording.server),
        (start, end),
        question.warn_at,
        loads,
        episodes,
        [each for each in events if each.at >= reaches],
        [each for each in acts if each.at >= reaches],
        [*recording.problems, *notes],
    )


def _audited(recording: Recording, question: Question, since: int, notes: list[str]) -> list[ToldAct]:
    """Return the acts on the recorded server that the audit log has, with times by the server's clock."""
    addresses = set(recording.server.split(","))
    clusters = {each.cluster for each in recording.counts(question.start, question.end) if each.cluster}

    def may_be(audited: AuditedServer) -> bool:
        cluster = audited.system_identifier
        return not cluster or not clusters or cluster in clusters

    behind = since - recording.server_time(since)
    found = []
    for audited, told in audited_acts(question.audit_log, since + behind, may_be, notes):
        act = msgspec.structs.replace(told, at=told.at - behind)
        # A server goes by several addresses, and a standby has the identifier of its primary.
        if _address(audited) in addresses or _saw(recording, act):
            found.append(act)
    return found


def _address(audited: AuditedServer) -> str:
    host = f"[{audited.host}]" if ":" in audited.host else audited.host
    return printable(f"{host}:{audited.port}")


def _saw(recording: Recording, act: ToldAct) -> bool:
    """Return whether most sessions of an act are in the poll before it."""
    position = recording.at(act.at)
    if position is None:
        return False
    seen = recording.seen(position)
    if not isinstance(seen.result, Snapshot) or act.at - seen.at > _RECENT_SECONDS * MICROSECONDS:
        return False
    there = {each.pid: each.backend_start for each in seen.result.backends}
    same = [pid for pid, start in act.sessions if pid in there and start in (0, there[pid])]
    return len(same) * 2 > len(act.sessions)


def _as_asked(episode: Episode, *, hides_queries: bool) -> Episode:
    """Return an episode whose findings forecast nothing, and show no statement if those are hidden."""

    def told(cause: Cause) -> Cause:
        return Cause(cause.at, shown_finding(cause.finding, hides_queries=hides_queries))

    filled_by = episode.filled_by
    return msgspec.structs.replace(
        episode,
        causes=tuple(map(told, episode.causes)),
        filled_by=None if filled_by is None else told(filled_by),
    )


def shown_finding(finding: Finding, *, hides_queries: bool) -> Finding:
    """Return a finding of the past as it is shown: without a forecast, and without statements if asked.

    A pid of then may be another session's by now: no advice names one.
    """
    past = finding.without_forecast()
    past = msgspec.structs.replace(
        past, advice=tuple(each for each in past.advice if _SIGNALS.isdisjoint(re.findall(r"\w+", each.sql)))
    )
    if not hides_queries:
        return past
    evidence = tuple((name, _without(value, finding.statements)) for name, value in finding.evidence)
    return msgspec.structs.replace(
        past,
        sentence=past.sentence_without_statements,
        evidence=evidence,
        statements=(),
        advice=tuple(each for each in past.advice if "--statement" not in each.command),
    )


def _without(text: str, statements: tuple[str, ...]) -> str:
    for each in statements:
        text = text.replace(each, "…")
    return text
