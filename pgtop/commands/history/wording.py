"""The sentences of a history, for the table and for the report. All are printable."""

from collections.abc import Callable
from typing import Final, TypeAlias

from pgtop.core.episodes import Ending, Episode, Growth
from pgtop.core.incident_history import IncidentHistory, ToldEpisode, ToldOutage
from pgtop.core.plan import DecidedBy, Outcome, Trigger
from pgtop.core.recorded_acts import ToldAct
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import duration, percent, plural, printable

Clock: TypeAlias = Callable[[int], str]
"""Microseconds to a time of day."""

NAMED: Final = 3
"""The applications that a sentence names, at most."""
_GREW: Final = 6

_VERBS: Final = {"terminate": "terminated", "cancel": "cancelled the queries of"}
_DECIDERS: Final = {
    DecidedBy.PERSON: "by hand",
    DecidedBy.COMMAND: "by command",
    DecidedBy.POLICY: "automatic",
}
_TRIGGERS: Final = {
    Trigger.SELECTED: "selected",
    Trigger.ALWAYS: "sweep at any usage",
    Trigger.USAGE: "sweep",
    Trigger.EMERGENCY: "emergency sweep",
    Trigger.BREAK_GLASS: "from the server's host",
}
UNKNOWN: Final = "?"


def figures(episode: Episode) -> str:
    """Return the peak of an episode and the time for which no slot was left."""
    peak = episode.peak
    reached = "refused all logins" if peak is None else f"peak {peak.total} of {peak.slots} slots"
    share = "" if peak is None else f" ({percent(peak.usage)})"
    full = episode.seconds.full
    return f"{reached}{share}, {f'full for {duration(full)}' if full else 'never full'}"


def ending_words(episode: Episode) -> str:
    """Return what is known of an episode's end beyond its time; "" if it ended below the line."""
    return {
        Ending.BELOW: "",
        Ending.NO_ANSWER: "then the server did not answer",
        Ending.ANOTHER_CLUSTER: "then another database cluster answered",
        Ending.UNRECORDED: "then nothing was recorded",
        Ending.GOES_ON: "it goes on",
    }[episode.ending]


def counted_episodes(history: IncidentHistory) -> str:
    """Return the number of episodes and the time for which the server was full."""
    number = len(history.episodes)
    line = percent(history.warn_at)
    if not number:
        return f"no episode over the {line} line"
    full = history.full_seconds
    said = f"full for {duration(full)}" if full else "never full"
    return f"{plural(number, 'episode')} over the {line} line, {said}"


def grown(told: ToldEpisode) -> list[Growth]:
    """Return the applications that grew most; none that did not grow."""
    return [each for each in told.grew if each.difference > 0][:_GREW]


def application_words(growth: Growth) -> str:
    """Return the name of an application that grew."""
    return label(growth.application_name, NO_APPLICATION)


def counted(applications: tuple[tuple[str, int], ...]) -> str:
    """Return applications with their numbers: `web 12, api 3, and 2 more`."""
    said = ", ".join(f"{label(name, NO_APPLICATION)} {number}" for name, number in applications[:NAMED])
    more = len(applications) - NAMED
    return f"{said}, and {more} more" if more > 0 else said


def decided_words(act: ToldAct) -> str:
    """Return who decided on an act: `automatic, daemon of root@db1`."""
    known = {str(key): word for key, word in _DECIDERS.items()}
    decided = known.get(act.decided_by or "", printable(act.decided_by) or "by an unrecorded decision")
    return f"{decided}, {printable(act.face)} of {printable(act.operator)}"


def trigger_words(act: ToldAct) -> str:
    """Return the reason of an act."""
    return {str(key): word for key, word in _TRIGGERS.items()}.get(act.trigger, printable(act.trigger))


def done_words(act: ToldAct) -> str:
    """Return what an act did: `terminated 12 (leaky-worker 12)`, and the other outcomes."""
    verb = _VERBS.get(act.act, printable(act.act))
    named = f" ({counted(act.applications)})" if act.applications else ""
    others = outcome_words(act)
    return f"{verb} {plural(act.gone, 'session')}{named}{f'; {others}' if others else ''}"


def outcome_words(act: ToldAct) -> str:
    """Return the outcomes of the sessions that are not gone; "" if all are."""
    rest = [
        (outcome, number)
        for outcome, number in act.outcomes
        if outcome not in (Outcome.TERMINATED, Outcome.CANCELLED) and number
    ]
    return ", ".join(f"{number} {printable(outcome) or 'without an outcome'}" for outcome, number in rest)


def act_words(act: ToldAct) -> str:
    """Return an act in one sentence, without who decided on it."""
    return f"{trigger_words(act)}: {done_words(act)}, {usage_words(act)}"


def usage_words(act: ToldAct) -> str:
    """Return the usage before and after an act: `100% → 78%`."""
    both = (act.usage_before, act.usage_after)
    return " → ".join(UNKNOWN if each is None else percent(each) for each in both)


def outage_words(outage: ToldOutage) -> str:
    """Return an outage without its beginning: `no answer for 12s: …`."""
    seconds = (outage.end - outage.start) / 1_000_000
    least = "" if outage.is_over else "at least "
    said = f": {printable(outage.message)}" if outage.message else ""
    return f"no answer for {least}{duration(seconds)}{said}"


def unrecorded_words(history: IncidentHistory, clock: Clock) -> list[str]:
    """Return what is not known of the time: where nothing was recorded, and what could not be read."""
    said = [
        f"nothing was recorded from {clock(each.start)} to {clock(each.end)} "
        f"({duration((each.end - each.start) / 1_000_000)})"
        for each in history.gaps
    ]
    return [*said, *history.notes]
