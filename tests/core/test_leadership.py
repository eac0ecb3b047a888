"""The choice among holders of the key: a table of those that count, and their order."""

from typing import Any

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.leadership import Key, is_outdated, passed_over_sentence, ranked

NOW = 1_700_000_000 * MICROSECONDS
OWN = 1


def key(pid: int, *, silent: float = 0.0, **fields: Any) -> Key:
    """A holder that counts, older the lower its pid, last heard of `silent` seconds ago."""
    plain = Key(
        pid=pid,
        backend_start=pid * MICROSECONDS,
        state_change=NOW - int(silent * MICROSECONDS),
        application_name="pgtop daemon@a",
        usename="ops",
        is_shared=True,
        promise_seconds=12,
        rules=7,
        may_signal=True,
        is_same_role=False,
    )
    return msgspec.structs.replace(plain, **fields)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (key(2), ""),
        (key(2, may_signal=False, is_same_role=True), ""),
        (key(2, silent=12), ""),
        (key(2, silent=-1), ""),
        (key(2, is_shared=False), "exclusively"),
        (key(2, application_name="psql"), "not named"),
        (key(2, application_name="pgtop"), "not named"),
        (key(2, may_signal=False), "may not terminate"),
        (key(2, silent=12.1), "not been heard from"),
        (key(2, state_change=None), "not been heard from"),
    ],
)
def test_a_holder_counts_or_is_passed_over_for(one: Key, reason: str) -> None:
    """Its role, its name, a shared key, and a sign of life within what it promised."""
    ranking = ranked([one], OWN, NOW)
    assert len(ranking.holders) == (not reason)
    assert all(reason in each.said and "pid 2 (ops, " in each.said for each in ranking.passed_over)
    assert len(ranking.passed_over) == bool(reason)


def test_this_session_counts_whatever_its_role_and_age() -> None:
    own = key(OWN, silent=1000, may_signal=False, is_same_role=False)
    assert ranked([own], OWN, NOW).holders == (own,)
    assert not ranked([msgspec.structs.replace(own, is_shared=False)], OWN, NOW).holders


def test_the_oldest_of_those_that_may_end_sessions_is_first() -> None:
    """Whatever the order of the rows; one that may end only those of its own role comes last."""
    old, young = key(5), key(9)
    older_but_weak = key(3, may_signal=False, is_same_role=True)
    for rows in ([young, older_but_weak, old], [older_but_weak, old, young]):
        assert ranked(rows, OWN, NOW).holders == (old, young, older_but_weak)
    twins = [key(8, backend_start=1), key(7, backend_start=1)]
    assert [each.pid for each in ranked(twins, OWN, NOW).holders] == [7, 8]


def test_those_that_are_passed_over_are_named_and_the_rest_counted() -> None:
    """What others chose for a name is printable, and there is a bound."""
    rows = [key(pid, application_name="x\x1b]0;y", is_shared=False) for pid in range(2, 9)]
    said = passed_over_sentence(ranked(rows, OWN, NOW).passed_over)
    assert said.count("pid ") == 3
    assert said.endswith("; and 4 more")
    assert said.isprintable()
    assert passed_over_sentence(()) == ""


def test_a_snapshot_from_before_a_standstill_is_outdated() -> None:
    assert not is_outdated(NOW, NOW + 12 * MICROSECONDS, 12)
    assert is_outdated(NOW, NOW + 12 * MICROSECONDS + 1, 12)
