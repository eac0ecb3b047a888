"""A chart of one application's sessions over the last minutes: evidence of a finding, drawn by plotext."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pgtop.core.session_groups import GROUP_EVERY_SECONDS
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import cell_width, clip, span
from pgtop.tui.lines.column_widths import Cell

CHART_LINES: Final = 5
LEAST_POINTS: Final = 4
"""With fewer points a curve says no more than the numbers do."""
_WIDEST: Final = 72
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")


def chart_lines(application: str, totals: Sequence[int], width: int) -> list[list[Cell]]:
    """Return a chart of an application's totals, one each GROUP_EVERY_SECONDS, in `width` cells.

    There are no lines where there are too few points, or no room. `application` is as the server gave it.
    """
    most = max(totals, default=0)
    labels = (f" {most}", " 0")
    columns = min(_WIDEST, width - max(map(cell_width, labels)) - 5)
    if len(totals) < LEAST_POINTS or not most or columns < LEAST_POINTS:
        return []
    seconds = (len(totals) - 1) * GROUP_EVERY_SECONDS
    title = f"sessions of {label(application, NO_APPLICATION)}, last {span(seconds)}"
    curve = _curve(tuple(totals), columns)
    beside = (labels[0], *[""] * (len(curve) - 2), labels[1])
    drawn = [
        [Cell(f"     {row}", "accent"), Cell(figure, "dim")]
        for row, figure in zip(curve, beside, strict=True)
    ]
    return [[], [Cell(clip(f"     {title}", width), "dim")], *drawn]


@lru_cache(maxsize=4)  # a screen that is open is drawn with each poll
def _curve(totals: tuple[int, ...], columns: int) -> tuple[str, ...]:
    """Return CHART_LINES rows of exactly `columns` cells, from 0 to the largest total."""
    import plotext  # costly, and needed only where somebody looks at a finding

    plotext.clear_figure()  # its one figure is global
    plotext.limit_size(False, False)  # it would cut to the terminal's size
    plotext.plot_size(columns, CHART_LINES)
    plotext.theme("clear")
    plotext.frame(False)
    plotext.xticks([])
    plotext.yticks([])
    plotext.ylim(0, max(totals))
    plotext.plot(list(totals), marker="braille")
    rows = _ANSI.sub("", plotext.build()).split("\n")[:CHART_LINES]
    plotext.clear_figure()
    return tuple(row.ljust(columns)[:columns] for row in (*rows, *[""] * (CHART_LINES - len(rows))))
