"""The victims of break-glass: the longest idle first, just enough, and never on a guess."""

import pytest

from pgtop.core.activity import IN_TRANSACTION
from pgtop.core.break_glass_plan import Ask, is_enough, plan_break_glass, plan_stalled_logins
from pgtop.core.plan import ReapPolicy, SparedFor, Trigger
from pgtop.core.session_patterns import Patterns
from pgtop.postgres.host.titles import Title
from pgtop.reaping.plan_wording import headline
from tests.builders import ended, host_backend, host_snapshot, spared

BOTH = (("my", "app shop"), ("my app", "shop"))
"""The pairs of user and database that a title `my app shop` may mean."""


def test_the_longest_idle_go_first_whatever_the_socket() -> None:
    """A lower bound counts as the age: the session has been idle for at least as long."""
    seen = host_snapshot(
        host_backend(1, 40),
        host_backend(2, 400),
        host_backend(3, 5000, at_least=True),
        host_backend(4, 90, at_least=True),
        slots=4,
    )
    plan = plan_break_glass(seen, ReapPolicy(warn_at=0.25), Ask())
    assert plan.trigger is Trigger.BREAK_GLASS
    assert ended(plan) == [3, 2, 4, 1]


def test_ends_just_enough_to_get_below_the_line() -> None:
    seen = host_snapshot(*(host_backend(pid, 100 + pid) for pid in range(1, 11)))
    plan = plan_break_glass(seen, ReapPolicy(warn_at=0.8), Ask())
    assert ended(plan) == [10, 9, 8]
    assert plan.usage_after < 0.8
    assert is_enough(plan, Ask())
    assert set(spared(plan).values()) == {SparedFor.ENOUGH}


def test_a_number_ends_just_so_many_also_where_slots_are_not_known() -> None:
    seen = host_snapshot(*(host_backend(pid, 100 + pid) for pid in range(1, 11)), known=False)
    ask = Ask(count=2)
    plan = plan_break_glass(seen, ReapPolicy(), ask)
    assert ended(plan) == [10, 9]
    assert is_enough(plan, ask)
    assert set(spared(plan).values()) == {SparedFor.BEYOND_COUNT}
    assert not is_enough(plan_break_glass(seen, ReapPolicy(), Ask(count=11)), Ask(count=11))


@pytest.mark.parametrize("at_least", [False, True])
@pytest.mark.parametrize(("age", "is_victim"), [(3, False), (29, False), (31, True)])
def test_without_an_age_one_limit_counts_for_every_kind_of_socket(
    age: float, at_least: bool, is_victim: bool
) -> None:
    """That of an emergency."""
    plan = plan_break_glass(
        host_snapshot(host_backend(1, age, at_least=at_least), slots=1), ReapPolicy(), Ask()
    )
    assert bool(plan.victims) is is_victim


@pytest.mark.parametrize("at_least", [False, True])
@pytest.mark.parametrize("state", sorted(IN_TRANSACTION))
def test_a_session_in_a_transaction_goes_only_if_that_is_asked_for(state: str, at_least: bool) -> None:
    seen = host_snapshot(
        *(host_backend(pid, age, state=state, at_least=at_least) for pid, age in ((1, 9), (2, 11)))
    )
    assert spared(plan_break_glass(seen, ReapPolicy(), Ask(count=2, older_than_seconds=1.0))) == {
        1: SparedFor.IN_TRANSACTION,
        2: SparedFor.IN_TRANSACTION,
    }
    asked = ReapPolicy(include_idle_in_transaction_seconds=10.0)
    plan = plan_break_glass(seen, asked, Ask(count=2))
    assert ended(plan) == [2]
    assert "idle, or idle in transaction, for" in headline(plan)


@pytest.mark.parametrize("at_least", [False, True])
def test_an_age_that_is_asked_for_counts_for_every_kind_of_socket(at_least: bool) -> None:
    seen = host_snapshot(host_backend(1, 9, at_least=at_least), host_backend(2, 11, at_least=at_least))
    assert ended(plan_break_glass(seen, ReapPolicy(), Ask(count=5, older_than_seconds=10.0))) == [2]


@pytest.mark.parametrize(
    "state", ["active", "idle in transaction", "starting", "disabled", "fastpath function call", None]
)
def test_nothing_but_idle_is_ended(state: str | None) -> None:
    plan = plan_break_glass(host_snapshot(host_backend(1, 5000, state=state)), ReapPolicy(), Ask(count=1))
    assert not plan.victims


