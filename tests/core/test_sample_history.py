"""The history is bounded, loses no peak, bridges no gap, and outlives a clock that is set back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import MICROSECONDS, Limits
from pgtop.core.sample_history import (
    DISTINCT_LOWS,
    TIERS,
    History,
    Sample,
    Since,
    column_width,
    held_since,
    sample_of,
)
from pgtop.core.session_groups import GROUP_KEYS, GroupHistory
from tests.builders import NOW, backend, server_of, snapshot

WINDOWS = [300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400]


def sample(seconds: float, total: int, slots: int = 100) -> Sample:
    """A sample that many seconds after the start."""
    return Sample(NOW + int(seconds * MICROSECONDS), total, total // 2, total - total // 2, slots)


def filled(totals: list[int], every: float = 2.0) -> History:
    """A history with one sample each so many seconds."""
    history = History()
    for number, total in enumerate(totals):
        history.add(sample(number * every, total), every)
    return history


def since(seconds: float, *, is_exact: bool = True) -> Since:
    """So many seconds after the start."""
    return Since(NOW + int(seconds * MICROSECONDS), is_exact)


totals_lists = st.lists(st.integers(0, 200), min_size=1, max_size=400)


def test_a_snapshot_becomes_a_sample_with_its_counts_and_slots() -> None:
    """Nothing is counted twice: the sample carries what the snapshot says."""
    seen = snapshot(server=server_of(Limits(100, 3)))
    assert sample_of(seen) == Sample(NOW, 0, 0, 0, 97, 0)


@given(totals_lists, st.sampled_from(WINDOWS), st.integers(1, 400), st.floats(0.1, 60))
def test_a_peak_is_in_every_window_that_reaches_back_to_it(
    totals: list[int], seconds: int, columns: int, every: float
) -> None:
    """However few the columns, the fullest moment of the window is one of its points, with its own values."""
    history = filled(totals, every)
    assert history.latest is not None
    now = history.latest.at
    points = history.window(seconds, now, columns)
    step = column_width(seconds, columns)
    first_shown = (now // step - columns + 1) * step
    given_samples = [sample(n * every, total) for n, total in enumerate(totals)]
    widest = max(width for width, _ in TIERS)
    inside = [s.total for s in given_samples if s.at >= first_shown + widest or first_shown <= NOW]
    assert not inside or max(p.sample.total for p in points) >= max(inside)
    assert all(p.sample in given_samples for p in points)


@given(totals_lists, st.sampled_from(WINDOWS), st.integers(1, 400), st.integers(-50, 50_000))
def test_a_window_has_at_most_one_point_a_column_in_order(
    totals: list[int], seconds: int, columns: int, later: int
) -> None:
    """Columns rise, stay within the window, and no time decreases, wherever now is."""
    history = filled(totals)
    points = history.window(seconds, NOW + later * MICROSECONDS, columns)
    assert len(points) <= columns
    assert [p.column for p in points] == sorted({p.column for p in points})
    assert all(0 <= p.column < columns for p in points)
    assert [p.at for p in points] == sorted(p.at for p in points)
    assert not points or points[0].starts


def test_the_latest_sample_lies_in_the_last_column_when_it_is_of_now() -> None:
    """The right end of a window is now."""
    history = filled([5] * 200)
    assert history.latest is not None
    assert history.window(300, history.latest.at, 77)[-1].column == 76


@given(totals_lists, st.integers(-10, 900), st.sampled_from(WINDOWS))
def test_samples_after_now_are_not_shown(totals: list[int], now: int, seconds: int) -> None:
    """A screen that is paused shows what was known then, and the last sample of then."""
    history = filled(totals)
    moment = NOW + now * MICROSECONDS
    known = [sample(n * 2.0, total) for n, total in enumerate(totals) if n * 2 <= now]
    assert all(p.at <= moment for p in history.window(seconds, moment, 100, edge=moment + 10**9))
    assert history.sample_at(moment) == (known[-1] if known else None)


def test_a_screen_paused_for_hours_still_has_its_sample() -> None:
    """When the detail of that moment is gone, the nearest kept before it stands for it."""
    history = filled([7] * 600 + [9] * 7_000)
    found = history.sample_at(NOW + 1_100 * MICROSECONDS)
    assert found is not None
    assert found.total == 7


def test_a_point_keeps_its_place_in_time_while_the_window_moves_on() -> None:
    """Columns lie on whole multiples of their width: nothing but whole columns ever moves."""
    history = filled(list(range(100)))
    assert history.latest is not None
    step = column_width(300, 50)
    one = history.window(300, history.latest.at, 50)
    two = history.window(300, history.latest.at + step, 50)
    assert [(p.column - 1, p.sample) for p in one] == [(p.column, p.sample) for p in two]


def test_a_day_of_half_seconds_is_bounded_and_keeps_its_oldest_peak() -> None:
    """172,800 samples leave at most the promised buckets, and yesterday's one full moment among them."""
    history = History()
    for number in range(2 * 86_400):
        history.add(sample(number / 2, 97 if number == 4_321 else 10 + number % 7), 0.5)
        if number % 10_000 == 0:
            assert len(history) <= sum(kept for _, kept in TIERS)
    assert len(history) == sum(kept for _, kept in TIERS)
    assert history.latest is not None
    day = history.window(86_400, history.latest.at, 100)
    assert max(p.sample.total for p in day) == 97
    assert len(day) == 100
    assert sum(p.starts for p in day) == 1


