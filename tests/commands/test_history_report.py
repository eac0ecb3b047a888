"""The report's parts: a graph in text at any load, and Markdown that no name can break out of."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from pgtop.commands.history.markdown import code, plain, table
from pgtop.commands.history.text_graph import HEIGHT, WIDTH, text_graph
from pgtop.core.activity import MICROSECONDS
from pgtop.core.load_over_time import Load, loads_of
from pgtop.core.text import cell_width, printable
from pgtop.history.counts import Counts
from pgtop.history.recording import CountsRun

MINUTE = 60 * MICROSECONDS

TEXTS = st.text(alphabet="ab_ |`<>*[]()#\\\n\x1b~&$é", max_size=20)


def loads(*totals: int | None, slots: int = 10) -> list[Load]:
    """A minute of each; None is one without an answer, and -1 one that was not recorded."""
    return [
        Load(n * MINUTE, (n + 1) * MINUTE, total or 0, slots if total is not None else 0)
        for n, total in enumerate(totals)
        if total != -1
    ]


def test_a_column_is_as_high_as_its_usage() -> None:
    """A half of the slots fills half of the lines; a full server reaches the line that says so."""
    graph = text_graph(loads(5, 10), 0, 2 * MINUTE, 0.8)
    rows = graph[1 : HEIGHT + 1]
    assert graph[0].endswith(" full = 10")
    assert sum(row[0] == "█" for row in rows) == HEIGHT // 2
    assert sum(row[-20] == "█" for row in (each.ljust(WIDTH) for each in rows)) == HEIGHT
    assert [row for row in rows if row.endswith("80% = 8")] == [rows[1]]
    assert graph[-1] == "00:00                      00:01                      00:02 UTC"


def test_missing_polls_are_marked_and_explained() -> None:
    graph = text_graph(loads(5, None, -1, 5), 0, 4 * MINUTE, 0.8)
    assert "×" in graph[HEIGHT]
    assert "·" in graph[HEIGHT]
    assert graph[-1] == "× no answer   · nothing recorded"
    assert text_graph(loads(None, -1), 0, 2 * MINUTE, 0.8) == []


@example([5], 1.0, 0)
@given(
    st.lists(st.one_of(st.none(), st.integers(-1, 130)), min_size=1, max_size=40),
    st.floats(0.05, 1.0),
    st.integers(0, 60),
)
def test_no_line_of_a_graph_is_too_wide(totals: list[int | None], warn_at: float, start: int) -> None:
    """Whatever the loads and the window; the line is drawn once, wherever it is."""
    known = loads(*totals, slots=97)
    graph = text_graph(known, start * MINUTE, (start + 7) * MINUTE, warn_at)
    assert all(cell_width(line) <= WIDTH for line in graph)
    assert not graph or sum("% = " in line for line in graph) == 1


@given(TEXTS)
def test_a_text_is_shown_as_it_is(text: str) -> None:
    """Taking the backslashes away gives the text, and no character of Markdown stands without one."""
    shown = plain(text)
    assert re.sub(r"\\(.)", r"\1", shown) == printable(text)
    assert not re.search(r"[`*\[\]<>|~&$#]", re.sub(r"\\.", "", shown))
    (head, line, row) = table(["a", "b"], [(text, text)])
    cells = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", each)) for each in (head, line, row)]
    assert cells == [3, 3, 3]


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_no_line_of_code_ends_its_fence(lines: list[str]) -> None:
    first, *inner, last = code(lines)
    assert first == last
    assert first.strip("` ") == ""
    assert not any(first.strip() in each for each in inner)


def test_a_graph_of_polls_has_their_peak() -> None:
    """A peak of one poll is not averaged away, however long the window."""
    totals = [2] * 3000
    totals[1700] = 10
    counts = [Counts(n * 2 * MICROSECONDS, total, slots=10) for n, total in enumerate(totals)]
    graph = text_graph(loads_of([CountsRun(counts, "", 2.0)]), 0, 6000 * MICROSECONDS, 0.8)
    assert graph[1].count("█") == 1
