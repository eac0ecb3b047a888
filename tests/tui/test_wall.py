"""The wall view: right at every size and in every state, and no way from it to a session nobody sees."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from pgtop.core.alerts import Alert
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.lines.big_digits import Scale, big
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.state.notice_board import WALL_NOTE_SECONDS
from pgtop.tui.widgets.connection_graph import WINDOWS
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard, waiting_dashboard
from tests.support.filling import SEVENTEEN_SLOTS, THREE_SLOTS, full
from tests.support.targets import stopped, target_of


def has(text: str, rows: tuple[str, ...]) -> bool:
    """True where the text holds these rows one below the other at one place."""
    lines = text.splitlines()
    for y in range(len(lines) - len(rows) + 1):
        x = lines[y].find(rows[0].rstrip())
        while x >= 0:
            if all(lines[y + i][x:].startswith(row.rstrip()) for i, row in enumerate(rows)):
                return True
            x = lines[y].find(rows[0].rstrip(), x + 1)
    return False


def bare(driven: Driven) -> str:
    """The screen without what stands behind the letters, line by line as the terminal has it."""
    return "\n".join(strip.text for strip in driven.strips)


LARGE = Scale(3, 3)
"""The size of the letters at 120x40."""
SIZES = {
    (80, 24): ("PROD", Scale(2, 2)),
    (120, 40): ("PROD", LARGE),
    (200, 60): ("PROD", Scale(4, 4)),
    (60, 20): ("82%", Scale(2, 2)),
    (40, 12): ("82%", Scale(1, 2)),
}
"""A word that is drawn large on a terminal of that size, and the size of its letters."""


@pytest.mark.parametrize("size", SIZES)
async def test_the_figures_and_the_state_grow_with_the_terminal(
    server_factory: ServerFactory, tmp_path: Path, size: tuple[int, int]
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with (
        sessions(server, 13, application_name="leaky-worker"),
        dashboard(server, tmp_path / "a", size=size, wall=True, name="prod") as driven,
    ):
        await wait_until(lambda: driven.shown and driven.shown.counts.total == 14)
        await driven.pilot.pause()
        text, (name, scale) = bare(driven), SIZES[size]
        for word in (name, "82%", "HIGH"):
            assert has(text, big(word, scale)), text
        assert "over the 80%" in text
        assert ("13  leaky-worker" in text) is (size[1] >= 28)
        assert size[1] >= 20 or text.startswith(" prod ")
        assert all(len(line) == size[0] for line in text.splitlines())


@pytest.mark.parametrize("size", [(20, 5), (30, 7), (12, 3), (5, 2), (1, 1)])
async def test_a_tiny_terminal_has_the_figures_and_the_word_first(
    server_factory: ServerFactory, tmp_path: Path, size: tuple[int, int]
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with (
        sessions(server, 16, application_name="leaky-worker"),
        dashboard(server, tmp_path / "a", size=size, wall=True) as driven,
    ):
        await wait_until(lambda: driven.shown and driven.shown.counts.total == 17)
        await driven.pilot.pause()
        if size[0] >= 12:
            await wait_until(lambda: "17 of 17" in bare(driven) and "■ FULL" in bare(driven))


async def test_each_state_has_its_word_and_shape_in_the_same_place(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with dashboard(server, tmp_path / "a", wall=True) as driven:
        places = []

        async def shows(word: str, shape: str) -> None:
            await wait_until(lambda: has(bare(driven), big(word, LARGE)) and f" {shape} " in bare(driven))
            await driven.pilot.pause()
            places.append([driven.dashboard.query_one(f"#{name}").region for name in ("graph", "top")])

        await shows("OK", "●")
        async with sessions(server, 13, application_name="web"):
            await shows("HIGH", "▲")
            async with sessions(server, 3, application_name="web"):
                await shows("FULL", "■")
                await driven.press("p")
                await shows("PAUSED", "‖")
                await driven.press("p")
                await shows("FULL", "■")
        await shows("OK", "●")
        server.stop()
        await shows("DOWN", "✗")
        assert "figures " in bare(driven)
        assert driven.dashboard.query_one("#banner").display is False
        server.start()
        await wait_until(lambda: "restarted" in bare(driven))
        await driven.press("escape")
        await shows("OK", "●")
        assert len({str(place) for place in places}) == 1


async def test_a_note_that_nobody_clears_leaves_the_wall_by_itself(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(server, tmp_path / "a", wall=True) as driven:
        driven.dashboard.say("the server restarted")
        driven.dashboard.notices.posted_at -= WALL_NOTE_SECONDS
        await wait_until(lambda: "the server restarted" not in bare(driven))
        driven.dashboard.say("what needs somebody", "alarm")
        driven.dashboard.notices.posted_at -= WALL_NOTE_SECONDS
        driven.dashboard.tick()
        await driven.pilot.pause()
        assert "what needs somebody" in bare(driven)


async def test_old_data_is_grey_and_says_how_old(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with session(server), dashboard(server, tmp_path / "a", wall=True, theme="light") as driven:
        await wait_until(lambda: driven.shown and driven.shown.counts.total == 2)

        def colours(name: str = "figures", y: int = 2) -> set[str]:
            lines = driven.dashboard.query_one(f"#{name}").render_line(y)
            drawn = [str(each.style.color) for each in lines if each.text.strip() and each.style]
            return set(drawn[-1:] if name == "figures" else drawn)  # beside the figures is the name

        live, held = colours(), colours("top", 1)
        with stopped(driven.own_connection.own_pid):
            await driven.shows("no answer yet")
            assert live.isdisjoint(colours())
            assert held.isdisjoint(colours("top", 1))
        await wait_until(lambda: (colours(), colours("top", 1)) == (live, held))
        server.stop()
        await wait_until(lambda: driven.dashboard.state.outage)
        await driven.shows("figures 2s old")
        assert live.isdisjoint(colours())
        assert held.isdisjoint(colours("top", 1))
        server.start()
        await wait_until(lambda: (colours(), colours("top", 1)) == (live, held))


async def test_w_leads_there_and_back_and_the_tables_are_as_they_were(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with (
        sessions(server, 3, application_name="web"),
        dashboard(server, tmp_path / "a") as driven,
    ):
        await wait_until(lambda: len(driven.listed) >= 3)
        await driven.press("slash", "w", "e", "b", "enter", "down", "space")
        tagged, cursor = set(driven.backends.tagged), driven.backends.cursor_key
        assert len(tagged) == 1
        await driven.press("w")
        assert driven.app.screen.focused is None
        assert not driven.backends.display or not driven.backends.region
        await driven.shows("w tables")
        await driven.press("w")
        await driven.shows("K terminate 1 tagged", "filter: web")
        assert (driven.backends.tagged, driven.backends.cursor_key) == (tagged, cursor)
        assert driven.backends.has_focus


@pytest.mark.parametrize("key", ["K", "C", "space", "U", "slash", "s", "r", "c"])
async def test_a_key_for_a_session_only_leads_to_the_list(
    server: ThrowawayServer, tmp_path: Path, key: str
) -> None:
    async with session(server), dashboard(server, tmp_path / "a", wall=True) as driven:
        await driven.shows("w tables")
        column, reverse = driven.backends.sort_column, driven.backends.sort_reversed
        await driven.press(key)
        await driven.shows("press ")
        assert driven.app.screen is driven.dashboard
        assert not driven.dashboard.wall
        assert not driven.backends.tagged
        assert (driven.backends.sort_column, driven.backends.sort_reversed) == (column, reverse)
        assert not driven.dashboard.plan_actions.is_busy
        assert not driven.audit.exists()
        await driven.press("w")
        assert driven.dashboard.notices.current is None, "there is no list on the wall"


async def test_enter_and_arrows_reach_no_row_behind_the_wall(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server), dashboard(server, tmp_path / "a", wall=True) as driven:
        await driven.shows("w tables")
        for key in ("tab", "down", "enter", "j", "shift+tab", "enter"):
            await driven.press(key)
            assert driven.app.screen is driven.dashboard
            assert driven.app.screen.focused is None
        await driven.press("f1", "escape", "enter")
        assert driven.app.screen is driven.dashboard
        assert driven.app.screen.focused is None
        names = {command.title for command in driven.app.get_system_commands(driven.dashboard)}
        assert "Switch between wall and tables" in names
        assert not any("selected" in name for name in names)


async def test_a_sweep_is_confirmed_over_the_wall_and_its_outcome_shown(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with (
        sessions(server, 3, application_name="web"),
        dashboard(server, tmp_path / "a", wall=True) as driven,
    ):
        await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 3)
        await driven.press("S")
        dialog = await driven.dialog()
        assert isinstance(dialog, PlanDialog)
        await driven.press("y")
        await driven.shows("terminated 3 sessions", "w tables")
        assert driven.dashboard.wall
        await driven.press("escape")
        await wait_until(lambda: driven.dashboard.notices.current is None)


async def test_read_only_shows_no_key_that_acts_and_leads_nowhere_by_one(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server), dashboard(server, tmp_path / "a", wall=True, read_only=True) as driven:
        await driven.shows("w tables", "read-only")
        assert "sweep" not in driven.text
        for key in "KCSA":
            await driven.press(key)
            await driven.pilot.pause()
            assert driven.app.screen is driven.dashboard
            assert driven.dashboard.wall
            said = driven.dashboard.notices.current
            assert said is not None
            assert said.said == "read-only: nothing can be terminated or cancelled"
            driven.dashboard.notices.dismiss()


async def test_while_no_connection_can_be_had_the_wall_says_so(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(THREE_SLOTS)
    await execute(server, "CREATE ROLE app LOGIN")
    async with waiting_dashboard(target_of(server, user="app"), tmp_path / "a", wall=True) as driven:
        await driven.shows("w tables")
    async with (
        full(server),
        waiting_dashboard(target_of(server, user="app"), tmp_path / "a", wall=True) as driven,
    ):
        await wait_until(lambda: has(bare(driven), big("FULL", LARGE)))
        await driven.shows("What helps", "still trying")
        await driven.press("w")
        await driven.pilot.pause()
        assert not has(bare(driven), big("FULL", LARGE))


async def test_the_graph_shows_all_that_is_known_until_a_window_is_chosen(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(server, tmp_path / "a") as driven:
        graph = driven.dashboard.panels.graph
        await driven.press("right_square_bracket")
        assert graph.window_seconds == WINDOWS[1]
        await driven.press("w")
        assert graph.window_seconds == WINDOWS[0]
        driven.dashboard.state.shown_history.span_seconds = lambda _: 7_000.0  # type: ignore[method-assign]
        await wait_until(lambda: graph.window_seconds == 7_200)
        await driven.press("left_square_bracket")
        assert graph.window_seconds == 3_600
        await driven.press("w")
        assert graph.window_seconds == WINDOWS[1]
        await driven.press("w")
        assert graph.window_seconds == 3_600


async def test_a_paused_screen_says_that_an_alert_came(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.shows("live")
        await driven.press("p")
        async with sessions(server, 16):
            await driven.shows("✗ FULL: new connections are refused (paused: p resumes)")


async def test_an_alert_during_a_pause_keeps_the_notice_of_a_new_server(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A server that was full and is empty since it was restarted: one word does not hide the other."""
    server = server_factory(SEVENTEEN_SLOTS)
    async with dashboard(server, tmp_path / "a", login_probe_seconds=0.0) as driven, sessions(server, 16):
        await driven.shows("FULL")
        await driven.press("p")
        server.restart()
        await driven.shows("was restarted at", "· recovered (paused: p resumes)")
        assert "✗ " not in driven.text


def test_alerts_have_the_words_that_scripts_compare_with() -> None:
    assert [alert.value for alert in Alert] == ["over", "full", "recovered", "limit", "outage", "filling"]


async def test_a_terminal_that_changes_its_size_keeps_the_wall_right(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    async with sessions(server, 13), dashboard(server, tmp_path / "a", wall=True) as driven:
        await driven.shows("over the 80% line")
        pilot: Pilot[None] = driven.pilot
        for size in ((20, 5), (200, 60), (1, 1), (80, 24), (120, 40)):
            await pilot.resize_terminal(*size)
            await wait_until(lambda size=size: len(bare(driven).splitlines()) == size[1])
            await pilot.pause()
        await wait_until(lambda: has(bare(driven), big("HIGH", LARGE)))
