"""The help: readable at every size, and it says where there is more."""

from pathlib import Path

import pytest

from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.help import help_lines
from tests.support.dashboards import as_text, dashboard


@pytest.mark.parametrize("width", [40, 54, 69, 74, 109, 110, 144])
@pytest.mark.parametrize("read_only", [True, False])
def test_no_line_is_wider_than_there_is_room(width: int, read_only: bool) -> None:
    lines = as_text(help_lines(width, read_only=read_only))
    assert max(map(cell_width, lines)) <= width
    assert not any("…" in line for line in lines)


async def test_it_says_that_there_is_more_until_the_end(server: ThrowawayServer, tmp_path: Path) -> None:
    """What is wrong and what to press stands on the first page at 80x24."""
    async with dashboard(server, tmp_path / "a", size=(80, 24)) as driven:
        await driven.press("f1")
        await driven.shows("Keys and words", "Esc close", "more lines", "Diagnose", "Act", "Find")
        assert "↑ more" not in driven.text
        await driven.press("j", "down")
        await driven.shows("↑ more", "↓")
        await driven.press("end")
        await driven.shows("Words", "LISTEN", "↑ more · Esc close")
        await driven.pilot.resize_terminal(120, 40)
        await driven.shows("Diagnose", "Words", "LISTEN")
        assert "more lines" not in driven.text
        for key in ("escape", "q", "f1", "question_mark", "enter"):
            await driven.press(key)
            assert driven.app.screen is driven.dashboard
            await driven.press("question_mark")


async def test_every_part_is_there_at_forty_by_twelve(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "a", size=(40, 12)) as driven:
        await driven.press("f1")
        await driven.shows("Keys and words", "Diagnose", "more lines · Esc close")
        await driven.press("end")
        await driven.shows("LISTEN", "Esc close")
