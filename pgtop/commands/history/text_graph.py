"""A graph of the usage as plain text: blocks, the 80% line, and the line where the server is full."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS
from pgtop.core.load_over_time import Load, within
from pgtop.core.text import clock, percent

WIDTH: Final = 72
HEIGHT: Final = 10

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_LINE: Final = "┄"
_NO_ANSWER: Final = "×"
_UNRECORDED: Final = "·"
_LABEL: Final = 13
"""The cells at the right that the lines' names take."""
_COLUMNS: Final = WIDTH - _LABEL


class _Column(NamedTuple):
    """The time of one cell."""

    usage: float | None
    """The highest usage in it; None without one."""
    is_recorded: bool


def text_graph(loads: Sequence[Load], start: int, end: int, warn_at: float) -> list[str]:
    """Return the usage between two times (microseconds) as lines of WIDTH cells at most, with times in UTC.

    `warn_at` is the line to draw, a fraction of the slots.
    """
    columns = _columns(loads, start, end)
    slots = [each.slots for each in within(loads, start, end) if each.slots]
    if not slots:
        return []
    top = max(1.0, *(each.usage or 0.0 for each in columns))
    rows = []
    of_line = min(HEIGHT - 1, int(warn_at / top * HEIGHT))
    for row in reversed(range(HEIGHT)):
        has_line = row == of_line
        cells = "".join(_cell(each, row, top, has_line=has_line) for each in columns)
        label = f" {percent(warn_at)} = {math.ceil(round(warn_at * slots[-1], 6))}" if has_line else ""
        rows.append(f"{cells}{label}".rstrip())
    above = f"{_LINE * _COLUMNS} full = {slots[-1]}"
    legend = _legend(columns)
    return [above, *rows, _axis(start, end), *([legend] if legend else [])]


def _columns(loads: Sequence[Load], start: int, end: int) -> list[_Column]:
    width = max(1, end - start) / _COLUMNS
    columns = []
    for number in range(_COLUMNS):
        begin = start + round(number * width)
        inner = within(loads, begin, max(begin + 1, start + round((number + 1) * width)))
        usages = [
            1.0 if each.usage is None else max(each.usage, float(each.refused))
            for each in inner
            if each.usage is not None or each.is_full
        ]
        columns.append(_Column(max(usages, default=None), bool(inner)))
    return columns


def _cell(column: _Column, row: int, top: float, *, has_line: bool) -> str:
    if column.usage is None:
        if row == 0:
            return _NO_ANSWER if column.is_recorded else _UNRECORDED
        return _LINE if has_line else " "
    eighths = round(column.usage / top * HEIGHT * 8) - row * 8
    block = _BLOCKS[min(8, max(0, eighths))]
    return _LINE if has_line and block == " " else block


def _axis(start: int, end: int) -> str:
    """Return the times at the beginning, in the middle and at the end."""
    middle, last = clock((start + end) // 2, UTC, seconds=False), clock(end, UTC, seconds=False)
    begin = clock(start, UTC, seconds=False)
    if end - start >= 86_400 * MICROSECONDS:
        begin, middle, last = (f"{_day(each)}" for each in (start, (start + end) // 2, end))
    line = begin.ljust((_COLUMNS - len(middle)) // 2) + middle
    return line.ljust(_COLUMNS - len(last)) + last + " UTC"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at // MICROSECONDS, UTC):%m-%d %H:%M}"


def _legend(columns: Sequence[_Column]) -> str:
    missing = [each for each in columns if each.usage is None]
    said = [
        *([f"{_NO_ANSWER} no answer"] if any(each.is_recorded for each in missing) else []),
        *([f"{_UNRECORDED} nothing recorded"] if any(not each.is_recorded for each in missing) else []),
    ]
    return "   ".join(said)
