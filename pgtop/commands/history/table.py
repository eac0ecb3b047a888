"""The text of `pgtop history`: a paragraph for each episode, the newest last, with its acts."""

from datetime import datetime
from typing import Final

from pgtop.commands.history.wording import (
    act_words,
    application_words,
    counted_episodes,
    decided_words,
    ending_words,
    figures,
    grown,
    outage_words,
    unrecorded_words,
)
from pgtop.commands.text_table import WIDTH_OF_A_PARAGRAPH, local_zone
from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.cause_words import cause_words
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.episodes import is_blaming
from pgtop.core.incident_history import IncidentHistory, ToldEpisode, ToldOutage
from pgtop.core.recorded import ServerChanged
from pgtop.core.recorded_acts import ToldAct
from pgtop.core.text import clock, duration, folded, printable

_INDENT: Final = "  "
_LEAST_WIDTH: Final = 40


def render(history: IncidentHistory, width: int | None) -> str:
    """Return the whole text in lines of at most `width` cells, with times in the local zone."""
    room = WIDTH_OF_A_PARAGRAPH if width is None else max(width, _LEAST_WIDTH)
    lines = [
        *folded(f"{history.server} · {_when(history.start)} to {_when(history.end)} {local_zone()}", room),
        *folded(counted_episodes(history), room),
    ]
    for told in history.episodes:
        lines += ["", *_episode(told, room)]
    beside = _happened(history.acts, history.outages, history.changes, None, room)
    if beside:
        lines += ["", *folded("outside of the episodes:" if history.episodes else "happened:", room), *beside]
    missing = unrecorded_words(history, _when)
    if missing:
        lines += ["", *(line for each in missing for line in _hanging(f"? {each}", room, 0))]
    return "".join(f"{line}\n" for line in lines)


def _episode(told: ToldEpisode, room: int) -> list[str]:
    episode = told.episode
    until = "now" if episode.goes_on else _when(episode.end, episode.start)
    begin = f"{'before ' if episode.begins_unrecorded else ''}{_when(episode.start)}"
    lasted = duration((episode.end - episode.start) / MICROSECONDS)
    ending = ending_words(episode)
    said = f"{begin} to {until} ({lasted}): {figures(episode)}{f'; {ending}' if ending else ''}"
    lines = folded(said, room)
    if episode.filled_by is None:
        lines += _hanging("? the cause is not known: there was no diagnosis", room)
    else:
        lines += _finding(episode.filled_by.finding, room)
    others = [
        each.finding for each in episode.causes if each != episode.filled_by and is_blaming(each.finding)
    ]
    if others:
        lines += _hanging(f"also: {', '.join(map(cause_words, others))}", room)
    lines += _growth(told, room)
    return [*lines, *_happened(told.acts, told.outages, told.changes, episode.start, room)]


def _finding(finding: Finding, room: int) -> list[str]:
    lines = _hanging(f"{finding.mark} {finding.sentence}", room)
    for name, value in finding.evidence:
        lines += [f"{_INDENT * 2}{line}" for line in folded(f"{name}: {value}", room - 4)]
    return lines


def _growth(told: ToldEpisode, room: int) -> list[str]:
    applications = grown(told)
    episode = told.episode
    if not applications or episode.calm_at is None or episode.peak is None:
        return []
    said = ", ".join(f"{application_words(each)} {each.before} → {each.at_peak}" for each in applications)
    span = f"{_when(episode.calm_at, episode.start)} to {_when(episode.peak.at, episode.start)}"
    return _hanging(f"grew from {span}: {said}", room)


def _happened(
    acts: tuple[ToldAct, ...],
    outages: tuple[ToldOutage, ...],
    changes: tuple[ServerChanged, ...],
    near: int | None,
    room: int,
) -> list[str]:
    """Return the acts, outages and changes in the order of their times; `near` is a time of the same day."""
    told = [
        *((each.at, f"{act_words(each)} · {decided_words(each)}") for each in acts),
        *((each.start, outage_words(each)) for each in outages),
        *((each.at, printable(each.sentence)) for each in changes),
    ]
    lines: list[str] = []
    for at, said in sorted(told):
        lines += _hanging(f"{_when(at, near, seconds=True)} {said}", room)
    return lines


def _hanging(text: str, room: int, indent: int = 2) -> list[str]:
    """Return a text in lines, those after the first indented further."""
    first, *rest = folded(text, room - indent - 2)
    return [f"{' ' * indent}{first}", *(f"{' ' * (indent + 2)}{line}" for line in rest)]


def _when(at: int, near: int | None = None, *, seconds: bool = False) -> str:
    """Return a time in the local zone; with its day, unless that is the day of `near`."""
    day, time = _day(at), clock(at, seconds=seconds)
    return time if near is not None and day == _day(near) else f"{day} {time}"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at // MICROSECONDS).astimezone():%Y-%m-%d}"
