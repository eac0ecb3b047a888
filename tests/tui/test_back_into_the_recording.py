"""From the live dashboard into the recording and back: polls go on, and the past is never acted on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual import events

from pgtop.core.activity import Snapshot
from pgtop.core.alerts import Alert
from pgtop.demo.server import ThrowawayServer
from pgtop.flight_recorder import FlightRecorder
from pgtop.history.recorder import Kept
from pgtop.history.store import RecordingStore
from pgtop.tui.lines.keys import RECORDING_SAID
from pgtop.tui.lines.notice import Notice
from pgtop.tui.player import PlayerScreen
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from pgtop.tui.screens.over_dashboard import AboutPlan
from tests.builders import SERVER_KEY
from tests.servers import fetch_value, session, sessions, wait_until
from tests.support.dashboards import Driven, dashboard

USAGE = """
    SELECT (count(*) + 5)::float8
        / (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)
    FROM pg_stat_activity WHERE backend_type = 'client backend'"""
"""The usage with five sessions more than there are: the dashboard's is one of them."""


@asynccontextmanager
async def recorded_dashboard(
    server: ThrowawayServer, tmp_path: Path, kept: Kept = Kept.FINGERPRINTS, **settings: Any
) -> AsyncIterator[Driven]:
    """A dashboard that has recorded a few polls."""
    recorder = FlightRecorder(RecordingStore(tmp_path / "recordings", SERVER_KEY), kept, "dashboard", "ops")
    async with dashboard(server, tmp_path / "audit", recorder=recorder, **settings) as driven:
        await polls(driven, 4)
        yield driven


async def polls(driven: Driven, number: int) -> None:
    """Wait for so many more polls."""
    for _ in range(number):
        before = driven.dashboard.state.snapshot
        await wait_until(lambda: driven.dashboard.state.snapshot is not before, complaint="no poll")  # noqa: B023


async def back(driven: Driven) -> PlayerScreen:
    """Press the key that leads into the recording, and wait for the player."""
    await driven.press("left")
    await wait_until(lambda: isinstance(driven.app.screen, PlayerScreen), complaint="no player")
    player = driven.app.screen
    assert isinstance(player, PlayerScreen)
    await driven.shows("REPLAY", "End: back to now")
    return player


