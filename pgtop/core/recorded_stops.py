"""The events of a recording as a player has them: the places to stop at, in words, and the graph's marks."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.alerts import Alert
from pgtop.core.event_marks import Event as Kind
from pgtop.core.event_marks import EventMarks, Mark
from pgtop.core.plan import Act, DecidedBy, Trigger
from pgtop.core.recorded import (
    Acted,
    AlertRaised,
    Diagnosed,
    Event,
    OutageBegan,
    OutageEnded,
    ServerChanged,
    same_causes,
)
from pgtop.core.server_change import ServerChange
from pgtop.core.text import percent, plural, printable

TWICE_SECONDS: Final = 15.0
"""Seconds within which two programs that watch the same server tell of the same event."""

_MARKED: Final = {Alert.OVER: Kind.OVER, Alert.FULL: Kind.FULL, Alert.LIMIT: Kind.LIMIT}
_ALERTS: Final = {
    Alert.FULL: "FULL: new connections are refused",
    Alert.RECOVERED: "recovered",
    Alert.LIMIT: "a CONNECTION LIMIT is reached",
    Alert.OUTAGE: "no answer from the server",
    Alert.FILLING: "filling: full soon",
}


class Stop(msgspec.Struct, frozen=True):
    """A place in a recording where something happened."""

    at: int
    """Microseconds since the Unix epoch by the server's clock."""
    words: str
    """The event in words, printable."""


def stops_of(events: Iterable[Event], warn_at: float) -> tuple[Stop, ...]:
    """Return the alerts, new verdicts, acts, server changes and outages, each of them once, in their order.

    `events` are in the order of their times; `warn_at` is a fraction of the slots.
    """
    stops: list[Stop] = []
    told: dict[str, int] = {}
    causes = Diagnosed(0, ())
    for event in events:
        is_new = True
        if isinstance(event, Diagnosed):
            is_new = bool(event.findings) and not same_causes(event.findings, causes.findings)
            causes = event
        words = stop_words(event, warn_at)
        seconds = (event.at - told[words]) / MICROSECONDS if words in told else TWICE_SECONDS
        if is_new and seconds >= TWICE_SECONDS:
            told[words] = event.at
            stops.append(Stop(event.at, words))
    return tuple(stops)


def stop_words(event: Event, warn_at: float) -> str:
    """Return an event in words, printable."""
    match event:
        case AlertRaised(alert=alert):
            return _ALERTS.get(alert, f"over the {percent(warn_at)} line")
        case Diagnosed(findings=findings):
            return printable(findings[0].sentence) if findings else "nothing left to say"
        case Acted():
            return act_words(event)
        case ServerChanged(sentence=sentence):
            return printable(sentence)
        case OutageBegan(outage=outage):
            return f"no answer: {printable(outage.message)}"
        case OutageEnded():
            return "the server answers again"


def act_words(acted: Acted) -> str:
    """Return an act with the applications that it was about, and whoever decided it.

    >>> why = (Act.TERMINATE, Trigger.SELECTED, DecidedBy.PERSON)
    >>> act_words(Acted(0, *why, "ops", "dashboard", (), 0.9, 0.5, ()))
    'terminated 0 sessions: ops, dashboard'
    """
    number, names = acted.gone, [printable(name) for name, _ in acted.applications[:2] if name]
    of = f" of {' and '.join(names)}" if names else ""
    if acted.act is Act.CANCEL:
        said = f"cancelled {plural(number, 'query', 'queries')}{of}"
    else:
        said = f"terminated {plural(number, 'session')}{of}"
    by = "automatic" if acted.decided_by is DecidedBy.POLICY else printable(acted.operator)
    return f"{said}: {by}, {printable(acted.face)}"


def marks_of(events: Iterable[Event]) -> tuple[Mark, ...]:
    """Return the marks of a recording's graph: the same as a dashboard sets while it polls."""
    marks = EventMarks()
    is_watched = False
    for event in events:
        mark = _mark(event)
        if mark is not None:
            marks.add(mark, 0)
        elif isinstance(event, Diagnosed):
            if not is_watched:
                marks.add_findings((), event.at, 0)  # in a recording, the first ones are news too
                is_watched = True
            marks.add_findings([each.kind.replace("_", " ") for each in event.findings], event.at, 0)
    return marks.shown(0)


def _mark(event: Event) -> Mark | None:
    match event:
        case AlertRaised(alert=alert) if alert in _MARKED:
            return Mark(event.at, _MARKED[alert])
        case Acted(act=Act.TERMINATE) if event.gone:
            by_hand = event.trigger in (Trigger.SELECTED, Trigger.BREAK_GLASS)
            return Mark(event.at, Kind.TERMINATION if by_hand else Kind.SWEEP, event.gone)
        case ServerChanged(change=change):
            return Mark(event.at, Kind.RESTART if change is ServerChange.RESTARTED else Kind.FAILOVER)
    return None


def next_stop(stops: Sequence[Stop], shown_until: int) -> Stop | None:
    """Return the first stop from a time on, microseconds; None if nothing happened any more."""
    return next((each for each in stops if each.at >= shown_until), None)


def previous_stop(stops: Sequence[Stop], shown_at: int) -> Stop | None:
    """Return the last stop before a time, microseconds; None if nothing happened before."""
    return next((each for each in reversed(stops) if each.at < shown_at), None)
