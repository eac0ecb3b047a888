"""The episodes of a recording: those of a time span, with the load behind them."""

from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.episodes import CALM_SECONDS, DayInShort, Episode, Growth, day_in_short, episodes_of, growth
from pgtop.core.load_over_time import Load, loads_of
from pgtop.core.recorded import Diagnosed, Event
from pgtop.history.recording import Recording

DAY_SECONDS: Final = 86_400.0
AFTER_SECONDS: Final = 60.0
"""Seconds for which an event may come after the last poll: a daemon that acts and ends polls no more."""


class RecordedEpisodes(NamedTuple):
    """The episodes that reach into a time span."""

    loads: list[Load]
    events: list[Event]
    episodes: list[Episode]


def recorded_episodes(
    recording: Recording, start: int, end: int, warn_at: float, now: int | None = None
) -> RecordedEpisodes:
    """Return the episodes between two times (microseconds, the server's clock), and those that begin before.

    `warn_at` is the line, a fraction of the slots; at `now` the last episode may go on.
    """
    early = start - round(CALM_SECONDS * MICROSECONDS)
    loads = loads_of(recording.counts(early, end))
    events = recording.events(early, end + round(AFTER_SECONDS * MICROSECONDS))
    diagnosed = [each for each in events if isinstance(each, Diagnosed)]
    found = episodes_of(loads, warn_at, diagnosed, now)
    return RecordedEpisodes(loads, events, [each for each in found if each.end > start])


def recorded_day(recording: Recording, now: int, warn_at: float) -> DayInShort | None:
    """Return the last 24 hours before `now` (microseconds) in short; None if nothing was recorded in them."""
    start = now - round(DAY_SECONDS * MICROSECONDS)
    found = recorded_episodes(recording, start, now + 1, warn_at, now)
    return day_in_short(found.episodes, found.loads, start, now + 1)


def recorded_growth(recording: Recording, episode: Episode) -> tuple[Growth, ...]:
    """Return the applications before an episode and at its peak; none if one of these polls is missing."""
    if episode.calm_at is None or episode.peak is None:
        return ()
    before, peak = (_snapshot_at(recording, each) for each in (episode.calm_at, episode.peak.at))
    if before is None or peak is None:
        return ()
    return growth(before, peak)


def _snapshot_at(recording: Recording, at: int) -> Snapshot | None:
    """Return the snapshot of just that time; None if there is none."""
    position = recording.at(at)
    if position is None:
        return None
    seen = recording.seen(position)
    return seen.result if isinstance(seen.result, Snapshot) and seen.at == at else None