async def test_left_shows_the_poll_before_the_one_on_the_screen(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """All of it was recorded: also the last poll, which no write was due for."""
    async with recorded_dashboard(server, tmp_path) as driven:
        shown = driven.shown
        assert shown is not None
        player = await back(driven)
        assert player.poll.snapshot is not None
        # A poll may have come between: what is shown is at most that one.
        assert abs(player.poll.snapshot.taken_at - shown.taken_at) < 2_000_000
        assert {each.id for each in player.poll.snapshot.backends} == {each.id for each in shown.backends}
        assert "● live" not in driven.text


@pytest.mark.parametrize("key", ["end", "escape"])
async def test_polling_goes_on_behind_and_a_key_returns_to_now(
    server: ThrowawayServer, tmp_path: Path, key: str
) -> None:
    async with recorded_dashboard(server, tmp_path) as driven:
        player = await back(driven)
        at = player.poll.seen.at
        await polls(driven, 3)
        assert driven.app.screen is player
        assert player.poll.seen.at == at
        async with session(server, application_name="late-comer"):
            await driven.press(key)
            await wait_until(lambda: driven.app.screen is driven.dashboard)
            await driven.shows("● live", "late-comer")
        assert driven.shown is driven.dashboard.state.snapshot


async def test_a_second_visit_has_what_was_recorded_meanwhile(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with recorded_dashboard(server, tmp_path) as driven:
        first = (await back(driven)).playback.recording.polls
        await driven.press("end")
        await polls(driven, 3)
        assert (await back(driven)).playback.recording.polls >= first + 3


async def test_nothing_of_the_past_is_terminated(server: ThrowawayServer, tmp_path: Path) -> None:
    """Not by the keys of the list, nor by those of the screens above."""
    async with sessions(server, 3, application_name="web") as ones:
        async with recorded_dashboard(server, tmp_path) as driven:
            player = await back(driven)
            for key in ("K", "f9", "C", "S", "A", "B"):
                await driven.press(key, "y", "enter")
                while driven.app.screen is not player:
                    assert isinstance(driven.app.screen, DetailScreen)
                    await driven.press("K")
                    await driven.shows(RECORDING_SAID)
                    await driven.press("y", "q")
                await driven.press("escape")
                if driven.app.screen is driven.dashboard:
                    player = await back(driven)
            assert not any(isinstance(each, AboutPlan) for each in driven.app.screen_stack)
            assert not driven.audit.exists()
            assert not driven.dashboard.plan_actions.is_busy
            assert not driven.dashboard.automatic.is_on
        assert [await each.fetchval("SELECT 1") for each in ones] == [1, 1, 1]


async def test_a_plan_that_is_made_meanwhile_keeps_the_player_closed(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Typed in one breath: the dialog is about the present, and stands over the present."""
    async with session(server), recorded_dashboard(server, tmp_path) as driven:
        for key in ("left", "S"):
            driven.app.post_message(events.Key(key, key))
        await driven.dialog()
        await driven.pilot.pause()
        assert not any(isinstance(each, PlayerScreen) for each in driven.app.screen_stack)
        await driven.press("n")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        await back(driven)


async def test_an_alert_meanwhile_is_told(server: ThrowawayServer, tmp_path: Path) -> None:
    usage = await fetch_value(server, USAGE)
    async with recorded_dashboard(server, tmp_path, warn_at=float(usage)) as driven:
        await back(driven)
        async with sessions(server, 8):
            await driven.shows("NOW: over the", "End returns to now", "REPLAY")


async def test_the_diagnosis_of_the_past_stays_that_of_the_past(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """A poll behind the player does not put its own findings into the open dialog."""
    async with recorded_dashboard(server, tmp_path) as driven:
        player = await back(driven)
        await driven.press("d")
        await wait_until(lambda: isinstance(driven.app.screen, DiagnosisScreen))
        dialog = driven.app.screen
        assert isinstance(dialog, DiagnosisScreen)
        given: list[Snapshot] = []
        update = dialog.update

        def noted(findings, snapshot, forecast):  # type: ignore[no-untyped-def]
            given.append(snapshot)
            update(findings, snapshot, forecast)

        dialog.update = noted  # type: ignore[method-assign]
        await polls(driven, 3)
        assert all(each is player.poll.snapshot for each in given)


async def test_the_title_and_notices_are_the_players_while_it_is_open(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with recorded_dashboard(server, tmp_path) as driven:
        await back(driven)
        driven.dashboard.notices.post(Notice("an old one"))
        await polls(driven, 2)
        assert "an old one" not in driven.text
        await driven.press("end")
        await driven.shows("an old one")


async def test_alerts_are_recorded_while_the_player_is_open(server: ThrowawayServer, tmp_path: Path) -> None:
    async with recorded_dashboard(server, tmp_path) as driven:
        await back(driven)
        assert driven.dashboard.recorder is not None
        driven.dashboard.recorder.alerted(Alert.OVER)
        await driven.press("end")
        player = await back(driven)
        assert [each.words for each in player.playback.stops] == ["over the 80% line"]


async def test_without_a_recording_left_says_why(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "audit") as driven:
        await driven.press("left")
        await driven.shows("nothing is recorded (--no-history)")


async def test_with_counts_alone_left_says_why(server: ThrowawayServer, tmp_path: Path) -> None:
    async with recorded_dashboard(server, tmp_path, Kept.COUNTS) as driven:
        await driven.press("left")
        await driven.shows("the recording has no polls", "--no-record")
        assert driven.app.screen is driven.dashboard


async def test_the_wall_has_the_recording_on_the_wall(server: ThrowawayServer, tmp_path: Path) -> None:
    async with recorded_dashboard(server, tmp_path, wall=True) as driven:
        player = await back(driven)
        assert player.wall
        await driven.press("end")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        assert driven.dashboard.wall
