"""The connection graph is true to the history, legible at every size, and drawn only when it changes."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import History, Sample
from pgtop.tui.lines import graph_curves
from pgtop.tui.lines.graph_axes import Frame, Row, frame_of, picture, span_words, ticks
from pgtop.tui.lines.graph_curves import Ink
from pgtop.tui.widgets.connection_graph import WINDOWS, ConnectionGraph

START = int(datetime(2026, 3, 28, 12, 0, 0, tzinfo=UTC).timestamp()) * MICROSECONDS
SIZES = [
    (80, 7),
    (118, 11),
    (198, 18),
    (80, 6),
    (40, 5),
    (30, 6),
    (20, 4),
    (10, 3),
    (3, 2),
    (1, 1),
    (500, 60),
]


def climbing(to: int = 90, minutes: int = 15, every: int = 2) -> History:
    """A history that climbs steadily to a total, a fifth of it active."""
    history = History()
    steps = minutes * 60 // every
    for number in range(steps):
        total = 1 + to * number // steps
        history.add(
            Sample(START + number * every * MICROSECONDS, total, total - total // 5, total // 5, 97), every
        )
    return history


def frame(
    width: int = 118,
    height: int = 11,
    window: int = 900,
    slots: int = 97,
    warn_at: float = 0.8,
    ascii_only: bool = False,
    zone: tzinfo | None = UTC,
) -> Frame:
    """A frame without a history."""
    return Frame(width, height, window, slots, warn_at, slots + 3, ascii_only=ascii_only, zone=zone)


def drawn(history: History, blank: Frame) -> tuple[Row, ...]:
    """The picture of a history at its latest moment."""
    now = history.latest.at if history.latest else START
    return picture(frame_of(history, now, blank))


def plain(rows: tuple[Row, ...]) -> list[str]:
    """The rows without their inks."""
    return ["".join(text for text, _ in row) for row in rows]


def of_ink(rows: tuple[Row, ...], *inks: Ink) -> str:
    """All text of some inks."""
    return "".join(text for row in rows for text, ink in row if ink in inks)


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_has_exactly_the_size_asked_for(width: int, height: int, ascii_only: bool) -> None:
    """No row more, no cell more, at sizes up to beyond any terminal and down to one cell."""
    lines = plain(drawn(climbing(), frame(width, height, ascii_only=ascii_only)))
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}
    assert not ascii_only or all(line.isascii() for line in lines)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 130),
    st.integers(0, 20),
    st.integers(1, 5_000),
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.integers(0, 6_000), st.booleans()), max_size=30),
    st.sampled_from(WINDOWS),
    st.booleans(),
)
def test_no_size_limit_or_series_breaks_the_picture(
    width: int,
    height: int,
    slots: int,
    warn_at: float,
    seen: list[tuple[int, bool]],
    window: int,
    ascii_only: bool,
) -> None:
    """Whatever was seen, with whatever gaps, the picture keeps its size."""
    history = History()
    for number, (total, gap) in enumerate(seen):
        if gap:
            history.add_gap()
        history.add(Sample(START + number * 7 * MICROSECONDS, total, total // 2, total // 3, slots), 7)
    lines = plain(drawn(history, frame(width, height, window, slots, warn_at, ascii_only)))
    assert len(lines) == (height if width else 0)
    assert all(cell_len(line) == width for line in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 7), (80, 5), (118, 11), (198, 18), (60, 5), (34, 12)])
def test_both_lines_are_labelled_each_in_its_row(width: int, height: int) -> None:
    """The refused line stands above the 80% line, each with its label at its right end."""
    rows = drawn(climbing(to=40), frame(width, height))
    lines = plain(rows)
    refused = next(n for n, line in enumerate(lines) if line.endswith(" full = 97 "))
    warn = next(n for n, line in enumerate(lines) if line.endswith(" 80% = 78 "))
    assert refused < warn
    assert "─" in of_ink(rows[refused : refused + 1], Ink.REFUSED_LINE)
    assert "┄" in of_ink(rows[warn : warn + 1], Ink.WARN_LINE)


def test_the_label_names_the_first_count_on_the_line() -> None:
    """80% of 97 is 77.6: 78 sessions are on it; 80% of 100 is 80 exactly."""
    assert frame(slots=97).warn_count == 78
    assert frame(slots=100).warn_count == 80
    assert frame(slots=10, warn_at=0.7).warn_count == 7


@pytest.mark.parametrize("total", [1, 50, 77, 78, 90, 96, 97, 99])
@pytest.mark.parametrize(("width", "height"), [(80, 6), (118, 11), (198, 18)])
def test_the_line_of_total_tells_by_its_ink_how_it_stands(total: int, width: int, height: int) -> None:
    """Calm below the line, amber on it, red when logins are refused, to the very session."""
    history = History()
    for number in range(450):
        history.add(Sample(START + number * 2 * MICROSECONDS, total, 0, 0, 97), 2)
    rows = drawn(history, frame(width, height))[1:]
    inks = {ink for row in rows for text, ink in row if any("\u2800" < c <= "\u28ff" for c in text)}
    expected = Ink.FULL if total >= 97 else Ink.OVER if total >= 78 else Ink.TOTAL
    assert inks - {Ink.ACTIVE, Ink.IDLE} == {expected}


def test_the_curves_are_where_the_counts_are() -> None:
    """A flat total on the refused line is drawn in its row, one at zero in the lowest."""
    for total, row in ((97, 1), (0, -2)):
        history = History()
        for number in range(450):
            history.add(Sample(START + number * 2 * MICROSECONDS, total, 0, 0, 97), 2)
        assert of_ink(drawn(history, frame(80, 7))[row : (row + 1) or None], Ink.TOTAL, Ink.FULL).strip()


@pytest.mark.parametrize("window", WINDOWS)
def test_one_full_moment_shows_in_every_window_that_holds_it(window: int) -> None:
    """A peak of a single poll is red in the picture, however much time a column spans."""
    history = climbing(to=20, minutes=2)
    history.add(Sample(START + 122 * MICROSECONDS, 97, 90, 7, 97), 2)
    for number in range(60):
        history.add(Sample(START + (124 + number * 2) * MICROSECONDS, 20, 15, 5, 97), 2)
    assert of_ink(drawn(history, frame(80, 7, window))[1:], Ink.FULL).strip()


def test_the_right_end_and_the_legend_show_now() -> None:
    """After a sweep the line falls at once, though its column's fullest moment was before."""
    history = climbing(to=90)
    assert history.latest is not None
    before = plain(drawn(history, frame()))
    history.add(Sample(history.latest.at + 1, 20, 15, 5, 97), 2)
    after = plain(drawn(history, frame()))
    assert "total 20" in after[0]
    assert "idle 15" in after[0]
    assert "active  5" in after[0]
    assert before[1:] != after[1:]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_hidden_states_are_not_counted_or_drawn_as_none(ascii_only: bool) -> None:
    """A role without pg_monitor sees the total alone."""
    history = History()
    for number in range(100):
        history.add(Sample(START + number * 2 * MICROSECONDS, 50, 0, 1, 97, hidden=True), 2)
    rows = drawn(history, frame(ascii_only=ascii_only))
    assert "idle  ?" in plain(rows)[0]
    assert "active  ?" in plain(rows)[0]
    assert not of_ink(rows[1:], Ink.IDLE, Ink.ACTIVE).strip()
    assert of_ink(rows[1:], Ink.TOTAL).strip()


