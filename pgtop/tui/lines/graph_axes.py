"""The connection graph as rows of inked text, made from a frame without a widget, a clock or a colour.

The 80% line and the full line with their labels, the marks, the forecast and the time axis are set around the
area.
"""

from datetime import datetime
from itertools import groupby
from typing import Final

from pgtop.core.activity import MICROSECONDS
from pgtop.core.event_marks import IMPORTANCE, Event
from pgtop.tui.lines.graph_area import BLANK, Canvas, Ink, Run, Shading, column_cells
from pgtop.tui.lines.graph_frame import Frame, line_labels
from pgtop.tui.lines.graph_legend import header

Row = tuple[Run, ...]

_NARROW: Final = 34
"""Below this width only the two lines are labelled."""
_DAY_FROM_SECONDS: Final = 300
"""The time between two labels from which on the one at midnight names the day."""
_FREE: Final = frozenset("─▔▁=_ ")
"""The characters that the words of a mark may take the place of."""
_MARK_INKS: Final = {
    Event.OVER: Ink.WARN_LABEL,
    Event.FULL: Ink.FULL_LABEL,
    Event.LIMIT: Ink.FULL_LABEL,
}


def picture(frame: Frame) -> tuple[Row, ...]:
    """Return the rows of the graph: exactly `height` of them, each exactly `width` wide."""
    if frame.width < 1 or frame.height < 1:
        return ()
    lines = [header(frame), *_body(frame)]
    if frame.height > 3:
        lines.append(_time_axis(frame))
    return tuple(_fitted(line, frame.width) for line in lines)


# --- the area, and what is drawn over it ---


