"""The time at which a server is full if it goes on as it does, said only while the trend holds."""

import math
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.scene import Before
from pgtop.core.diagnosis.wording import earliest, rate_words
from pgtop.core.text import clock

SAID_WITHIN_SECONDS: Final = 3600.0
"""A forecast for a later time says more of the line that was drawn than of the server."""
_TO_THE_MINUTE_SECONDS: Final = 1800.0
_DAY_SECONDS: Final = 86_400.0


class Forecast(msgspec.Struct, frozen=True):
    """The time at which the server is full, and how sure that is."""

    full_at: int
    """Microseconds by the server's clock."""
    uncertainty: float = 0.0
    """The part by which the time until then may be longer, a fraction."""
    per_minute: float | None = None
    """The slots by which the usage grows each minute."""

    def seconds_from(self, now: int) -> float:
        """Return the seconds from a moment, microseconds by the server's clock, until then."""
        return max(0.0, (self.full_at - now) / MICROSECONDS)

    def grounds(self, now: int) -> str:
        """Return it in words with the growth that leads there, if that was seen; "" if `words` is.

        >>> Forecast(40 * 60 * MICROSECONDS, 0.2, 2.3).grounds(0)
        'grows by 2.3 a minute: full within the hour'
        """
        said = self.words(now)
        if not said or self.per_minute is None:
            return said
        return f"grows by {rate_words(self.per_minute).removeprefix('+')}: {said}"

    def words(self, now: int) -> str:
        """Return it in words, as exact as it is known; "" for a day that is too far away.

        >>> minute = 60 * MICROSECONDS
        >>> Forecast(40 * minute, 0.2).words(0), Forecast(170 * minute, 0.2).words(0)
        ('full within the hour', 'full within 4 h')
        >>> Forecast(3000 * minute).words(0)
        ''
        """
        latest = self.seconds_from(now) * (1 + self.uncertainty)
        if latest <= _TO_THE_MINUTE_SECONDS:
            return f"full at about {clock(self.full_at, seconds=False)}"
        if latest <= SAID_WITHIN_SECONDS:
            return "full within the hour"
        return f"full within {math.ceil(latest / 3600)} h" if latest <= _DAY_SECONDS else ""

    def brief(self, now: int) -> str:
        """Return it in as few words as possible; "" for a day that is too far away.

        >>> Forecast(40 * 60 * MICROSECONDS, 0.2).brief(0)
        'full within the hour'
        """
        return self.words(now).replace("at about", "at")


def at_pace(snapshot: Snapshot, per_minute: float | None, uncertainty: float = 0.0) -> Forecast | None:
    """Return the time at which growth by that many slots a minute takes the last; None without growth."""
    free = snapshot.slots - snapshot.taken
    if free <= 0 or per_minute is None or per_minute <= 0:
        return None
    return Forecast(snapshot.taken_at + int(free / per_minute * 60 * MICROSECONDS), uncertainty, per_minute)


def still_said(
    findings: tuple[Finding, ...], forecast: Forecast | None, now: int, *, is_outage: bool
) -> tuple[tuple[Finding, ...], Forecast | None]:
    """Return findings and forecast without what no longer holds at a time, microseconds.

    In an outage nobody knows how the server goes on, and a time that has passed is none to wait for: neither
    the forecast nor the findings tell it then.
    """

    def holds(full_at: int | None) -> bool:
        return not is_outage and (full_at is None or full_at > now)

    said = tuple(each if holds(each.full_at) else each.without_forecast() for each in findings)
    return said, forecast if forecast is not None and holds(forecast.full_at) else None


def forecast(snapshot: Snapshot, before: Before, findings: tuple[Finding, ...]) -> Forecast | None:
    """Return when the server is full, if that is within the hour; None if it is full, or no trend holds.

    The growth of the whole server counts. Without one that was seen to hold, a finding that grows tells.
    """
    if snapshot.taken >= snapshot.slots:
        return None
    whole = at_pace(snapshot, before.growth_per_minute, before.growth_uncertainty)
    grown = earliest(each.full_at for each in findings)
    found = whole or (Forecast(grown) if grown is not None else None)
    if found is None or found.seconds_from(snapshot.taken_at) > SAID_WITHIN_SECONDS:
        return None
    return found
