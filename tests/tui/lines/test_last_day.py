"""The wall's line about the last 24 hours."""

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.episodes import day_in_short, episodes_of
from pgtop.core.load_over_time import Load
from pgtop.core.recorded import Diagnosed
from pgtop.core.text import clock
from pgtop.tui.lines.last_day import last_day_line
from tests.builders import NOW

LEAK = Finding(Kind.LEAK, Grade.LOOKS_LIKE, 6, "", application_name="leaky-worker")


def loads(*parts: tuple[float, int]) -> list[Load]:
    """Loads of as many minutes each, on 10 slots, that end now."""
    begin = NOW - round(sum(minutes for minutes, _ in parts) * 60 * MICROSECONDS)
    found = []
    for minutes, total in parts:
        end = begin + round(minutes * 60 * MICROSECONDS)
        found.append(Load(begin, end, total, 10))
        begin = end
    return found


def said(*parts: tuple[float, int], diagnosed: tuple[Diagnosed, ...] = ()) -> str:
    known = loads(*parts)
    start = NOW - 24 * 3600 * MICROSECONDS
    return last_day_line(day_in_short(episodes_of(known, 0.8, diagnosed), known, start, NOW), 0.8)


def test_it_counts_the_episodes_and_names_the_last_cause() -> None:
    begun = NOW - 120 * 60 * MICROSECONDS
    line = said((1200, 2), (20, 10), (100, 2), (10, 9), (110, 2), diagnosed=(Diagnosed(begun, (LEAK,)),))
    last = clock(begun, seconds=False)
    assert line == f"last 24h: 2 episodes, 20m full, last {last} leak in leaky-worker"


def test_a_quiet_day_is_said_as_far_as_it_is_known() -> None:
    assert said((1440, 2)) == "last 24h: never over 80%"
    assert said((125, 7)) == "last 2h: never over 80%"
    assert said((5, 7)) == "last 5m: never over 80%"


def test_nothing_known_is_nothing_said() -> None:
    assert said() == said((0.5, 2)) == ""
