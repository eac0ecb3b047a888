"""The first line keeps its place until another finding leads for a while, or its sessions are gone."""

import msgspec

from pgtop.core.activity import MICROSECONDS, BackendId
from pgtop.core.diagnosis.findings import Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.steady import HOLD_SECONDS, Shown, steady
from pgtop.core.plan import Act

SECOND = MICROSECONDS


def finding(kind: Kind, slots: int, first_pid: int = 1, grade: Grade = Grade.LOOKS_LIKE) -> Finding:
    """A finding of that many sessions, with pids from `first_pid` on."""
    sessions = tuple(BackendId(first_pid + n, 1) for n in range(slots))
    return Finding(kind, grade, slots, f"{kind} {slots}", sessions, application_name=str(kind))


def kinds(shown: Shown) -> list[Kind]:
    return [each.kind for each in shown.findings]


def mixed() -> Finding:
    return Finding(Kind.MIXED, Grade.MIXED, 50, "no single cause")


def test_a_lead_must_be_clear_and_last() -> None:
    leak = finding(Kind.LEAK, 20)
    shown = steady(Shown(), (leak,), 0)
    slightly = (finding(Kind.SURGE, 23, 100), leak)
    clearly = (finding(Kind.SURGE, 30, 100), leak)
    for second in range(1, 60):
        shown = steady(shown, slightly, second * SECOND)
        assert kinds(shown) == [Kind.LEAK, Kind.SURGE]
    shown = steady(shown, clearly, 60 * SECOND)
    assert kinds(shown) == [Kind.LEAK, Kind.SURGE]
    shown = steady(shown, clearly, (60 + round(HOLD_SECONDS) - 1) * SECOND)
    assert kinds(shown) == [Kind.LEAK, Kind.SURGE]
    shown = steady(shown, clearly, (60 + round(HOLD_SECONDS)) * SECOND)
    assert kinds(shown) == [Kind.SURGE, Kind.LEAK]


def test_a_lead_that_is_lost_begins_anew() -> None:
    leak = finding(Kind.LEAK, 20)
    clearly, slightly = (finding(Kind.SURGE, 30, 100), leak), (finding(Kind.SURGE, 21, 100), leak)
    shown = steady(Shown(), (leak,), 0)
    for second in range(1, 100):
        shown = steady(shown, slightly if second % 10 == 0 else clearly, second * SECOND)
        assert kinds(shown)[0] is Kind.LEAK


def test_figures_of_the_first_are_new_at_once() -> None:
    shown = steady(Shown(), (finding(Kind.LEAK, 20),), 0)
    shown = steady(shown, (finding(Kind.LEAK, 21),), SECOND)
    assert shown.findings[0].slots == 21


def test_a_missing_first_is_kept_while_its_sessions_stay() -> None:
    leak = finding(Kind.LEAK, 20)
    present = frozenset(leak.backends)
    shown = steady(Shown(), (leak,), 0, present)
    shown = steady(shown, (mixed(),), SECOND, present)
    assert kinds(shown) == [Kind.LEAK], "a description says nothing beside it"
    shown = steady(shown, (mixed(),), round((1 + HOLD_SECONDS) * SECOND), present)
    assert kinds(shown) == [Kind.MIXED]


def test_a_first_whose_sessions_left_goes_at_once() -> None:
    leak = finding(Kind.LEAK, 20)
    shown = steady(Shown(), (leak,), 0, frozenset(leak.backends))
    assert steady(shown, (), SECOND, frozenset(leak.backends[:5])).findings == ()


def test_a_description_gives_way_at_once() -> None:
    shown = steady(Shown(), (mixed(),), 0)
    assert kinds(steady(shown, (finding(Kind.LEAK, 10),), SECOND)) == [Kind.LEAK]


def test_no_session_is_in_two_findings_that_are_shown() -> None:
    leak, surge = finding(Kind.LEAK, 20), finding(Kind.SURGE, 18, 5)
    present = frozenset((*leak.backends, *surge.backends))
    shown = steady(Shown(), (leak,), 0, present)
    assert kinds(steady(shown, (surge,), SECOND, present)) == [Kind.LEAK]


def test_a_state_that_is_over_is_not_told_any_more() -> None:
    """The sessions of a lock queue stay when it ends: that they wait would be wrong."""
    for kind in (Kind.LOCK_QUEUE, Kind.IDLE_IN_TRANSACTION, Kind.SLOW_STATEMENTS, Kind.LIMIT):
        told = finding(kind, 20)
        shown = steady(Shown(), (told,), 0)
        assert steady(shown, (), SECOND, frozenset(told.backends)).findings == ()


def test_nothing_is_done_for_a_verdict_that_is_kept() -> None:
    leak = finding(Kind.LEAK, 20)
    leak = msgspec.structs.replace(leak, remedy=Remedy(Act.TERMINATE, leak.backends))
    shown = steady(Shown(), (leak,), 0)
    assert steady(shown, (), SECOND, frozenset(leak.backends)).findings[0].remedy is None
