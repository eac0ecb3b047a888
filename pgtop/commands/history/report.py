"""The report of `pgtop history --report`: Markdown to paste into a post-mortem, with times in UTC."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from pgtop.commands.history.markdown import bullets, code, plain, table
from pgtop.commands.history.text_graph import text_graph
from pgtop.commands.history.wording import (
    act_words,
    application_words,
    decided_words,
    ending_words,
    figures,
    grown,
    outage_words,
    outcome_words,
    trigger_words,
    unrecorded_words,
    usage_words,
)
from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.cause_words import cause_words
from pgtop.core.diagnosis.findings import Finding, Grade
from pgtop.core.episodes import Ending, Episode, is_blaming
from pgtop.core.incident_history import IncidentHistory, ToldEpisode, ToldOutage
from pgtop.core.load_over_time import within
from pgtop.core.plan import Act, DecidedBy
from pgtop.core.recorded import ServerChanged
from pgtop.core.recorded_acts import ToldAct
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import clock, duration, percent, plural

_ACTS_IN_TIMELINE: Final = 6
"""The acts that the timeline tells one by one; all of them stand in their own table."""
_GRADES: Final = {
    Grade.IS: "certain: it follows from what blocks what, or from a limit that is reached",
    Grade.LOOKS_LIKE: "likely: all tests for it passed",
    Grade.MIXED: "a description: no single cause",
}
_LEAST_MARGIN_SECONDS: Final = 300.0


def report(history: IncidentHistory, *, is_scrubbed: bool = False) -> str:
    """Return the whole report. It ends with a line break."""
    lines = [f"# {plain(_title(history))}", "", " ".join(map(plain, _summary(history))), ""]
    for number, told in enumerate(history.episodes, 1):
        several = len(history.episodes) > 1
        if several:
            lines += [f"## {number}. {plain(_heading(told.episode))}", ""]
        lines += _episode(history, told, "###" if several else "##")
    if history.acts or history.outages or history.changes:
        lines += ["## Outside of the episodes", ""]
        happened = _beside(history.acts, history.outages, history.changes)
        lines += [*_timeline_table(happened, None), ""]
        if len(history.acts) > _ACTS_IN_TIMELINE:
            lines += ["### Other acts (UTC)", "", *_acts(history.acts, None), ""]
    lines += ["## What is not known", "", *bullets(_not_known(history, is_scrubbed=is_scrubbed)), ""]
    return "\n".join(lines)


def _title(history: IncidentHistory) -> str:
    when = _day(history.episodes[-1].episode.start if history.episodes else history.end)
    if len(history.episodes) == 1:
        cause = history.episodes[0].episode.filled_by
        said = "connections ran short" if cause is None else cause_words(cause.finding)
        return f"{history.server}: {said}, {when}"
    said = plural(len(history.episodes), "episode") if history.episodes else "no episode"
    return f"{history.server}: {said} over the {percent(history.warn_at)} line, {when}"


def _summary(history: IncidentHistory) -> tuple[str, str]:
    """Return two sentences: what happened, and what was done about it."""
    line = percent(history.warn_at)
    if not history.episodes:
        span = f"from {_moment(history.start)} to {_moment(history.end)} UTC"
        first = f"{history.server} was not seen over the {line} line of its connections {span}."
    elif len(history.episodes) == 1:
        first = _one_sentence(history, history.episodes[0])
    else:
        causes = dict.fromkeys(
            cause_words(each.episode.filled_by.finding)
            for each in history.episodes
            if each.episode.filled_by is not None
        )
        why = f"; the causes were: {', '.join(causes)}" if causes else ""
        spent = sum(each.episode.seconds.over_or_full for each in history.episodes)
        first = (
            f"{history.server} was over the {line} line of its connections in "
            f"{plural(len(history.episodes), 'episode')}, for {duration(spent)} in all, and "
            f"{_full(history.full_seconds)}{why}."
        )
    acts = [*(act for told in history.episodes for act in told.acts), *history.acts]
    return first, _done(acts)


def _one_sentence(history: IncidentHistory, told: ToldEpisode) -> str:
    episode = told.episode
    begin = f"from {'before ' if episode.begins_unrecorded else ''}{_moment(episode.start)}"
    ending = ending_words(episode)
    end = "on" if episode.goes_on else f"to {_time(episode.end, episode.start)}"
    return (
        f"{history.server} was over the {percent(history.warn_at)} line of its connections {begin} {end} UTC"
        f"{f' ({ending})' if ending else ''}, and {_full(episode.seconds.full)}{_because(told)}."
    )


def _because(told: ToldEpisode) -> str:
    cause, peak = told.episode.filled_by, told.episode.peak
    if cause is None:
        return ""
    taken = "" if peak is None else f" ({peak.total} of {peak.slots} slots taken at the peak)"
    if not is_blaming(cause.finding):
        return f"; the diagnosis named no single cause{taken}"
    return f"; the cause was: {cause_words(cause.finding)}{taken}"


def _full(seconds: float) -> str:
    return f"had no slot left for {duration(seconds)}" if seconds else "was never full"


_DECIDED: Final = (
    (DecidedBy.POLICY, "automatic sweep", "automatic sweeps"),
    (DecidedBy.PERSON, "act by hand", "acts by hand"),
    (DecidedBy.COMMAND, "act by command", "acts by command"),
    (None, "act", "acts"),
)


def _done(acts: Sequence[ToldAct]) -> str:
    """Return a sentence on all acts: by whom, and how many sessions are gone."""
    known = {each for each, _, _ in _DECIDED}
    said = []
    for decided_by, one, many in _DECIDED:
        those = [
            each for each in acts if (each.decided_by if each.decided_by in known else None) == decided_by
        ]
        if not those:
            continue
        ended = sum(each.gone for each in those if each.act == Act.TERMINATE)
        cancelled = sum(each.gone for each in those if each.act == Act.CANCEL)
        gone = [f"terminated {plural(ended, 'session')}"] if ended or not cancelled else []
        gone += [f"cancelled {plural(cancelled, 'query', 'queries')}"] if cancelled else []
        said.append(f"{plural(len(those), one, many)} {' and '.join(gone)}")
    if not said:
        return "No session was terminated, and no query was cancelled."
    return f"{', '.join(said)}."


def _heading(episode: Episode) -> str:
    cause = "cause not known" if episode.filled_by is None else cause_words(episode.filled_by.finding)
    end = "now" if episode.goes_on else _time(episode.end, episode.start)
    return f"{_moment(episode.start)} to {end} UTC: {cause}"


def _episode(history: IncidentHistory, told: ToldEpisode, level: str) -> list[str]:
    lines = [
        f"{level} Timeline (UTC)",
        "",
        *_timeline_table(_timeline(history, told), told.episode.start),
        "",
    ]
    lines += [f"{level} Graph", "", "```text", *_graph(history, told.episode), "```", ""]
    if told.episode.causes:
        lines += [f"{level} Cause", "", *_causes(told.episode), ""]
        lines += _advice(told.episode, f"{level} What helps")
    lines += _growth(told, f"{level} Applications that grew")
    if told.acts:
        lines += [f"{level} Acts (UTC)", "", *_acts(told.acts, told.episode.start), ""]
    return lines


# Timeline

_Happened = tuple[int, str]


def _timeline_table(happened: Iterable[_Happened], near: int | None) -> list[str]:
    """Return the events in order; a day is named unless it is that of `near`."""
    told = sorted(happened, key=lambda each: each[0])
    return table(["time", "event"], [(_time(at, near, seconds=True), said) for at, said in told])


def _timeline(history: IncidentHistory, told: ToldEpisode) -> list[_Happened]:
    episode = told.episode
    line, peak = percent(history.warn_at), episode.peak
    inner = within(history.loads, episode.start, episode.end)
    begun = "recording begins, and usage is over" if episode.begins_unrecorded else "usage reaches"
    found = [(episode.start, f"{begun} the {line} line")]
    full = next((each for each in inner if each.is_full), None)
    if full is not None:
        found.append((full.start, f"no slot is left: {figures(episode)}"))
    elif peak is not None:
        found.append((peak.at, f"highest usage: {figures(episode)}"))
    found += [
        (max(each.at, episode.start), f"the diagnosis says: {cause_words(each.finding)}")
        for each in episode.causes
        if is_blaming(each.finding)
    ]
    if not episode.goes_on:
        said = {Ending.BELOW: f"usage is below the {line} line"}.get(episode.ending, ending_words(episode))
        found.append((episode.end, said))
    return [*found, *_beside(told.acts, told.outages, told.changes)]


def _beside(
    acts: Sequence[ToldAct], outages: Iterable[ToldOutage], changes: Iterable[ServerChanged]
) -> list[_Happened]:
    found = [(each.start, outage_words(each)) for each in outages]
    found += [(each.at, each.sentence) for each in changes]
    shown = acts if len(acts) <= _ACTS_IN_TIMELINE else [*acts[: _ACTS_IN_TIMELINE - 2], acts[-1]]
    found += [(each.at, act_words(each)) for each in shown]
    if len(shown) < len(acts):
        rest = acts[_ACTS_IN_TIMELINE - 2 : -1]
        gone = sum(each.gone for each in rest)
        found.append((rest[0].at, f"{len(rest)} more acts, on {plural(gone, 'session')}: see below"))
    return found


# Graph, causes, applications, acts


def _graph(history: IncidentHistory, episode: Episode) -> list[str]:
    margin = max(_LEAST_MARGIN_SECONDS * MICROSECONDS, (episode.end - episode.start) / 3)
    first, last = history.loads[0].start, history.loads[-1].end
    start = max(first, episode.start - round(margin))
    end = min(last, episode.end + round(margin))
    return text_graph(history.loads, start, end, history.warn_at)


def _causes(episode: Episode) -> list[str]:
    lines: list[str] = []
    if episode.filled_by is not None:
        lines += _finding(episode.filled_by.finding)
    others = [each for each in episode.causes if each != episode.filled_by]
    if others:
        lines += ["", "Also said in this time:", ""]
        lines += bullets(f"{_time(each.at, each.at)} {each.finding.sentence}" for each in others)
    return lines


def _finding(finding: Finding) -> list[str]:
    grade = _GRADES[finding.grade]
    return [
        f"**{plain(finding.sentence)}**",
        "",
        *bullets([f"certainty: {grade}", *(f"{name}: {value}" for name, value in finding.evidence)]),
    ]


def _advice(episode: Episode, heading: str) -> list[str]:
    """Return the advice that is still of use after the incident: what can be run, or set."""
    cause = episode.filled_by
    lines: list[str] = []
    for each in cause.finding.advice if cause is not None else ():
        if each.command or each.sql or not each.key:
            lines += [*bullets([each.text]), *code([*each.command.splitlines(), *each.sql.splitlines()])]
    return [heading, "", *lines, ""] if lines else []


def _growth(told: ToldEpisode, heading: str) -> list[str]:
    episode, applications = told.episode, grown(told)
    if not applications or episode.calm_at is None or episode.peak is None:
        return []
    before, peak = (_time(at, episode.start, seconds=True) for at in (episode.calm_at, episode.peak.at))
    rows = [
        (application_words(each), str(each.before), str(each.at_peak), f"{each.difference:+d}")
        for each in applications
    ]
    heads = ["application", f"before ({before})", f"at the peak ({peak})", "change"]
    return [heading, "", *table(heads, rows, frozenset({1, 2, 3})), ""]


def _acts(acts: Iterable[ToldAct], near: int | None) -> list[str]:
    rows = [
        (
            _time(each.at, near, seconds=True),
            trigger_words(each),
            decided_words(each),
            str(each.gone),
            ", ".join(f"{label(name, NO_APPLICATION)} {total}" for name, total in each.applications),
            outcome_words(each),
            usage_words(each),
        )
        for each in acts
    ]
    heads = ["time", "act", "decided", "sessions", "of", "other outcomes", "usage"]
    return table(heads, rows, frozenset({3}))


def _not_known(history: IncidentHistory, *, is_scrubbed: bool) -> list[str]:
    said = [f"{each[0].upper()}{each[1:]}." for each in unrecorded_words(history, _moment)]
    for told in history.episodes:
        begin = _moment(told.episode.start)
        if told.episode.filled_by is None:
            said.append(f"The cause of the episode of {begin}: there was no diagnosis.")
        if not told.grew:
            said.append(
                f"Which applications grew before {begin}: a poll before it, or at its peak, is missing."
            )
        if told.episode.begins_unrecorded:
            said.append(f"When the episode of {begin} began: nothing was recorded before.")
    said.append(
        "Sessions that came and went between two polls. Times are by the server's clock; those within the "
        "sentences of the diagnosis are in the zone of the host that recorded them."
    )
    if is_scrubbed:
        said.append(
            "The real names: those of applications, users, hosts and addresses were replaced, each by one "
            "of its own."
        )
    return said


# Times


def _moment(at: int) -> str:
    return f"{_day(at)} {clock(at, UTC, seconds=False)}"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at // MICROSECONDS, UTC):%Y-%m-%d}"


def _time(at: int, near: int | None, *, seconds: bool = False) -> str:
    """Return a time of day in UTC, with its day unless that is the day of `near`."""
    time = clock(at, UTC, seconds=seconds)
    return time if near is not None and _day(at) == _day(near) else f"{_day(at)} {time}"
