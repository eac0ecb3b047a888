"""The banner over a recording: the time that is shown, so that nobody takes it for the present."""

from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from pgtop.core.text import cell_width, clip
from pgtop.tui.lines.column_widths import Cell

_GAP: Final = "  "


class Replayed(NamedTuple):
    """The state of the player."""

    at: int
    """The time that is shown, microseconds since the Unix epoch by the server's clock."""
    number: int
    """The number of the poll: 1 is the first."""
    polls: int
    """The number of polls that were recorded."""
    is_playing: bool = False
    speed: float = 1.0
    """Recorded seconds in a second."""
    is_over_live: bool = False
    """True if the dashboard goes on behind it."""
    seeking: float | None = None
    """The part of a long seek that is done, a fraction; None if none is under way."""


def banner_line(replayed: Replayed, width: int, zone: tzinfo | None = None) -> list[Cell]:
    """Return the banner in `width` cells; what does not fit is left out, the least needed first.

    >>> from datetime import UTC
    >>> "".join(cell.text for cell in banner_line(Replayed(0, 512, 1800), 62, UTC)).rstrip()
    ' ◀ REPLAY  1970-01-01 00:00:00  paused  poll 512 of 1800'
    """
    moment = datetime.fromtimestamp(replayed.at // 1_000_000, tz=zone).astimezone(zone)
    playing = f"playing {speed_words(replayed.speed)}" if replayed.is_playing else "paused"
    if replayed.seeking is not None:
        playing = f"seeking {round(replayed.seeking * 100)}%"
    needed = [" ◀ REPLAY", f"{moment:%Y-%m-%d %H:%M:%S}", playing]
    more = [f"poll {replayed.number} of {replayed.polls}", "nothing here is live"]
    if replayed.is_over_live:
        more[1] += " · End: back to now"
    while more and cell_width(_GAP.join([*needed, *more])) + 1 > width:
        more.pop()
    forms = (
        _GAP.join([*needed, *more]),
        f" REPLAY {moment:%H:%M:%S} {playing}",
        f" REPLAY {moment:%H:%M:%S}",
    )
    said = next((each for each in forms if cell_width(each) <= width), forms[-1])
    return [Cell(clip(said, width).ljust(width), "replay")]


def speed_words(speed: float) -> str:
    """Return a speed in words.

    >>> speed_words(0.25), speed_words(60.0)
    ('0.25x', '60x')
    """
    return f"{speed:g}x"
