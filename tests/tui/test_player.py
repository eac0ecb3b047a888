"""Every key of the player, and that nothing on it can be taken for the present."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import ACTIVE, MICROSECONDS
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import AlertRaised, OutageBegan, OutageEnded, Seen
from pgtop.history.recording import Recording
from pgtop.tui.lines.keys import RECORDING_SAID
from pgtop.tui.screens.column_menu import ColumnMenu
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.over_dashboard import AboutPlan
from pgtop.tui.state.deck import SPEEDS
from tests.builders import NOW, backend, snapshot
from tests.servers import wait_until
from tests.support.players import Played, player
from tests.support.recordings import recording, seen

LOST = Outage(OutageKind.LOST, "the connection was lost")
POLLS = 80
"""The first 60 are 2 s apart, then comes an outage of three polls, then the rest."""


def poll(number: int) -> Seen:
    if 60 <= number < 63:
        return seen(LOST, number * 2)
    at = NOW + number * 2 * MICROSECONDS
    sessions = [backend(100 + n, application_name="web", age=60 + n) for n in range(10 + number)]
    waiting = msgspec.structs.replace(
        sessions[1], state=ACTIVE, wait_event_type="Lock", wait_event="relation", query_start=at
    )
    made = snapshot(sessions[0], waiting, *sessions[2:], taken_at=at)
    return seen(made, facts=Facts(blocked_by={101: frozenset({100})}))


EVENTS = [
    AlertRaised(NOW + 20 * MICROSECONDS, Alert.OVER),
    AlertRaised(NOW + 80 * MICROSECONDS, Alert.FULL),
    OutageBegan(NOW + 120 * MICROSECONDS, LOST),
    OutageEnded(NOW + 126 * MICROSECONDS),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    root: Path = tmp_path_factory.mktemp("recordings")
    return recording(root, [poll(number) for number in range(POLLS)], EVENTS)


@asynccontextmanager
async def at_poll(
    made: Recording, number: int, size: tuple[int, int] = (120, 40), **settings: object
) -> AsyncIterator[Played]:
    """A player at a poll of the recording, of which 1 is the first."""
    async with player(made, at=NOW + (number - 1) * 2 * MICROSECONDS, size=size, **settings) as played:
        await played.at_poll(number)
        yield played


async def test_the_arrows_go_poll_by_poll(made: Recording) -> None:
    """However fast they are pressed: each counts."""
    async with at_poll(made, 10) as played:
        await played.press("right")
        await played.at_poll(11)
        assert played.shown == poll(10).result
        assert played.listed
        assert set(played.listed) == {each.pid for each in played.shown.backends}
        await played.press("left", "left", "left")
        await played.at_poll(8)
        await played.shows("poll 8 of 80", "paused")
        assert not played.player.deck.is_playing


async def test_brackets_go_a_minute(made: Recording) -> None:
    async with at_poll(made, 10) as played:
        await played.press("right_square_bracket")
        await played.at_poll(40)
        await played.press("left_square_bracket")
        await played.at_poll(10)


async def test_home_and_end_are_the_first_and_last_poll(made: Recording) -> None:
    async with at_poll(made, 10) as played:
        await played.press("end")
        await played.at_poll(POLLS)
        await played.press("right")
        await played.shows("this is the last recorded poll")
        await played.press("home")
        await played.at_poll(1)
        await played.press("left")
        await played.shows("this is the first recorded poll")


async def test_it_opens_at_the_last_poll(made: Recording) -> None:
    async with player(made) as played:
        assert played.number == POLLS


async def test_p_plays_to_the_end_and_pauses(made: Recording) -> None:
    async with at_poll(made, 66) as played:
        played.player.deck.speed = 60.0
        await played.press("p")
        await played.shows("playing 60x")
        await wait_until(lambda: played.number > 68, complaint="nothing is played")
        await played.at_poll(POLLS)
        await played.shows("the end of the recording", "paused")
        assert not played.player.deck.is_playing
        await played.press("home", "p")
        await wait_until(lambda: 1 < played.number < POLLS, complaint="nothing is played")
        await played.press("p")
        await played.shows("paused")


async def test_words_about_the_end_stay_at_the_end(made: Recording) -> None:
    """Another poll is not shown with the words about the end."""
    async with at_poll(made, POLLS) as played:
        await played.press("right")
        await played.shows("this is the last recorded poll")
        await played.press("home")
        await played.at_poll(1)
        await played.shows("poll 1 of 80")
        assert "this is the last recorded poll" not in played.text
    async with at_poll(made, POLLS - 2) as played:
        await played.press(*["plus"] * len(SPEEDS), "p")
        await played.shows("the end of the recording")
        await played.press("home")
        await played.at_poll(1)
        await played.shows("poll 1 of 80")
        assert "the end of the recording" not in played.text


async def test_plus_and_minus_change_the_speed(made: Recording) -> None:
    async with at_poll(made, 10) as played:
        for _ in SPEEDS:
            await played.press("plus")
        assert played.player.deck.speed == SPEEDS[-1]
        await played.shows("speed 60x")
        for _ in SPEEDS:
            await played.press("minus")
        assert played.player.deck.speed == SPEEDS[0]
        await played.press("p")
        await played.shows("playing 0.25x")


async def test_dot_and_comma_go_from_event_to_event(made: Recording) -> None:
    async with at_poll(made, 5) as played:
        for number, words in (
            (11, "over the 80% line"),
            (41, "FULL: new connections are refused"),
            (61, "no answer: the connection was lost"),
            (64, "the server answers again"),
        ):
            await played.press("full_stop")
            await played.at_poll(number)
            await played.shows(words)
        await played.press("full_stop")
        await played.shows("no alert, verdict, act, server change or outage after this")
        await played.press("comma")
        await played.at_poll(61)
        await played.press("left")
        await played.at_poll(60)
        assert played.player.notices.current is None


async def test_t_goes_to_a_time(made: Recording) -> None:
    async with at_poll(made, 50) as played:
        await played.press("t")
        await played.shows("go to 03:12")
        await played.press(*"-1min", "enter")
        await played.at_poll(20)
        assert played.player.panels.sessions.has_focus
        await played.press("t", *"gestern", "enter")
        await played.shows('"gestern" is not a moment')
        await played.press("home", "end", "backspace", "escape")
        assert not played.player.moment_line.display
        assert played.number == 20
        await played.press("t", *"2020-01-01 00:00".replace(" ", "T"), "enter")
        await played.at_poll(1)
        await played.shows("the recording begins at")


async def test_z_shows_another_part_in_the_graph(made: Recording) -> None:
    async with at_poll(made, 10) as played:
        await played.shows("the whole recording, 2m")
        assert "┃" in played.text
        await played.press("z", "z")
        await wait_until(lambda: played.player.playback.zoom == 900.0)
        await played.press("z")
        await played.shows("the whole recording")


@pytest.mark.parametrize("key", ["K", "f9", "C", "S", "A", "B"])
async def test_keys_that_act_are_refused(made: Recording, key: str) -> None:
    for wall in (False, True):
        async with at_poll(made, 10, wall=wall) as played:
            await played.press(key)
            await played.shows(RECORDING_SAID)
            assert played.app.screen is played.player


async def test_nothing_acts_on_the_screens_above(made: Recording) -> None:
    """Their keys are refused with the reason, too."""
    async with at_poll(made, 10) as played:
        for opener, screen in (("enter", DetailScreen), ("b", LockTreeScreen), ("d", DiagnosisScreen)):
            await played.press(opener)
            await wait_until(lambda: isinstance(played.app.screen, screen))  # noqa: B023
            await played.pilot.pause()
            await played.press("K")
            await played.shows(RECORDING_SAID)
            await played.press("y", "enter")
            assert not any(isinstance(each, AboutPlan) for each in played.app.screen_stack)
            while played.app.screen is not played.player:
                await played.press("escape")


async def test_every_screen_says_that_it_is_a_recording(made: Recording) -> None:
    """The banner is on the wall and over each dialog, at any size; nothing says live."""
    for size in ((120, 40), (80, 24), (40, 12)):
        async with at_poll(made, 10, size=size) as played:
            assert "REPLAY" in played.text.splitlines()[0]
            for opener in ("enter", "b", "d", "f1", "o", "ctrl+p", "w"):
                await played.press(opener)
                await wait_until(lambda: "REPLAY" in played.text.splitlines()[0], complaint=opener)
                assert "● live" not in played.text
                assert " · live" not in played.text
                await played.press("escape")
                await played.pilot.pause()


async def test_the_screens_above_follow_the_recording(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        await played.press("enter")
        await wait_until(lambda: isinstance(played.app.screen, DetailScreen))
        await played.shows("recorded", "locks: not recorded")
        played.player.action_poll(1)
        await played.at_poll(21)
        await played.shows("poll 21 of 80")


async def test_a_session_that_was_not_there_is_said_so(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        await played.press("enter")
        await wait_until(lambda: isinstance(played.app.screen, DetailScreen))
        await played.shows("Session 128", "1 of 29", "recorded")
        played.player.action_first()
        await played.at_poll(1)
        await played.shows("was not there at this time")
        played.player.action_poll(25)
        await played.at_poll(26)
        await wait_until(lambda: "was not there" not in played.text)


async def test_the_lock_tree_is_that_of_the_time(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        await played.press("b")
        await played.shows("100", "101", "waits")


async def test_an_outage_is_shown_as_it_was(made: Recording) -> None:
    async with at_poll(made, 63) as played:
        await played.shows("the connection was lost", "6s old")
        assert played.shown == poll(59).result


async def test_a_gap_is_said(tmp_path: Path) -> None:
    late = msgspec.structs.replace(poll(1).result, taken_at=NOW + 7200 * MICROSECONDS)
    async with player(recording(tmp_path, [poll(0), seen(late)]), at=NOW) as played:
        await played.press("right")
        await played.shows("nothing was recorded from", "(2h 00m)")
        await played.press("home", "p")
        await played.at_poll(2)


async def test_a_time_in_a_gap_is_said_to_be_one(tmp_path: Path) -> None:
    late = msgspec.structs.replace(poll(1).result, taken_at=NOW + 7200 * MICROSECONDS)
    async with player(recording(tmp_path, [poll(0), seen(late)])) as played:
        await played.press("t", *"-1h", "enter")
        await played.at_poll(1)
        await played.shows("nothing was recorded at", "this is the last poll before")


async def test_a_recording_that_begins_in_an_outage_says_so(tmp_path: Path) -> None:
    made = recording(tmp_path, [seen(LOST, 0), poll(1)])
    async with player(made, at=NOW) as played:
        await played.shows("REPLAY", "the connection was lost")
        await played.press("d", "b", "slash", "K")
        assert played.app.screen is played.player
        await played.press("right")
        await played.shows("web")
        assert played.player.panels.sessions.has_focus


async def test_looking_works_as_on_the_dashboard(made: Recording) -> None:
    """Filter, groups, order, tags, columns, wall and help are the same keys."""
    async with at_poll(made, 20) as played:
        await played.press("slash", *"pid:103", "enter")
        await wait_until(lambda: played.listed == [103])
        await played.press("right")
        await played.at_poll(21)
        assert played.listed == [103]
        await played.press("escape")
        await wait_until(lambda: len(played.listed) == 30)
        await played.press("n")
        assert played.player.panels.sessions.cursor_row.pid == 103
        await played.press("space", "g")
        await played.shows("1 tagged", "users")
        await played.press("U", "s", "r")
        await played.press("o")
        await wait_until(lambda: isinstance(played.app.screen, ColumnMenu))
        await played.press("escape", "f1")
        await wait_until(lambda: isinstance(played.app.screen, HelpScreen))
        await played.shows("play or pause")
        await played.press("escape", "w")
        await played.shows("30 of 95 slots")
        await played.press("right")
        await played.at_poll(22)
        await played.press("w", "asterisk")
        assert len(played.player.panels.sessions.tagged) == 31


async def test_the_palette_has_the_keys_of_the_player(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        titles = {each.title for each in played.app.get_system_commands(played.player)}
        assert {"Play or pause", "Go to a time", "Theme"} <= titles
        assert not [each for each in titles if "erminate" in each or "ancel" in each]


async def test_escape_on_a_recording_alone_leaves_nothing(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        await played.press("escape", "escape")
        assert played.app.screen is played.player


async def test_q_quits(made: Recording) -> None:
    async with at_poll(made, 20) as played:
        await played.press("q")
        await wait_until(lambda: not played.app.is_running)


async def test_a_slow_seek_says_how_far_it_is(made: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys go on working meanwhile."""
    async with at_poll(made, 20) as played:
        held, playback = threading.Event(), played.player.playback
        show = playback.show

        def slow(position):  # type: ignore[no-untyped-def]
            playback.progress = 0.42
            held.wait(30)
            return show(position)

        monkeypatch.setattr(playback, "show", slow)
        await played.press("right")
        await played.shows("seeking 42%")
        await played.press("w")
        assert played.player.wall
        held.set()
        await played.at_poll(21)
        await wait_until(lambda: "seeking" not in played.text)
