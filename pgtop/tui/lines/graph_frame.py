"""All that a picture of the connection graph depends on, made from the history, the marks and the forecast.

Equal frames give equal pictures, so that nothing is drawn while nothing would look different.
"""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from math import ceil
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.event_marks import IMPORTANCE, Event, Mark
from pgtop.core.sample_history import History, Point, Sample
from pgtop.tui.lines.graph_area import Canvas, Ink, Shading, Stack, stack

TICK_SECONDS: Final = (
    10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
"""The times between two labels of the time axis that are to choose from."""
_LABEL_ROOM: Final = 12
"""The least columns between two labels of the time axis."""
_NARROW: Final = 34
"""Below this width the labels of the lines are plain numbers."""
_TINY: Final = 16
"""Below this width there are no labels beside the area."""
_FUTURE_PART: Final = 4
"""The part of the columns that the future takes: one in so many."""

_BLOCK_SECONDS: Final = 5.0
"""The time by which a graph grows at once, until its window is full."""

Counts = tuple[tuple[Ink, int], ...]
"""The sessions of each layer, the lowest first."""


class Scale(msgspec.Struct, frozen=True):
    """The columns of the time axis."""

    width: int
    """The width of a column in microseconds."""
    per_label: int
    """The columns between two labels."""
    label_seconds: int
    """The seconds between two labels."""


class Frame(msgspec.Struct, frozen=True):
    """All that a picture depends on."""

    width: int
    height: int
    window_seconds: int
    slots: int
    """The number of slots; 0 while unknown."""
    warn_at: float
    max_connections: int
    shading: Shading = Shading.COLOUR
    zone: tzinfo | None = None
    """The time zone of the labels; None for that of this machine."""
    has_future: bool = False
    """True if there is room for a forecast."""
    grows: bool = False
    """True to begin at the left with the first sample of the window, until the window is full."""
    begin: int = 0
    """The number of the first column, counted from the epoch; 0 before the first poll."""
    present: int = 0
    """The column that holds the present; in a graph that grows, the last one of its block."""
    top: float = 0.0
    """The count at the upper end of the area; 0 before the first poll."""
    stacks: tuple[Stack | None, ...] = ()
    """The layers of each column without a forecast; None where nothing is known."""
    dots: tuple[int | None, ...] = ()
    """The row of the forecast in each column after the present; None for no dot."""
    marks: tuple[tuple[int, Event, str], ...] = ()
    """Column, event and words of each mark, at most one a column."""
    values: Counts | None = None
    """The latest counts; None before the first poll."""
    forecast: str = ""
    """The forecast in words; "" without one."""
    recorded: bool = False
    """True for a stretch of a recording: what follows the time that is shown is in the picture, too."""
    is_whole: bool = False
    """True if that is the whole recording."""
    cursor: int | None = None
    """The column of the time that is shown of it; None if that is not in the picture."""

    @property
    def ascii_only(self) -> bool:
        """True if the picture must be ASCII."""
        return self.shading is Shading.ASCII

    @property
    def warn_count(self) -> int:
        """The first count of sessions that is on the 80% line or over it."""
        return ceil(round(self.warn_at * self.slots, 6))

    @property
    def area(self) -> tuple[int, int]:
        """The columns and rows of the area, the future included."""
        axis = self.height > 3
        return max(0, self.width - gutter_width(self)), max(0, self.height - 1 - axis)

    @property
    def past(self) -> int:
        """The columns of the window."""
        columns, _ = self.area
        return columns - columns // _FUTURE_PART if self.has_future else columns

    @property
    def scale(self) -> Scale:
        """The columns of the time axis."""
        return scale_of(self.window_seconds, self.past)

    @property
    def canvas(self) -> Canvas:
        """The grid of the area."""
        columns, rows = self.area
        return Canvas(columns, rows, self.top or _top(self, 0), self.warn_count, self.slots)


def gutter_width(frame: Frame) -> int:
    """Return the columns that the labels right of the area take."""
    if frame.width < _TINY:
        return 0
    longest = max(len(text) for text in line_labels(frame))
    return min(longest + 2, frame.width // 2)


def line_labels(frame: Frame) -> tuple[str, str]:
    """Return the labels of the full line and of the 80% line."""
    if frame.width < _NARROW:
        return str(frame.slots), str(frame.warn_count)
    return f"full = {frame.slots}", f"{frame.warn_at * 100:g}% = {frame.warn_count}"


def scale_of(window_seconds: int, columns: int) -> Scale:
    """Return the narrowest columns that span the window, with a whole number of them between two labels.

    >>> scale_of(300, 68)
    Scale(width=4615385, per_label=13, label_seconds=60)
    """
    needed = window_seconds / max(1, columns)
    for seconds in TICK_SECONDS:
        between = int(seconds / needed)
        if between >= _LABEL_ROOM:
            return Scale(-(-seconds * MICROSECONDS // between), between, seconds)
    longest = TICK_SECONDS[-1]
    between = max(1, int(longest / needed))
    return Scale(-(-longest * MICROSECONDS // between), between, longest)


def counts_of(sample: Sample) -> Counts:
    """Return the sessions of each layer; they are one layer if states are hidden."""
    if sample.hidden:
        return ((Ink.SESSIONS, sample.total),)
    return (
        (Ink.ACTIVE, sample.active),
        (Ink.IN_TRANSACTION, sample.in_transaction),
        (Ink.IDLE, sample.idle),
        (Ink.OTHER, sample.other),
    )


def frame_of(
    history: History,
    now: int,
    blank: Frame,
    *,
    marks: Sequence[Mark] = (),
    forecast: Forecast | None = None,
    cursor_at: int | None = None,
) -> Frame:
    """Return a `blank` frame filled with what was seen up to `now` (microseconds), and with a forecast.

    `cursor_at` is the time that is shown of a recording, to which the counts in the legend belong.
    """
    latest = history.sample_at(now)
    columns, past, scale = blank.area[0], blank.past, blank.scale
    if past < 1 or latest is None or not blank.slots:
        return blank
    points = history.window(blank.window_seconds, now, past, width=scale.width)
    skipped = points[0].column if blank.grows and points else 0
    present = past - 1 - skipped
    begin = now // scale.width - present
    ahead = min(_ahead(begin + present, scale.width), skipped)
    peak = max((point.sample.total for point in points), default=0)
    shown = latest if cursor_at is None else history.sample_at(cursor_at) or latest
    cursor = None if cursor_at is None else cursor_at // scale.width - begin
    filled = msgspec.structs.replace(
        blank,
        begin=begin,
        present=present + ahead,
        top=_top(blank, max(peak, latest.total)),
        values=counts_of(shown),
        cursor=cursor if cursor is not None and 0 <= cursor < past else None,
        forecast=forecast.brief(now) if forecast is not None else "",
    )
    stacks = _stacks(points, latest, past, filled.canvas)[skipped:]
    return msgspec.structs.replace(
        filled,
        stacks=stacks + stacks[-1:] * ahead,
        dots=_dots(filled, latest, now, forecast) if columns > past and forecast is not None else (),
        marks=_marks(filled, marks, now),
    )


def _ahead(present: int, width: int) -> int:
    """Return the columns that a growing area goes on past the present: it grows by blocks."""
    block = max(1, round(_BLOCK_SECONDS * MICROSECONDS / width))
    return block - 1 - present % block


def _top(frame: Frame, peak: int) -> float:
    """Return the count at the upper end: at least the peak, and so that the 80% line lies between two rows.

    So the line is exact, and covers no edge of the area.
    """
    _, rows = frame.area
    least = max(1, frame.slots, peak)
    below = min(rows - 1, rows * frame.warn_count // least)
    return max(least, frame.warn_count * rows / below) if below > 0 else float(least)


def _stacks(points: Sequence[Point], latest: Sample, past: int, canvas: Canvas) -> tuple[Stack | None, ...]:
    """Return the layers of each column: of its fullest moment, or of the one before it if there was no gap.

    The present's column shows the present.
    """
    found: list[Stack | None] = [None] * past
    before: tuple[int, Stack] | None = None
    for point in points:
        here = stack(counts_of(latest if point.column == past - 1 else point.sample), canvas)
        if before is not None and not point.starts:
            column, held = before
            found[column : point.column] = [held] * (point.column - column)
        found[point.column] = here
        before = point.column, here
    return tuple(found)


def _dots(frame: Frame, latest: Sample, now: int, forecast: Forecast) -> tuple[int | None, ...]:
    """Return the rows of a line from the present to the time of full, a dot in every other column."""
    canvas, width = frame.canvas, frame.scale.width
    rows: list[int] = []
    for column in range(frame.begin + frame.present + 1, frame.begin + frame.area[0]):
        part = ((column + 1) * width - now) / max(1, forecast.full_at - now)
        rows.append(max(0, canvas.row(latest.total + (frame.slots - latest.total) * min(1.0, part))))
        if part >= 1.0:
            break
    return tuple(row if (len(rows) - n) % 2 else None for n, row in enumerate(rows))


def _marks(frame: Frame, marks: Iterable[Mark], now: int) -> tuple[tuple[int, Event, str], ...]:
    """Return the marks of the window, of those in one column the most important one."""
    begin, width = frame.begin, frame.scale.width
    found: dict[int, Mark] = {}
    for mark in marks:
        column = mark.at // width - begin
        if column < 0 or mark.at > now:
            continue
        other = found.get(column)
        if other is not None and other.event is mark.event and mark.count:
            mark = msgspec.structs.replace(mark, count=mark.count + other.count)
        if other is None or IMPORTANCE[mark.event] <= IMPORTANCE[other.event]:
            found[column] = mark
    return tuple((column, mark.event, mark.words) for column, mark in sorted(found.items()))