def test_a_paused_picture_stands_still_while_the_history_grows() -> None:
    """What came after the moment shown changes no cell of it."""
    history = climbing(to=40)
    assert history.latest is not None
    now = history.latest.at
    before = picture(frame_of(history, now, frame()))
    for number in range(1, 30):
        history.add(Sample(now + number * 2 * MICROSECONDS, 97, 90, 7, 97), 2)
    assert picture(frame_of(history, now, frame())) == before


@pytest.mark.parametrize("ascii_only", [False, True])
def test_nothing_is_drawn_where_nothing_was_seen(ascii_only: bool) -> None:
    """An outage is an empty stretch, not a line from its one end to the other."""
    history = History()
    for number in (*range(150), *range(300, 450)):
        history.add(Sample(START + number * 2 * MICROSECONDS, 50, 40, 10, 97), 2)
    blank = frame(110, 11, ascii_only=ascii_only)
    columns, _ = blank.area
    rows = plain(drawn(history, blank))[1:-1]
    middle = {line[column] for line in rows for column in range(columns * 4 // 10, columns * 6 // 10)}
    assert middle <= {" ", "─", "┄", "=", "-"}
    assert any(line[columns // 5] not in " ─┄=-" for line in rows)
    assert any(line[columns * 4 // 5] not in " ─┄=-" for line in rows)


def test_the_curves_differ_without_colour() -> None:
    """Total is an unbroken line, idle is dotted, active is an area."""
    history = History()
    for number in range(500):
        history.add(Sample(START + number * 2 * MICROSECONDS, 80, 50, 20, 97), 2)
    rows = drawn(history, frame(100, 20))[1:-1]
    total, idle, active = (of_ink(rows, ink).replace(" ", "") for ink in (Ink.OVER, Ink.IDLE, Ink.ACTIVE))
    assert {(ord(c) & 0xFF).bit_count() for c in total} == {2}
    assert {(ord(c) & 0xFF).bit_count() for c in idle} == {1}
    assert max((ord(c) & 0xFF).bit_count() for c in active) == 8


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), None])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("width", [20, 80, 118, 200])
def test_ticks_are_round_times_of_the_viewers_zone_at_their_columns(
    width: int, window: int, zone: tzinfo | None
) -> None:
    """Each label says the local time of its column, stands alone, and there are never more than fit.

    The history ends in the night in which the clocks of Berlin change.
    """
    history = History()
    history.add(Sample(START + 14 * 3_600 * MICROSECONDS, 5, 5, 0, 97))
    assert history.latest is not None
    filled = frame_of(history, history.latest.at, frame(width, 9, window, zone=zone))
    columns, _ = filled.area
    found = ticks(filled)
    cell = window / columns
    for column, label in found:
        earliest = filled.edge / MICROSECONDS - (columns - column) * cell - cell
        times = {
            datetime.fromtimestamp(earliest + second, zone)
            .astimezone(zone)
            .strftime("%H:%M:%S")[: len(label)]
            for second in range(-window // 300, int(3 * cell) + 3)
        }
        assert label in times
        assert column + 1 + len(label) <= columns
    line = plain(picture(filled))[-1]
    shown = [label for _, label in found if f"╵{label}" in line]
    assert len(shown) >= len(found) - 1
    assert width < 80 or len(shown) >= 2


def test_a_clock_beyond_the_calendar_has_no_ticks_and_no_error() -> None:
    """A server's clock can say anything."""
    for at in (10**18, -(10**18), 0):
        history = History()
        history.add(Sample(at, 5, 5, 0, 97))
        assert len(drawn(history, frame())) == 11


def test_an_empty_history_says_that_it_is_collecting() -> None:
    """No number is shown before there is one; after a long outage it says that nothing was seen."""
    lines = plain(drawn(History(), frame()))
    assert any("collecting…" in line for line in lines)
    assert "total  -" in lines[0]
    history = climbing()
    later = START + 3 * 3_600 * MICROSECONDS
    assert any(
        "nothing seen in this time" in line for line in plain(picture(frame_of(history, later, frame())))
    )


def test_a_picture_leaves_nothing_behind_in_plotext(capsys: pytest.CaptureFixture[str]) -> None:
    """Its one global figure is empty afterwards, and nothing was printed."""
    import plotext

    graph_curves.plotted.cache_clear()
    drawn(climbing(), frame())
    assert not any("\u2800" < c <= "\u28ff" for c in plotext.build())
    assert capsys.readouterr() == ("", "")


def test_plotext_is_imported_with_the_first_curve_and_not_before() -> None:
    """Starting costs nothing that the first frame does not need."""
    code = "import sys, pgtop.tui.widgets.connection_graph; sys.exit('plotext' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_windows_are_said_as_people_say_them() -> None:
    """From 5 minutes to 24 hours."""
    assert [span_words(w) for w in WINDOWS] == [
        "5 min",
        "15 min",
        "30 min",
        "1 h",
        "3 h",
        "6 h",
        "12 h",
        "24 h",
    ]


class GraphApp(App[None]):
    """A screen with nothing but the graph."""

    CSS = "ConnectionGraph { height: 1fr; }"

    def compose(self) -> ComposeResult:
        """The graph, in a known zone."""
        yield ConnectionGraph(zone=timezone(timedelta(hours=2)))

    @property
    def graph(self) -> ConnectionGraph:
        """The one widget."""
        return self.query_one(ConnectionGraph)

    def show(self, history: History, later: float = 0.0) -> None:
        """Shows a history as a dashboard does."""
        assert history.latest is not None
        now = history.latest.at + int(later * MICROSECONDS)
        self.graph.show(history, now=now, slots=97, warn_at=0.8, max_connections=100)

    def lines(self) -> list[str]:
        """What the screen shows."""
        return [self.graph.render_line(y).text for y in range(self.size.height)]


async def test_the_widget_draws_the_labelled_lines_and_the_window_asked_for() -> None:
    """Both labels, the legend and the viewer's time of day; another window is another picture."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.graph.window_seconds = 900
        app.show(climbing())
        await pilot.pause()
        lines = app.lines()
        assert any("full = 97" in line for line in lines)
        assert any("80% = 78" in line for line in lines)
        assert "sessions, last 15 min" in lines[0]
        assert "total 90" in lines[0]
        assert "14:10" in lines[-1]
        app.graph.window_seconds = 10_800
        await pilot.pause()
        other = app.lines()
        assert "last 3 h" in other[0]
        assert other[-1] != lines[-1]
        assert not app.graph.can_focus


async def test_the_widget_draws_nothing_when_nothing_would_look_different() -> None:
    """Another poll of the same counts in the same column builds no picture and repaints no row."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing(to=90)
        app.show(history)
        await pilot.pause()
        builds, before = app.graph.builds, app.lines()
        graph_curves.plotted.cache_clear()
        latest = history.latest
        assert latest is not None
        for _ in range(5):
            app.show(history)
        history.add(Sample(latest.at + 1, latest.total, latest.idle, latest.active, 97), 2)
        app.show(history)
        await pilot.pause()
        assert app.graph.builds == builds
        assert graph_curves.plotted.cache_info().misses == 0
        assert app.lines() == before
        app.show(history, later=10)
        assert app.graph.builds == builds + 1


async def test_grey_changes_the_styles_and_not_the_picture() -> None:
    """In an outage the last good data stays, in one quiet colour."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.show(climbing())
        await pilot.pause()
        builds, before = app.graph.builds, app.lines()
        assert len({segment.style for y in range(11) for segment in app.graph.render_line(y)}) > 3
        app.graph.greyed = True
        await pilot.pause()
        assert len({segment.style for y in range(11) for segment in app.graph.render_line(y)}) == 1
        assert (app.graph.builds, app.lines()) == (builds, before)


async def test_a_theme_change_reaches_the_graph() -> None:
    """No style of the old theme stays in a cache, and each theme has all of them."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.show(climbing())
        await pilot.pause()
        seen = set()
        for theme in ("textual-dark", "textual-light", "nord"):
            app.theme = theme
            await pilot.pause()
            seen.add(tuple(segment.style for segment in app.graph.render_line(0)))
        assert len(seen) == 3


async def test_the_widget_survives_a_storm_of_sizes() -> None:
    """From one cell to a wall, in between polls, it always fills exactly its place."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing()
        for width, height in [*SIZES, *reversed(SIZES), (2, 40), (200, 1), (118, 11)]:
            await pilot.resize_terminal(width, height)
            app.show(history)
            await pilot.pause()
            strips = [app.graph.render_line(y) for y in range(height + 2)]
            assert {strip.cell_length for strip in strips} == {width}
        assert any("80% = 78" in line for line in app.lines())


async def test_the_widget_shows_itself_before_anything_was_seen() -> None:
    """It can be painted before the first poll, and told of an empty history."""
    app = GraphApp()
    async with app.run_test(size=(80, 7)) as pilot:
        assert any("collecting…" in line for line in app.lines())
        app.graph.show(History(), now=START, slots=97, warn_at=0.8, max_connections=100)
        await pilot.pause()
        assert any("full = 97" in line for line in app.lines())
        assert any("collecting…" in line for line in app.lines())
