"""The settings that keep a dashboard from ending: read_only altogether, protections in a sweep."""

from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from pgtop.tui.dashboard import DashboardScreen
from tests.servers import sessions
from tests.tui.screens import dashboard


async def test_no_key_and_no_command_ends_anything(server: ThrowawayServer, tmp_path: Path) -> None:
    """K, C and S do nothing; neither the footer nor the palette has them; without read-only both do."""
    for read_only in (False, True):
        async with dashboard(server, tmp_path / "audit.jsonl", read_only=read_only) as driven:
            await driven.shows("F1", "quit")
            named = {each.title for each in driven.app.get_system_commands(driven.dashboard)}
            assert ("Sweep the stale" in named) is not read_only
            assert "Pause or go on" in named
            assert ("sweep" in driven.text.splitlines()[-1]) is not read_only
            if read_only:
                for key in "KCS":
                    await driven.press(key)
                    await driven.pilot.pause(0.3)
                    assert isinstance(driven.app.screen, DashboardScreen)
    assert not (tmp_path / "audit.jsonl").exists()


async def test_a_sweep_spares_whom_the_settings_protect(server: ThrowawayServer, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with (
        sessions(server, 1, application_name="kept"),
        sessions(server, 1, application_name="old"),
        dashboard(server, audit, protect_applications=("ke*",)) as driven,
    ):
        await driven.shows("2 stale")
        await driven.press("S")
        dialog = await driven.dialog()
        assert [each.backend.application_name for each in dialog.plan.victims] == ["old"]
