"""The policy as a table of cases and as properties: who would be ended, who is spared, and why."""

import fnmatch
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import (
    ACTIVE,
    IDLE,
    IDLE_IN_TRANSACTION,
    STARTING,
    Backend,
    Snapshot,
)
from pgtop.core.outage import Limit
from pgtop.core.plan import (
    DEFAULT_PROTECTED_APPLICATIONS,
    Act,
    Guard,
    HeldLocks,
    ReapPolicy,
    SparedFor,
    Trigger,
)
from pgtop.core.policy import plan_cancel, plan_emergency, plan_reap, plan_sweep, plan_terminate
from pgtop.core.session_patterns import Patterns
from tests.builders import NOW, OWN_PID, backend, ended, policy, snapshot, spared

HELD = HeldLocks(advisory=frozenset({77}), own=frozenset({79}))


CASES = [
    ("stale", backend(), "end"),
    ("not idle for long enough", backend(age=299), None),
    ("idle for exactly as long", backend(age=300), None),
    ("active", backend(state=ACTIVE), None),
    ("starting", backend(state=STARTING), None),
    ("of no state yet", backend(state=None), None),
    ("pgtop's own", backend(OWN_PID), SparedFor.OWN),
    ("another pgtop's", backend(79, application_name="pgtop daemon@a"), SparedFor.OWN),
    ("one that is named as pgtop's, and holds no key", backend(application_name="pgtop daemon@a"), "end"),
    ("a superuser's", backend(is_superuser=True), SparedFor.SUPERUSER),
    ("Patroni", backend(application_name="Patroni heartbeat"), SparedFor.NAMED),
    ("a backup, whatever the case", backend(application_name="PGBACKREST [restore]"), SparedFor.NAMED),
    ("idle in transaction", backend(state=IDLE_IN_TRANSACTION), SparedFor.IN_TRANSACTION),
    ("an advisory lock's holder", backend(77), SparedFor.ADVISORY_LOCK),
    ("a listener", backend(78), SparedFor.LISTENING),
]


