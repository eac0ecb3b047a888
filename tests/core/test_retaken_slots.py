"""Futile sweeps, and the pauses that follow them: for pools, for leaks, and for what lies between."""

from collections import Counter

import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.retaken_slots import (
    FIRST_REST_SECONDS,
    LONGEST_REST_SECONDS,
    Freed,
    Growth,
    Patience,
    Rebound,
    Undone,
    rebound,
    undone,
)
from tests.builders import NOW, backend, snapshot

FUTILE = Rebound(10.0, 10, {"pool": 10}, 10)
USEFUL = Rebound(10.0, 10, {"leak": 2}, 0)


def grown(growth: Growth, name: str, now: float) -> int | None:
    """What is known of one application's growth."""
    found = growth.of([name], now)
    return None if found is None else found[name]


@pytest.mark.parametrize(
    ("freed", "left", "growth", "now_has", "futile"),
    [
        ({"pool": 10}, {"pool": 0}, {}, {"pool": 10}, True),
        ({"pool": 10}, {"pool": 5}, {}, {"pool": 14}, True),
        ({"pool": 10}, {"pool": 5}, {}, {"pool": 13}, False),
        ({"pool": 10}, {}, {}, {"other": 10}, False),
        ({"pool": 10}, {}, {}, {}, False),
        ({"a": 5, "b": 5}, {}, {}, {"a": 5, "b": 4}, True),
        ({"a": 5, "b": 5}, {}, {}, {"a": 9, "b": 1}, False),
        ({"leak": 1}, {"leak": 40}, {"leak": 1}, {"leak": 41}, False),
        ({"leak": 5}, {"leak": 40}, {"leak": 5}, {"leak": 46}, False),
        ({"leak": 30}, {"leak": 40}, {"leak": 5}, {"leak": 75}, True),
        ({}, {}, {}, {"pool": 3}, False),
    ],
)
def test_futile_is_what_the_same_application_takes_back(
    freed: dict[str, int], left: dict[str, int], growth: dict[str, int], now_has: dict[str, int], futile: bool
) -> None:
    """At least nine tenths, by the same application, and more than it was growing by before."""
    measured = rebound(Freed(0.0, freed, left, growth), now_has, 10.0, 10.0)
    assert measured.is_futile is futile
    assert all(measured.again[name] <= freed[name] for name in measured.again)


def test_growth_counts_for_as_long_as_was_waited() -> None:
    """A leak is not taken for a pool because the poll that measures came late."""
    room = Freed(0.0, {"leak": 5}, {"leak": 40}, {"leak": 5})
    assert not rebound(room, {"leak": 47}, 15.0, 10.0).is_futile


@pytest.mark.parametrize(
    ("late", "futile"), [({}, True), ({"x": 1}, True), ({"x": 2}, False), ({"y": 9}, True)]
)
def test_without_a_known_growth_a_burst_is_a_pool(late: dict[str, int], futile: bool) -> None:
    """On a server that is full from the start: a leak fills the room one after the other, a pool at once."""
    room = Freed(0.0, {"x": 10}, {"x": 30}, None)
    assert rebound(room, {"x": 40}, 10.0, 10.0, late).is_futile is futile
    known = Freed(0.0, {"x": 10}, {"x": 30}, {"x": 0})
    assert rebound(known, {"x": 40}, 10.0, 10.0, late).is_futile


def test_the_application_that_took_most_is_named() -> None:
    measured = rebound(Freed(0.0, {"a": 5, "b": 5}, {}, {}), {"a": 2, "b": 4}, 10.0, 10.0)
    assert (measured.application, measured.taken, measured.share) == ("b", 6, 0.6)
    assert rebound(Freed(0.0, {"a": 5}, {}, {}), {}, 10.0, 10.0).application == ""


