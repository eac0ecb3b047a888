"""The policy as a table of cases and as properties: who would be ended, who is spared, and why."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import (
    ACTIVE,
    IDLE,
    IDLE_IN_TRANSACTION,
    MICROSECONDS,
    STARTING,
    Backend,
    Limits,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
)
from pgtop.core.policy import (
    Act,
    Guard,
    Plan,
    ReapPolicy,
    SparedFor,
    plan_cancel,
    plan_emergency,
    plan_sweep,
    plan_terminate,
)

NOW = 1_700_000_000 * MICROSECONDS
OWN_PID = 1
SERVER = Server("db1", 5432, 160004, ServerIdentity("7", 1, False), Limits(100, 3, 2))


def backend(pid: int = 10, *, state: str | None = IDLE, age: float = 600, **fields: Any) -> Backend:
    """A session that has been in its state for `age` seconds."""
    since = NOW - int(age * MICROSECONDS)
    plain = Backend(
        pid, since, since, None, since, state, "app", "app", "shop", None, -1, None, None, False, "SELECT 1"
    )
    return msgspec.structs.replace(plain, **fields)


def snapshot(*backends: Backend, superuser: bool = False, **fields: Any) -> Snapshot:
    return Snapshot(
        server=SERVER,
        privileges=Privileges("pgtop", superuser, True, True),
        taken_at=NOW,
        poll_seconds=0.0,
        own_pid=OWN_PID,
        backends=backends,
        **fields,
    )


def spared(plan: Plan) -> dict[int, SparedFor]:
    return {each.backend.pid: each.spared_for for each in plan.spared}


def ended(plan: Plan) -> list[int]:
    return [victim.backend.pid for victim in plan.victims]


CASES = [
    ("stale", backend(), "end"),
    ("not idle for long enough", backend(age=299), None),
    ("idle for exactly as long", backend(age=300), None),
    ("active", backend(state=ACTIVE), None),
    ("starting", backend(state=STARTING), None),
    ("of no state yet", backend(state=None), None),
    ("pgtop's own", backend(OWN_PID), SparedFor.OWN),
    ("another pgtop's", backend(application_name="pgtop daemon@a"), SparedFor.OWN),
    ("a superuser's", backend(is_superuser=True), SparedFor.SUPERUSER),
    ("Patroni", backend(application_name="Patroni heartbeat"), SparedFor.PROTECTED),
    ("a backup, whatever the case", backend(application_name="PGBACKREST [restore]"), SparedFor.PROTECTED),
    ("idle in transaction", backend(state=IDLE_IN_TRANSACTION), SparedFor.IN_TRANSACTION),
    ("an advisory lock's holder", backend(77), SparedFor.ADVISORY_LOCK),
    ("a listener", backend(78), SparedFor.LISTENING),
]


@pytest.mark.parametrize(("one", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_sweep_does_to(one: Backend, verdict: str | SparedFor | None) -> None:
    """The table above: `end`, spared and why, or not meant at all."""
    seen = snapshot(one, listeners=frozenset({backend(78).id}))
    plan = plan_sweep(seen, ReapPolicy(), [77])
    assert ended(plan) == ([one.pid] if verdict == "end" else [])
    assert spared(plan) == ({one.pid: verdict} if isinstance(verdict, SparedFor) else {})
    assert all(each.reason for each in (*plan.victims, *plan.spared))


def test_a_superuser_may_end_superusers() -> None:
    assert ended(plan_sweep(snapshot(backend(is_superuser=True), superuser=True), ReapPolicy())) == [10]


def test_in_transaction_only_when_asked_for_and_older_than_asked() -> None:
    policy = ReapPolicy(include_idle_in_transaction_seconds=60)
    seen = snapshot(
        backend(10, state=IDLE_IN_TRANSACTION, age=61), backend(11, state=IDLE_IN_TRANSACTION, age=59)
    )
    plan = plan_sweep(seen, policy)
    assert ended(plan) == [10]
    assert plan.victims[0].guard is Guard.STATE


def test_hidden_states_make_no_plan() -> None:
    """Where a role cannot see states nobody is ended, and the GRANT that mends it is named."""
    hidden = backend(11, state=None, backend_start=None, state_change=None)
    plan = plan_sweep(snapshot(backend(), hidden), ReapPolicy())
    assert not plan.victims
    assert "pg_monitor" in plan.refusal


def test_an_emergency_ends_the_longest_idle_just_until_there_is_room() -> None:
    seen = snapshot(*(backend(100 + age, age=age) for age in range(20, 115)))
    plan = plan_emergency(seen, ReapPolicy())
    assert plan.slots == 95
    assert plan.usage_before == 1.0
    assert plan.usage_after < 0.8 <= plan.usage_after + 1 / 95
    assert ended(plan) == [100 + age for age in range(114, 114 - len(plan.victims), -1)]
    assert set(spared(plan).values()) == {SparedFor.ENOUGH}


@pytest.mark.parametrize(
    ("one", "guard"),
    [
        (backend(), Guard.STATE),
        (backend(state=IDLE_IN_TRANSACTION, xact_start=NOW), Guard.TRANSACTION),
        (backend(state=IDLE_IN_TRANSACTION), Guard.STATE),  # track_activities came on in its midst
        (backend(state=ACTIVE, xact_start=NOW), Guard.SESSION),
    ],
)
def test_the_selected_are_ended_as_what_they_were_shown(one: Backend, guard: Guard) -> None:
    plan = plan_terminate(snapshot(one), ReapPolicy(), [one.id])
    assert [victim.guard for victim in plan.victims] == [guard]


def test_the_selected_that_hold_an_advisory_lock_are_ended_with_a_warning() -> None:
    plan = plan_terminate(snapshot(backend(77)), ReapPolicy(), [backend(77).id], [77])
    assert "advisory lock" in plan.victims[0].warning


def test_the_protected_are_not_ended_though_selected() -> None:
    seen = snapshot(backend(application_name="barman"), backend(OWN_PID), backend(12, is_superuser=True))
    plan = plan_terminate(seen, ReapPolicy(), [each.id for each in seen.backends])
    assert not plan.victims
    assert len(plan.spared) == 3


def test_only_statements_that_run_are_cancelled() -> None:
    seen = snapshot(backend(10, state=ACTIVE), backend(11))
    plan = plan_cancel(seen, ReapPolicy(), [each.id for each in seen.backends])
    assert plan.act is Act.CANCEL
    assert ended(plan) == [10]
    assert spared(plan) == {11: SparedFor.NOT_ACTIVE}
    assert plan.usage_after == plan.usage_before


def test_a_statement_that_cannot_be_told_from_the_next_is_not_cancelled() -> None:
    seen = snapshot(backend(state=ACTIVE, query_start=None))
    assert spared(plan_cancel(seen, ReapPolicy(), [backend().id])) == {10: SparedFor.NOT_ACTIVE}


def test_the_selected_are_spared_where_their_state_is_hidden() -> None:
    hidden = backend(state=None, backend_start=None, state_change=None)
    assert spared(plan_terminate(snapshot(hidden), ReapPolicy(), [hidden.id])) == {10: SparedFor.HIDDEN}


def test_who_is_selected_twice_is_ended_once() -> None:
    assert ended(plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id, backend().id])) == [10]


def test_sessions_that_left_are_left_out() -> None:
    assert not plan_terminate(snapshot(), ReapPolicy(), [backend().id]).victims


BACKENDS = st.lists(
    st.builds(
        backend,
        st.integers(2, 60),
        state=st.sampled_from([IDLE, ACTIVE, IDLE_IN_TRANSACTION, None]),
        age=st.floats(0, 2000),
        application_name=st.sampled_from(["app", "", "pgtop x@y", "Patroni", "wal-g"]),
        is_superuser=st.booleans(),
    ),
    unique_by=lambda one: one.pid,
    max_size=120,
)
POLICIES = st.builds(
    ReapPolicy,
    warn_at=st.floats(0.05, 1.0),
    idle_after_seconds=st.floats(1, 1000),
    emergency_idle_after_seconds=st.floats(1, 1000),
    include_idle_in_transaction_seconds=st.none() | st.floats(1, 1000),
)


@given(backends=BACKENDS, policy=POLICIES, holders=st.frozensets(st.integers(2, 60), max_size=5))
def test_no_victim_violates_a_protection(
    backends: list[Backend], policy: ReapPolicy, holders: frozenset[int]
) -> None:
    seen = snapshot(*backends)
    for plan in (plan_sweep(seen, policy, holders), plan_emergency(seen, policy, holders)):
        for victim in plan.victims:
            one = victim.backend
            assert one.state == IDLE or (
                one.state == IDLE_IN_TRANSACTION and policy.include_idle_in_transaction_seconds is not None
            )
            assert one.pid not in holders
            assert not one.is_superuser
            assert one.application_name in ("app", "")
        assert plan.usage_after == (len(backends) - len(plan.victims)) / plan.slots
        assert not set(ended(plan)) & set(spared(plan))


@given(backends=BACKENDS, policy=POLICIES)
def test_an_emergency_ends_no_more_than_it_needs(backends: list[Backend], policy: ReapPolicy) -> None:
    plan = plan_emergency(snapshot(*backends), policy)
    if plan.victims:
        assert plan.usage_after + 1 / plan.slots >= policy.warn_at
