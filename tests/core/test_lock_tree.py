"""The lock tree: each session once, largest tree first, no ring without end."""

from msgspec.structs import replace

from pgtop.core.activity import IDLE_IN_TRANSACTION
from pgtop.core.blocking import PREPARED, PreparedTransaction
from pgtop.core.lock_tree import LockNode, LockQueue, Queued, changed_since, lock_tree
from tests.builders import backend


def queued(pid: int, *blockers: int, unnamed: int = 0) -> Queued:
    """A session that waits for these."""
    return Queued(
        backend(pid),
        waits=bool(blockers),
        wait_start=pid if blockers else None,
        blocked_by=frozenset(blockers),
        unnamed_blockers=unnamed,
    )


def tree(*sessions: Queued, prepared: tuple[PreparedTransaction, ...] = ()) -> tuple[LockNode, ...]:
    """The tree of these sessions."""
    return lock_tree(LockQueue(0, sessions, prepared, len(sessions)))


def drawn(nodes: tuple[LockNode, ...]) -> list[tuple[int, int]]:
    """The depth and the pid of each node; 0 for a prepared transaction."""
    return [(each.depth, each.queued.backend.pid if each.queued is not None else 0) for each in nodes]


def test_the_head_of_a_queue_frees_those_that_wait_for_it_alone() -> None:
    nodes = tree(queued(1), queued(2, 1), queued(3, 2), queued(4, 2), queued(5, 1, 2), queued(6, 5))
    assert drawn(nodes) == [(0, 1), (1, 2), (2, 3), (2, 4), (1, 5), (2, 6)]
    by_pid = {each.queued.backend.pid: each for each in nodes if each.queued is not None}
    assert {pid: (each.behind, each.frees) for pid, each in by_pid.items() if each.behind} == {
        1: (5, 5),
        2: (4, 2),
        5: (1, 1),
    }
    assert [pid for pid, each in by_pid.items() if each.other_blockers] == [5]


def test_a_cancel_leaves_the_advisory_locks_of_its_session() -> None:
    """Nor does one go on for certain that waits for such a lock of a session that is freed and stays."""
    head = replace(queued(2, 1), keeps_advisory=True)
    advisory = replace(queued(3, 2), is_advisory=True)
    nodes = tree(queued(1), head, advisory, queued(4, 2), queued(5, 3))
    told = {each.queued.backend.pid: (each.frees, each.frees_by_cancel) for each in nodes if each.queued}
    assert told == {1: (2, 0), 2: (3, 1), 3: (1, 1), 4: (0, 0), 5: (0, 0)}
    assert [each.is_freed_by_cancel for each in nodes] == [False, False, True, False, False]


def test_those_in_one_advisory_queue_go_on_one_after_the_other() -> None:
    holder = replace(queued(1), keeps_advisory=True, is_advisory=True)
    queue = [replace(queued(pid, *range(1, pid)), is_advisory=True) for pid in (2, 3, 4)]
    assert [each.frees for each in tree(holder, *queue)] == [3, 0, 0, 0]


def test_a_session_that_waits_for_two_roots_stands_below_the_larger() -> None:
    nodes = tree(queued(1), queued(9), queued(5, 1, 9), queued(6, 9))
    assert drawn(nodes) == [(0, 9), (1, 5), (1, 6), (0, 1)]
    assert [each.other_blockers for each in nodes] == [0, 1, 0, 0]
    assert [each.frees for each in nodes] == [1, 0, 0, 0]


def test_a_ring_ends_and_what_waits_behind_it_is_below() -> None:
    nodes = tree(queued(1, 2), queued(2, 3), queued(3, 1), queued(4, 3), queued(8, 7), queued(7))
    assert drawn(nodes) == [(0, 1), (1, 3), (2, 2), (2, 4), (0, 7), (1, 8)]
    assert [each.is_in_ring for each in nodes] == [True, True, True, False, False, False]
    assert nodes[0].behind == 3


def test_a_session_that_blocks_itself_alone_is_one_node() -> None:
    assert drawn(tree(queued(1, 1))) == [(0, 1)]


def test_prepared_transactions_are_roots_of_their_own() -> None:
    known = PreparedTransaction("one", "app", "shop", 0, frozenset({2}))
    nodes = tree(queued(2, PREPARED), queued(3, PREPARED), queued(4, 2), prepared=(known,))
    assert drawn(nodes) == [(0, 0), (1, 2), (2, 4), (0, 0), (1, 3)]
    assert [each.prepared for each in nodes if each.depth == 0] == [known, None]
    assert len({each.key for each in nodes}) == len(nodes)


def test_blockers_that_are_not_named_keep_a_session_from_being_freed() -> None:
    assert [each.frees for each in tree(queued(1), queued(2, 1, unnamed=5))] == [0, 0]


def test_a_session_that_got_its_lock_meanwhile_is_not_shown() -> None:
    assert tree(Queued(backend(5), waits=True)) == ()


def test_a_blocker_that_is_no_longer_listed_has_a_node() -> None:
    nodes = tree(queued(2, 77))
    assert drawn(nodes) == [(0, 77), (1, 2)]
    assert nodes[0].queued is not None
    assert not nodes[0].queued.is_client


def test_nothing_is_done_to_a_session_that_is_not_what_was_shown() -> None:
    shown = backend(5, state=IDLE_IN_TRANSACTION, xact_start=1)
    assert changed_since(shown, shown, cancels=False) == ""
    assert "gone" in changed_since(shown, None, cancels=False)
    other = backend(5, state=IDLE_IN_TRANSACTION, xact_start=2)
    assert "ended the transaction" in changed_since(shown, other, cancels=False)
    active, next_query = (backend(5, state="active", query_start=at) for at in (1, 2))
    assert "no longer runs" in changed_since(active, next_query, cancels=True)
    assert changed_since(active, next_query, cancels=False) == ""
    idle, used = (backend(5, age=age) for age in (60, 1))
    assert "has run a query" in changed_since(idle, used, cancels=False)