def _body(frame: Frame) -> list[list[Run]]:
    """Return the area with its lines, marks and forecast, and the labels beside it."""
    canvas = frame.canvas
    stacks = (*frame.stacks, *(None,) * (canvas.columns - len(frame.stacks)))
    columns = [column_cells(each, canvas, frame.shading, n % 4 < 2) for n, each in enumerate(stacks)]
    cells = [list(row) for row in zip(*columns, strict=True)] or [[] for _ in range(canvas.rows)]
    _put_dots(cells, frame)
    if frame.cursor is not None:
        _put_cursor(cells, frame, frame.cursor)
    if cells:
        _put_marks(cells[0], frame, canvas)
    labels = _gutter(frame, canvas) if frame.width > canvas.columns else {}
    for number, line in enumerate(cells):
        label, ink, _ = labels.get(number, BLANK)
        line.append((f"{label} ".rjust(frame.width - canvas.columns), ink, None))
    if not any(frame.stacks) and cells and (frame.stacks or not frame.values):
        quiet = "nothing seen in this time" if frame.values else "collecting…"
        quiet = quiet.replace("…", "...") if frame.ascii_only else quiet
        _write(cells[len(cells) // 2], (canvas.columns - len(quiet)) // 2, canvas.columns, quiet, Ink.AXIS)
    return [_joined(line) for line in cells]


def _put_dots(cells: list[list[Run]], frame: Frame) -> None:
    dot = "*" if frame.ascii_only else "·"
    for number, row in enumerate(frame.dots):
        if row is not None and row < len(cells):
            cells[row][frame.present + 1 + number] = (dot, Ink.FORECAST, None)


def _put_cursor(cells: list[list[Run]], frame: Frame, column: int) -> None:
    """Draw the time that is shown of a recording as a line from top to bottom, on the ground of the area."""
    for line in cells:
        text, ink, ground = line[column]
        if frame.shading is Shading.COLOUR and text == "█":
            ground = ink
        line[column] = ("|" if frame.ascii_only else "┃", Ink.CURSOR, ground)


def _put_marks(line: list[Run], frame: Frame, canvas: Canvas) -> None:
    """Put the marks into the uppermost row, and their words beside them where nothing is hidden by them.

    The words touch their own mark and no other: they stand right of it, left only of one at the right edge.
    """
    sign = "|" if frame.ascii_only else "▼"
    has_ground = frame.shading is Shading.COLOUR
    for column, event, _ in frame.marks:
        text, ink, ground = line[column]
        if has_ground and text == "█":
            ground = ink
        line[column] = (sign, _MARK_INKS.get(event, Ink.MARK), ground)
    for column, event, words in sorted(frame.marks, key=lambda mark: (IMPORTANCE[mark[1]], -mark[0])):
        ink = _MARK_INKS.get(event, Ink.MARK)
        begin, text = column + 1, f"{words} "
        if begin + len(text) > canvas.columns:
            text = f" {words}"
            begin = column - len(text)
        place = line[max(0, begin) : begin + len(text)]
        if begin >= 0 and all(cell[0] in _FREE and cell[2] is None for cell in place):
            _write(line, begin, canvas.columns, text, ink)


def _write(line: list[Run], begin: int, columns: int, text: str, ink: Ink) -> None:
    """Write words into a row if they fit."""
    if begin >= 0 and begin + len(text) <= columns:
        line[begin : begin + len(text)] = [(character, ink, None) for character in text]


# --- the vertical axis ---


def _gutter(frame: Frame, canvas: Canvas) -> dict[int, Run]:
    """Return the labels right of the area by row: the lines' own, and round counts if there is room."""
    full, warn = line_labels(frame)
    if not frame.slots:
        return {}
    full_row = canvas.full_row
    warn_row = max(canvas.warn_row, full_row + 1)
    labels: dict[int, Run] = {
        full_row: (full, Ink.FULL_LABEL, None),
        warn_row: (warn, Ink.WARN_LABEL, None),
    }
    limit = canvas.row(frame.max_connections)
    if frame.max_connections > frame.slots and limit not in labels and frame.width >= _NARROW:
        labels[limit] = (f"max {frame.max_connections}", Ink.AXIS, None)
    step = _round_up(canvas.top * 2.5 / max(1, canvas.rows))
    for count in range(0, int(canvas.top) + 1, step):
        row = canvas.row(count)
        if not labels.keys() & {row, row - 1, row + 1} or (count == 0 and row not in labels):
            labels[row] = (str(count), Ink.AXIS, None)
    return labels


def _round_up(count: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50 … that is not below `count`."""
    power = 1
    while True:
        for leading in (1, 2, 5):
            if leading * power >= count:
                return leading * power
        power *= 10


# --- the time axis ---


def ticks(frame: Frame) -> list[tuple[int, str]]:
    """Return the columns of the time axis's labels, evenly spaced, and the labels: round times of day."""
    columns, _ = frame.area
    if columns < 1 or not frame.begin:
        return []
    scale = frame.scale
    begin, end = frame.begin, frame.begin + columns
    last = _round_second(end * scale.width // MICROSECONDS, scale.label_seconds, frame)
    if last is None:
        return []
    column, found = last * MICROSECONDS // scale.width - begin, []
    while column >= 0:
        label = _time_of_day(last, scale.label_seconds, frame)
        if label and column + 1 + len(label) <= columns:
            found.append((column, label))
        column, last = column - scale.per_label, last - scale.label_seconds
    return found[::-1]


def _round_second(second: int, step: int, frame: Frame) -> int | None:
    """Return the last second up to this one that is a round time of day; None beyond the calendar."""
    try:
        local = datetime.fromtimestamp(second, frame.zone).astimezone(frame.zone)
    except (OverflowError, ValueError, OSError):
        return None
    return second - (local.hour * 3_600 + local.minute * 60 + local.second) % step


def _time_of_day(second: int, step: int, frame: Frame) -> str:
    """Return the time of day as a label, at midnight with the day; "" if it is beyond the calendar."""
    try:
        local = datetime.fromtimestamp(second, frame.zone).astimezone(frame.zone)
    except (OverflowError, ValueError, OSError):
        return ""
    if step < 60:
        return f"{local:%H:%M:%S}"
    is_midnight = step >= _DAY_FROM_SECONDS and local.hour == local.minute == 0
    return f"{local:%a %H:%M}" if is_midnight else f"{local:%H:%M}"


def _time_axis(frame: Frame) -> list[Run]:
    sign, line = "'" if frame.ascii_only else "╵", ""
    for column, label in ticks(frame):
        line = f"{line.ljust(column)}{sign}{label}"
    if frame.cursor is None:
        return [(line, Ink.AXIS, None)]
    line = line.ljust(frame.cursor + 1)
    foot = ("^" if frame.ascii_only else "▲", Ink.CURSOR, None)
    return [(line[: frame.cursor], Ink.AXIS, None), foot, (line[frame.cursor + 1 :], Ink.AXIS, None)]


# --- rows ---


def _joined(cells: list[Run]) -> list[Run]:
    """Join neighbours of one ink on one ground into one run."""
    found = []
    for (ink, ground), run in groupby(cells, key=lambda cell: cell[1:]):
        found.append(("".join(cell[0] for cell in run), ink, ground))
    return found


def _fitted(line: list[Run], width: int) -> Row:
    """Cut or fill a line to exactly `width` columns."""
    fitted: list[Run] = []
    for text, ink, ground in line:
        piece = text[: max(0, width)]
        if piece:
            fitted.append((piece, ink, ground))
        width -= len(piece)
    if width > 0:
        fitted.append((" " * width, Ink.AXIS, None))
    return tuple(fitted)
