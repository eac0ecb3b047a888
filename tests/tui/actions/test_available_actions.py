"""Every key of the dashboard says when it counts, and stands in the help."""

from typing import Any

import pytest
from textual.actions import parse
from textual.binding import Binding
from textual.screen import Screen

from pgtop.tui.actions.available_actions import ACTING, ON_THE_LIST, WITHOUT_DATA, is_permitted, leads_to_list
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.player import PlayerScreen
from pgtop.tui.screens.column_menu import ColumnMenu
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from pgtop.tui.screens.help import HelpScreen, help_lines
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.plan_dialog import ReportDialog

ON_THE_WALL = {
    "sweep",
    "back",
    "auto",
    "break_glass",
    "clear",
    "lock_tree",
    "group",
    "pause",
    "slower",
    "window",
    "wall",
    "outcomes",
    "diagnosis",
    "help",
    "quit",
}
"""The actions that mean the same on the wall, which shows no list."""

BINDINGS = [each for each in DashboardScreen.BINDINGS if isinstance(each, Binding)]
PLAYER_BINDINGS = [each for each in PlayerScreen.BINDINGS if isinstance(each, Binding)]
ACTIONS = {parse(each.action)[1] for each in BINDINGS}
WRITTEN = {"space": "Space", "slash": "/", "escape": "Esc", "plus": "+", "minus": "-", "f1": "F1"}
WRITTEN |= {"left": "←", "right": "→", "full_stop": ".", "comma": ",", "home": "Home", "end": "End"}
WRITTEN |= {"asterisk": "*", "left_square_bracket": "[", "right_square_bracket": "]"}


def test_every_action_means_the_list_or_works_on_the_wall() -> None:
    """A key that is in neither would change a list that nobody sees."""
    assert ACTIONS == ON_THE_LIST | ON_THE_WALL
    assert not ON_THE_LIST & ON_THE_WALL
    assert ACTING | WITHOUT_DATA <= ACTIONS


@pytest.mark.parametrize("replay", [False, True])
def test_every_key_is_in_the_help(replay: bool) -> None:
    shown = {word for line in help_lines(replay=replay) for cell in line for word in cell.text.split()}
    for binding in PLAYER_BINDINGS if replay else BINDINGS:
        first = binding.key.split(",")[0]
        assert WRITTEN.get(first, first) in shown or not binding.show, binding


def test_an_unavailable_key_leads_nowhere() -> None:
    assert not is_permitted("terminate", has_data=True, wall=True, read_only=False)
    assert not is_permitted("sweep", has_data=False, wall=False, read_only=False)
    assert is_permitted("sweep", has_data=True, wall=True, read_only=False)
    assert leads_to_list("terminate", read_only=False)
    assert not leads_to_list("terminate", read_only=True)
    assert leads_to_list("sort", read_only=True)


PAIRS = {"K": "f9", "q": "f10", "b": "f5", "o": "f6", "slash": "f3", "question_mark": "f1"}


@pytest.mark.parametrize(
    "screen",
    [
        *(DashboardScreen, PlayerScreen, DetailScreen, LockTreeScreen),
        *(DiagnosisScreen, HelpScreen, ColumnMenu, ReportDialog),
    ],
)
def test_a_function_key_means_what_its_letter_does(screen: type[Screen[Any]]) -> None:
    """On every screen: htop's keys are at hand wherever pgtop's are."""
    bindings = [each for owner in screen.__mro__ for each in vars(owner).get("BINDINGS", ())]
    actions = {each.key: each.action for each in Binding.make_bindings(bindings)}
    for letter, function_key in PAIRS.items():
        assert actions.get(letter) == actions.get(function_key), letter


@pytest.mark.parametrize(
    ("screen", "opener"), [(DetailScreen, "enter"), (LockTreeScreen, "b"), (DiagnosisScreen, "d")]
)
def test_the_key_that_opens_a_screen_with_acts_does_not_close_it(
    screen: type[Screen[Any]], opener: str
) -> None:
    """The next key is `K`: it must not mean the list behind."""
    actions = {each.key: each.action for each in Binding.make_bindings(screen.BINDINGS)}
    assert actions.get(opener) not in ("close", "leave", "dismiss")
