"""Each kind of cause from one snapshot, and what looks like it and is not."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Backend, ConnectionLimit, LimitOf, Limits, Privileges, Snapshot
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Application, Before, Facts, Traffic
from pgtop.core.plan import Act
from pgtop.core.retaken_slots import Undone
from pgtop.core.stalled_logins import Stall
from tests.builders import NOW, backend, server_of, snapshot

MINUTE = 60.0


def at(seconds_ago: float) -> int:
    return NOW - round(seconds_ago * MICROSECONDS)


def one(pid: int, begun: float, rested: float, state: str | None = "idle", **fields: Any) -> Backend:
    """A session by its age, and by the time for which it has been in its state, in seconds."""
    known: dict[str, Any] = {
        "backend_start": at(begun),
        "state_change": at(rested),
        "query_start": at(rested),
        "application_name": "web",
        "client_addr": "10.0.0.1",
        "client_port": 5000 + pid % 1000,
    }
    if state is not None and state.startswith("idle in"):
        known["xact_start"] = at(rested)
    return backend(pid, state=state, **(known | fields))


def server_with(*backends: Backend, slots: int = 100, **fields: Any) -> Snapshot:
    return snapshot(*backends, server=server_of(Limits(slots + 3, 3)), **fields)


def leak(number: int = 40, every: float = 30.0, **fields: Any) -> list[Backend]:
    """Each session is opened, used once and never given back; then the next one is opened."""
    named = {"application_name": "worker", "usename": "work", "query": "SELECT * FROM jobs WHERE id = 7"}
    return [
        one(1000 + n, every * (number - n), every * (number - n) - 0.2, **(named | fields))
        for n in range(number)
    ]


def pools(name: str, hosts: int, size: int, busy: int = 1) -> list[Backend]:
    """Pools in order: opened with their process, each session used in turn."""
    return [
        one(
            2000 + 100 * host + n,
            6 * 3600 + host * 7,
            0.1 if n < busy else 3.0 * n,
            "active" if n < busy else "idle",
            application_name=name,
            client_addr=f"10.0.1.{host}",
        )
        for host in range(hosts)
        for n in range(size)
    ]


def the_one(findings: Iterable[Finding], kind: Kind) -> Finding:
    (found,) = findings
    assert found.kind is kind
    return found


def test_a_leak_is_named_with_its_pace_and_its_end() -> None:
    found = the_one(diagnose(server_with(*leak(), *pools("web", 2, 16))), Kind.LEAK)
    assert (found.application_name, found.usename) == ("worker", "work")
    assert found.grade is Grade.LOOKS_LIKE
    assert found.slots == 38, "what has rested for less than a minute is not parked"
    assert found.per_minute is not None
    assert abs(found.per_minute - 2) < 0.1
    assert found.full_at is not None
    assert abs((found.full_at - NOW) / MICROSECONDS / MINUTE - 28 / 2) < 1
    assert found.since is not None
    assert "left idle" in found.sentence
    assert "last ran `SELECT * FROM jobs WHERE id = ?`" in found.sentence
    assert set(found.backends) <= {each.id for each in leak()}


def test_from_the_line_on_there_is_always_a_word() -> None:
    """Also where the line is set low; below it, a quarter of the slots is nothing to speak of."""
    seen = server_with(*pools("web", 5, 5))
    assert diagnose(seen, warn_at=0.2)
    assert not diagnose(seen, warn_at=0.8)


def test_lookalikes_of_a_leak_are_told_apart() -> None:
    after_a_peak = [one(1000 + n, 4 * 3600, 1800 + n) for n in range(70)]
    """A pool that uses its last session first: the rest parks, and nothing new is opened."""
    of_processes = [
        one(1000 + 10 * worker + n, 3600 - 600 * worker, 90, query="ROLLBACK")
        for worker in range(5)
        for n in range(15)
    ]
    """Recycled processes behind one address, whose pools gave their sessions back."""
    watched = Before(600.0, {Application("worker", "work", "shop"): Traffic(20, 19, 4)})
    for sessions, before in ((after_a_peak, Before()), (of_processes, Before()), (leak(75), watched)):
        kinds = {each.kind for each in diagnose(server_with(*sessions), before)}
        assert Kind.LEAK not in kinds
    stopped = [
        msgspec.structs.replace(
            each,
            backend_start=each.backend_start - 3600 * MICROSECONDS,
            state_change=each.state_change - 3600 * MICROSECONDS,
        )
        for each in leak(75)
        if each.backend_start is not None and each.state_change is not None
    ]
    assert Kind.LEAK not in {each.kind for each in diagnose(server_with(*stopped))}


def test_a_reached_limit_says_who_holds_it() -> None:
    limits = (ConnectionLimit(LimitOf.ROLE, "work", 40),)
    crowd = server_with(*leak(), connection_limits=limits, slots=200)
    found = the_one(diagnose(crowd), Kind.LIMIT)
    assert (found.grade, found.slots, found.application_name) == (Grade.IS, 40, "worker")
    assert "has 40 of its own 40: its next login is refused, although 160 slots are free" in found.sentence
    assert "leak in worker" in found.sentence
    assert found.advice[0].key == "/user:work"
    full = diagnose(server_with(*leak(), connection_limits=limits, slots=40))
    assert "free" not in the_one([each for each in full if each.kind is Kind.LIMIT], Kind.LIMIT).sentence
    assert not any("LIMIT 8" in each.sql for each in found.advice), "it is not raised"


def test_clients_still_connecting_are_not_left_out() -> None:
    """A description of the few sessions beside them would blame those."""
    few = pools("web", 3, 6)
    crowd = the_one(diagnose(server_with(*few, unlisted=70)), Kind.LOGIN_STALL)
    assert crowd.slots == 70
    assert "break-glass --stalled-logins" in crowd.advice[0].command
    some = the_one(diagnose(server_with(*pools("web", 1, 72), unlisted=12)), Kind.MIXED)
    assert some.sentence.endswith("; 12 slots are held by clients still connecting")


def test_a_limit_that_is_too_low_is_not_called_idle() -> None:
    """A pool's session is idle between two requests: one that is used all the time is in use."""
    limits = (ConnectionLimit(LimitOf.ROLE, "work", 20),)
    for rested, said in ((2.0, "Most are in use, or just were"), (600.0, "Most are idle")):
        pool = [one(100 + n, 7200, rested + n / 10, usename="work") for n in range(20)]
        found = the_one(diagnose(server_with(*pool, connection_limits=limits)), Kind.LIMIT)
        assert found.advice[1].text.startswith(said)
        assert (found.remedy is None) == (rested == 2.0), "a session that was just used is not offered"


