"""The rules that decide which change of the server's condition is an alert.

A change for the worse is an alert in the poll that shows it. A usage that falls back under the line is an
alert at once if it is clearly below, and otherwise after it has stayed below for HOLD_SECONDS. In both cases
the last alert must be HOLD_SECONDS old, so that a usage that swings around the line at every poll gives at
most two alerts in that time, not two a poll. Times are seconds by any clock of the caller that only runs
forward.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage

Level = Literal["calm", "over", "full"]
"""The server's condition: below the line, on or over it, or full."""

HOLD_SECONDS: Final = 10.0
"""Seconds that an improvement must last before it counts, and an outage before it is an alert."""
CLEARLY: Final = 0.05
"""The distance below the line (a fraction of the slots) from which a usage no longer hovers at it."""

FILLING_WITHIN_SECONDS: Final = 900.0
"""Seconds before the server is full from which on its filling is an alert."""
FILLING_FROM_USAGE: Final = 0.5
"""The usage below which no growth is an alert: an application that starts grows fast, and stops."""
FILLING_OVER_SECONDS: Final = 60.0
"""Seconds without such a forecast after which the server counts as no longer filling."""

_SEVERITY: Final[dict[Level, int]] = {"calm": 0, "over": 1, "full": 2}


class Alert(StrEnum):
    """A change that people are told of."""

    OVER = "over"
    """The usage has crossed the line."""
    FULL = "full"
    """No slot is left, or logins are refused."""
    RECOVERED = "recovered"
    """The usage is back under the line, or the server answers again."""
    LIMIT = "limit"
    """A role or a database has reached its own CONNECTION LIMIT."""
    OUTAGE = "outage"
    """The server has not answered for HOLD_SECONDS."""
    FILLING = "filling"
    """The server is full within FILLING_WITHIN_SECONDS if usage goes on growing as it does."""


_ALERTS: Final[dict[Level, Alert]] = {"calm": Alert.RECOVERED, "over": Alert.OVER, "full": Alert.FULL}


class Watch(msgspec.Struct, frozen=True):
    """The last alert told, and the start of an improvement or outage that has not been told yet."""

    told: Level | None = None
    """The last level told, or the one at the start; None before the first poll that shows a level."""
    out: bool = False
    """True if the last alert was an outage."""
    told_at: float = 0.0
    """The time of the last alert, in seconds."""
    better_since: float | None = None
    """The time since which the level has been lower than `told` without a break; None if it is not."""
    out_since: float | None = None
    """The time since which the server has not answered; None if it answers."""


class Observation(msgspec.Struct, frozen=True):
    """The level that one poll shows."""

    level: Level | None
    """The level; None for an outage that says nothing about the slots."""
    below: float = 0.0
    """The distance of the usage below the line, as a fraction of the slots."""


def level(snapshot: Snapshot, warn_at: float, *, refused: bool = False) -> Level:
    """Return `full` if no slot is left or logins are `refused`, `over` on or above the line, else `calm`."""
    if refused or snapshot.is_full:
        return "full"
    return "over" if snapshot.usage >= warn_at else "calm"


def observe(result: Snapshot | Outage, warn_at: float, *, refused: bool = False) -> Observation:
    """Return the level that a poll shows: `full` if it could not log in because the server is full."""
    if isinstance(result, Outage):
        is_full = result.limit is not None and result.limit.is_the_servers
        return Observation("full" if is_full else None)
    return Observation(level(result, warn_at, refused=refused), warn_at - result.usage)


def watched(watch: Watch, seen: Observation, now: float) -> tuple[Watch, Alert | None]:
    """Return the watch after a poll at `now` (seconds), and its alert; the first level seen gives none."""
    if seen.level is None:
        return _out(watch, now)
    if watch.out:
        return _told(seen.level, now), _ALERTS[seen.level]
    if watch.told is None:
        return Watch(told=seen.level, told_at=now - HOLD_SECONDS), None
    severity, told = _SEVERITY[seen.level], _SEVERITY[watch.told]
    if severity > told:
        return _told(seen.level, now), _ALERTS[seen.level]
    if severity == told:
        return msgspec.structs.replace(watch, better_since=None, out_since=None), None
    return _better(watch, seen.level, seen.below, now)


def _told(level: Level, now: float) -> Watch:
    return Watch(told=level, told_at=now)


def _out(watch: Watch, now: float) -> tuple[Watch, Alert | None]:
    since = now if watch.out_since is None else watch.out_since
    # An outage before the first answer is not a change, so it is not an alert.
    is_long = now - since >= HOLD_SECONDS and not watch.out and watch.told is not None
    known = msgspec.structs.replace(watch, out_since=since, better_since=None, out=watch.out or is_long)
    return known, Alert.OUTAGE if is_long else None


def _better(watch: Watch, level: Level, below: float, now: float) -> tuple[Watch, Alert | None]:
    since = now if watch.better_since is None else watch.better_since
    lasts = now - since >= HOLD_SECONDS
    clear = level == "calm" and below >= CLEARLY and now - watch.told_at >= HOLD_SECONDS
    if not (lasts or clear):
        return msgspec.structs.replace(watch, better_since=since, out_since=None), None
    if level == "calm":
        return _told(level, now), Alert.RECOVERED
    # From full to merely over is not an alert, but it is remembered, so that the next `full` is one.
    return msgspec.structs.replace(watch, told=level, better_since=None, out_since=None), None


class Filling(msgspec.Struct, frozen=True):
    """The filling of a server that people were told of; it is told once an episode."""

    seen_at: float | None = None
    """The time of the last sign of it, in seconds; None outside of an episode."""


def filling(
    episode: Filling, seconds_to_full: float | None, usage: float, alert: Alert | None, now: float
) -> tuple[Filling, bool]:
    """Return the episode after a poll at `now` (seconds), and whether it is an alert that begins there.

    `seconds_to_full` is the forecast; None if no trend holds, or the server is full or does not answer.
    `alert` is what this poll gave otherwise. An episode ends at the recovery, or with a poll that comes
    FILLING_OVER_SECONDS after its last sign and has none. A full server goes on with it: those who were told
    of that need not hear next that it fills again.
    """
    if alert is Alert.RECOVERED:
        return Filling(), False
    soon = seconds_to_full is not None and seconds_to_full <= FILLING_WITHIN_SECONDS
    if alert is Alert.FULL or (soon and usage >= FILLING_FROM_USAGE):
        return Filling(now), episode.seen_at is None and alert is not Alert.FULL
    is_over = episode.seen_at is not None and now - episode.seen_at >= FILLING_OVER_SECONDS
    return (Filling() if is_over else episode), False
