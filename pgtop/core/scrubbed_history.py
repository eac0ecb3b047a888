"""A history with other names, so that it can be shown to somebody else."""

import re
from typing import Final

import msgspec

from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.wording import origins
from pgtop.core.episodes import Cause, Episode, Growth
from pgtop.core.incident_history import IncidentHistory, ToldEpisode, ToldOutage
from pgtop.core.outage import Outage
from pgtop.core.recorded import ServerChanged
from pgtop.core.recorded_acts import ToldAct
from pgtop.core.scrubbing import NameKind, Scrubber

UNREADABLE: Final = "some of it could not be read"
"""The note that stands for all: theirs have paths in them."""

_NAMING: Final = frozenset(
    {"held by", "of", "of them", "sessions by application", "tools", "roles", "they wait for", "root", "head"}
)
"""The evidence that consists of names."""
_PLAIN_WORDS: Final = frozenset(
    {"ms", "s", "m", "h", "d", "a", "an", "in", "of", "each", "at", "most", "since", "opened", "closed"}
    | {"minute", "minutes", "hour", "address", "addresses"}
)
"""The words between figures."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_PLAIN: Final = re.compile(r"[\w\s.,:%+~≥≤→-]*")
_ADDRESS: Final = re.compile(r"\d\.\d+\.\d|:\w*:")


def scrubbed_history(history: IncidentHistory, scrubber: Scrubber) -> IncidentHistory:
    """Return a history with other names. Of findings, the figures and a sentence of few words stay."""
    return msgspec.structs.replace(
        history,
        server=_server(history.server, scrubber),
        episodes=tuple(_episode(each, scrubber) for each in history.episodes),
        acts=tuple(_act(each, scrubber) for each in history.acts),
        outages=tuple(_outage(each, scrubber) for each in history.outages),
        changes=tuple(_change(each, scrubber) for each in history.changes),
        notes=(UNREADABLE,) if history.notes else (),
    )


def _server(label: str, scrubber: Scrubber) -> str:
    found = []
    for each in label.split(","):
        host, colon, port = each.rpartition(":")
        found.append(f"{scrubber.name(NameKind.HOST, host.strip('[]'))}{colon}{port}")
    return ",".join(found)


def _episode(told: ToldEpisode, scrubber: Scrubber) -> ToldEpisode:
    return ToldEpisode(
        episode=_causes(told.episode, scrubber),
        grew=tuple(_growth(each, scrubber) for each in told.grew),
        acts=tuple(_act(each, scrubber) for each in told.acts),
        outages=tuple(_outage(each, scrubber) for each in told.outages),
        changes=tuple(_change(each, scrubber) for each in told.changes),
    )


def _causes(episode: Episode, scrubber: Scrubber) -> Episode:
    filled_by = episode.filled_by
    return msgspec.structs.replace(
        episode,
        causes=tuple(Cause(each.at, scrubbed_finding(each.finding, scrubber)) for each in episode.causes),
        filled_by=None
        if filled_by is None
        else Cause(filled_by.at, scrubbed_finding(filled_by.finding, scrubber)),
    )


def scrubbed_finding(finding: Finding, scrubber: Scrubber) -> Finding:
    """Return a finding with other names, and with the evidence that consists of figures."""
    scrubbed = scrubber.finding(finding)
    figures = [(name, value) for name, value in finding.evidence if _is_plain(name, value)]
    if scrubbed.addresses:
        figures.append(("addresses of its sessions", origins(scrubbed.addresses, 6)))
    return msgspec.structs.replace(scrubbed, evidence=tuple(figures))


def _is_plain(name: str, value: str) -> bool:
    """Return whether evidence is figures alone.

    >>> _is_plain("in the last 7m", "111 opened, 13 closed"), _is_plain("of them", "web 44")
    (True, False)
    >>> _is_plain("most frequent last statement", "TABLE jobs (3)"), _is_plain("addresses", "10.0.4.7")
    (False, False)
    """
    words = {each.lower() for each in _WORD.findall(value)}
    is_figures = _PLAIN.fullmatch(value) is not None and words <= _PLAIN_WORDS
    return name not in _NAMING and is_figures and _ADDRESS.search(value) is None


def _growth(growth: Growth, scrubber: Scrubber) -> Growth:
    name = growth.application_name
    shown = None if name is None else scrubber.name(NameKind.APPLICATION, name)
    return msgspec.structs.replace(growth, application_name=shown)


def _act(act: ToldAct, scrubber: Scrubber) -> ToldAct:
    applications = tuple(
        (scrubber.name(NameKind.APPLICATION, name), number) for name, number in act.applications
    )
    operator = scrubber.name(NameKind.OPERATOR, act.operator)
    return msgspec.structs.replace(act, operator=operator, applications=applications)


def _outage(outage: ToldOutage, scrubber: Scrubber) -> ToldOutage:
    said = "" if outage.kind is None else scrubber.outage(Outage(outage.kind, "")).message
    return msgspec.structs.replace(outage, message=said)


def _change(changed: ServerChanged, scrubber: Scrubber) -> ServerChanged:
    scrubbed = scrubber.event(changed)
    return scrubbed if isinstance(scrubbed, ServerChanged) else changed