def test_a_login_stall_comes_first() -> None:
    facts = Facts(stall=Stall(41, 18, 57))
    found = the_one(diagnose(server_with(*pools("web", 3, 6), slots=57), facts=facts), Kind.LOGIN_STALL)
    assert (found.slots, found.grade) == (41, Grade.IS)


def test_logins_that_hang_are_told_before_the_server_is_full() -> None:
    crowd = server_with(*pools("web", 3, 8), unlisted=50)
    found = diagnose(crowd)
    assert (found[0].kind, found[0].grade, found[0].slots) == (Kind.LOGIN_STALL, Grade.LOOKS_LIKE, 50)
    assert found[0].sentence.startswith("login stall? 50 slots are held by clients still connecting")
    assert not diagnose(server_with(*pools("web", 3, 8), unlisted=20)), "the server has room"
    few = diagnose(server_with(*pools("web", 7, 10), unlisted=9))
    assert Kind.LOGIN_STALL not in {each.kind for each in few}
    at_once = [one(500 + n, 0.1, 0.1, "starting") for n in range(50)]
    busy = diagnose(server_with(*pools("web", 3, 8), *at_once))
    assert Kind.LOGIN_STALL not in {each.kind for each in busy}, "logins that have just begun are usual"


def queue(number: int, wait_event: str = "relation") -> tuple[list[Backend], dict[int, frozenset[int]]]:
    """A dump holds the table, ALTER TABLE waits for it, and all others wait behind that."""
    waits = {"wait_event_type": "Lock", "wait_event": wait_event}
    dump = one(10, 1500, 1500, "active", application_name="pg_dump", query="COPY orders TO stdout")
    alter = one(11, 200, 192, "active", query="ALTER TABLE orders ADD x int", **waits)
    others = [one(100 + n, 900, 60, "active", query="SELECT * FROM orders", **waits) for n in range(number)]
    blocked = {11: frozenset({10})} | {each.pid: frozenset({11}) for each in others}
    return [dump, alter, *others], blocked


