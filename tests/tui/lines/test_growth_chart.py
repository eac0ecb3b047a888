"""The chart of a finding's application fits its place and shows the growth."""

import pytest

from pgtop.core.text import cell_width
from pgtop.tui.lines.growth_chart import CHART_LINES, chart_lines


def text(totals: list[int], width: int, application: str = "leaky-worker") -> list[str]:
    return ["".join(cell.text for cell in line) for line in chart_lines(application, totals, width)]


def test_it_names_the_application_the_time_and_the_largest_total() -> None:
    lines = text([3, 5, 8, 13, 21, 44], 60)
    assert lines[:2] == ["", "     sessions of leaky-worker, last 1m 15s"]
    assert len(lines) == 2 + CHART_LINES
    assert lines[2].endswith(" 44")
    assert lines[-1].endswith(" 0")
    heights = [next(n for n, line in enumerate(lines[2:]) if line[5 + x] not in " ⠀") for x in (1, 25, 48)]
    assert heights[0] > heights[1] > heights[2] == 0


@pytest.mark.parametrize("width", range(10, 130, 7))
def test_no_line_is_wider_than_its_place(width: int) -> None:
    for totals in ([1, 2, 3, 4], [5] * 61, [0, 0, 0, 9_999], [4, 0, 4, 0, 4]):
        for line in text(totals, width, "\x1b[31m" + "long name " * 9):
            assert cell_width(line) <= width
            assert "\x1b" not in line


def test_a_few_points_or_none_are_not_drawn() -> None:
    assert text([], 80) == text([1, 2, 3], 80) == text([0, 0, 0, 0], 80) == []