@pytest.mark.parametrize("every", [0.1, 0.5, 2.0, 10.0, 60.0])
@pytest.mark.parametrize("seconds", WINDOWS)
def test_steady_polling_is_one_line_at_every_interval_and_window(every: float, seconds: int) -> None:
    """No interval looks like an outage."""
    history = filled([7] * 1_000, every)
    assert history.latest is not None
    assert [p.starts for p in history.window(seconds, history.latest.at, 200)].count(True) == 1


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("seconds", WINDOWS)
def test_no_line_leads_over_an_outage(said: bool, seconds: int) -> None:
    """An outage leaves a gap in each window where it is wide enough to be seen, reported or merely silent."""
    history = History()
    for number in range(60):
        history.add(sample(number * 2, 5), 2)
    if said:
        history.add_gap()
    outage = max(120, seconds // 20)
    for number in range(60):
        history.add(sample(118 + outage + number * 2, 6), 2)
    assert history.latest is not None
    points = history.window(seconds, history.latest.at, 60)
    after = [p for p in points if p.sample.total == 6]
    assert after[0].starts
    assert not any(p.starts for p in after[1:])


def test_a_short_outage_that_was_reported_breaks_the_line_too() -> None:
    """One failed poll is seen, though the distance alone would not tell."""
    history = filled([5] * 30)
    history.add_gap()
    history.add(sample(62, 6), 2)
    assert history.latest is not None
    assert history.window(300, history.latest.at, 150)[-1].starts


@given(totals_lists, totals_lists, st.integers(1, 100_000), st.sampled_from(WINDOWS))
def test_a_clock_set_back_moves_what_was_seen_and_loses_nothing(
    before: list[int], after: list[int], back: int, seconds: int
) -> None:
    """Order, peak and the distance between samples are as if the clock had always been what it is now."""
    history = filled(before)
    resumed = 2 * len(before) - back
    for number, total in enumerate(after):
        history.add(sample(resumed + number * 2, total), 2)
    assert history.latest is not None
    now = history.latest.at
    points = history.window(seconds, now, 200)
    assert [p.at for p in points] == sorted(p.at for p in points)
    assert all(p.at <= now for p in points)
    if 2 * (len(before) + len(after)) <= seconds * 199 // 200:
        assert max(p.sample.total for p in points) == max(before + after)
        assert (now - points[0].at) / MICROSECONDS <= 2 * (len(before) + len(after))


def test_samples_of_one_moment_are_taken_in_the_order_they_came() -> None:
    """Equal times do no harm: the fullest is kept, the last is the latest."""
    history = History()
    for total in (3, 9, 4):
        history.add(sample(0, total))
    assert history.latest == sample(0, 4)
    assert [p.sample.total for p in history.window(300, NOW, 10)] == [9]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=300), st.integers(1, 13))