def test_a_lock_queue_has_a_head_and_a_root() -> None:
    sessions, blocked = queue(30)
    found = the_one(diagnose(server_with(*sessions), facts=Facts(blocked_by=blocked)), Kind.LOCK_QUEUE)
    assert found.sentence.startswith(
        "lock queue: 30 wait behind pid 11 (ALTER TABLE orders ADD x int, waiting 3m"
    )
    assert "which waits for pid 10 (COPY orders TO stdout, running 25m)" in found.sentence
    assert found.advice[0].sql == "SELECT pg_cancel_backend(11);"
    assert "dump that should live" in found.advice[0].text
    assert any("sweep won't help" in each.text for each in found.advice)
    early = {pid: by for pid, by in blocked.items() if pid < 108}
    """The answer that came when nine waited."""
    grown = the_one(diagnose(server_with(*sessions), facts=Facts(blocked_by=early)), Kind.LOCK_QUEUE)
    assert grown.sentence.startswith("lock queue: 8 of 31 wait behind pid 11")
    row_level, blocked = queue(30, "tuple")
    flat = the_one(diagnose(server_with(*row_level), facts=Facts(blocked_by=blocked)), Kind.LOCK_QUEUE)
    assert "31 sessions wait for a lock that pid 10" in flat.sentence
    assert not any("Cancel" in each.text for each in flat.advice)
    unknown = the_one(diagnose(server_with(*row_level)), Kind.LOCK_QUEUE)
    assert unknown.sentence == "lock queue: 31 sessions wait for a lock"


def test_no_head_is_named_for_those_that_wait_for_its_advisory_lock() -> None:
    """To cancel its query leaves them waiting: the session keeps that lock."""
    (dump, alter, *others), blocked = queue(30)
    keys = [msgspec.structs.replace(each, wait_event="advisory") for each in others]
    kept = the_one(
        diagnose(server_with(dump, alter, *keys), facts=Facts(blocked_by=blocked)), Kind.LOCK_QUEUE
    )
    assert not any("Cancel" in each.text for each in kept.advice)
    assert kept.remedy is None
    few = diagnose(server_with(dump, alter, *others[4:], *keys[:4]), facts=Facts(blocked_by=blocked))
    assert "Cancel pid 11: the 26 behind it go on" in the_one(few, Kind.LOCK_QUEUE).advice[0].text


def test_waiting_for_an_advisory_lock_may_be_in_order() -> None:
    """Schedulers wait for years to take the leader's place."""
    waits = {"wait_event_type": "Lock", "wait_event": "advisory", "query": "SELECT pg_advisory_lock(42)"}
    leader = one(10, 1500, 4, application_name="scheduler", query="SELECT 1")
    others = [one(100 + n, 900, 899, "active", application_name="scheduler", **waits) for n in range(9)]
    blocked = {each.pid: frozenset({10}) for each in others}
    told = the_one(diagnose(server_with(leader, *others), facts=Facts(blocked_by=blocked)), Kind.LOCK_QUEUE)
    assert told.sentence == (
        "lock queue: 9 sessions wait for an advisory lock that pid 10 (scheduler, idle for 4s) holds"
    )
    assert "are in order" in told.advice[-1].text
    assert not any(each.sql for each in told.advice), "no statement ends it, and no schema change began it"


