"""A login stall: clients still connecting hold the slots, and how that is told from a full server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import IDLE, STARTING, Limits, Snapshot
from pgtop.core.alerts import level
from pgtop.core.outage import Limit
from pgtop.core.plan import ReapPolicy, SparedFor, Trigger
from pgtop.core.policy import plan_emergency, plan_reap, plan_sweep
from pgtop.core.stalled_logins import CALM_SECONDS, Episode, stall_of
from pgtop.reaping.plan_wording import headline
from tests.builders import backend, server_of, snapshot

SLOTS = 20
POLICY = ReapPolicy()


def seen(sessions: int, starting: int = 0, unlisted: int = 0) -> Snapshot:
    """A server of 20 slots with that many idle sessions and clients still connecting, listed and not."""
    rows = [backend(100 + number, age=1000 + number) for number in range(sessions)]
    rows += [
        backend(
            1000 + number, state=STARTING, usename=None, datname=None, client_addr=f"192.0.2.{number // 8}"
        )
        for number in range(starting)
    ]
    return snapshot(*rows, server=server_of(Limits(23, 3)), unlisted=unlisted)


@pytest.mark.parametrize(
    ("sessions", "starting", "refusing", "connecting"),
    [
        (8, 0, None, None),  # nobody is refused
        (8, 0, Limit.ROLE, None),  # not the server's limit
        (8, 0, Limit.ORDINARY, 12),
        (8, 0, Limit.EVERY, 15),
        (8, 12, None, 12),  # PostgreSQL 18 shows them
        (8, 12, Limit.EVERY, 15),
        (8, 0, Limit.CLIENTS, 0),
        (15, 0, Limit.ORDINARY, 5),
        (16, 0, Limit.ORDINARY, None),  # 80% of the slots: the sessions alone are on the line
        (18, 2, Limit.ORDINARY, None),
        (20, 0, Limit.ORDINARY, None),  # every slot is a session's
        (21, 2, None, None),
    ],
)
def test_stall_where_sessions_alone_are_below_the_line(
    sessions: int, starting: int, refusing: Limit | None, connecting: int | None
) -> None:
    """At the line and above it, the sessions are what fills the server."""
    stall = stall_of(seen(sessions, starting), POLICY.warn_at, refusing)
    assert (stall.connecting if stall else None) == connecting


@pytest.mark.parametrize(
    ("sessions", "unlisted", "refusing", "connecting"),
    [
        (8, 11, None, None),  # a slot is left
        (8, 12, None, 12),
        (8, 13, Limit.ORDINARY, 13),  # the host knows more than a refusal tells
        (8, 5, Limit.ORDINARY, 12),  # and here less
        (16, 4, None, None),  # the sessions alone are on the line
    ],
)
def test_slots_seen_on_the_host_make_a_stall_too(
    sessions: int, unlisted: int, refusing: Limit | None, connecting: int | None
) -> None:
    now = seen(sessions, unlisted=unlisted)
    stall = stall_of(now, POLICY.warn_at, refusing)
    assert (stall.connecting if stall else None) == connecting
    assert (level(now, POLICY.warn_at) == "full") is (sessions + unlisted >= SLOTS)


def test_plans_count_the_slots_seen_on_the_host() -> None:
    """They are in the usage of each plan; no session is ended for them."""
    stalled = plan_reap(seen(8, unlisted=12), POLICY)
    assert (stalled.trigger, stalled.usage_before) == (Trigger.NONE, 1.0)
    assert stalled.stall is not None
    full = plan_reap(seen(17, unlisted=3), POLICY)
    assert (full.trigger, len(full.victims)) == (Trigger.EMERGENCY, 2)
    assert (full.usage_before, full.usage_after) == (1.0, 0.9)
    over = seen(8, unlisted=9)
    assert plan_reap(over, POLICY).trigger is Trigger.NONE
    by_hand = plan_emergency(over, POLICY)
    assert headline(by_hand) == "Nothing to do: the sessions alone are below the 80% line"
    assert plan_sweep(over, POLICY).usage_before == 0.85


def test_a_stall_names_the_addresses_where_they_are_known() -> None:
    stall = stall_of(seen(8, 12), POLICY.warn_at)
    assert stall is not None
    assert stall.origin == "8 from 192.0.2.0, 4 from 192.0.2.1"


@pytest.mark.parametrize(("may_try", "victims", "trigger"), [(True, 1, "emergency"), (False, 0, "none")])
def test_a_stall_costs_one_session_at_most(may_try: bool, victims: int, trigger: str) -> None:
    """The longest idle, where a try is allowed; and the plan says why the others are spared."""
    plan = plan_reap(seen(8), POLICY, refused=Limit.ORDINARY, may_try=may_try)
    assert [victim.backend.pid for victim in plan.victims] == [107][:victims]
    assert plan.trigger is Trigger(trigger)
    assert {each.spared_for for each in plan.spared} == ({SparedFor.STALL} if may_try else set())
    assert plan.stall is not None


def test_a_mixture_ends_what_the_sessions_alone_have_over_the_line() -> None:
    """18 of 20 are sessions, 2 are connecting: 3 make it 15, below 80%; whatever is ended beyond is lost."""
    for starting in (0, 2):
        plan = plan_reap(seen(18, starting), POLICY, refused=Limit.ORDINARY, may_try=True)
        assert (plan.trigger, len(plan.victims)) == (Trigger.EMERGENCY, 3)


def test_clients_still_connecting_bring_no_sweep_for_usage() -> None:
    """17 of 20 are over the line, 9 of them are not sessions; nobody is refused yet."""
    assert plan_reap(seen(8, 9), POLICY).trigger is Trigger.NONE
    assert plan_reap(seen(17), POLICY).trigger is Trigger.USAGE


def test_a_sweep_that_is_asked_for_is_made_in_a_stall_too() -> None:
    plan = plan_reap(seen(8), POLICY, refused=Limit.ORDINARY, always=True)
    assert (plan.trigger, len(plan.victims)) == (Trigger.ALWAYS, 8)
    assert plan.stall is not None


def test_an_episode_lasts_until_logins_have_succeeded_for_a_while() -> None:
    """And its one try is not given back before."""
    stall = stall_of(seen(8), POLICY.warn_at, Limit.ORDINARY)
    episode = Episode().after(stall, 100.0).tried()
    assert episode.after(None, 100.0 + CALM_SECONDS - 1).is_tried
    again = episode.after(None, 200.0).after(stall, 300.0)
    assert again.is_tried
    assert again.after(None, 100.0 + CALM_SECONDS).is_tried
    assert again.after(None, 300.0 + CALM_SECONDS) == Episode()


@given(
    sessions=st.integers(0, 30),
    starting=st.integers(0, 30),
    unlisted=st.integers(0, 30),
    refusing=st.none() | st.sampled_from(Limit),
    warn_at=st.floats(0.05, 1.0),
)
def test_no_more_is_ended_than_the_sessions_are_over_the_line(
    sessions: int, starting: int, unlisted: int, refusing: Limit | None, warn_at: float
) -> None:
    """But for one session as a try: whatever strangers hold, the sessions below the line live."""
    policy = ReapPolicy(warn_at=warn_at)
    now = seen(sessions, starting, unlisted)
    plan = plan_reap(now, policy, refused=refusing, may_try=True)
    left = sessions - len(plan.victims)
    assert all(victim.backend.state == IDLE for victim in plan.victims)
    if plan.trigger is Trigger.EMERGENCY and plan.stall is None:
        assert not plan.victims or (left + 1) / SLOTS >= warn_at
    elif plan.trigger is not Trigger.USAGE:
        assert len(plan.victims) <= 1
    by_hand = plan_emergency(now, policy, refused=refusing)
    assert not by_hand.victims or (sessions - len(by_hand.victims) + 1) / SLOTS >= warn_at
