"""Episodes: their bounds, peaks, minutes and causes, from loads made by hand and at random."""

import random
from itertools import pairwise

import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.episodes import (
    GOING_ON_SECONDS,
    JOINED_SECONDS,
    Ending,
    Episode,
    Peak,
    episodes_of,
    growth,
)
from pgtop.core.load_over_time import Level, Load
from pgtop.core.recorded import Diagnosed
from tests.builders import backend, snapshot

LEAK = Finding(Kind.LEAK, Grade.LOOKS_LIKE, 6, "leak in web", application_name="web")
QUEUE = Finding(Kind.LOCK_QUEUE, Grade.IS, 3, "lock queue")
MIXED = Finding(Kind.MIXED, Grade.MIXED, 9, "no single cause")


def at(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def loads(*parts: tuple[float, int | None]) -> list[Load]:
    """Loads of so many seconds each, on 10 slots; -1 is a time without a poll, None one without an answer."""
    found, begin = [], 0.0
    for seconds, total in parts:
        if total != -1:
            found.append(Load(at(begin), at(begin + seconds), total or 0, 0 if total is None else 10))
        begin += seconds
    return found


def one(*parts: tuple[float, int | None], said: tuple[Diagnosed, ...] = ()) -> Episode:
    (episode,) = episodes_of(loads(*parts), 0.8, said)
    return episode


def diagnosed(seconds: float, *findings: Finding) -> Diagnosed:
    return Diagnosed(at(seconds), findings)


def test_below_the_line_there_is_not_an_episode() -> None:
    assert episodes_of([], 0.8) == []
    assert episodes_of(loads((100, 7), (10, None), (100, 7)), 0.8) == []


def test_an_episode_lasts_from_the_line_back_to_it() -> None:
    episode = one((100, 3), (60, 8), (30, 10), (10, 9), (100, 5))
    assert (episode.start, episode.end, episode.ending) == (at(100), at(200), Ending.BELOW)
    assert episode.peak == Peak(at(160), 10, 10)
    assert (episode.seconds.full, episode.seconds.over, episode.seconds.over_or_full) == (30, 70, 100)
    assert not episode.begins_unrecorded
    assert episode.calm_at == 0


def test_close_stretches_are_one_episode() -> None:
    """The time between them counts as below the line; a longer one parts them."""
    episode = one((10, 9), (JOINED_SECONDS - 1, 2), (10, 9), (5, 2))
    assert (episode.seconds.over, episode.seconds.below) == (20, JOINED_SECONDS - 1)
    apart = episodes_of(loads((10, 9), (JOINED_SECONDS, 2), (10, 9), (5, 2)), 0.8)
    assert [(each.start, each.end) for each in apart] == [
        (0, at(10)),
        (at(10 + JOINED_SECONDS), at(20 + JOINED_SECONDS)),
    ]


def test_another_cluster_has_episodes_of_its_own() -> None:
    """However close: what filled one server did not fill the other. An unknown cluster may be either."""
    known = [
        Load(at(second), at(second + 10), 9, 10, cluster=cluster)
        for second, cluster in ((0, "7"), (10, ""), (20, "7"), (30, "8"), (40, "8"))
    ]
    found = episodes_of(known, 0.8)
    assert [(each.start, each.end) for each in found] == [(0, at(30)), (at(30), at(50))]
    assert [each.ending for each in found] == [Ending.ANOTHER_CLUSTER, Ending.UNRECORDED]


def test_the_calm_before_is_of_the_same_cluster() -> None:
    """Applications of two clusters are not compared."""
    known = [Load(0, at(10), 2, 10, cluster="7"), Load(at(10), at(20), 9, 10, cluster="8")]
    assert episodes_of(known, 0.8)[0].calm_at is None


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        ((10, 2), Ending.BELOW),
        ((10, None), Ending.NO_ANSWER),
        ((0, -1), Ending.UNRECORDED),
    ],
)
def test_the_end_says_what_came_after(after: tuple[float, int | None], ending: Ending) -> None:
    assert one((5, 2), (10, 9), after).ending is ending


def test_an_episode_goes_on_if_its_last_poll_is_fresh() -> None:
    known = loads((5, 2), (10, 9))
    for seconds, goes_on in ((0, True), (GOING_ON_SECONDS, True), (GOING_ON_SECONDS + 1, False)):
        (episode,) = episodes_of(known, 0.8, now=at(15 + seconds))
        assert episode.goes_on is goes_on


