"""Alerts: at once for the worse, once and not at each poll, and never for a usage that hovers."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.alerts import (
    CLEARLY,
    FILLING_OVER_SECONDS,
    FILLING_WITHIN_SECONDS,
    HOLD_SECONDS,
    Alert,
    Filling,
    Observation,
    Watch,
    filling,
    watched,
)

CALM = Observation("calm", 0.3)
NEAR = Observation("calm", 0.01)
"""Below the line, and not clearly."""
OVER = Observation("over", -0.05)
FULL = Observation("full", -0.2)
OUT = Observation(None)
SIGHTS = {"c": CALM, "n": NEAR, "o": OVER, "f": FULL, "x": OUT}

POLL_SECONDS = 2.0


def alerts(story: str, every: float = POLL_SECONDS) -> list[tuple[int, Alert]]:
    """The alerts of a story of polls, each with the number of the poll that gave it."""
    watch, found = Watch(), []
    for number, letter in enumerate(story):
        watch, alert = watched(watch, SIGHTS[letter], 1000.0 + number * every)
        if alert is not None:
            found.append((number, alert))
    return found


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("cccccccc", []),
        ("oooooooo", []),
        ("ffffffff", []),
        ("xxxxxxxxxxxxxxx", []),
        ("xxxxxxxxxxxxxxxccc", []),
        ("xxxoc", [(4, Alert.RECOVERED)]),
        ("cco", [(2, Alert.OVER)]),
        ("ccf", [(2, Alert.FULL)]),
        ("ccof", [(2, Alert.OVER), (3, Alert.FULL)]),
        ("ccooooooc", [(2, Alert.OVER), (8, Alert.RECOVERED)]),
        ("ccoc", [(2, Alert.OVER)]),
        ("ccoccccc", [(2, Alert.OVER), (7, Alert.RECOVERED)]),
        ("ccooooooonnnnnn", [(2, Alert.OVER), (14, Alert.RECOVERED)]),
        ("ccooooooonnnnno", [(2, Alert.OVER)]),
        ("cconononononononon", [(2, Alert.OVER)]),
        ("ccofofofofofofofof", [(2, Alert.OVER), (3, Alert.FULL)]),
        ("ccfffffffooooooooof", [(2, Alert.FULL), (18, Alert.FULL)]),
        ("ccfffffffc", [(2, Alert.FULL), (9, Alert.RECOVERED)]),
        ("ccxxxc", []),
        ("ccxxxo", [(5, Alert.OVER)]),
        ("ccxxxxxxxxxx", [(7, Alert.OUTAGE)]),
        ("ccxxxxxxxxc", [(7, Alert.OUTAGE), (10, Alert.RECOVERED)]),
        ("ccxxxxxxxxo", [(7, Alert.OUTAGE), (10, Alert.OVER)]),
        ("ccxxxxxxxxf", [(7, Alert.OUTAGE), (10, Alert.FULL)]),
        ("ccxxxcxxxcxxxc", []),
        ("ccoxxxo", [(2, Alert.OVER)]),
    ],
)
def test_a_story_of_polls_gives_these_alerts(story: str, expected: list[tuple[int, Alert]]) -> None:
    """Two seconds lie between two polls: what is better has to last for five of them to be believed."""
    assert alerts(story) == expected


def test_clearly_below_is_a_twentieth_of_the_slots_below_the_line() -> None:
    over = Watch(told="over", told_at=0.0)
    assert watched(over, Observation("calm", CLEARLY), 100.0)[1] is Alert.RECOVERED
    assert watched(over, Observation("calm", CLEARLY * 0.99), 100.0)[1] is None


stories = st.text("cnofx", max_size=200)
paces = st.sampled_from([0.1, 1.0, 2.0, 9.9, 60.0])


@given(stories, paces)
def test_only_a_server_that_is_full_again_repeats_an_alert(story: str, every: float) -> None:
    for (first, one), (second, other) in pairwise(alerts(story, every)):
        if one is other:
            assert one is Alert.FULL
            assert (second - first) * every >= HOLD_SECONDS * 0.999


@given(stories, paces)
def test_recovery_waits_for_the_hold_except_after_an_outage(story: str, every: float) -> None:
    for (first, one), (second, other) in pairwise(alerts(story, every)):
        if other is Alert.RECOVERED and one is not Alert.OUTAGE:
            assert (second - first) * every >= HOLD_SECONDS * 0.999


@given(stories, st.sampled_from("cnof"), paces)
def test_nothing_rings_once_it_has_stood_still_for_a_hold(story: str, last: str, every: float) -> None:
    still = int(HOLD_SECONDS / every) + 2
    told = alerts(story + last * (still + 50), every)
    assert all(number < len(story) + still for number, _ in told)


@given(st.text("cnofx", min_size=1, max_size=200), paces)
def test_the_last_status_is_told_after_a_hold(story: str, every: float) -> None:
    """Whoever hears only the alerts knows in the end how it stands, whatever happened before."""
    still = int(HOLD_SECONDS / every) + 2
    for letter, ends in (("c", {Alert.RECOVERED}), ("f", {Alert.FULL})):
        told = alerts("c" + story + letter * still, every)
        assert not told or told[-1][1] in ends


@given(stories, paces)
def test_a_worse_state_rings_in_the_poll_that_shows_it(story: str, every: float) -> None:
    told = alerts("c" * 2 + story.replace("o", "").replace("f", "") + "f", every)
    assert told[-1] == (2 + len(story.replace("o", "").replace("f", "")), Alert.FULL)


FILLING_SIGHTS: dict[str, tuple[float | None, float, Alert | None]] = {
    ".": (None, 0.6, None),
    "s": (FILLING_WITHIN_SECONDS, 0.6, None),
    "l": (FILLING_WITHIN_SECONDS + 1, 0.6, None),
    "h": (100.0, 0.5, None),
    "e": (100.0, 0.49, None),
    "o": (100.0, 0.85, Alert.OVER),
    "F": (None, 1.0, Alert.FULL),
    "R": (None, 0.6, Alert.RECOVERED),
}
"""What a poll may show: the forecast, the usage, and another alert of this poll."""


def fills(story: str, every: float) -> list[int]:
    """The polls of a story at which a server that fills is an alert."""
    episode, found = Filling(), []
    for number, letter in enumerate(story):
        episode, begins = filling(episode, *FILLING_SIGHTS[letter], 1000.0 + number * every)
        found += [number] if begins else []
    return found


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("....", []),
        ("llll", []),
        ("eeee", []),
        ("..s", [2]),
        ("..h", [2]),
        ("llss", [2]),
        ("ssssssssssssssss", [0]),
        ("s.....s.....s....s", [0]),
        ("s......s", [0, 7]),
        ("s......", [0]),
        ("s.....s", [0]),
        ("sssossFssRs", [0, 10]),
        ("sFss", [0]),
        ("Fss", []),
        ("F......s", [7]),
        ("soo", [0]),
        ("o", [0]),
        ("sR.Rs", [0, 4]),
    ],
)
def test_a_server_that_fills_is_told_once_an_episode(story: str, expected: list[int]) -> None:
    """Ten seconds lie between two polls: an episode is over after six of them without a sign of it."""
    assert fills(story, FILLING_OVER_SECONDS / 6) == expected


@given(st.text("".join(FILLING_SIGHTS), max_size=200), paces)
def test_two_fillings_have_an_end_in_between(story: str, every: float) -> None:
    for first, second in pairwise(fills(story, every)):
        between = story[first + 1 : second]
        quiet = max(map(len, re.split("[shoF]", between))) * every
        assert "R" in between or quiet >= FILLING_OVER_SECONDS