def test_work_outside_the_database_inside_a_transaction() -> None:
    stuck = [
        one(
            100 + n, 900, 41, "idle in transaction", application_name="api", query=f"SELECT {n} FROM policies"
        )
        for n in range(28)
    ]
    found = the_one(diagnose(server_with(*stuck, *pools("web", 4, 12))), Kind.IDLE_IN_TRANSACTION)
    assert found.sentence.startswith(
        "28 of api idle in transaction (median 41s), 28 after `SELECT ? FROM polic"
    )
    privileges = Privileges("ops", is_superuser=False, may_signal=False)
    own = [msgspec.structs.replace(each, is_of_own_role=True) for each in stuck[:3]]
    seen = server_with(*own, *stuck[3:], *pools("web", 4, 12), privileges=privileges)
    lacking = the_one(diagnose(seen), Kind.IDLE_IN_TRANSACTION).advice[-1]
    assert lacking.text == "Role ops may not end 25 sessions of these"
    assert lacking.sql == "GRANT pg_signal_backend TO ops;"
    aborted = [msgspec.structs.replace(each, state="idle in transaction (aborted)") for each in stuck]
    failed = the_one(diagnose(server_with(*aborted, *pools("web", 4, 12))), Kind.IDLE_IN_TRANSACTION)
    assert failed.sentence.endswith("28 met an error, and were not rolled back")
    brief = [one(100 + n, 900, 1, "idle in transaction") for n in range(75)]
    (described,) = diagnose(server_with(*brief, *pools("web", 1, 20)))
    assert "at work" not in described.sentence
    assert Kind.IDLE_IN_TRANSACTION not in {each.kind for each in diagnose(server_with(*brief))}


def test_many_of_one_slow_statement() -> None:
    slow = [
        one(
            100 + n,
            900,
            240,
            "active",
            query=f"SELECT * FROM ops WHERE id = {n}",
            wait_event_type="IO",
            wait_event="DataFileRead",
        )
        for n in range(44)
    ]
    found = the_one(diagnose(server_with(*slow, *pools("web", 2, 16))), Kind.SLOW_STATEMENTS)
    assert "44 of web run the same statement for 4m" in found.sentence
    assert "most wait for IO/DataFileRead" in found.sentence
    events = ["DataFileRead", "DataFileWrite", "WALSync"]
    split = [
        msgspec.structs.replace(each, wait_event=events[n % 3], query="SELECT 1")
        for n, each in enumerate(slow)
    ]
    told = the_one(diagnose(server_with(*split, *pools("web", 2, 16))), Kind.SLOW_STATEMENTS)
    assert "most" not in told.sentence
    various = [one(100 + n, 900, 240, "active", query=f"SELECT * FROM t_{'x' * n}") for n in range(44)]
    assert Kind.SLOW_STATEMENTS not in {
        each.kind for each in diagnose(server_with(*various, *pools("w", 2, 16)))
    }


def test_tools_that_people_left_open() -> None:
    left = [
        one(100 + n, 80_000, 70_000 - n, application_name=f"DBeaver 24.1.0 - SQLEditor <{n}>", usename="ann")
        for n in range(34)
    ]
    found = the_one(diagnose(server_with(*left, *pools("web", 3, 12))), Kind.TOOLS)
    assert "34 of people's tools (DBeaver 34; ann 34), idle for up to 19h" in found.sentence
    assert 'ALTER ROLE "ann" SET idle_session_timeout' in found.advice[1].sql
    shared = [msgspec.structs.replace(each, usename="shop") for each in left]
    app = [msgspec.structs.replace(each, usename="shop") for each in pools("web", 3, 12)]
    told = the_one(diagnose(server_with(*shared, *app)), Kind.TOOLS)
    assert not told.advice[1].sql, "it would close the sessions of a pool"
    assert "roles of their own" in told.advice[1].text


@pytest.mark.parametrize(("number", "named", "more"), [(2, 2, ""), (4, 4, ""), (8, 8, ""), (11, 8, "3 more")])
def test_each_person_with_open_tools_gets_a_statement(number: int, named: int, more: str) -> None:
    """Up to eight; of others the advice says how many there are."""
    people = [f"p{n:02}" for n in range(number)]
    left = [
        one(100 + n, 80_000, 70_000 - n, application_name="DataGrip 2024.1", usename=people[n % number])
        for n in range(44)
    ]
    found = the_one(diagnose(server_with(*left, *pools("web", 3, 12))), Kind.TOOLS)
    assert [line.split('"')[1] for line in found.advice[1].sql.splitlines()] == people[:named]
    assert all(each in found.sentence for each in people[:named])
    assert more in found.advice[1].text
    assert more in found.sentence
    assert bool(more) == ("more" in found.advice[1].text + found.sentence)


