"""The root blockers of a queue of waiting sessions."""

import pytest

from pgtop.core.blocking import RootBlocker, root_blockers


@pytest.mark.parametrize(
    ("blocked_by", "roots"),
    [
        ({}, []),
        ({2: {1}, 3: {2}}, [RootBlocker(1, 2)]),
        ({2: {0}}, [RootBlocker(0, 1)]),
        ({5: {4}, 2: {1}, 3: {1}}, [RootBlocker(1, 2), RootBlocker(4, 1)]),
        ({2: {1, 4}}, [RootBlocker(1, 1), RootBlocker(4, 1)]),
        ({1: {2}, 2: {1}}, [RootBlocker(1, 1), RootBlocker(2, 1)]),
    ],
    ids=["nobody", "chain", "prepared", "most first", "two blockers", "ring"],
)
def test_the_roots_are_found(blocked_by: dict[int, set[int]], roots: list[RootBlocker]) -> None:
    assert root_blockers({pid: frozenset(pids) for pid, pids in blocked_by.items()}) == roots
