"""The dashboard's parts at every height: the keys are always on the screen, and no part has empty rows."""

from contextlib import AsyncExitStack
from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import dashboard


async def test_the_keys_stay_on_the_screen_at_every_height(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "audit", interval_seconds=60) as driven:
        await driven.shows("sessions:")
        driven.dashboard.say("a notice takes a line of its own")
        for height in (*range(45, 7, -1), 8):
            await driven.pilot.resize_terminal(80, height)
            await driven.pilot.pause()
            lines = [strip.text for strip in driven.strips]
            assert "q quit" in lines[-1], height
            assert "slots" in lines[1], height
            assert any("PID" in line for line in lines), height


async def test_the_groups_take_the_lines_that_they_need(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        sessions(server, 2, application_name="first"),
        sessions(server, 1, application_name="second"),
        dashboard(server, tmp_path / "audit", interval_seconds=0.5, size=(120, 40)) as driven,
    ):
        groups, listed = driven.dashboard.panels.groups, driven.dashboard.panels.sessions
        await wait_until(lambda: len(groups.rows) >= 3, 15, "the applications are not shown")
        await wait_until(lambda: groups.size.height == 1 + len(groups.rows), 15, "blank rows in the groups")
        async with AsyncExitStack() as stack:
            for number in range(30):
                await stack.enter_async_context(session(server, application_name=f"app-{number}"))
            await wait_until(lambda: len(groups.rows) >= 30, 15, "the new applications are not shown")
            await driven.pilot.pause()
            assert groups.size.height == 12
            assert listed.size.height >= 8
