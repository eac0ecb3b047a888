"""What a recorded poll answers in the server's place: the lock queue and one session."""

from pgtop.core.activity import ACTIVE
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.lock_tree import lock_tree
from pgtop.tui.lines.session_detail import detail_lines
from pgtop.tui.state.recorded_sessions import recorded_detail, recorded_locks
from tests.builders import backend, snapshot
from tests.support.dashboards import as_text
from tests.support.recordings import seen


def waiting(pid: int):  # type: ignore[no-untyped-def]
    return backend(pid, state=ACTIVE, wait_event_type="Lock", wait_event="relation")


def test_the_blockers_are_those_that_were_asked_for() -> None:
    made = snapshot(backend(10), waiting(11), waiting(12), waiting(13), backend(14))
    facts = Facts(blocked_by={11: frozenset({10}), 12: frozenset({11, 99})})
    queue = recorded_locks(seen(made, facts=facts), made)
    assert queue.now == made.taken_at
    assert queue.waiting == 3
    found = {each.backend.pid: (each.waits, each.blocked_by) for each in queue.sessions}
    assert found == {
        10: (False, frozenset()),
        11: (True, frozenset({10})),
        12: (True, frozenset({11, 99})),
        13: (True, frozenset()),
    }
    assert {node.queued.backend.pid for node in lock_tree(queue) if node.queued} == {10, 11, 12, 99}


def test_a_prepared_transaction_that_blocks_stays_one() -> None:
    made = snapshot(waiting(11))
    queue = recorded_locks(seen(made, facts=Facts(blocked_by={11: frozenset({0})})), made)
    assert [node.queued is None for node in lock_tree(queue)] == [True, False]


def test_a_session_says_what_was_not_recorded() -> None:
    made = snapshot(backend(10, query=None), backend(11))
    detail = recorded_detail(seen(made), made, made.backends[0].id)
    assert detail is not None
    text = "\n".join(as_text(detail_lines(detail, 80)))
    assert "no TLS" not in text
    assert text.count("not recorded") == 3
    other = recorded_detail(seen(made), made, made.backends[1].id)
    assert other is not None
    assert "SELECT 1" in "\n".join(as_text(detail_lines(other, 80)))


def test_a_session_of_another_time_is_not_there() -> None:
    made = snapshot(backend(10))
    assert recorded_detail(seen(made), made, backend(10, age=5).id) is None
