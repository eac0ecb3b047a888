"""A terminal that has two sizes at once, for a moment or for as long as it is asked."""

from pathlib import Path

from textual.events import Resize
from textual.geometry import Size

from pgtop.demo.server import ThrowawayServer
from tests.support.dashboards import dashboard
from tests.support.terminals import terminal


async def test_two_sizes_under_way_at_once_end_in_the_terminals_own(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As where a window is drawn larger while the program starts."""
    async with dashboard(server, tmp_path / "audit", interval_seconds=60, size=(100, 30)) as driven:
        seen: list[Size] = []
        screen, own = driven.dashboard, driven.app.size
        screen.screen_layout_refresh_signal.subscribe(screen, lambda _: seen.append(screen.size))
        for size in (Size(90, 25), own):
            screen.post_message(Resize(size, size))
            screen.call_later(lambda: None)  # those that follow at once on each other become one
        await driven.pilot.pause(0.3)
        settled = len(seen)
        await driven.pilot.pause(0.3)
        assert len(seen) == settled
        assert screen.size == own
        await driven.shows("127.0.0.1")


def test_a_terminal_without_a_height_is_drawn_on_and_heard(server: ThrowawayServer, tmp_path: Path) -> None:
    """As a serial line: of the two heights that the toolkit takes it for, one counts."""
    with terminal(server, tmp_path, size=(80, 24)) as opened:
        opened.resize_only(80, 0)
        opened.shows("slots")
        opened.press(b"q")
        assert opened.ends() == 0
