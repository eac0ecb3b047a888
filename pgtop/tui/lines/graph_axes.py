"""The connection graph as rows of inked text, made from values without a widget, a clock or a colour.

plotext draws the curves. The lines, their labels, the axes and the legend are set around them here, so that
they are legible at every size and nothing covers the data. The curves differ without colour: total is a line,
idle is dotted, active is an area.
"""

from datetime import datetime, tzinfo
from itertools import groupby
from math import ceil, gcd
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import History, Sample, column_width
from pgtop.tui.lines.graph_curves import BLANK, Canvas, Curve, Ink, Run, draw_curves

Row = tuple[Run, ...]

_TICK_SECONDS: Final = (10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200)
_NARROW: Final = 34
"""Below this width the labels of the lines are plain numbers."""
_TINY: Final = 16
"""Below this width there are no labels beside the curves."""


class Frame(msgspec.Struct, frozen=True):
    """Everything that a picture depends on: equal frames give equal pictures."""

    width: int
    height: int
    window_seconds: int
    slots: int
    """The number of slots; 0 while unknown."""
    warn_at: float
    max_connections: int
    edge: int = 0
    """The right end in microseconds; it grows by whole columns. 0 while no curve is asked for."""
    curve: tuple[Curve, ...] = ()
    values: tuple[int, int | None, int | None] | None = None
    """The latest total, idle and active, the last two None if states are hidden; None before the first
    poll."""
    ascii_only: bool = False
    zone: tzinfo | None = None
    """The time zone of the labels; None for that of this machine."""

    @property
    def warn_count(self) -> int:
        """The first count of sessions that is on the 80% line or over it."""
        return ceil(round(self.warn_at * self.slots, 6))

    @property
    def area(self) -> tuple[int, int]:
        """The columns and rows of the curves."""
        axis = self.height > 3
        return max(0, self.width - gutter_width(self)), max(0, self.height - 1 - axis)