def test_clients_that_went_silent() -> None:
    crashed = [one(100 + n, 3600, 900 + n % 5, client_addr="10.0.4.7") for n in range(30)]
    working = [one(300 + n, 3600, n / 10, client_addr="10.0.4.8") for n in range(45)]
    found = the_one(diagnose(server_with(*crashed, *working)), Kind.SILENT_CLIENTS)
    assert found.slots == 30
    assert "10.0.4.7 (30) silent since" in found.sentence
    assert "crashed or cut off" in found.sentence
    replaced = [one(300 + n, 850, n / 10, client_addr="10.0.4.9") for n in range(45)]
    again = the_one(diagnose(server_with(*crashed, *replaced)), Kind.SILENT_CLIENTS)
    assert again.sentence.startswith("old release of web? 1 address silent since")
    quiet = [one(300 + n, 3600, 900 + n % 5, client_addr="10.0.4.8") for n in range(45)]
    kinds = {each.kind for each in diagnose(server_with(*crashed, *quiet))}
    assert Kind.SILENT_CLIENTS not in kinds, "an application at rest everywhere is not silent"


def test_a_surge_is_not_to_be_swept() -> None:
    old = [one(100 + n, 7200, 1, client_addr=f"10.0.0.{n % 4}") for n in range(30)]
    new = [one(300 + n, 120, 1, client_addr=f"10.0.9.{n % 8}") for n in range(50)]
    found = the_one(diagnose(server_with(*old, *new)), Kind.SURGE)
    assert "scaled out 4 → 12 addresses, 50 new sessions" in found.sentence
    assert found.sentence.endswith("; 50 used a moment ago"), "the head counts them as idle, not as in use"
    busy = [msgspec.structs.replace(each, state="active") if each.pid < 310 else each for each in new]
    told = the_one(diagnose(server_with(*old, *busy)), Kind.SURGE)
    assert told.sentence.endswith("; 10 at work, 40 used a moment ago")
    assert any("sessions won't hold" in each.text for each in found.advice)
    cold = [one(300 + n, 280, 200, client_addr=f"10.0.9.{n % 8}") for n in range(50)]
    assert Kind.SURGE not in {each.kind for each in diagnose(server_with(*old, *cold))}


def test_sessions_without_a_pool_are_not_a_restarts() -> None:
    """A server that was started three minutes ago did not make what is ten seconds old."""
    churn = [one(300 + n, 1 + n, 0.5, "active", application_name="php") for n in range(40)]
    pool = [one(300 + n, 170, 0.5, "active", application_name="php") for n in range(40)]
    started = server_of(Limits(103, 3))
    identity = msgspec.structs.replace(started.identity, postmaster_start=at(180))
    started = msgspec.structs.replace(started, identity=identity)
    for sessions, said in (
        (churn, "surge of php: no pool? 40"),
        (pool, "40 new sessions after the server's"),
    ):
        crowd = msgspec.structs.replace(server_with(*sessions, *pools("web", 4, 9)), server=started)
        assert said in first(diagnose(crowd), Kind.SURGE).sentence


def test_pools_that_are_too_large_together() -> None:
    found = the_one(diagnose(server_with(*pools("web", 9, 10), slots=97)), Kind.POOL_ARITHMETIC)
    assert "9 addresses × 10, 90 in all; 9 each fits (it has 90, 81 idle)" in found.sentence
    evidence = dict(found.evidence)
    assert evidence["each may have at most"] == "9 sessions"
    assert evidence["while a deploy runs, at most"].startswith("7 sessions; ")
    behind_one = [one(100 + n, 7200, 20) for n in range(80)]
    (described,) = diagnose(server_with(*behind_one))
    assert (described.kind, described.grade) == (Kind.MIXED, Grade.MIXED), "one address tells of no pools"


def test_a_deploy_that_fits_is_not_denied() -> None:
    """A quarter more of the hosts, rounded up, beside all that is there."""
    others = [one(500 + n, 7200, 5 + n, application_name=f"app {'x' * (n % 6)}") for n in range(33)]
    tight = the_one(diagnose(server_with(*pools("web", 5, 9), *others, slots=97)), Kind.POOL_ARITHMETIC)
    assert "; a deploy takes it to 98%: 8 each leave room (" in tight.sentence
    wide = the_one(diagnose(server_with(*pools("web", 3, 17), *others, slots=97)), Kind.POOL_ARITHMETIC)
    assert "; a deploy does not fit: 14 each would (" in wide.sentence


