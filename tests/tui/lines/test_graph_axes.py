"""The picture of the graph is true to the history, and legible at every size."""

from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.event_marks import Event, Mark
from pgtop.core.sample_history import History, Sample
from pgtop.tui.lines.graph_area import LAYERS, Ink, Shading
from pgtop.tui.lines.graph_axes import Row, picture, ticks
from pgtop.tui.lines.graph_frame import Frame, frame_of, scale_of
from pgtop.tui.widgets.connection_graph import WINDOWS
from tests.builders import GRAPH_SIZES, climbing

START = int(datetime(2026, 3, 28, 12, 0, 0, tzinfo=UTC).timestamp()) * MICROSECONDS


def frame(
    width: int = 118,
    height: int = 11,
    window: int = 900,
    slots: int = 97,
    warn_at: float = 0.8,
    shading: Shading = Shading.COLOUR,
    zone: tzinfo | None = UTC,
    has_future: bool = False,
) -> Frame:
    """A frame without a history."""
    return Frame(width, height, window, slots, warn_at, slots + 3, shading, zone, has_future)


def filled(history: History, blank: Frame, **more: object) -> Frame:
    """The frame of a history at its latest moment."""
    now = history.latest.at if history.latest else START
    return frame_of(history, now, blank, **more)  # type: ignore[arg-type]


def plain(rows: tuple[Row, ...]) -> list[str]:
    """The rows without their inks."""
    return ["".join(text for text, _, _ in row) for row in rows]


def drawn(history: History, blank: Frame, **more: object) -> list[str]:
    """The rows of a history at its latest moment."""
    return plain(picture(filled(history, blank, **more)))


def of_ink(rows: tuple[Row, ...], *inks: Ink) -> str:
    """All text of some inks."""
    return "".join(text for row in rows for text, ink, _ in row if ink in inks)


def flat(minutes: int, idle: int = 40, active: int = 10) -> History:
    """A history that stays as it is."""
    history = History()
    for second in range(0, minutes * 60 + 1, 2):
        history.add(Sample(START + second * MICROSECONDS, idle + active, idle, active, 97), 2)
    return history


@pytest.mark.parametrize("shading", Shading)
@pytest.mark.parametrize(("width", "height"), GRAPH_SIZES)
def test_a_picture_has_exactly_the_size_asked_for(width: int, height: int, shading: Shading) -> None:
    """No row more, no cell more, at sizes up to beyond any terminal and down to one cell."""
    history = climbing(START)
    now = history.latest.at if history.latest else 0
    marks = (Mark(now, Event.SWEEP, 17),)
    blank = frame(width, height, shading=shading, has_future=True)
    lines = drawn(history, blank, marks=marks, forecast=Forecast(now + 60 * MICROSECONDS))
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}
    assert shading is not Shading.ASCII or all(line.isascii() for line in lines)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 130),
    st.integers(0, 20),
    st.integers(1, 5_000),
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.integers(0, 6_000), st.booleans(), st.booleans()), max_size=30),
    st.sampled_from(WINDOWS),
    st.sampled_from(Shading),
    st.booleans(),
    st.integers(-100, 10_000),
    st.lists(st.tuples(st.integers(-500, 300), st.sampled_from(Event)), max_size=8),
)
def test_no_size_limit_or_series_breaks_the_picture(
    width: int,
    height: int,
    slots: int,
    warn_at: float,
    seen: list[tuple[int, bool, bool]],
    window: int,
    shading: Shading,
    has_future: bool,
    full_in: int,
    events: list[tuple[int, Event]],
) -> None:
    """Whatever was seen, with whatever gaps, marks and forecasts, the picture keeps its size."""
    history = History()
    for number, (total, gap, hidden) in enumerate(seen):
        if gap:
            history.add_gap()
        at = START + number * 7 * MICROSECONDS
        history.add(Sample(at, total, total // 2, total // 3, slots, total // 7, hidden), 7)
    marks = [Mark(START + second * MICROSECONDS, event, 3) for second, event in events]
    blank = frame(width, height, window, slots, warn_at, shading, has_future=has_future)
    lines = drawn(history, blank, marks=marks, forecast=Forecast(START + full_in * MICROSECONDS))
    assert len(lines) == (height if width else 0)
    assert all(cell_len(line) == width for line in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 6), (80, 5), (80, 4), (118, 11), (198, 18), (60, 5)])
