"""When a change of how it stands is an alert: at once for the worse, and never twice for one that hovers.

What is worse rings in the poll that shows it. Back under the line rings at once where the usage is clearly
below it, and otherwise when it has stayed below for a while; not before the last alert is as old as that
either, so that a usage that swings around the line every poll gives two alerts in that time and not two a
poll. Seconds are by whatever clock the caller has, as long as it only grows.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit, Outage

Level = Literal["calm", "over", "full"]
"""How it stands: below the line, on it or over it, logins refused."""

HOLD_SECONDS: Final = 10.0
"""How long what is better has to last to be believed, and an outage to be more than a moment."""
CLEARLY: Final = 0.05
"""So far below the line (a fraction of the slots) is no hovering at it."""

_SEVERITY: Final[dict[Level, int]] = {"calm": 0, "over": 1, "full": 2}


class Alert(StrEnum):
    """What has changed."""

    OVER = "over"
    """The usage has crossed the line."""
    FULL = "full"
    """No slot is left, or logins are refused."""
    RECOVERED = "recovered"
    """The usage is back under the line, or the server answers again."""
    OUTAGE = "outage"
    """The server has given no answer for longer than a moment."""


_ALERTS: Final[dict[Level, Alert]] = {"calm": Alert.RECOVERED, "over": Alert.OVER, "full": Alert.FULL}


class Watch(msgspec.Struct, frozen=True):
    """What has been told so far, and since when it looks better or out."""

    told: Level | None = None
    """The last level that was told, or that it began with; None before anything was seen."""
    out: bool = False
    """True where an outage was told last."""
    told_at: float = 0.0
    """When an alert was last told."""
    better_since: float | None = None
    """Since when the level is lower than `told` without a break."""
    out_since: float | None = None
    """Since when there is no answer."""


class Observation(msgspec.Struct, frozen=True):
    """What one poll came to."""

    level: Level | None
    """None for an outage that says nothing about the slots."""
    below: float = 0.0
    """How far the usage is below the line, a fraction of the slots."""


def level(snapshot: Snapshot, warn_at: float, *, refused: bool = False) -> Level:
    """`calm` below the line, `over` on and above it, `full` where no slot is left or logins are `refused`."""
    if refused or snapshot.counts.total >= snapshot.slots:
        return "full"
    return "over" if snapshot.usage >= warn_at else "calm"


def observe(result: Snapshot | Outage, warn_at: float, *, refused: bool = False) -> Observation:
    """What a poll says of the level; one that finds no seat because the server is full says `full`."""
    if isinstance(result, Outage):
        is_full = result.limit is not None and Limit(result.limit).is_the_servers
        return Observation("full" if is_full else None)
    return Observation(level(result, warn_at, refused=refused), warn_at - result.usage)


def watched(watch: Watch, seen: Observation, now: float) -> tuple[Watch, Alert | None]:
    """What is known after a poll at `now` (seconds), and its alert; what it began with gives none."""
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
    # Where nothing was seen before, the outage is what it began with.
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
    # From full to merely over is nothing to ring for; full again is.
    return msgspec.structs.replace(watch, told=level, better_since=None, out_since=None), None