def test_over_the_line_since_the_first_sample_of_the_unbroken_stretch(totals: list[int], line: int) -> None:
    """It names exactly the sample a reading of them all would find, for any line."""
    history = History()
    for number, total in enumerate(totals):
        history.add(sample(number, total, slots=10), 1)
    expected = None
    for number in reversed(range(len(totals))):
        if totals[number] < line:
            break
        expected = since(number, is_exact=number > 0)
    assert history.over_line_since(line / 10) == expected


@pytest.mark.parametrize("seconds", [5, 200, 5_000])
def test_the_unseen_is_not_claimed(seconds: int) -> None:
    """Usage may have been below the line in any gap, short or long: a server may have been restarted."""
    history = filled([10, 90, 90])
    assert history.over_line_since(0.8) == since(2)
    history.add_gap()
    history.add(sample(seconds, 90), 2)
    history.add(sample(seconds + 2, 90), 2)
    assert history.over_line_since(0.8) == since(seconds, is_exact=False)
    rise = filled([10, 10])
    rise.add_gap()
    rise.add(sample(seconds, 90), 2)
    assert rise.over_line_since(0.8) == since(seconds, is_exact=False)
    rise.add(sample(seconds + 2, 10), 2)
    rise.add(sample(seconds + 4, 90), 2)
    assert rise.over_line_since(0.8) == since(seconds + 4)


def test_sessions_that_are_still_there_tell_of_the_time_before() -> None:
    """With 10 slots and a line of 80%, the eighth of the oldest sessions made it full."""
    begun = [backend(10 + n, backend_start=NOW - (100 - n) * MICROSECONDS) for n in range(9)]
    crowd = snapshot(*begun, server=server_of(Limits(13, 3)))
    assert held_since(crowd, 0.8) == NOW - 93 * MICROSECONDS
    assert held_since(crowd, 0.95) is None
    hidden = (*begun[:7], backend(99, state=None, backend_start=None))
    assert held_since(snapshot(*hidden, server=server_of(Limits(13, 3))), 0.8) is None
    history = History()
    history.add(sample_of(crowd))
    assert history.over_line_since(0.8, held_since(crowd, 0.8)) == Since(NOW - 93 * MICROSECONDS, False)
    seen = filled([10, 90, 90])
    assert seen.over_line_since(0.8, NOW - MICROSECONDS) == since(2), "a rise that was seen is exact"


def test_since_when_follows_a_clock_set_back() -> None:
    """It is told by the clock as it stands now."""
    history = filled([10, 90, 90])
    history.add(sample(4 - 3_600, 90), 2)
    assert history.over_line_since(0.8) == since(2 - 3_600)


def test_since_when_survives_the_loss_of_detail() -> None:
    """A day later it is still the exact sample."""
    history = filled([10, 10, 90] + [85] * 20_000, every=5.0)
    assert history.over_line_since(0.8) == since(10)


def test_levels_of_usage_are_bounded() -> None:
    """Usage that only ever rises does not grow the memory without end."""
    history = History()
    for number in range(DISTINCT_LOWS + 500):
        history.add(sample(number, number, slots=1_000_000), 1)
    assert history.over_line_since(0.0) == since(0, is_exact=False)
    past = history.past()
    assert past is not None
    assert len(past.lows) == DISTINCT_LOWS