@pytest.mark.parametrize("usage", [0.1, 0.7, 0.79])
def test_both_lines_are_labelled_and_drawn(width: int, height: int, usage: float) -> None:
    """The full line stands above the 80% line, each with its label at its right end."""
    rows = picture(filled(flat(20, idle=round(97 * usage), active=0), frame(width, height)))
    lines = plain(rows)
    full = next(n for n, line in enumerate(lines) if line.endswith(" full = 97 "))
    warn = next(n for n, line in enumerate(lines) if line.endswith(" 80% = 78 "))
    assert full < warn
    assert of_ink(rows, Ink.FULL_LINE)
    assert len(of_ink(rows, Ink.WARN_LINE)) > width // 4


def test_the_line_is_seen_over_the_area() -> None:
    """Its dashes have the area's colour as their ground."""
    rows = picture(filled(flat(20, idle=85, active=5), frame(118, 11)))
    grounds = {ground for row in rows for _, ink, ground in row if ink is Ink.WARN_LINE}
    assert grounds == {Ink.IDLE}


def test_the_label_names_the_first_count_on_the_line() -> None:
    """80% of 97 is 77.6: 78 sessions are on it; 80% of 100 is 80 exactly."""
    assert frame(slots=97).warn_count == 78
    assert frame(slots=100).warn_count == 80
    assert frame(slots=10, warn_at=0.7).warn_count == 7


@pytest.mark.parametrize("total", [1, 50, 78, 97])
def test_a_layer_keeps_its_colour_at_every_level(total: int) -> None:
    """Neither the 80% line nor a full server recolours what is below it."""
    rows = picture(filled(flat(20, idle=total, active=0), frame(80, 7)))[1:]
    inks = {ink for row in rows for _, ink, _ in row if ink in LAYERS}
    assert inks == {Ink.IDLE}