def test_a_server_over_the_line_is_never_without_a_word() -> None:
    various = [
        one(100 + n, 7200, 5 + n, application_name=f"app{n % 20}", client_addr=f"10.0.0.{n}")
        for n in range(85)
    ]
    found = the_one(diagnose(server_with(*various)), Kind.MIXED)
    assert found.sentence.startswith("no single cause: app0 5, app1 5, app2 5, and 17 more; 85 of 85 idle")
    hidden = [one(100 + n, 7200, 5, backend_start=None, state=None) for n in range(85)]
    told = the_one(diagnose(server_with(*hidden)), Kind.MIXED)
    assert "states of 85 of 85 sessions are hidden" in told.sentence
    assert not diagnose(server_with(*various[:60])), "below the line nothing is wrong"


def test_pools_that_no_size_makes_fit() -> None:
    """40 hosts are too many where others hold 85 of 120 slots."""
    many = [each for host in range(40) for each in pools(f"{host}", 1, 1)]
    named = [
        msgspec.structs.replace(
            each, application_name="web", client_addr=f"10.0.2.{n // 2}", pid=5000 + n, state="idle"
        )
        for n, each in enumerate([*many, *many])
    ]
    rest = [one(100 + n, 7200, 5, application_name=f"app{n}") for n in range(85)]
    for slots, said in ((140, "1 each fits, without a deploy ("), (120, "not even 1 each fits (")):
        found = diagnose(server_with(*named, *rest, slots=slots))[0]
        assert (found.kind, f"; {said}" in found.sentence) == (Kind.POOL_ARITHMETIC, True)


def test_pgtops_own_sessions_are_never_blamed() -> None:
    own = leak(80, application_name="pgtop dashboard@host")
    (found,) = diagnose(server_with(*own))
    assert found.kind is Kind.MIXED
    assert not found.backends


def test_the_rest_beside_a_cause_is_not_most() -> None:
    rest = [
        one(500 + n, 7200, 5 + n, application_name="search" if n < 14 else f"app {'x' * n}")
        for n in range(24)
    ]
    first_one, second = diagnose(server_with(*pools("web", 6, 10, busy=4), *rest))
    assert first_one.kind is Kind.POOL_ARITHMETIC
    assert second.sentence.startswith("the other 24 sessions: search 14, ")


def test_names_that_differ_in_a_number_are_one_program() -> None:
    """Each job has its number in its name, and forgets its session."""
    jobs = [
        msgspec.structs.replace(each, application_name=f"etl-job-{4711 + 13 * n}")
        for n, each in enumerate(leak(45))
    ]
    found = the_one(diagnose(server_with(*jobs, *pools("web", 2, 16))), Kind.LEAK)
    assert found.sentence.startswith("leak in etl-job-… since")
    assert (found.application_name, found.usename) == (None, "work")
    at_rest = [
        one(1000 + n, 7200, 1800 + 7 * (n * 31 % 45), application_name=f"etl-job-{n}") for n in range(45)
    ]
    told = diagnose(server_with(*at_rest, *pools("web", 3, 14, busy=9)))
    assert {each.kind for each in told} == {Kind.MIXED}
    assert "etl-job-… 45" in told[0].evidence[1][1]


def test_untracked_states_are_not_a_cause() -> None:
    untracked = [one(100 + n, 7200, 5, "disabled") for n in range(85)]
    told = the_one(diagnose(server_with(*untracked)), Kind.MIXED)
    assert "states of 85 of 85 sessions are not tracked (track_activities = off)" in told.sentence
    assert told.advice[0].sql.startswith("ALTER SYSTEM SET track_activities = on;")


def test_sessions_that_were_never_used_are_not_a_surge() -> None:
    """A sweep helps against them: they are not at work."""
    idle = [one(100 + n, 13, 7, query_start=None, client_addr=f"10.0.0.{n}") for n in range(85)]
    assert Kind.SURGE not in {each.kind for each in diagnose(server_with(*idle))}


