"""The episodes of a server: the times in which it was over the 80% line or full, as they were recorded.

They never overlap, and what was not recorded is not guessed. Times are microseconds by the server's clock.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.findings import Finding, Grade
from pgtop.core.diagnosis.steady import Cause as CauseKey
from pgtop.core.diagnosis.steady import cause_of
from pgtop.core.load_over_time import Gap, Level, Load, gaps, within
from pgtop.core.recorded import Diagnosed

JOINED_SECONDS: Final = 180.0
"""Seconds below the line after which it is another episode."""
GOING_ON_SECONDS: Final = 60.0
"""Seconds since the last poll up to which an episode is taken to go on."""
CALM_SECONDS: Final = 3600.0
"""Seconds before an episode in which its beginning is looked for: the time of the least load."""

_NEAR_THE_PEAK: Final = 0.95
"""The part of the peak from which on a load counts as the peak."""
_OVER: Final = (Level.OVER, Level.FULL)


class Ending(StrEnum):
    """The end of an episode, as far as it is known."""

    BELOW = "below"
    """The usage fell below the line."""
    NO_ANSWER = "no_answer"
    """The server did not answer any more."""
    ANOTHER_CLUSTER = "another_cluster"
    """Another database cluster answered at the address, and was over the line too."""
    UNRECORDED = "unrecorded"
    """Nothing was recorded from then on."""
    GOES_ON = "goes_on"


class Peak(msgspec.Struct, frozen=True):
    """The highest load of an episode, at the first time that it was reached."""

    at: int
    total: int
    slots: int

    @property
    def usage(self) -> float:
        """Taken slots divided by slots."""
        return self.total / self.slots


class Cause(msgspec.Struct, frozen=True):
    """A finding, and the time from which on it was said."""

    at: int
    finding: Finding


class Seconds(msgspec.Struct, frozen=True):
    """The seconds of an episode by the state of the server; together they make up its whole length."""

    full: float = 0.0
    over: float = 0.0
    """On or above the line, but not full."""
    below: float = 0.0
    """Below the line, for a while too short to end it."""
    no_answer: float = 0.0
    unrecorded: float = 0.0

    @property
    def over_or_full(self) -> float:
        """The seconds on or above the line."""
        return self.full + self.over


class Episode(msgspec.Struct, frozen=True):
    """A time in which the server was over the line, with no longer break than JOINED_SECONDS."""

    start: int
    end: int
    """The last time that is known; see `ending`."""
    ending: Ending
    begins_unrecorded: bool
    """True if nothing was recorded just before, so that it may have begun earlier."""
    seconds: Seconds
    peak: Peak | None
    """None if no number is known, because new connections were refused all the time, pgtop's too."""
    calm_at: int | None
    """The time of the least load in the hour before; None if there is no poll in it."""
    causes: tuple[Cause, ...] = ()
    """All causes that were said in it, in the order of their first time; each as it weighed most last."""
    filled_by: Cause | None = None
    """The cause that weighed most while the load was near its peak; None if there was no diagnosis."""

    @property
    def goes_on(self) -> bool:
        """True if it had not ended by the last poll, a moment ago."""
        return self.ending is Ending.GOES_ON

    def is_during(self, start: int, end: int) -> bool:
        """Return whether a time has a part in it, or is so close that it belongs to it."""
        near = round(GOING_ON_SECONDS * MICROSECONDS)
        return end >= self.start - near and start <= self.end + near


class Growth(msgspec.Struct, frozen=True):
    """The sessions of an application before an episode and at its peak."""

    application_name: str | None
    before: int
    at_peak: int

    @property
    def difference(self) -> int:
        """The sessions by which it grew; negative if it has fewer."""
        return self.at_peak - self.before


class _Bounds(NamedTuple):
    start: int
    end: int


def episodes_of(
    loads: Sequence[Load], warn_at: float, diagnosed: Sequence[Diagnosed] = (), now: int | None = None
) -> list[Episode]:
    """Return the episodes in loads, which are in order and do not overlap.

    `warn_at` is the line, a fraction of the slots. `diagnosed` are the recorded diagnoses, in order. At `now`
    the last episode may go on; None for a recording of long ago.
    """
    sayings = _in_force(diagnosed, loads)
    found: list[Episode] = []
    earliest = loads[0].start if loads else 0
    for bounds in _bounds(loads, warn_at):
        episode = _episode(loads, bounds, earliest, warn_at, now)
        found.append(_with_causes(episode, within(loads, *bounds), sayings))
        earliest = bounds.end
    return found


def _bounds(loads: Iterable[Load], warn_at: float) -> list[_Bounds]:
    """Return the beginnings and ends of the episodes: stretches over the line, close ones joined.

    Another cluster at the same address has episodes of its own.
    """
    found: list[_Bounds] = []
    cluster = ""
    for load in loads:
        if load.level(warn_at) not in _OVER:
            continue
        is_other = bool(cluster and load.cluster and cluster != load.cluster)
        cluster = load.cluster or cluster
        if found and not is_other and load.start - found[-1].end < JOINED_SECONDS * MICROSECONDS:
            found[-1] = _Bounds(found[-1].start, load.end)
        else:
            found.append(_Bounds(load.start, load.end))
    return found