def test_a_beginning_that_was_not_recorded_is_said() -> None:
    assert one((10, 9), (10, 2)).begins_unrecorded
    assert one((5, 2), (20, -1), (10, 9), (10, 2)).begins_unrecorded


def test_refusals_without_a_number_have_no_peak() -> None:
    (episode,) = episodes_of([Load(0, at(10), 0, 0, refused=True)], 0.8)
    assert episode.peak is None
    assert episode.seconds.full == 10


def test_minutes_add_up_and_episodes_never_overlap() -> None:
    """Of loads at random: every second over the line is in one episode, and its parts are its length."""
    chance = random.Random(4)  # noqa: S311
    for _ in range(200):
        known = loads(
            *(
                (chance.choice([1, 50, 200, 400]), chance.choice([None, -1, 2, 7, 8, 9, 10]))
                for _ in range(chance.randrange(20))
            )
        )
        found = episodes_of(known, 0.8)
        assert all(one.end + at(JOINED_SECONDS) <= other.start for one, other in pairwise(found))
        for episode in found:
            parts = episode.seconds
            whole = parts.full + parts.over + parts.below + parts.no_answer + parts.unrecorded
            assert whole == pytest.approx((episode.end - episode.start) / MICROSECONDS)
        over = sum(each.seconds for each in known if each.level(0.8) in (Level.OVER, Level.FULL))
        assert sum(each.seconds.over_or_full for each in found) == pytest.approx(over)


# Causes


def test_the_cause_is_the_one_said_longest_near_the_peak() -> None:
    """A leak that filled it counts for more than what was said while it was only over the line."""
    said = (diagnosed(0, QUEUE), diagnosed(190, LEAK))
    episode = one((100, 8), (100, 8), (60, 10), (10, 2), said=said)
    assert episode.filled_by is not None
    assert episode.filled_by.finding == LEAK
    assert [each.finding for each in episode.causes] == [QUEUE, LEAK]


def test_a_description_gives_way_to_a_cause() -> None:
    said = (diagnosed(0, MIXED), diagnosed(90, MIXED, QUEUE))
    episode = one((100, 9), (10, 2), said=said)
    assert episode.filled_by is not None
    assert episode.filled_by.finding == QUEUE


def test_a_cause_before_the_peak_stands_where_none_was_said_at_it() -> None:
    episode = one((50, 8), (50, 10), (10, 2), said=(diagnosed(0, LEAK), diagnosed(50)))
    assert episode.filled_by is not None
    assert episode.filled_by.finding == LEAK


def test_a_diagnosis_ends_where_nothing_was_recorded() -> None:
    """What was said before pgtop was stopped is not the cause of what it saw afterwards."""
    episode = one((5, 2), (500, -1), (50, 9), (10, 2), said=(diagnosed(0, LEAK),))
    assert episode.filled_by is None
    assert episode.causes == ()


def test_a_cause_is_shown_as_it_was_when_it_weighed_most() -> None:
    larger = Finding(Kind.LEAK, Grade.LOOKS_LIKE, 9, "leak in web, larger", application_name="web")
    episode = one((50, 9), (10, 2), said=(diagnosed(1, LEAK), diagnosed(20, larger), diagnosed(40, LEAK)))
    assert [(each.at, each.finding) for each in episode.causes] == [(at(1), larger)]


def test_of_equal_weights_the_last_is_shown() -> None:
    """It knows best how long the cause lasted."""
    later = Finding(Kind.LOCK_QUEUE, Grade.IS, 3, "lock queue, waiting 2m")
    episode = one((50, 9), (10, 2), said=(diagnosed(1, QUEUE), diagnosed(40, later)))
    assert [(each.at, each.finding) for each in episode.causes] == [(at(1), later)]


# Applications


def test_growth_is_from_before_to_the_peak_the_largest_first() -> None:
    before = snapshot(*(backend(10 + n, application_name=name) for n, name in enumerate("aab")))
    peak = snapshot(
        *(backend(20 + n, application_name=name) for n, name in enumerate(["b", "b", "c", "", None]))
    )
    told = [
        (each.application_name, each.before, each.at_peak, each.difference) for each in growth(before, peak)
    ]
    assert told == [(None, 0, 2, 2), ("b", 1, 2, 1), ("c", 0, 1, 1), ("a", 2, 0, -2)]
