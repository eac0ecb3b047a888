"""IncidentHistory: all that is told of a server's past, put together from its recording and the audit log."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.episodes import Episode, Growth
from pgtop.core.load_over_time import Gap, Level, Load, gaps
from pgtop.core.outage import OutageKind
from pgtop.core.recorded import Event, OutageBegan, ServerChanged
from pgtop.core.recorded_acts import ToldAct

SHORTEST_GAP_SECONDS: Final = 60.0
"""Seconds without a poll from which on it is said that nothing was recorded."""
_SAME_SECONDS: Final = 60.0
"""Seconds within which several programs tell of the same change."""


class ToldOutage(msgspec.Struct, frozen=True):
    """A time in which the server did not answer."""

    start: int
    end: int
    is_over: bool
    """True if it answered afterwards; else nothing more is known."""
    message: str
    """The first failure in one sentence, printable; "" if it was not recorded."""
    kind: OutageKind | None = None
    """Its kind; None if it was not recorded."""


class ToldEpisode(msgspec.Struct, frozen=True):
    """An episode with all that happened in it."""

    episode: Episode
    grew: tuple[Growth, ...]
    """The applications before it and at its peak; none if one of these polls is missing."""
    acts: tuple[ToldAct, ...]
    outages: tuple[ToldOutage, ...]
    changes: tuple[ServerChanged, ...]


class IncidentHistory(msgspec.Struct, frozen=True):
    """The past of one server between two times, in microseconds by the server's clock."""

    server: str
    """The name that was asked for, printable."""
    start: int
    end: int
    warn_at: float
    loads: tuple[Load, ...]
    episodes: tuple[ToldEpisode, ...]
    """In order, the newest last."""
    acts: tuple[ToldAct, ...]
    """The acts outside of all episodes, as are `outages` and `changes`."""
    outages: tuple[ToldOutage, ...]
    changes: tuple[ServerChanged, ...]
    gaps: tuple[Gap, ...]
    """The times of which nothing was recorded."""
    notes: tuple[str, ...] = ()
    """Sentences about what could not be read, printable."""

    @property
    def full_seconds(self) -> float:
        """The seconds for which the server was full."""
        return sum(each.episode.seconds.full for each in self.episodes)


def incident_history(
    server: str,
    span: tuple[int, int],
    warn_at: float,
    loads: Sequence[Load],
    episodes: Sequence[tuple[Episode, tuple[Growth, ...]]],
    events: Iterable[Event],
    acts: Iterable[ToldAct],
    notes: Iterable[str] = (),
) -> IncidentHistory:
    """Return the history of a time `span`; each act, outage and change is told at one place only."""
    start, end = span
    told, known = list(acts), list(events)
    outages = outages_in(loads, [each for each in known if isinstance(each, OutageBegan)])
    changes = _without_repeats(each for each in known if isinstance(each, ServerChanged))
    found: list[ToldEpisode] = []
    for episode, grew in episodes:
        inner = [each for each in told if episode.is_during(each.at, each.at)]
        down = [each for each in outages if episode.is_during(each.start, each.end)]
        changed = [each for each in changes if episode.is_during(each.at, each.at)]
        found.append(ToldEpisode(episode, grew, tuple(inner), tuple(down), tuple(changed)))
        told = [each for each in told if each not in inner]
        outages = [each for each in outages if each not in down]
        changes = [each for each in changes if each not in changed]
    shortest = SHORTEST_GAP_SECONDS * MICROSECONDS
    return IncidentHistory(
        server=server,
        start=start,
        end=end,
        warn_at=warn_at,
        loads=tuple(loads),
        episodes=tuple(found),
        acts=tuple(each for each in told if start <= each.at <= end),
        outages=tuple(each for each in outages if each.end > start),
        changes=tuple(each for each in changes if start <= each.at <= end),
        gaps=tuple(each for each in gaps(loads, start, end) if each.end - each.start >= shortest),
        notes=tuple(notes),
    )


def outages_in(loads: Sequence[Load], began: Sequence[OutageBegan]) -> list[ToldOutage]:
    """Return the times without an answer, each with the failure that was recorded at its beginning."""
    found: list[ToldOutage] = []
    for load in loads:
        is_out = load.level(1.0) is Level.NO_ANSWER
        last = found[-1] if found else None
        follows = last is not None and last.end == load.start
        if last is not None and follows and is_out:
            found[-1] = msgspec.structs.replace(last, end=load.end)
        elif last is not None and follows and not last.is_over:
            found[-1] = msgspec.structs.replace(last, is_over=True)
        elif is_out:
            found.append(ToldOutage(load.start, load.end, is_over=False, message=""))
    return [_with_failure(each, began) for each in found]


def _with_failure(outage: ToldOutage, began: Iterable[OutageBegan]) -> ToldOutage:
    near = round(MICROSECONDS)
    said = (each.outage for each in began if outage.start - near <= each.at <= outage.end)
    first = next(said, None)
    if first is None:
        return outage
    return msgspec.structs.replace(outage, message=first.message, kind=first.kind)


def _without_repeats(changes: Iterable[ServerChanged]) -> list[ServerChanged]:
    """Return the changes, one that several programs told of once."""
    found: list[ServerChanged] = []
    for each in changes:
        near = each.at - round(_SAME_SECONDS * MICROSECONDS)
        if not any(other.at >= near and other.change is each.change for other in found):
            found.append(each)
    return found