def test_growth_is_that_of_the_last_ten_seconds() -> None:
    """Not what came before, never below nought, and nothing where nothing is known."""
    growth = Growth()
    assert grown(growth, "leak", 0.0) is None
    for second in range(0, 60, 5):
        growth.add(float(second), Counter({"leak": 10 + second // 2 if second > 30 else 10, "pool": 9}))
    assert grown(growth, "leak", 55.0) == 5
    assert grown(growth, "pool", 55.0) == 0
    growth.add(60.0, Counter({"leak": 1}))
    assert grown(growth, "leak", 60.0) == 0


def test_a_full_server_hides_no_growth() -> None:
    """What grew until nothing could grow any more goes on to count, for ten minutes."""
    growth = Growth()
    growth.add(0.0, Counter({"leak": 0}))
    growth.add(10.0, Counter({"leak": 20}))
    for second in range(15, 60, 5):
        growth.add(float(second), Counter({"leak": 20}), full=True)
    assert grown(growth, "leak", 60.0) == 20
    assert grown(growth, "leak", 611.0) is None


def test_a_pool_that_comes_back_does_not_grow() -> None:
    """What is opened right after a sweep is the rebound itself."""
    growth = Growth()
    growth.add(0.0, Counter({"pool": 20}))
    growth.add(10.0, Counter({"pool": 20}))
    growth.swept(10.0)
    for second in (12.0, 15.0, 20.0, 25.0):
        growth.add(second, Counter({"pool": 10 if second < 15 else 20}))
        assert grown(growth, "pool", second) == 0


def test_growth_over_longer_polls_is_scaled() -> None:
    growth = Growth()
    growth.add(0.0, Counter({"leak": 0}))
    growth.add(60.0, Counter({"leak": 60}))
    assert grown(growth, "leak", 60.0) == 10


def test_three_futile_sweeps_in_a_row_bring_a_rest() -> None:
    """Ten minutes, doubling with each futile try up to an hour; a useful sweep begins anew."""
    patience = Patience()
    for _ in range(2):
        patience = patience.after(FUTILE, 0.0)
        assert not patience.is_resting(0.0)
    patience = patience.after(FUTILE, 0.0)
    assert patience.application == "pool"
    now, rests = 0.0, []
    for _ in range(5):
        assert patience.is_resting(now)
        rests.append(patience.rest_seconds)
        now = patience.until
        assert not patience.is_resting(now)
        patience = patience.after(FUTILE, now)
    assert rests == [FIRST_REST_SECONDS, 1200, 2400, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS]
    assert patience.after(USEFUL, patience.until) == Patience()


def test_a_useful_sweep_between_futile_ones_counts() -> None:
    patience = Patience()
    for measured in (FUTILE, FUTILE, USEFUL, FUTILE, FUTILE):
        patience = patience.after(measured, 0.0)
        assert not patience.is_resting(0.0)


def test_an_emergency_during_a_rest_changes_nothing() -> None:
    resting = Patience(3, 600.0, 600.0, "pool")
    assert resting.after(FUTILE, 10.0) is resting
    assert resting.after(USEFUL, 10.0) is resting


@pytest.mark.parametrize(
    ("begun_after", "found"),
    [
        ([2.0] * 24, Undone(NOW, "web", 24, 24)),
        ([2.0] * 30, Undone(NOW, "web", 24, 24)),
        ([9.0] * 12, Undone(NOW, "web", 12, 24)),
        ([9.0] * 11, None),
        ([11.0] * 24, None),
        ([-1.0] * 24, None),
    ],
)
def test_an_act_is_undone_by_sessions_opened_at_once(begun_after: list[float], found: Undone | None) -> None:
    """Half of them within ten seconds; what was there before, or came later, tells nothing."""
    backends = [
        backend(pid, application_name="web", backend_start=NOW + round(seconds * MICROSECONDS))
        for pid, seconds in enumerate(begun_after, start=10)
    ]
    assert undone({"web": 24, "api": 2}, NOW, snapshot(*backends)) == found


def test_nothing_terminated_is_not_undone() -> None:
    assert undone({}, NOW, snapshot(backend(10, backend_start=NOW + 1))) is None