@pytest.mark.parametrize("window", WINDOWS)
def test_a_copy_stands_still(window: int) -> None:
    """A fuller sample of the same bucket, and a day of others, change nothing in it."""
    history = filled([10, 20, 30])
    now = NOW + 4 * MICROSECONDS
    copied = history.copy()
    before = copied.window(window, now, 100)
    for second in (5, 6, 7, *range(10, 90_000, 30)):
        history.add(sample(second, 90), 2.0)
    assert copied.window(window, now, 100) == before
    assert copied.latest == sample(4, 30)
    assert copied.over_line_since(0.25) == Since(now, True)


def test_an_empty_history_has_nothing_to_show() -> None:
    """No sample: no point, no latest, nothing over any line."""
    history = History()
    assert history.window(300, NOW, 10) == []
    assert history.latest is None
    assert history.over_line_since(0.0) is None


def test_the_change_of_a_group_is_over_the_minutes_asked_for() -> None:
    """44 now and 13 a quarter of an hour ago is +31; a group that left is below zero."""
    groups: GroupHistory[str] = GroupHistory()
    for second in range(0, 1_802, 2):
        leaked = 13 if second < 960 else 44
        groups.add(
            NOW + second * MICROSECONDS, {"leaky-worker": leaked, **({"web": 5} if second < 1_000 else {})}
        )
    now = NOW + 1_800 * MICROSECONDS
    assert groups.change("leaky-worker", 44, now) == 31
    assert groups.change("leaky-worker", 44, now, 60) == 0
    assert groups.change("web", 0, now) == -5
    assert groups.change("nobody", 0, now) == 0
    compared_with = groups.compared_with(now)
    assert compared_with is not None
    assert 885 <= (now - compared_with) / MICROSECONDS <= 900
    assert groups.series("leaky-worker")[-1] == 44
    assert len(groups.series("leaky-worker")) <= 62


def test_the_change_of_a_moment_stands_still_while_more_is_seen() -> None:
    """What a paused screen shows is not touched by what comes after it, a quarter of an hour included."""
    groups: GroupHistory[str] = GroupHistory()
    for second in range(0, 62, 2):
        groups.add(NOW + second * MICROSECONDS, {"web": second})
    paused_at = NOW + 60 * MICROSECONDS
    assert groups.change("web", 60, paused_at) == 60
    for second in range(62, 300, 2):
        groups.add(NOW + second * MICROSECONDS, {"web": 500})
    assert groups.change("web", 60, paused_at) == 60
    for second in range(300, 1_200, 2):
        groups.add(NOW + second * MICROSECONDS, {"web": 500})
    assert groups.change("web", 60, paused_at) is None


def test_the_change_is_unknown_with_nothing_to_compare_with() -> None:
    """One sample tells no change; the second does, however young the history."""
    groups: GroupHistory[tuple[str, str]] = GroupHistory()
    key = ("leaky-worker", "app")
    assert groups.change(key, 3, NOW) is None
    groups.add(NOW, {key: 3})
    assert groups.change(key, 3, NOW) is None
    assert groups.compared_with(NOW) is None
    groups.add(NOW + 2 * MICROSECONDS, {key: 5})
    assert groups.change(key, 5, NOW + 2 * MICROSECONDS) == 2
    assert groups.compared_with(NOW + 2 * MICROSECONDS) == NOW


def test_only_the_biggest_groups_are_kept_others_have_no_change() -> None:
    """It never says +30 of a group that was merely left out before."""
    groups: GroupHistory[int] = GroupHistory()
    for second in (0, 20):
        groups.add(NOW + second * MICROSECONDS, {key: key for key in range(10_000)})
    now = NOW + 20 * MICROSECONDS
    assert groups.change(9_999, 9_999, now) == 0
    assert groups.change(3, 3, now) is None
    assert all(len(s.totals) <= GROUP_KEYS for s in groups.samples)


