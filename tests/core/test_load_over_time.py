"""The load over time: polls of one or several programs, whose times may overlap, end, and be set back."""

import random
from itertools import pairwise
from typing import NamedTuple

from pgtop.core.activity import MICROSECONDS
from pgtop.core.load_over_time import Level, Load, gaps, loads_of, within
from pgtop.history.counts import Counts


class Run(NamedTuple):
    """The counts of one program."""

    counts: list[Counts]
    interval_seconds: float = 2.0
    cluster: str = ""


def at(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def run(begin: float, *totals: int | None, every: float = 2.0, slots: int = 10) -> Run:
    """Polls `every` seconds from `begin` on; None is one without an answer."""
    counts = [
        Counts(at(begin + number * every), total or 0, slots=0 if total is None else slots)
        for number, total in enumerate(totals)
    ]
    return Run(counts, every)


def shown(loads: list[Load]) -> list[tuple[float, float, int]]:
    return [(each.start / MICROSECONDS, each.end / MICROSECONDS, each.total) for each in loads]


def test_a_poll_lasts_until_the_next_one() -> None:
    """Those that are alike are one load, and the last one lasts for an interval."""
    assert shown(loads_of([run(0, 5, 5, 6)])) == [(0, 4, 5), (4, 6, 6)]
    assert loads_of([]) == []


def test_runs_of_one_program_go_on_where_the_last_ended() -> None:
    assert shown(loads_of([run(0, 5, 6), run(4, 7), run(9, 8)])) == [
        (0, 2, 5),
        (2, 4, 6),
        (4, 9, 7),
        (9, 11, 8),
    ]


def test_a_long_break_is_a_gap_and_no_load() -> None:
    loads = loads_of([run(0, 5), run(60, 6)])
    assert shown(loads) == [(0, 2, 5), (60, 62, 6)]
    assert gaps(loads, 0, at(100)) == [(at(2), at(60)), (at(62), at(100))]
    assert gaps(loads, at(60), at(61)) == []


def test_of_a_moment_that_two_programs_wrote_the_fuller_stays() -> None:
    """Each moment counts once, whichever wrote first."""
    one, other = run(0, 5, 5, 5, 5), run(1, 7, 4, every=2)
    for runs in ([one, other], [other, one]):
        assert shown(loads_of(runs)) == [(0, 1, 5), (1, 3, 7), (3, 8, 5)]


def test_an_answer_stands_for_a_poll_without_one() -> None:
    """One program may lose its network while another sees the server; a refusal says that it is full."""
    assert shown(loads_of([run(0, None, None), run(0, 3, 3)])) == [(0, 4, 3)]
    refused = Run([Counts(at(0), refused=True)])
    (load,) = loads_of([run(0, 9), refused])
    assert load.level(0.8) is Level.FULL


def test_a_clock_that_is_set_back_counts_no_moment_twice() -> None:
    loads = loads_of([run(0, 5, 5, 5, 5), run(2, 8, 8), run(6, 5)])
    assert sum(each.seconds for each in loads) == 8
    assert [each.total for each in loads] == [5, 8, 5]


def test_levels_are_those_of_the_line() -> None:
    def level(total: int, slots: int = 10, *, refused: bool = False) -> Level:
        return Load(0, 1, total, slots, refused).level(0.8)

    assert [level(7), level(8), level(10), level(12)] == [Level.BELOW, Level.OVER, Level.FULL, Level.FULL]
    assert level(0, 0) is Level.NO_ANSWER
    assert level(0, 0, refused=True) is level(3, refused=True) is Level.FULL


def test_random_runs_never_overlap_and_cover_what_was_polled() -> None:
    """Whatever several programs wrote: loads rise, and every poll's moment is in one that is as full."""
    chance = random.Random(17)  # noqa: S311
    for _ in range(60):
        runs = [
            run(
                chance.randrange(200),
                *(chance.choice([None, *range(12)]) for _ in range(chance.randrange(1, 20))),
                every=chance.choice([0.5, 1, 2, 5]),
            )
            for _ in range(chance.randrange(1, 8))
        ]
        loads = loads_of(runs)
        assert all(one.end <= other.start for one, other in pairwise(loads))
        assert all(each.start < each.end for each in loads)
        for poll in (each for some in runs for each in some.counts):
            (load,) = within(loads, poll.at, poll.at + 1)
            assert load.total >= poll.total