@pytest.mark.parametrize("window", WINDOWS)
def test_one_full_moment_shows_in_every_window_that_holds_it(window: int) -> None:
    """A peak of a single poll reaches the top, however much time a column spans."""
    history = climbing(START, to=20, minutes=0.2)
    history.add(Sample(START + 14 * MICROSECONDS, 97, 90, 7, 97), 2)
    for number in range(1, 11):
        history.add(Sample(START + (14 + number * window // 60) * MICROSECONDS, 20, 15, 5, 97), 2)
    found = filled(history, frame(80, 7, window))
    full = found.canvas.edge(97)
    assert full in {layers[-1][1] for layers in found.stacks if layers}


def test_the_right_end_and_the_legend_show_now() -> None:
    """After a sweep the area falls at once, though its column's fullest moment was before."""
    history = climbing(START, to=90)
    assert history.latest is not None
    history.add(Sample(history.latest.at + 1, 20, 12, 5, 97, in_transaction=3), 2)
    found = filled(history, frame())
    assert found.stacks[-1] is not None
    assert found.stacks[-1][-1] == (Ink.IDLE, found.canvas.edge(20))
    assert "█ idle 12  █ in transaction  3  █ active  5" in plain(picture(found))[0]


def test_the_states_that_have_no_layer_are_other() -> None:
    """The upper edge is the total: sessions still starting, or in a new state, are on top."""
    history = History()
    for second in range(0, 60, 2):
        history.add(Sample(START + second * MICROSECONDS, 60, 20, 10, 97, in_transaction=5), 2)
    found = filled(history, frame(118, 11, 60))
    assert found.stacks[-1] is not None
    assert [ink for ink, _ in found.stacks[-1]] == [Ink.ACTIVE, Ink.IN_TRANSACTION, Ink.IDLE, Ink.OTHER]
    assert found.stacks[-1][-1][1] == found.canvas.edge(60)
    assert "other 25  █ idle 20" in plain(picture(found))[0]
    assert "other" not in drawn(flat(1), frame())[0]


def test_a_layer_without_sessions_is_named_while_it_is_drawn() -> None:
    """And then without a figure: `other 0` says nothing, but the colour needs its name."""
    history = History()
    for second in range(0, 60, 2):
        total = 60 if second == 30 else 35
        history.add(Sample(START + second * MICROSECONDS, total, 20, 10, 97, in_transaction=5), 2)
    assert "█ other     █ idle 20" in drawn(history, frame(118, 11, 60))[0]
    for second in range(60, 180, 2):
        history.add(Sample(START + second * MICROSECONDS, 35, 20, 10, 97, in_transaction=5), 2)
    assert "other" not in drawn(history, frame(118, 11, 60))[0]


@pytest.mark.parametrize("shading", Shading)
def test_hidden_states_are_one_layer(shading: Shading) -> None:
    """A role without pg_monitor sees the total alone."""
    history = History()
    for number in range(100):
        history.add(Sample(START + number * 2 * MICROSECONDS, 50, 0, 1, 97, hidden=True), 2)
    rows = picture(filled(history, frame(shading=shading)))
    assert "sessions 50" in plain(rows)[0]
    assert "idle" not in plain(rows)[0]
    assert not of_ink(rows[1:], *LAYERS[:-1])
    assert of_ink(rows[1:], Ink.SESSIONS)


def test_a_paused_picture_stands_still_while_the_history_grows() -> None:
    """Neither samples nor marks from after the moment shown change a cell of it."""
    history = climbing(START, to=40)
    assert history.latest is not None
    now = history.latest.at
    before = picture(frame_of(history, now, frame()))
    for number in range(1, 30):
        history.add(Sample(now + number * 2 * MICROSECONDS, 97, 90, 7, 97), 2)
    later = (Mark(now + 1, Event.FULL),)
    assert picture(frame_of(history, now, frame(), marks=later)) == before


def test_nothing_is_drawn_where_nothing_was_seen() -> None:
    """An outage is a gap as long as it was."""
    history = History()
    for number in (*range(150), *range(300, 450)):
        history.add(Sample(START + number * 2 * MICROSECONDS, 50, 40, 10, 97), 2)
    found = filled(history, frame(110, 11))
    known = "".join(" █"[layers is not None] for layers in found.stacks).strip()
    before, gap, after = (len(part) for part in (known.split()[0], known.strip("█"), known.split()[-1]))
    assert 0 <= before - gap <= 3
    assert 0 <= after - gap <= 3


def test_a_slow_poll_leaves_no_gap() -> None:
    """Between two polls that belong together, the earlier counts hold."""
    history = History()
    for number in range(6):
        history.add(Sample(START + number * 60 * MICROSECONDS, 10 + number, 10 + number, 0, 97), 60)
    found = filled(history, frame(118, 11, 300))
    known = [layers for layers in found.stacks if layers is not None]
    assert found.stacks[-len(known) :] == tuple(known)
    assert len(known) > 90
    assert len(set(known)) >= 4


def test_the_picture_moves_by_whole_columns() -> None:
    """Time that passes within a column changes nothing; after it, all moves by one."""
    history = climbing(START, to=60)
    assert history.latest is not None
    blank = frame(80, 7)
    width = blank.scale.width
    begin = (history.latest.at // width + 1) * width
    one = frame_of(history, begin, blank)
    assert frame_of(history, begin + width - 1, blank) == one
    two = frame_of(history, begin + width, blank)
    assert two.stacks[: -1 - 1] == one.stacks[1:-1]
    assert [column + 1 for column, _ in ticks(two)] == [column for column, _ in ticks(one)][
        -len(ticks(two)) :
    ]


def test_a_graph_that_grows_begins_at_the_left() -> None:
    """It moves only once the window is full: until then, a poll adds a column and changes no other."""
    history = climbing(START, to=60, minutes=1)
    blank = msgspec.structs.replace(frame(118, 11, 300), grows=True)
    one = filled(history, blank)
    assert one.stacks[0] is not None
    assert one.present == pytest.approx(blank.past / 5, abs=3)
    assert history.latest is not None
    history.add(Sample(history.latest.at + 4 * MICROSECONDS, 50, 40, 10, 97), 2)
    two = filled(history, blank)
    assert (two.begin, ticks(two)) == (one.begin, ticks(one))
    assert two.stacks[: one.present - 2] == one.stacks[: one.present - 2]
    whole = filled(climbing(START, to=60, minutes=15), blank)
    assert whole.present == whole.past - 1


# Marks and the forecast


def marked(*marks: Mark, width: int = 118, shading: Shading = Shading.COLOUR) -> str:
    """The uppermost row under the legend, with these marks over a quiet quarter of an hour."""
    return drawn(flat(15), frame(width, 11, shading=shading), marks=marks)[1]


def test_marks_stand_at_their_time_with_their_words() -> None:
    """A sweep with its count, an alert, a restart and a finding."""
    minute = 60 * MICROSECONDS
    line = marked(
        Mark(START + 3 * minute, Event.FINDING, name="lock queue"),
        Mark(START + 7 * minute, Event.SWEEP, 17),
        Mark(START + 11 * minute, Event.RESTART),
    )
    places = [n for n, character in enumerate(line) if character == "▼"]
    columns = frame().area[0]
    for place, minutes in zip(places, (3, 7, 11), strict=True):
        assert abs(place - columns * minutes / 15) <= 3
    assert "▼lock queue " in line
    assert "▼sweep 17 " in line
    assert "▼restart " in line
    assert "|sweep 17 " in marked(Mark(START + 7 * minute, Event.SWEEP, 17), shading=Shading.ASCII)


def test_words_between_two_marks_touch_their_own() -> None:
    """They stand right of their mark, and left of it only at the right edge, a blank away from the next."""
    minute = 60 * MICROSECONDS
    first, later = START + 7 * minute, START + 9 * minute
    line = marked(Mark(first, Event.FINDING, name="leak"), Mark(later, Event.FULL))
    assert "▼leak " in line
    assert "▼full " in line
    at_the_edge = marked(
        Mark(START + 14 * minute, Event.FINDING, name="leak"), Mark(START + 15 * minute, Event.FULL)
    )
    assert "▼leak full▼" not in at_the_edge
    assert at_the_edge.count("▼") == 2
    assert " sweep 17▼" in marked(Mark(START + 15 * minute, Event.SWEEP, 17))


def test_marks_of_one_moment_share_a_column() -> None:
    """The most important one shows; two sweeps add up."""
    at = START + 420 * MICROSECONDS
    assert "▼full " in marked(
        Mark(at, Event.OVER), Mark(at, Event.FULL), Mark(at, Event.FINDING, name="leak")
    )
    assert "▼sweep 20 " in marked(Mark(at, Event.SWEEP, 17), Mark(at + 1, Event.SWEEP, 3))


def test_marks_outside_the_window_are_left_out() -> None:
    """Neither what was before it nor what is after the present."""
    minute = 60 * MICROSECONDS
    assert "▼" not in marked(Mark(START - 9 * minute, Event.FULL), Mark(START + 16 * minute, Event.FULL))


def test_the_words_of_a_mark_hide_no_area() -> None:
    """Where the area reaches the uppermost row, the sign alone stands there."""
    history = flat(15, idle=90, active=6)
    line = drawn(history, frame(), marks=(Mark(START + 420 * MICROSECONDS, Event.SWEEP, 17),))[1]
    assert "▼" in line
    assert "sweep" not in line


def test_the_forecast_goes_on_to_the_time_it_is_full() -> None:
    """From the present, dots rise to the full line, and end there."""
    history = flat(15)
    assert history.latest is not None
    now = history.latest.at
    found = frame_of(
        history, now, frame(has_future=True), forecast=Forecast(now + 120 * MICROSECONDS, 0.1, 9)
    )
    rows = [row for row in found.dots if row is not None]
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == found.canvas.full_row
    assert len(found.dots) == pytest.approx(120 * MICROSECONDS / found.scale.width, abs=1)
    assert len(found.dots) < found.area[0] - found.past
    lines = plain(picture(found))
    assert "·· full at " in lines[0]
    assert sum(line.count("·") for line in lines[1:]) == len(rows)


def test_a_forecast_beyond_the_edge_goes_to_the_edge() -> None:
    """An hour ahead, the dots are on their way."""
    history = flat(15)
    assert history.latest is not None
    now = history.latest.at
    found = frame_of(history, now, frame(has_future=True), forecast=Forecast(now + 3_000 * MICROSECONDS))
    assert len(found.dots) == found.area[0] - found.past
    assert min(row for row in found.dots if row is not None) > found.canvas.full_row


def test_without_room_for_the_future_there_are_no_dots() -> None:
    """The legend alone tells of the forecast."""
    history = flat(15)
    assert history.latest is not None
    found = filled(history, frame(), forecast=Forecast(history.latest.at + 120 * MICROSECONDS))
    assert found.past == found.area[0]
    assert not found.dots


# Axes and legend


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), None])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("width", [20, 80, 118, 200])
def test_labels_are_evenly_spaced_and_true(width: int, window: int, zone: tzinfo | None) -> None:
    """Each says the local time of its column, and all are as far from each other.

    The history ends in the night in which the clocks of Berlin change.
    """
    history = History()
    history.add(Sample(START + 14 * 3_600 * MICROSECONDS, 5, 5, 0, 97))
    blank = frame(width, 9, window, zone=zone, has_future=True)
    found = filled(history, blank)
    columns, scale = found.area[0], found.scale
    labels = ticks(found)
    assert {right[0] - left[0] for left, right in pairwise(labels)} <= {scale.per_label}
    for column, label in labels:
        begin = (found.begin + column) * scale.width // MICROSECONDS
        times = {
            f"{datetime.fromtimestamp(begin + second, zone).astimezone(zone):%a %H:%M:%S}"
            for second in range(-1, -(-scale.width // MICROSECONDS) + 2)
        }
        assert any(label in time for time in times)
        assert column + 1 + len(label) <= columns
    assert width < 80 or len(labels) >= 2
    line = plain(picture(found))[-1]
    assert all(f"╵{label}" in line for _, label in labels)


def test_the_long_axis_names_the_day() -> None:
    """At midnight, so that yesterday's times are told from today's."""
    history = History()
    history.add(Sample(START, 5, 5, 0, 97))
    assert "╵Sat 00:00" in drawn(history, frame(118, 9, 86_400))[-1]
    assert "Sat" not in drawn(history, frame(118, 9, 300))[-1]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("columns", [1, 7, 60, 90, 187])
def test_the_columns_span_the_window_and_not_much_more(window: int, columns: int) -> None:
    """At most a twelfth more, so that labels are evenly spaced."""
    scale = scale_of(window, columns)
    spanned = scale.width * columns / MICROSECONDS
    assert spanned >= window * 0.999_999
    assert columns < 12 or spanned <= window * 13 / 12 + 1
    assert scale.per_label * scale.width == pytest.approx(scale.label_seconds * MICROSECONDS, abs=2_000)


def test_a_clock_beyond_the_calendar_has_no_labels_and_no_error() -> None:
    """A server's clock can say anything."""
    for at in (10**18, -(10**18), 0):
        history = History()
        history.add(Sample(at, 5, 5, 0, 97))
        assert len(drawn(history, frame())) == 11


def test_an_empty_history_says_that_it_is_collecting() -> None:
    """No number is shown before there is one; after a long outage it says that nothing was seen."""
    lines = drawn(History(), frame())
    assert any("collecting…" in line for line in lines)
    assert "idle  -" in lines[0]
    later = START + 3 * 3_600 * MICROSECONDS
    assert any(
        "nothing seen in this time" in line
        for line in plain(picture(frame_of(climbing(START), later, frame())))
    )


def test_the_legend_names_the_layers_down_to_forty_columns() -> None:
    """Below that, swatches and counts are left."""
    history = climbing(START)
    for width in (40, 60, 80, 118):
        line = drawn(history, frame(width, 6))[0]
        assert all(name in line for name in ("idle 72", " in t", "active 18"))
    assert drawn(history, frame(20, 6))[0].startswith("█18 █0 █72 ")


def test_windows_are_said_as_other_lengths_are() -> None:
    """From a minute to 24 hours."""
    said = [" ".join(drawn(flat(1), frame(118, 6, window))[0].split()[2:4]) for window in WINDOWS]
    lengths = ["1m", "2m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1d"]
    assert said == [f"last {each}" for each in lengths]


@pytest.mark.parametrize("shading", Shading)
def test_a_recording_has_a_cursor_at_the_time_shown(shading: Shading) -> None:
    """What follows is drawn too; the counts in the legend are those of the cursor."""
    history = climbing(10, 60, minutes=10)
    latest = history.latest
    assert latest is not None
    at = latest.at - 300 * MICROSECONDS
    blank = msgspec.structs.replace(frame(window=600, shading=shading), recorded=True)
    made = frame_of(history, latest.at, blank, cursor_at=at)
    rows = plain(picture(made))
    shown = history.sample_at(at)
    assert shown is not None
    assert made.cursor is not None
    sign, foot = ("|", "^") if shading is Shading.ASCII else ("┃", "▲")
    assert {row[made.cursor] for row in rows[1:-1]} == {sign}
    assert rows[-1][made.cursor] == foot
    assert f"idle {shown.idle}" in rows[0]
    assert any(made.stacks[made.cursor + 1 :])
    assert "last" not in rows[0]


def test_a_cursor_beyond_the_window_is_not_drawn() -> None:
    history = climbing(10, 60, minutes=10)
    latest = history.latest
    assert latest is not None
    blank = msgspec.structs.replace(frame(window=60), recorded=True, is_whole=True)
    made = frame_of(history, latest.at, blank, cursor_at=latest.at - 300 * MICROSECONDS)
    assert made.cursor is None
    assert "┃" not in "".join(plain(picture(made)))
    assert "the whole recording" in plain(picture(made))[0]


@pytest.mark.parametrize(("width", "height"), GRAPH_SIZES)
def test_a_recording_fits_every_size(width: int, height: int) -> None:
    history = climbing(10, 60, minutes=10)
    latest = history.latest
    assert latest is not None
    for at in (latest.at, latest.at - 300 * MICROSECONDS, latest.at - 10_000 * MICROSECONDS):
        blank = msgspec.structs.replace(frame(width, height, 600), recorded=True)
        rows = plain(picture(frame_of(history, latest.at, blank, cursor_at=at)))
        assert [cell_len(row) for row in rows] == [width] * height
