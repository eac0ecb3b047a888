"""The banner over a recording: at any width it says that this is one, and of when."""

from datetime import UTC

import pytest

from pgtop.core.text import cell_width
from pgtop.tui.lines.replay_banner import Replayed, banner_line
from pgtop.tui.terminal.ascii import to_ascii
from tests.builders import NOW

SHOWN = Replayed(NOW, 512, 1800)


def said(replayed: Replayed, width: int) -> str:
    return "".join(cell.text for cell in banner_line(replayed, width, UTC))


@pytest.mark.parametrize("width", range(1, 200))
def test_it_fills_the_line_and_says_the_time(width: int) -> None:
    for replayed in (SHOWN, SHOWN._replace(is_playing=True, speed=0.25), SHOWN._replace(is_over_live=True)):
        text = said(replayed, width)
        assert cell_width(text) == width
        if width >= 16:
            assert "REPLAY" in text
            assert "22:13:20" in text


def test_it_has_a_look_of_its_own() -> None:
    assert {cell.style for cell in banner_line(SHOWN, 80, UTC)} == {"replay"}


def test_it_says_what_is_going_on() -> None:
    assert "2023-11-14 22:13:20  paused  poll 512 of 1800" in said(SHOWN, 80)
    assert "playing 60x" in said(SHOWN._replace(is_playing=True, speed=60.0), 80)
    assert "seeking 42%" in said(SHOWN._replace(seeking=0.42, is_playing=True), 80)
    assert "End: back to now" in said(SHOWN._replace(is_over_live=True), 120)
    assert "End" not in said(SHOWN, 120)


def test_it_holds_in_ascii() -> None:
    assert to_ascii(said(SHOWN, 60)).startswith(" < REPLAY  2023-11-14 22:13:20  paused")