@pytest.mark.parametrize(("one", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_sweep_ends_the_stale_and_spares_the_protected(
    one: Backend, verdict: str | SparedFor | None
) -> None:
    """The table above: `end`, spared and why, or not meant at all."""
    seen = snapshot(one, listeners=frozenset({backend(78).id}))
    plan = plan_sweep(seen, ReapPolicy(), HELD)
    assert ended(plan) == ([one.pid] if verdict == "end" else [])
    assert spared(plan) == ({one.pid: verdict} if isinstance(verdict, SparedFor) else {})
    assert all(each.reason for each in (*plan.victims, *plan.spared))


TCP = backend(client_addr="10.1.2.3", client_port=5000)
ODD_USER = backend(usename="m\ufffdller")
ODD_DATABASE = backend(datname="\ufffd")
SIX = backend(client_addr="2001:db8::7", client_port=5000)
PATTERNS = [
    ("a filter's application", {"only": {"applications": ("ap?",)}}, backend(), "end"),
    ("another application", {"only": {"applications": ("web*", "job")}}, backend(), None),
    ("a filter means exactly what it says", {"only": {"applications": ("APP",)}}, backend(), None),
    ("no name", {"only": {"applications": ("",)}}, backend(application_name=""), "end"),
    ("a name, where none is meant", {"only": {"applications": ("",)}}, backend(), None),
    ("a filter's user and database", {"only": {"users": ("app",), "databases": ("s*",)}}, backend(), "end"),
    ("the user alone", {"only": {"users": ("app",), "databases": ("x",)}}, backend(), None),
    ("an address of a network", {"only": {"addresses": ("10.0.0.0/8",)}}, TCP, "end"),
    ("an address of none", {"only": {"addresses": ("10.2.0.0/16", "::/0")}}, TCP, None),
    ("an IPv6 network", {"only": {"addresses": ("2001:db8::/32",)}}, SIX, "end"),
    ("local, where a network is meant", {"only": {"addresses": ("0.0.0.0/0",)}}, backend(), None),
    ("local", {"only": {"addresses": ("local",)}}, backend(), "end"),
    ("a protected application", {"protected": {"applications": ("A*",)}}, backend(), SparedFor.NAMED),
    ("a protected user", {"protected": {"users": ("App",)}}, backend(), SparedFor.PROTECTED),
    ("a protected database", {"protected": {"databases": ("sh[op]*",)}}, backend(), SparedFor.PROTECTED),
    ("a protected address", {"protected": {"addresses": ("10.1.2.3",)}}, TCP, SparedFor.PROTECTED),
    ("as IPv6 has it", {"protected": {"addresses": ("::ffff:10.1.2.3",)}}, TCP, SparedFor.PROTECTED),
    ("a protected socket", {"protected": {"addresses": ("local",)}}, backend(), SparedFor.PROTECTED),
    ("others protected", {"protected": {"users": ("x",), "addresses": ("::1",)}}, TCP, "end"),
    ("meant and protected", {"only": {"users": ("app",)}, "protected": {"users": ("app",)}}, backend(),
     SparedFor.PROTECTED),
    ("a user that is not text", {"protected": {"users": ("x",)}}, ODD_USER, SparedFor.UNSURE),
    ("a database that is none", {"protected": {"databases": ("x",)}}, ODD_DATABASE, SparedFor.UNSURE),
    ("a user that is none, protected", {"protected": {"users": ("m?ller",)}}, ODD_USER, SparedFor.PROTECTED),
    ("a user that is none, meant", {"only": {"users": ("m*",)}}, ODD_USER, SparedFor.UNSURE),
    ("a database that is none, meant", {"only": {"databases": ("*",)}}, ODD_DATABASE, SparedFor.UNSURE),
    ("a user that is none, another meant", {"only": {"users": ("x",)}}, ODD_USER, None),
    ("a user that is none, and no name counts", {"only": {"applications": ("app",)}}, ODD_USER, "end"),
    ("Patroni without protections", {"protected": {}}, backend(application_name="Patroni"), "end"),
    ("an advisory lock's holder, asked for", {"include_advisory_locks": True}, backend(77), "end"),
    ("a listener, asked for", {"include_listeners": True}, backend(78), "end"),
    ("a listener, the other asked for", {"include_advisory_locks": True}, backend(78), SparedFor.LISTENING),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "one", "verdict"), [c[1:] for c in PATTERNS], ids=[c[0] for c in PATTERNS])
def test_patterns_match_the_sessions_they_name(
    rules: dict[str, Any], one: Backend, verdict: str | SparedFor | None
) -> None:
    """Filters and protections: `end`, spared and why, or not meant at all."""
    seen = snapshot(one, listeners=frozenset({backend(78).id}))
    plan = plan_sweep(seen, policy(**rules), HELD)
    assert ended(plan) == ([one.pid] if verdict == "end" else [])
    assert spared(plan) == ({one.pid: verdict} if isinstance(verdict, SparedFor) else {})


def test_a_protection_is_named() -> None:
    plan = plan_sweep(snapshot(TCP), policy(protected={"addresses": ("192.168.0.0/16", "10.0.0.0/8")}))
    assert plan.spared[0].reason == "protected: address 10.0.0.0/8"


def filled(total: int, stale: int) -> Snapshot:
    """A server of 95 slots with so many sessions, some of them stale, the others idle for 10 s."""
    return snapshot(*(backend(100 + n, age=600 + n if n < stale else 10) for n in range(total)))


@pytest.mark.parametrize(
    ("total", "stale", "asked", "trigger", "victims"),
    [
        (76, 10, {}, Trigger.NONE, 0),
        (77, 10, {}, Trigger.USAGE, 10),
        (94, 10, {}, Trigger.USAGE, 10),
        (95, 60, {}, Trigger.EMERGENCY, 20),
        (95, 3, {}, Trigger.EMERGENCY, 3),
        (99, 60, {}, Trigger.EMERGENCY, 24),
        (10, 4, {"always": True}, Trigger.ALWAYS, 4),
        (95, 60, {"always": True}, Trigger.ALWAYS, 60),
        (95, 3, {"always": True}, Trigger.EMERGENCY, 3),
        (50, 30, {"refused": Limit.ORDINARY}, Trigger.NONE, 0),
        (50, 30, {"refused": Limit.ORDINARY, "always": True}, Trigger.ALWAYS, 30),
        (80, 30, {"refused": Limit.ORDINARY}, Trigger.EMERGENCY, 5),
        (80, 30, {"refused": Limit.ROLE}, Trigger.USAGE, 30),
    ],
)
def test_the_usage_decides_what_is_due(
    total: int, stale: int, asked: dict[str, Any], trigger: Trigger, victims: int
) -> None:
    """Nothing up to the line (76 of 95 is 80%), a sweep above it, an emergency where no slot is left."""
    plan = plan_reap(filled(total, stale), ReapPolicy(), **asked)
    assert (plan.trigger, len(plan.victims)) == (trigger, victims)
    assert not (trigger is Trigger.NONE and plan.spared)


def test_an_emergency_asks_for_less_idleness() -> None:
    seen = snapshot(*(backend(100 + n, age=31 if n < 40 else 29) for n in range(95)))
    assert len(plan_reap(seen, ReapPolicy()).victims) == 20
    assert not plan_reap(seen, ReapPolicy(emergency_idle_after_seconds=32)).victims


def test_a_sweep_ends_at_most_its_limit_the_longest_idle_first() -> None:
    for plan in (
        plan_sweep(filled(50, 30), ReapPolicy(max_per_sweep=3)),
        plan_reap(filled(95, 30), ReapPolicy(max_per_sweep=3)),
    ):
        assert ended(plan) == [129, 128, 127]
        assert SparedFor.BEYOND_MOST in spared(plan).values()


def test_hidden_sessions_are_never_judged_by_an_upper_bound() -> None:
    """Neither full nor below the line: where a count is an upper bound, no plan is made."""
    hidden = backend(11, state=None, backend_start=None, state_change=None)
    for others in (3, 120):
        seen = snapshot(*(backend(100 + n) for n in range(others)), hidden)
        for plan in (plan_reap(seen, ReapPolicy()), plan_reap(seen, ReapPolicy(), always=True)):
            assert plan.refusal
            assert not plan.victims


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


def test_selected_holders_of_advisory_locks_are_ended_with_a_warning() -> None:
    plan = plan_terminate(snapshot(backend(77)), ReapPolicy(), [backend(77).id], HELD)
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


def test_an_indistinguishable_statement_is_not_cancelled() -> None:
    seen = snapshot(backend(state=ACTIVE, query_start=None))
    assert spared(plan_cancel(seen, ReapPolicy(), [backend().id])) == {10: SparedFor.NOT_ACTIVE}


def test_the_selected_are_spared_where_their_state_is_hidden() -> None:
    hidden = backend(state=None, backend_start=None, state_change=None)
    assert spared(plan_terminate(snapshot(hidden), ReapPolicy(), [hidden.id])) == {10: SparedFor.HIDDEN}


def test_a_session_selected_twice_is_ended_once() -> None:
    assert ended(plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id, backend().id])) == [10]