@given(st.lists(st.integers(-2_000, 2_000), min_size=1, max_size=200))
def test_group_samples_stay_bounded_and_in_order_on_any_clock(steps: list[int]) -> None:
    """A clock that jumps both ways leaves at most 61 samples, in order."""
    groups: GroupHistory[str] = GroupHistory()
    at = NOW
    for step in steps:
        at += step * MICROSECONDS
        groups.add(at, {"web": 1})
    assert len(groups.samples) <= 61
    assert [s.at for s in groups.samples] == sorted(s.at for s in groups.samples)
    assert groups.change("web", 1, at) in (0, None)


def taken_up(totals: list[int], join: int, every: float) -> History:
    """The same samples as `filled` has, the first `join` of them from a history that ended."""
    later = History()
    for number, total in enumerate(totals[join:], join):
        later.add(sample(number * every, total), every)
    past = filled(totals[:join], every).past()
    assert past is not None
    later.put_before(past, every)
    return later


@given(
    st.lists(st.integers(0, 120), min_size=2, max_size=400),
    st.data(),
    st.sampled_from(WINDOWS),
    st.sampled_from([0.1, 0.5, 2.0, 60.0, 3600.0]),
)
def test_a_continued_history_equals_one_without_a_break(
    totals: list[int], data: st.DataObject, seconds: int, every: float
) -> None:
    """The same curve, and since when it is over any line, to the sample."""
    join = data.draw(st.integers(1, len(totals) - 1))
    whole, joined = filled(totals, every), taken_up(totals, join, every)
    assert whole.latest is not None
    now = whole.latest.at
    assert joined.window(seconds, now, 120) == whole.window(seconds, now, 120)
    for warn_at in (0.1, 0.5, 0.8, 1.0):
        assert joined.over_line_since(warn_at) == whole.over_line_since(warn_at)


def test_the_time_without_pgtop_is_a_gap_and_ends_what_was_unbroken() -> None:
    """No line leads over it, and over the line since before it is no longer sure."""
    early, late = History(), History()
    early.add(sample(0, 90))
    early.add(sample(2, 90))
    late.add(sample(3_600, 90))
    late.add(sample(3_602, 90))
    past = early.past()
    assert past is not None
    late.put_before(past)
    points = late.window(10_800, NOW + 3_602 * MICROSECONDS, 1_080)
    assert [p.starts for p in points] == [True, True]
    assert points[1].at >= NOW + 3_600 * MICROSECONDS
    assert late.over_line_since(0.8) == since(3_600, is_exact=False)


def test_samples_from_the_future_are_left_out() -> None:
    """The clock was set back while pgtop was closed: what cannot be placed is not shown, nor believed."""
    early = filled([90] * 100)
    late = History()
    late.add(sample(100, 95))
    past = early.past()
    assert past is not None
    late.put_before(past)
    late.add(sample(300, 95))
    points = late.window(600, NOW + 300 * MICROSECONDS, 1_200)
    assert [p.at - NOW for p in points if p.at >= NOW + 100 * MICROSECONDS] == [
        100 * MICROSECONDS,
        300 * MICROSECONDS,
    ]
    assert [p.sample.total for p in points] == [90] * 50 + [95] * 2
    assert late.over_line_since(0.8) == since(300, is_exact=False)


def test_a_continued_series_moves_with_a_clock_set_back_later() -> None:
    history = History()
    history.add(sample(10, 20))
    history.add(sample(4, 20))  # six seconds back
    past = filled([30, 30]).past()
    assert past is not None
    history.put_before(past)
    points = history.window(300, NOW + 4 * MICROSECONDS, 300)
    assert points[-1].at == NOW + 4 * MICROSECONDS
    assert {p.sample.total for p in points} == {20, 30}


def test_only_what_came_after_a_moment_is_given_again() -> None:
    """What is written each time is little: a bucket is new where its sample is."""
    history = filled([10] * 1_000)
    past = history.past(after=NOW + 1_990 * MICROSECONDS)
    assert past is not None
    assert [len(tier) for tier in past.tiers] == [4, 1, 1]
    assert past.latest_at == NOW + 1_998 * MICROSECONDS
    assert History().past() is None