def _episode(
    loads: Sequence[Load], bounds: _Bounds, earliest: int, warn_at: float, now: int | None
) -> Episode:
    start, end = bounds
    inner = within(loads, start, end)
    answered = [each for each in inner if each.slots]
    highest = max(answered, key=lambda each: (each.usage or 0.0, -each.start), default=None)
    before = within(loads, max(earliest, start - round(CALM_SECONDS * MICROSECONDS)), start)
    cluster = "" if highest is None else highest.cluster
    calm = [each for each in before if each.level(warn_at) is Level.BELOW and each.cluster in ("", cluster)]
    return Episode(
        start=start,
        end=end,
        ending=_ending(loads, end, warn_at, now),
        begins_unrecorded=not within(loads, start - 1, start),
        seconds=_seconds(inner, bounds, warn_at),
        peak=None if highest is None else Peak(highest.start, highest.total, highest.slots),
        calm_at=min(calm, key=lambda each: (each.usage or 0.0, -each.start)).start if calm else None,
    )


def _ending(loads: Sequence[Load], end: int, warn_at: float, now: int | None) -> Ending:
    for following in within(loads, end, end + 1):
        if following.level(warn_at) in _OVER:
            return Ending.ANOTHER_CLUSTER
        return Ending.NO_ANSWER if following.level(warn_at) is Level.NO_ANSWER else Ending.BELOW
    is_last = loads[-1].end == end
    if is_last and now is not None and now - end <= GOING_ON_SECONDS * MICROSECONDS:
        return Ending.GOES_ON
    return Ending.UNRECORDED


def _seconds(inner: Iterable[Load], bounds: _Bounds, warn_at: float) -> Seconds:
    spent: Counter[Level] = Counter()
    for each in inner:
        spent[each.level(warn_at)] += each.end - each.start
    recorded = sum(spent.values())
    full, over, below, no_answer, rest = (
        number / MICROSECONDS
        for number in (*(spent[level] for level in Level), bounds.end - bounds.start - recorded)
    )
    return Seconds(full, over, below, no_answer, rest)


# Causes


class _Saying(NamedTuple):
    """A diagnosis and the time in which it was the last one."""

    start: int
    end: int
    findings: tuple[Finding, ...]


def _in_force(diagnosed: Sequence[Diagnosed], loads: Sequence[Load]) -> list[_Saying]:
    """Return the diagnoses with the time until the next one, or until nothing was recorded any more."""
    if not diagnosed or not loads:
        return []
    missing = iter(gaps(loads, loads[0].start, max(loads[-1].end, diagnosed[-1].at) + 1))
    gap: Gap | None = next(missing, None)
    found: list[_Saying] = []
    for each, following in pairwise([*diagnosed, None]):
        if each is None:
            continue
        while gap is not None and gap.start < each.at:
            gap = next(missing, None)
        ends = [loads[-1].end if following is None else following.at, *([] if gap is None else [gap.start])]
        found.append(_Saying(each.at, min(ends), each.findings))
    return found


def _with_causes(episode: Episode, inner: Sequence[Load], sayings: Iterable[_Saying]) -> Episode:
    said = [each for each in sayings if each.end > episode.start and each.start < episode.end]
    heaviest: dict[CauseKey, Cause] = {}
    for saying in said:
        for finding in saying.findings:
            key = cause_of(finding)
            known = heaviest.get(key)
            if known is None:
                heaviest[key] = Cause(saying.start, finding)
            elif finding.slots >= known.finding.slots:
                heaviest[key] = Cause(known.at, finding)
    weights = _weights(said, _near_peak(episode, inner)) or _weights(said, inner)
    filled_by = max(weights, key=lambda key: (is_blaming(heaviest[key].finding), weights[key]), default=None)
    return msgspec.structs.replace(
        episode,
        causes=tuple(heaviest.values()),
        filled_by=None if filled_by is None else heaviest[filled_by],
    )


def _near_peak(episode: Episode, inner: Iterable[Load]) -> list[Load]:
    least = 0.0 if episode.peak is None else episode.peak.usage * _NEAR_THE_PEAK
    return [each for each in inner if each.is_full or (each.usage is not None and each.usage >= least)]


def _weights(said: Iterable[_Saying], loads: Sequence[Load]) -> Counter[CauseKey]:
    """Return the slots of each cause times the seconds for which it was said while there were such loads."""
    weights: Counter[CauseKey] = Counter()
    for saying in said:
        lasted = sum(each.end - each.start for each in within(loads, saying.start, saying.end))
        for finding in saying.findings if lasted else ():
            weights[cause_of(finding)] += lasted * max(finding.slots, 1)
    return weights


def is_blaming(finding: Finding) -> bool:
    """Return whether a finding names a cause, and is not a mere description."""
    return finding.grade is not Grade.MIXED


# The last day


class DayInShort(msgspec.Struct, frozen=True):
    """The episodes of the last day as far as it was recorded, in short."""

    known_seconds: float
    """Seconds since the first poll of it."""
    number: int
    full_seconds: float
    last: Episode | None
    """The last episode; None if there was none."""


def day_in_short(
    episodes: Sequence[Episode], loads: Sequence[Load], start: int, end: int
) -> DayInShort | None:
    """Return the episodes between two times in short; None if nothing was recorded in it."""
    inner = within(loads, start, end)
    if not inner:
        return None
    return DayInShort(
        known_seconds=(end - inner[0].start) / MICROSECONDS,
        number=len(episodes),
        full_seconds=sum(each.seconds for each in inner if each.is_full),
        last=episodes[-1] if episodes else None,
    )


# Applications


def growth(before: Snapshot, peak: Snapshot) -> tuple[Growth, ...]:
    """Return the applications that have sessions in two snapshots, the one that grew most first."""
    earlier, later = (Counter(_names(each)) for each in (before, peak))
    grown = [Growth(name, earlier[name], later[name]) for name in {**earlier, **later}]
    return tuple(
        sorted(grown, key=lambda each: (-each.difference, -each.at_peak, each.application_name or ""))
    )


def _names(snapshot: Snapshot) -> list[str | None]:
    return [each.application_name or None for each in snapshot.backends if each.holds_slot]