def test_sessions_that_left_are_left_out() -> None:
    assert not plan_terminate(snapshot(), ReapPolicy(), [backend().id]).victims


BACKENDS = st.lists(
    st.builds(
        backend,
        st.integers(2, 60),
        state=st.sampled_from([IDLE, ACTIVE, IDLE_IN_TRANSACTION, STARTING, None]),
        age=st.floats(0, 2000),
        application_name=st.sampled_from(["app", "", "pgtop x@y", "Patroni", "wal-g"]),
        is_superuser=st.booleans(),
        client_addr=st.sampled_from([None, "10.1.2.3", "2001:db8::7"]),
    ),
    unique_by=lambda one: one.pid,
    max_size=120,
)
GLOBS = st.lists(st.sampled_from(["app", "a*", "", "x*", "*", "APP"]), max_size=2).map(tuple)
NETWORKS = st.lists(st.sampled_from(["10.0.0.0/8", "local", "::/0", "10.1.2.3"]), max_size=2).map(tuple)
POLICIES = st.builds(
    ReapPolicy,
    warn_at=st.floats(0.05, 1.0),
    idle_after_seconds=st.floats(1, 1000),
    emergency_idle_after_seconds=st.floats(1, 1000),
    include_idle_in_transaction_seconds=st.none() | st.floats(1, 1000),
    only=st.builds(Patterns, applications=GLOBS, users=GLOBS, addresses=NETWORKS),
    protected=st.builds(
        Patterns, applications=GLOBS.map((*DEFAULT_PROTECTED_APPLICATIONS,).__add__), addresses=NETWORKS
    ),
    include_advisory_locks=st.booleans(),
    include_listeners=st.booleans(),
    max_per_sweep=st.none() | st.integers(1, 50),
)