def first(findings: Iterable[Finding], kind: Kind) -> Finding:
    return next(each for each in findings if each.kind is kind)


def test_a_sweep_does_not_erase_a_leak() -> None:
    """Two more sessions are enough for it, with the time and the pace of all that were lost."""
    whole = leak(42)
    swept, rest = whole[:38], whole[38:]
    others = pools("web", 7, 10)
    assert all(each.kind is not Kind.LEAK for each in diagnose(server_with(*rest, *others)))
    found = diagnose(server_with(*rest, *others), Before(swept=tuple(swept)))
    told = first(found, Kind.LEAK)
    earlier = first(diagnose(server_with(*whole, *others[:40])), Kind.LEAK)
    assert told.since == earlier.since
    assert told.per_minute == earlier.per_minute
    assert told.slots == 3, "the last one is not overtaken"
    assert {each.pid for each in told.backends} <= {each.pid for each in rest}
    assert "pgtop terminated 38 before" in told.sentence


def test_a_remedy_acts_only_on_sessions_of_its_finding() -> None:
    whole = leak(42)
    found = first(diagnose(server_with(*whole, *pools("web", 4, 10))), Kind.LEAK)
    assert found.remedy is not None
    assert (found.remedy.act, found.remedy.backends) == (Act.TERMINATE, found.backends)


def test_a_description_says_what_keeps_it_from_more() -> None:
    """Without names, and behind one address, programs and hosts cannot be told apart."""
    crowd = [
        one(100 + n, 7200 - 60 * n, 5 + 7 * (n % 40), application_name="", usename=f"u{n % 9}")
        for n in range(90)
    ]
    found = first(diagnose(server_with(*crowd)), Kind.MIXED)
    assert any("no application_name" in each.text for each in found.advice)
    assert any("one address" in each.text for each in found.advice)


def test_a_quiet_quarter_does_not_deny_a_slow_leak() -> None:
    """One session each twenty minutes: none was opened while somebody watched, and the leak is the same."""
    sessions = [*leak(24, every=1200.0), *pools("web", 2, 10)]
    worker = Application("worker", "work", "shop")
    quiet = Before(900.0, {worker: Traffic(0, 0, 0)})
    told = first(diagnose(server_with(*sessions, slots=50), quiet), Kind.LEAK)
    assert ("in the last 15m", "0 opened, 0 closed") in told.evidence
    closing = Before(900.0, {worker: Traffic(2, 6, 0)})
    assert Kind.LEAK not in {each.kind for each in diagnose(server_with(*sessions, slots=50), closing)}


def test_sessions_that_were_reopened_at_once_are_told_as_that() -> None:
    """The reason is known: the application took back what pgtop had terminated."""
    there = [one(100 + n, 20, 20, query_start=None) for n in range(85)]
    quiet = the_one(diagnose(server_with(*there)), Kind.MIXED)
    assert "the reason is not clear yet" in quiet.sentence
    undone = Before(undone=Undone(at(21), "web", 24, 24))
    found = the_one(diagnose(server_with(*there), undone), Kind.MIXED)
    assert found.sentence.startswith("web reopened 24 of 24 terminated at ")
    assert found.shorter[-1] == "web reopened 24"
    assert found.advice[0].text.startswith("Terminating sessions won't hold: web opens them again at once")


def test_a_dialog_says_where_the_room_may_not_last() -> None:
    """Hosts that come back and an API that works on open new sessions, whatever the plan promises."""
    crashed = [one(100 + n, 3600, 900 + n % 5, client_addr="10.0.4.7") for n in range(30)]
    working = [one(300 + n, 3600, n / 10, client_addr="10.0.4.8") for n in range(45)]
    silent = the_one(diagnose(server_with(*crashed, *working)), Kind.SILENT_CLIENTS)
    assert silent.remedy is not None
    assert "back again, they open new sessions" in silent.remedy.caution
    calling = [one(100 + n, 3600, 41, "idle in transaction", application_name="api") for n in range(28)]
    waiting = the_one(diagnose(server_with(*calling, slots=34)), Kind.IDLE_IN_TRANSACTION)
    assert waiting.remedy is not None
    assert "while api works on, it opens new sessions" in waiting.remedy.caution