def frame_of(history: History, now: int, blank: Frame) -> Frame:
    """Return a `blank` frame filled with the history of its window up to `now` (microseconds)."""
    columns, _ = blank.area
    latest = history.sample_at(now)
    if columns < 1 or latest is None or not blank.slots:
        return blank
    dots, cell = (1 if blank.ascii_only else 2), _cell_width(blank)
    edge = (now // cell + 1) * cell
    points = history.window(blank.window_seconds, now, columns * dots, edge=edge - 1)
    curve = [_curve(p.column, p.sample, p.starts) for p in points]
    if points and points[-1].sample is not latest:  # a column shows its fullest moment, the end now
        curve.append(_curve(points[-1].column, latest, False))
    values = (latest.total, *_states(latest))
    return msgspec.structs.replace(blank, edge=edge, curve=tuple(curve), values=values)


def _cell_width(frame: Frame) -> int:
    """Return the microseconds that a cell spans: a multiple of the span of its columns of dots."""
    dots = 1 if frame.ascii_only else 2
    return dots * column_width(frame.window_seconds, frame.area[0] * dots)


def _curve(column: int, sample: Sample, starts: bool) -> Curve:
    return Curve(column, sample.total, *_states(sample), starts)


def _states(sample: Sample) -> tuple[int | None, int | None]:
    """Return idle and active; None if hidden, which is not the same as 0."""
    return (None, None) if sample.hidden else (sample.idle, sample.active)


def picture(frame: Frame) -> tuple[Row, ...]:
    """Return the rows of the graph: exactly `height` of them, each exactly `width` wide."""
    if frame.width < 1 or frame.height < 1:
        return ()
    lines = [_header(frame), *_body(frame)]
    if frame.height > 3:
        lines.append(_time_axis(frame))
    return tuple(_fitted(line, frame.width) for line in lines)


# --- the vertical axis ---


def canvas_of(frame: Frame) -> Canvas:
    """Return the canvas of a frame, which reaches a bit above the full line and above every curve.

    A low canvas reaches further if that puts the two lines on different rows.
    """
    columns, rows = frame.area
    peak = max((point.total for point in frame.curve), default=0)
    top = max(frame.slots * 1.04, peak * 1.02, 1.0)
    lowest = Canvas(columns, rows, top, frame.warn_count, frame.slots, frame.ascii_only)
    for hundredths in range(100, 190):
        canvas = msgspec.structs.replace(lowest, top=top * hundredths / 100)
        if 0 <= canvas.row(frame.slots) < canvas.row(frame.warn_count):
            return canvas
    return lowest


def gutter_width(frame: Frame) -> int:
    """Return the columns that the labels right of the curves take."""
    if frame.width < _TINY:
        return 0
    longest = max(len(text) for text in _line_labels(frame))
    return min(longest + 2, frame.width // 2)


def _line_labels(frame: Frame) -> tuple[str, str]:
    """Return the labels of the full line and of the 80% line."""
    if frame.width < _NARROW:
        return str(frame.slots), str(frame.warn_count)
    return f"full = {frame.slots}", f"{frame.warn_at * 100:g}% = {frame.warn_count}"


def _gutter(frame: Frame, canvas: Canvas) -> dict[int, Run]:
    """Return the labels right of the curves by row: the lines' own, and round counts if there is room."""
    refused, warn = _line_labels(frame)
    if not frame.slots:
        return {}
    refused_row = canvas.row(frame.slots)
    warn_row = max(canvas.row(frame.warn_count), refused_row + 1)
    labels = {refused_row: (refused, Ink.REFUSED_LABEL), warn_row: (warn, Ink.WARN_LABEL)}
    limit = canvas.row(frame.max_connections)
    if frame.max_connections > frame.slots and limit not in labels and frame.width >= _NARROW:
        labels[limit] = (f"max {frame.max_connections}", Ink.AXIS)
    step = _round_up(canvas.top * 2.5 / max(1, canvas.rows))
    for count in range(0, int(canvas.top) + 1, step):
        row = canvas.row(count)
        if not labels.keys() & {row, row - 1, row + 1} or (count == 0 and row not in labels):
            labels[row] = (str(count), Ink.AXIS)
    return labels


def _round_up(count: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50 … that is not below `count`."""
    power = 1
    while True:
        for leading in (1, 2, 5):
            if leading * power >= count:
                return leading * power
        power *= 10


# --- the curves ---


def _body(frame: Frame) -> list[list[Run]]:
    """Return the curves, the two lines behind them, and the labels beside them."""
    canvas, columns = canvas_of(frame), frame.area[0]
    cells = draw_curves(frame.curve, canvas)
    warn, refused = ("-", "=") if frame.ascii_only else ("┄", "─")
    behind: dict[int, Run] = {}
    if frame.slots:
        behind[canvas.row(frame.warn_count)] = (warn, Ink.WARN_LINE)
        behind[canvas.row(frame.slots)] = (refused, Ink.REFUSED_LINE)
    labels = _gutter(frame, canvas) if frame.width > columns else {}
    for number, line in enumerate(cells):
        if number in behind:
            line[:] = [behind[number] if cell == BLANK else cell for cell in line]
        label, ink = labels.get(number, BLANK)
        line.append((f"{label} ".rjust(frame.width - columns), ink))
    if not frame.curve and cells and (frame.edge or not frame.values):
        quiet = "nothing seen in this time" if frame.values else "collecting…"
        _write(cells[len(cells) // 2], columns, quiet.replace("…", "...") if frame.ascii_only else quiet)
    return [_joined(line) for line in cells]


def _write(line: list[Run], columns: int, text: str) -> None:
    """Write a quiet word into the middle of a row."""
    start = (columns - len(text)) // 2
    if start >= 0:
        line[start : start + len(text)] = [(character, Ink.AXIS) for character in text]


# --- the time axis and the legend ---


def ticks(frame: Frame) -> list[tuple[int, str]]:
    """Return the columns of round times of day and their labels, never more than fit."""
    columns, _ = frame.area
    if columns < 1 or not frame.curve:
        return []
    cell = _cell_width(frame)
    start = frame.edge - cell * columns
    room = max(12, columns // 12) * cell
    step = next((s for s in _TICK_SECONDS if s * MICROSECONDS >= room), 86_400)
    unit = gcd(step, 900)  # no zone's offset is finer than a quarter of an hour
    found = []
    first = -(-start // MICROSECONDS // unit) * unit
    for second in range(first, frame.edge // MICROSECONDS + 1, unit):
        label = _time_of_day(second, step, frame.zone)
        column = (second * MICROSECONDS - start) // cell
        if label and 0 <= column <= columns - len(label) - 1:
            found.append((column, label))
    return found


def _time_of_day(second: int, step: int, zone: tzinfo | None) -> str:
    """Return the time of day as a label; "" if it is not round, or out of the calendar's range."""
    try:
        local = datetime.fromtimestamp(second, zone).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return ""
    if (local.hour * 3_600 + local.minute * 60 + local.second) % step:
        return ""
    return local.strftime("%H:%M:%S" if step < 60 else "%H:%M")


def _time_axis(frame: Frame) -> list[Run]:
    mark, line = "'" if frame.ascii_only else "╵", ""
    for column, label in ticks(frame):
        if column >= len(line):  # where a zone's offset changes, two round times may lie close together
            line = f"{line.ljust(column)}{mark}{label} "
    return [(line, Ink.AXIS)]


def span_words(seconds: int) -> str:
    """Return a window as people say it.

    >>> span_words(900), span_words(10_800)
    ('15 min', '3 h')
    """
    return f"{seconds // 60} min" if seconds < 3_600 else f"{seconds // 3_600} h"


def _header(frame: Frame) -> list[Run]:
    """Return the title and the legend with the present values, in the fullest form that fits."""
    digits = len(str(frame.slots))
    total = canvas_of(frame).ink(frame.values[0]) if frame.values else Ink.TOTAL
    keys = ("**", "..", "::") if frame.ascii_only else ("⠒⠒", "⠂⠂", "⣤⣤")
    long: list[Run] = []
    short: list[Run] = []
    for n, (name, ink) in enumerate((("total", total), ("idle", Ink.IDLE), ("active", Ink.ACTIVE))):
        value = _value(frame, n)
        long += [(f"  {keys[n]}", ink), (f" {name} {value.rjust(digits)}", ink)]
        short.append((f" {name} {value}", ink))
    span = f"last {span_words(frame.window_seconds)}"
    for title, legend in ((f" sessions, {span} ", long), (f" {span} ", long), (f" {span} ", short)):
        room = frame.width - len(title) - sum(len(text) for text, _ in legend) - 1
        if room >= 2:
            rule = ("-" if frame.ascii_only else "─") * room
            return [(rule[:1], Ink.RULE), (title, Ink.TITLE), (rule[1:], Ink.RULE), *legend]
    return [run for n, run in enumerate(short) if sum(len(text) for text, _ in short[: n + 1]) <= frame.width]


def _value(frame: Frame, number: int) -> str:
    """Return a present value for the legend; `?` if it is hidden."""
    if frame.values is None:
        return "-"
    value = frame.values[number]
    return "?" if value is None else str(value)


# --- rows ---


def _joined(cells: list[Run]) -> list[Run]:
    """Join neighbours of one ink into one run."""
    return [("".join(text for text, _ in run), ink) for ink, run in groupby(cells, key=lambda cell: cell[1])]


def _fitted(line: list[Run], width: int) -> Row:
    """Cut or fill a line to exactly `width` columns."""
    fitted: list[Run] = []
    for text, ink in line:
        piece = text[: max(0, width)]
        if piece:
            fitted.append((piece, ink))
        width -= len(piece)
    if width > 0:
        fitted.append((" " * width, Ink.AXIS))
    return tuple(fitted)
