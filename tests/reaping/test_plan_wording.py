"""The words of a plan: the room that it makes, and how much of it is soon taken again."""

import pytest

from pgtop.core.plan import Outcome, Plan, Result
from pgtop.core.policy import plan_cancel, plan_terminate
from pgtop.reaping.plan_wording import outcome_sentence, refill_sentence
from pgtop.reaping.reaper import Report
from tests.builders import backend, policy, snapshot

SHOWN = snapshot(*(backend(pid) for pid in range(10, 50)))
"""Forty sessions of 97."""


def plan_for(*pids: int) -> Plan:
    """A plan to terminate these."""
    return plan_terminate(SHOWN, policy(), [each.id for each in SHOWN.backends if each.pid in pids])


@pytest.mark.parametrize(
    ("pids", "back", "said"),
    [
        (range(10, 50), range(10, 50), "All of these come back at once: expect 42%, not 0%"),
        (range(10, 50), range(10, 30), "20 of these come back at once: expect 21%, not 0%"),
        (range(10, 50), range(10, 11), "1 of these comes back at once: expect 1%, not 0%"),
        (range(10, 11), range(10, 50), "It comes back at once: expect 42%, not 41%"),
        (range(10, 20), range(20, 50), ""),
        (range(10, 20), (), ""),
    ],
)
def test_sessions_that_come_back_at_once_are_counted_again(pids: range, back: range, said: str) -> None:
    plan = plan_for(*pids)
    assert len(plan.victims) == len(pids)
    again = frozenset(each.id for each in SHOWN.backends if each.pid in back)
    assert refill_sentence(plan, again) == said


def test_a_cancelled_query_gives_no_room_to_take_again() -> None:
    one = snapshot(backend(10, state="active", query_start=5))
    plan = plan_cancel(one, policy(), [one.backends[0].id])
    assert refill_sentence(plan, frozenset({one.backends[0].id})) == ""


def report_of(plan: Plan, *outcomes: Outcome) -> Report:
    """The report of a plan whose sessions had these outcomes."""
    return Report(plan, tuple(map(Result, plan.victims, outcomes)))


def test_a_report_says_what_became_of_those_that_changed() -> None:
    plan = plan_for(*range(10, 14))
    outcomes = (Outcome.TERMINATED, Outcome.CHANGED, Outcome.CHANGED, Outcome.DENIED)
    assert outcome_sentence(report_of(plan, *outcomes)) == (
        "terminated 1 of 4 sessions: 2 left alone (changed: in use again, or gone), 1 denied"
    )
    assert outcome_sentence(report_of(plan_for(10), Outcome.TERMINATED)) == "terminated 1 session"


def test_a_query_that_was_over_is_told_as_that() -> None:
    one = snapshot(backend(10, state="active", query_start=5))
    plan = plan_cancel(one, policy(), [one.backends[0].id])
    assert outcome_sentence(report_of(plan, Outcome.CHANGED)) == (
        "cancelled 0 of 1 query: 1 left alone (changed: done with that query, or gone)"
    )
