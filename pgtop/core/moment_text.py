"""The times that people type for a moment of the past: `03:12`, `2026-11-30 03:12`, `-15min`."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from pgtop.core.activity import MICROSECONDS
from pgtop.core.masking import masked_value
from pgtop.core.text import clip, parse_duration, printable

ACCEPTED: Final = "give a time such as 03:12, 03:12:30 or 2026-11-30 03:12, or a duration back such as -15min"

_TIME_OF_DAY: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].+)?")
_LATEST: Final = 253_370_764_800 * MICROSECONDS
"""The year 9999, which no time zone can put off."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, near: int, zone: tzinfo | None = None) -> int:
    """Return a typed moment in microseconds since the Unix epoch, close to `near` (microseconds).

    A time of day is the last such time at or before `near`, a negative duration goes back from it. Without a
    zone of its own, a text is in `zone`; None for the local zone, as the clocks on the screen are. It raises
    ValueError for anything else; the message says what is accepted.

    >>> at = parse_moment("2026-11-30 03:12", 0, UTC)
    >>> parse_moment("2026-11-30T04:12:00+01:00", 0) == at, parse_moment("3:12", at, UTC) == at
    (True, True)
    >>> [(parse_moment(text, at, UTC) - at) // MICROSECONDS for text in ("03:13", "-15min")]
    [-86340, -900]
    """
    try:
        moment = _moment(text.strip(), near, zone)
    except (ValueError, OverflowError, OSError):
        moment = None
    if moment is None or not 0 <= moment < _LATEST:
        raise ValueError(f'"{clip(printable(masked_value(text)), 40)}" is not a moment: {ACCEPTED}')
    return moment


def _moment(typed: str, near: int, zone: tzinfo | None) -> int | None:
    if typed.startswith("-"):
        return near - round(parse_duration(typed[1:]) * MICROSECONDS)
    if _TIME_OF_DAY.fullmatch(typed):
        return max(each for each in _such_times(typed, near, zone) if each <= near)
    if _DATE.fullmatch(typed):
        return _microseconds(_in_zone(datetime.fromisoformat(typed), zone))
    return None


def _such_times(typed: str, near: int, zone: tzinfo | None) -> Iterator[int]:
    """Yield a time of day on the day of `near` and the two before; twice where a clock is set back."""
    of_day = time.fromisoformat(typed.zfill(len(typed) + (typed.index(":") == 1)))
    today = datetime.fromtimestamp(near // MICROSECONDS, tz=zone).astimezone(zone).date()
    for days in range(3):
        for fold in (0, 1):
            moment = datetime.combine(today - timedelta(days=days), of_day.replace(fold=fold))
            yield _microseconds(_in_zone(moment, zone))


def _in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
