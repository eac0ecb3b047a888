"""The time to full: said only within the hour, from the growth that was seen, or else from a finding's."""

import msgspec

from pgtop.core.activity import MICROSECONDS, Limits, Snapshot
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.forecast import Forecast, at_pace, forecast
from pgtop.core.diagnosis.scene import Before
from tests.builders import NOW, backend, server_of, snapshot

MINUTE = 60 * MICROSECONDS


def taken(number: int) -> Snapshot:
    """A snapshot of a server with 100 slots."""
    return snapshot(*(backend(pid) for pid in range(1, number + 1)), server=server_of(Limits(103, 3)))


def leak(full_in_minutes: float) -> Finding:
    return Finding(Kind.LEAK, Grade.LOOKS_LIKE, 40, "leak", full_at=NOW + round(full_in_minutes * MINUTE))


def test_growth_that_was_seen_counts_before_a_finding() -> None:
    found = forecast(taken(80), Before(growth_per_minute=2.0, growth_uncertainty=0.1), (leak(30),))
    assert found == Forecast(NOW + 10 * MINUTE, 0.1, 2.0)
    assert forecast(taken(80), Before(), (leak(30), leak(20))) == Forecast(NOW + 20 * MINUTE)


def test_nothing_is_foretold_beyond_the_hour_or_when_full() -> None:
    assert forecast(taken(80), Before(growth_per_minute=0.3), ()) is None
    assert forecast(taken(80), Before(), (leak(90),)) is None
    assert forecast(taken(80), Before(), ()) is None
    assert forecast(taken(100), Before(growth_per_minute=5.0), (leak(0),)) is None


def test_growth_needs_free_slots() -> None:
    assert at_pace(taken(100), 2.0) is None
    assert at_pace(taken(90), -1.0) is None
    assert at_pace(taken(90), None) is None


def test_a_time_of_day_only_for_the_near_future() -> None:
    near = msgspec.structs.replace(Forecast(NOW + 12 * MINUTE), uncertainty=0.3)
    assert near.words(NOW).startswith("full at about ")
    assert Forecast(NOW + 29 * MINUTE, 0.3).words(NOW) == "full within the hour"
    assert Forecast(NOW + 59 * MINUTE, 0.3).words(NOW) == "full within 2 h"
