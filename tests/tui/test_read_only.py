"""Where read_only is in force no way leads to an act: no key, no click, no name in the palette."""

from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.tui.dashboard import ACTING_KEYS
from tests.servers import session, sessions, wait_until
from tests.tui.screens import Driven, dashboard
from tests.tui.test_dialogs import stale


async def nothing_is_asked(driven: Driven) -> None:
    await driven.pilot.pause()
    assert driven.app.screen is driven.dashboard
    assert not driven.dashboard._acting.is_busy
    assert not driven.dashboard._auto.is_on
    assert not driven.audit.exists()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_no_key_no_click_and_no_command_ends_anything(
    server: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with (
        sessions(server, 2, application_name="web") as some,
        dashboard(server, tmp_path / "a", size=size, read_only=True) as driven,
    ):
        await driven.select(some[0].get_server_pid())
        await wait_until(lambda: driven.dashboard.shown and stale(driven.dashboard.shown) >= 2)
        await driven.shows("read-only", "Space tag")
        for word in ("terminate", "cancel", "sweep", "auto"):
            assert word not in driven.text
        for key in "KCSA":
            await driven.press(key)
            await nothing_is_asked(driven)
        for action in ACTING_KEYS:
            assert not await driven.app.run_action(f"screen.{action}")
            await nothing_is_asked(driven)
        await driven.press("tab")
        await driven.shows("only its sessions")
        assert "sweep" not in driven.text


async def test_without_it_they_are_there(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server), dashboard(server, tmp_path / "a") as driven:
        await driven.shows("K terminate", "C cancel", "S sweep", "A auto")
        assert "read-only" not in driven.text
        names = {command.title for command in driven.app.get_system_commands(driven.dashboard)}
        assert {"Sweep the stale", "Automatic reaping on or off"} <= names


async def test_the_palette_and_the_help_know_no_key_that_acts(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server), dashboard(server, tmp_path / "a", read_only=True) as driven:
        names = " ".join(command.title for command in driven.app.get_system_commands(driven.dashboard))
        assert "Pause" in names
        for word in ("Terminate", "Cancel", "Sweep", "Automatic"):
            assert word not in names
        await driven.press("f1")
        await driven.shows("read-only: nothing can be ended or cancelled")
        assert "terminate" not in driven.text