def protected(one: Backend, policy: ReapPolicy) -> bool:
    """By pattern, judged on its own: lower-case globs, and whether an address is in a network."""
    name = (one.application_name or "").lower()
    by_name = any(fnmatch.fnmatchcase(name, glob.lower()) for glob in policy.protected.applications)
    return by_name or any(in_network(one, network) for network in policy.protected.addresses)


def in_network(one: Backend, network: str) -> bool:
    if network == "local" or one.client_addr is None:
        return network == "local" and one.client_addr is None and one.client_port == -1
    return ipaddress.ip_address(one.client_addr) in ipaddress.ip_network(network)


@given(
    backends=BACKENDS,
    policy=POLICIES,
    holders=st.frozensets(st.integers(2, 60), max_size=5),
    own=st.frozensets(st.integers(2, 60), max_size=5),
    listening=st.frozensets(st.integers(2, 60), max_size=5),
    always=st.booleans(),
    refused=st.sampled_from([None, Limit.UNKNOWN]),
)
def test_no_victim_violates_a_protection(
    backends: list[Backend],
    policy: ReapPolicy,
    holders: frozenset[int],
    own: frozenset[int],
    listening: frozenset[int],
    always: bool,
    refused: Limit | None,
) -> None:
    """Whatever is going on and whatever is asked for; and the room that a plan promises is right."""
    seen = snapshot(*backends, listeners=frozenset(each.id for each in backends if each.pid in listening))
    held = HeldLocks(advisory=holders, own=own)
    for plan in (
        plan_sweep(seen, policy, held),
        plan_emergency(seen, policy, held, refused=refused),
        plan_reap(seen, policy, held, always=always, refused=refused, may_try=True),
    ):
        for victim in plan.victims:
            one = victim.backend
            assert one.state == IDLE or (
                one.state == IDLE_IN_TRANSACTION and policy.include_idle_in_transaction_seconds is not None
            )
            assert one.pid not in holders or policy.include_advisory_locks
            assert one.pid not in listening or policy.include_listeners
            assert not one.is_superuser
            assert one.pid not in own
            assert one.application_name in ("app", "", "pgtop x@y")
            assert not protected(one, policy)
            only = policy.only.addresses
            assert not only or any(in_network(one, network) for network in only)
            assert not policy.only.users or any(fnmatch.fnmatchcase("app", g) for g in policy.only.users)
        assert plan.usage_after == (len(backends) - len(plan.victims)) / plan.slots
        assert not set(ended(plan)) & set(spared(plan))
        assert len(plan.victims) <= (policy.max_per_sweep or len(backends))


@given(backends=BACKENDS, policy=POLICIES, refused=st.sampled_from([None, Limit.UNKNOWN]))
def test_an_emergency_ends_no_more_than_it_needs(
    backends: list[Backend], policy: ReapPolicy, refused: Limit | None
) -> None:
    """With one victim fewer the sessions would still be on the line or over it."""
    seen = snapshot(*backends)
    plan = plan_emergency(seen, policy, refused=refused)
    taken = len([each for each in backends if each.state != STARTING])
    if plan.victims:
        assert (taken - len(plan.victims) + 1) / plan.slots >= policy.warn_at
    left_over = any(each.spared_for is SparedFor.ENOUGH for each in plan.spared)
    if left_over and policy.max_per_sweep is None:
        assert (taken - len(plan.victims)) / plan.slots < policy.warn_at