def test_a_session_that_may_have_logged_in_is_not_stalled() -> None:
    """Its title stands still at `startup`, or is cut off."""
    state = Title("app shop", "10.0.4.7", 40_000, "startup").state
    seen = host_snapshot(host_backend(1, None, state=state), host_backend(2, None, state="starting"))
    plan = plan_stalled_logins(seen, (), ReapPolicy(), Ask(stalled_logins_seconds=10.0))
    assert ended(plan) == [2]
    assert spared(plan) == {1: SparedFor.UNTOLD}
    assert seen.counts.starting == 1
    assert not plan_break_glass(seen, ReapPolicy(), Ask(count=2)).victims


def test_a_session_of_unknown_age_is_spared_and_said() -> None:
    plan = plan_break_glass(host_snapshot(host_backend(1, None)), ReapPolicy(), Ask(count=1))
    assert spared(plan) == {1: SparedFor.AGE_UNKNOWN}


def test_a_pgtop_is_spared() -> None:
    one = host_backend(1, 5000, application_name="pgtop (on this host)")
    assert spared(plan_break_glass(host_snapshot(one), ReapPolicy(), Ask(count=1))) == {1: SparedFor.OWN}


@pytest.mark.parametrize(
    "protected",
    [
        Patterns(users=("my",)),
        Patterns(users=("my app",)),
        Patterns(databases=("SHOP",)),
        Patterns(databases=("app shop",)),
        Patterns(addresses=("10.0.0.0/8",)),
    ],
)
def test_a_protection_counts_by_any_reading_of_the_names(protected: Patterns) -> None:
    one = host_backend(1, 5000, usename="my app shop", datname=None, readings=BOTH)
    plan = plan_break_glass(host_snapshot(one), ReapPolicy(protected=protected), Ask(count=1))
    assert spared(plan) == {1: SparedFor.PROTECTED}


@pytest.mark.parametrize(
    ("only", "fate"),
    [
        (Patterns(users=("my",)), SparedFor.UNSURE),
        (Patterns(databases=("shop",)), SparedFor.UNSURE),
        (Patterns(users=("my",), databases=("*",)), SparedFor.UNSURE),
        (Patterns(users=("my*",)), None),
        (Patterns(databases=("*shop",)), None),
        (Patterns(users=("my",), databases=("app shop",)), None),
        (Patterns(users=("my app",), databases=("shop",)), None),
        (Patterns(users=("my",), databases=("shop",)), "not meant"),
        (Patterns(users=("other",)), "not meant"),
    ],
)
def test_a_filter_matches_ambiguous_names_only_in_every_reading(
    only: Patterns, fate: SparedFor | str | None
) -> None:
    one = host_backend(1, 5000, usename="my app shop", datname=None, readings=BOTH)
    plan = plan_break_glass(host_snapshot(one), ReapPolicy(only=only), Ask(count=1))
    if fate is None:
        assert ended(plan) == [1]
    else:
        assert spared(plan) == ({} if fate == "not meant" else {1: fate})
        assert not plan.victims


def test_the_most_of_one_sweep_holds_here_too() -> None:
    seen = host_snapshot(*(host_backend(pid) for pid in range(5)))
    assert len(plan_break_glass(seen, ReapPolicy(max_per_sweep=2), Ask(count=4)).victims) == 2


def test_the_headline_tells_the_idle_time_and_the_room_made() -> None:
    """A bound is shown as a bound, and no percentage where slots are not known."""
    both = (host_backend(1, 725), host_backend(2, 31, at_least=True))
    plan = plan_break_glass(host_snapshot(*both, slots=2), ReapPolicy(warn_at=0.1), Ask())
    assert headline(plan) == "Terminate 2 sessions, idle for 12m to ≥ 31s: 100% → 0%"
    unknown = plan_break_glass(host_snapshot(*both, known=False), ReapPolicy(), Ask(count=1))
    assert headline(unknown) == "Terminate 1 session, idle for 12m"
    few = plan_break_glass(host_snapshot(*both), ReapPolicy(), Ask())
    assert headline(few) == "Nothing to do: usage is 20%, below the 80% line"
    nobody = plan_break_glass(host_snapshot(host_backend(1, 1)), ReapPolicy(), Ask(count=1))
    assert headline(nobody).startswith("No session that may be terminated is idle for more than 30s")


def test_a_name_that_is_not_text_is_skipped_if_names_are_protected() -> None:
    """Its bytes cannot be compared with what was written."""
    there = host_snapshot(
        host_backend(1, usename="m\ufffdller"),
        host_backend(2, datname="\ufffd", readings=()),
        host_backend(3),
    )
    for protected in (Patterns(users=("müller",)), Patterns(databases=("x",))):
        plan = plan_break_glass(there, ReapPolicy(protected=protected), Ask(count=9))
        assert ended(plan) == [3]
        assert spared(plan) == {1: SparedFor.UNSURE, 2: SparedFor.UNSURE}
    assert ended(plan_break_glass(there, ReapPolicy(), Ask(count=9))) == [1, 2, 3]
