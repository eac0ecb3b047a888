"""The root blockers of a queue of waiting sessions."""

import pytest

from pgtop.core.blocking import root_blockers, with_blocked
from pgtop.core.plan import ReapPolicy
from pgtop.core.policy import plan_terminate
from pgtop.reaping.plan_wording import left_waiting, queue_sentence
from tests.builders import backend, snapshot


@pytest.mark.parametrize(
    ("blocked_by", "roots"),
    [
        ({}, []),
        ({2: {1}, 3: {2}}, [(1, 2)]),
        ({2: {0}}, [(0, 1)]),
        ({5: {4}, 2: {1}, 3: {1}}, [(1, 2), (4, 1)]),
        ({2: {1, 4}}, [(1, 1), (4, 1)]),
        ({1: {2}, 2: {1}}, [(1, 1), (2, 1)]),
    ],
    ids=["nobody", "chain", "prepared", "most first", "two blockers", "ring"],
)
def test_the_roots_are_found(blocked_by: dict[int, set[int]], roots: list[tuple[int, int]]) -> None:
    found = root_blockers({pid: frozenset(pids) for pid, pids in blocked_by.items()})
    assert [(root.pid, root.blocked) for root in found] == roots


@pytest.mark.parametrize(
    ("blocked_by", "behind", "said"),
    [
        ({}, 0, ""),
        ({9: {0}}, 0, ""),
        ({9: {11}}, 1, "1 session waits for locks behind 11"),
        ({12: {11}}, 0, ""),
        ({9: {11}, 8: {9}, 7: {12}}, 3, "3 sessions wait for locks behind 11 and 12"),
        ({9: {11, 12, 13}}, 1, "1 session waits for locks behind 11, 12 and 13"),
        ({9: {11, 12, 13, 14}, 8: {9}}, 2, "2 sessions wait for locks behind 4 of these"),
    ],
    ids=["nobody", "elsewhere", "one", "a victim itself", "chain", "three", "many"],
)
def test_a_plan_counts_each_that_waits_once(blocked_by: dict[int, set[int]], behind: int, said: str) -> None:
    """A victim that waits behind another one is ended, and not helped."""
    seen = snapshot(*(backend(pid, state="active") for pid in (11, 12, 13, 14)))
    plan = plan_terminate(seen, ReapPolicy(), [each.id for each in seen.backends])
    told = with_blocked(plan, {pid: frozenset(pids) for pid, pids in blocked_by.items()})
    assert told.blocked_sessions == behind
    assert queue_sentence(told) == said
    assert left_waiting(told) == 0
