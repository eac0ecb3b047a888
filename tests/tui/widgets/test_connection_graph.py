"""The widget of the graph draws and repaints only what would look different."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.sample_history import History, Sample
from pgtop.tui.themes import DARK, THEMES
from pgtop.tui.widgets.connection_graph import FUTURE_KEPT_SECONDS, ConnectionGraph
from tests.builders import GRAPH_SIZES, climbing

START = int(datetime(2026, 3, 28, 12, 0, 0, tzinfo=UTC).timestamp()) * MICROSECONDS


def test_plotext_is_not_imported() -> None:
    """Starting costs nothing that the first frame does not need."""
    code = "import sys, pgtop.tui.widgets.connection_graph; sys.exit('plotext' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


class GraphApp(App[None]):
    """A screen with nothing but the graph."""

    CSS = "ConnectionGraph { height: 1fr; }"

    def __init__(self, *, no_color: bool = False) -> None:
        super().__init__()
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = DARK.name
        self.no_color = no_color

    def compose(self) -> ComposeResult:
        """The graph, in a known zone."""
        yield ConnectionGraph(zone=timezone(timedelta(hours=2)))

    @property
    def graph(self) -> ConnectionGraph:
        """The one widget."""
        return self.query_one(ConnectionGraph)

    def show(self, history: History, later: float = 0.0, forecast: Forecast | None = None) -> None:
        """Shows a history as a dashboard does."""
        assert history.latest is not None
        now = history.latest.at + int(later * MICROSECONDS)
        self.graph.show(history, now=now, slots=97, warn_at=0.8, max_connections=100, forecast=forecast)

    def lines(self) -> list[str]:
        """What the screen shows."""
        return [self.graph.render_line(y).text for y in range(self.size.height)]


async def test_the_widget_draws_the_labelled_lines_and_the_window_asked_for() -> None:
    """Both labels, the legend and the viewer's time of day; another window is another picture."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.graph.window_seconds = 900
        app.show(climbing(START))
        await pilot.pause()
        lines = app.lines()
        assert any("full = 97" in line for line in lines)
        assert any("80% = 78" in line for line in lines)
        assert "sessions, last 15m" in lines[0]
        assert "idle 72" in lines[0]
        assert "14:10" in lines[-1]
        app.graph.window_seconds = 10_800
        await pilot.pause()
        other = app.lines()
        assert "last 3h" in other[0]
        assert other[-1] != lines[-1]
        assert not app.graph.can_focus


async def test_the_widget_draws_nothing_when_nothing_would_look_different() -> None:
    """Another poll of the same counts in the same column builds no picture and repaints no row."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing(START, to=90)
        app.show(history)
        await pilot.pause()
        builds, before = app.graph.builds, app.lines()
        latest = history.latest
        assert latest is not None
        for _ in range(5):
            app.show(history)
        history.add(Sample(latest.at + 1, latest.total, latest.idle, latest.active, 97), 2)
        app.show(history)
        await pilot.pause()
        assert app.graph.builds == builds
        assert app.lines() == before
        app.show(history, later=10)
        assert app.graph.builds == builds + 1


async def test_grey_changes_the_styles_and_not_the_picture() -> None:
    """In an outage the last good data stays, in one quiet colour."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.show(climbing(START))
        await pilot.pause()
        builds, before = app.graph.builds, app.lines()
        assert len({segment.style for y in range(11) for segment in app.graph.render_line(y)}) > 3
        app.graph.greyed = True
        await pilot.pause()
        styles = {segment.style for y in range(11) for segment in app.graph.render_line(y)}
        colours = {style.color.triplet for style in styles if style is not None and style.color is not None}
        assert all(max(triplet) - min(triplet) < 40 for triplet in colours if triplet is not None)
        assert len(colours) >= 3  # the layers stay apart
        assert (app.graph.builds, app.lines()) == (builds, before)


async def test_a_theme_change_reaches_the_graph() -> None:
    """No style of the old theme stays in a cache, and each theme has all of them."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        app.show(climbing(START))
        await pilot.pause()
        seen = set()
        for theme in THEMES:
            app.theme = theme
            await pilot.pause()
            seen.add(tuple(segment.style for segment in app.graph.render_line(0)))
        assert len(seen) == len(THEMES)


async def test_the_widget_survives_a_storm_of_sizes() -> None:
    """From one cell to a wall, in between polls, it always fills exactly its place."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing(START)
        for width, height in [*GRAPH_SIZES, *reversed(GRAPH_SIZES), (2, 40), (200, 1), (118, 11)]:
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


async def test_only_the_part_of_a_row_that_differs_is_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more poll in the present's column repaints that column, and the legend's counts."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing(START, to=60, minutes=5)
        app.show(history)
        await pilot.pause()
        repainted: list[Region] = []
        monkeypatch.setattr(app.graph, "refresh", lambda *regions, **_: repainted.extend(regions))
        latest = history.latest
        assert latest is not None
        history.add(Sample(latest.at + 1, 40, 30, 10, 97), 2)
        app.show(history)
        header = [region for region in repainted if region.y == 0]
        body = [region for region in repainted if region.y]
        assert {region.width for region in body} == {1}
        assert header
        assert max(region.width for region in header) < 50


async def test_the_room_for_a_forecast_does_not_come_and_go() -> None:
    """It is there with the first forecast, and goes a minute after the last one."""
    app = GraphApp()
    async with app.run_test(size=(118, 11)) as pilot:
        history = climbing(START, to=60, minutes=5)
        assert history.latest is not None
        app.show(history)
        await pilot.pause()
        wide = app.lines()[1].index("full")
        ends = [app.lines()[8].rstrip(" 0").rindex("█")]
        for later, forecast in (
            (0.0, Forecast(history.latest.at + 90 * MICROSECONDS)),
            (FUTURE_KEPT_SECONDS - 1, None),
            (FUTURE_KEPT_SECONDS, None),
        ):
            app.show(history, later, forecast)
            await pilot.pause()
            ends.append(app.lines()[8].rstrip(" 0").rindex("█"))
            assert app.lines()[1].index("full") == wide
        assert ends[1] < ends[0] - 20
        assert app.graph.has_future is False


async def test_without_colour_the_layers_have_shades() -> None:
    """NO_COLOR leaves the characters, so they must differ."""
    app = GraphApp(no_color=True)
    async with app.run_test(size=(118, 11)) as pilot:
        app.show(climbing(START, to=90))
        await pilot.pause()
        text = "".join(app.lines()[1:])
        assert {"█", "▒"} <= set(text)
