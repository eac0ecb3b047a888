"""The shared reaper on real servers: what was shown is what is ended, and nothing else."""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Backend, Snapshot
from pgtop.core.plan import Act, Guard, Outcome, Plan, ReapPolicy, SparedFor, Trigger, Victim
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError, PgtopError, ReadOnlyError
from pgtop.exit_codes import ExitCode
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.queries.advisory_keys import OWN_SESSION_CLASS, REAPER_CLASS
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, fetch_value, session, sessions, wait_until
from tests.support.reaping import Face, as_role, face_on, found, identities, lives, outcomes
from tests.support.relay import relay
from tests.support.targets import connection_on, stopped

STALE = ReapPolicy(idle_after_seconds=0.0)


async def idle(face: Face, connection: asyncpg.Connection) -> Snapshot:
    """A snapshot in which the session is idle."""

    async def look() -> Snapshot | None:
        snapshot = await face.snapshot()
        return snapshot if found(snapshot, connection).state == "idle" else None

    found_snapshot = await wait_until(look)
    assert isinstance(found_snapshot, Snapshot)
    return found_snapshot


def forged(snapshot: Snapshot, backend: Backend, guard: Guard = Guard.SESSION) -> Plan:
    """A plan that no policy would make."""
    return Plan(
        act=Act.TERMINATE,
        trigger=Trigger.SELECTED,
        server=snapshot.server,
        taken_at=snapshot.taken_at,
        total=snapshot.counts.total,
        slots=snapshot.slots,
        warn_at=0.8,
        victims=(Victim(backend, "forged", guard),),
        spared=(),
        policy=ReapPolicy(),
        interruptions=snapshot.interruptions,
    )


LONG_STATEMENT = f"SELECT '{'x' * 300}'"
"""Longer than what a poll asks for of one."""


async def test_ends_the_victims_and_nobody_else(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """On every version: idle, active and in transaction alike; the audit log has both lines of each."""
    async with (
        face_on(every_server, tmp_path / "audit.jsonl") as face,
        sessions(every_server, 4) as (bystander, one, active, in_transaction),
    ):
        await one.fetchval(LONG_STATEMENT)
        await in_transaction.execute("BEGIN; SELECT 1")
        sleeping = asyncio.ensure_future(active.fetchval("SELECT pg_sleep(60)"))
        await wait_until(lambda: face_sees_asleep(face, active))
        plan = await face.plan_for(one, active, in_transaction)
        assert [victim.guard for victim in plan.victims] == [Guard.STATE, Guard.SESSION, Guard.TRANSACTION]
        report = await face.run(plan)
        assert outcomes(report) == [Outcome.TERMINATED] * 3
        assert report.exit_code == ExitCode.DONE
        with pytest.raises(asyncpg.PostgresError):
            await sleeping
        assert await lives(bystander)
        left = {backend.id for backend in (await face.snapshot()).backends}
        assert not left & identities(plan)
    lines = face.lines()
    assert [line["event"] for line in lines] == ["attempt"] * 3 + ["outcome"] * 3
    assert [line["outcome"] for line in lines] == [None] * 3 + ["terminated"] * 3
    assert lines[0]["query"] == LONG_STATEMENT
    assert {(line["act"], line["trigger"], line["reason"]) for line in lines} == {
        ("terminate", "selected", "selected")
    }
    assert [line["pid"] for line in lines[:3]] == [line["pid"] for line in lines[3:]]


async def face_sees(face: Face, connection: asyncpg.Connection, state: str) -> bool:
    return found(await face.snapshot(), connection).state == state


async def face_sees_asleep(face: Face, connection: asyncpg.Connection) -> bool:
    """Whether its statement runs: asyncpg prepares it first, which is active too, and another turn."""
    return found(await face.snapshot(), connection).wait_event == "PgSleep"


async def test_a_session_that_ran_a_statement_since_is_changed_and_lives(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(every_server, tmp_path / "a") as face, session(every_server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        await one.fetchval("SELECT 2")
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await lives(one)


async def test_a_session_that_turned_active_is_changed_and_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        sleeping = asyncio.ensure_future(one.fetchval("SELECT 7 FROM pg_sleep(1)"))
        await wait_until(lambda: face_sees(face, one, "active"))
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await sleeping == 7


async def test_a_pid_that_is_another_session_by_now_is_changed_and_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As if the pid had been reused: same pid, another backend_start."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        snapshot = await idle(face, one)
        backend = found(snapshot, one)
        assert backend.backend_start is not None
        for guard in Guard:
            other = msgspec.structs.replace(backend, backend_start=backend.backend_start - 1)
            report = await face.run(forged(snapshot, other, guard))
            assert outcomes(report) == [Outcome.CHANGED]
        assert await lives(one)


async def test_a_session_in_another_state_is_changed_and_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Even where the time of the change is the same, as it would be to a coarse clock."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        snapshot = await idle(face, one)
        other = msgspec.structs.replace(found(snapshot, one), state="idle in transaction")
        assert outcomes(await face.run(forged(snapshot, other, Guard.STATE))) == [Outcome.CHANGED]
        assert await lives(one)


async def test_a_session_that_is_always_busy_can_be_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as busy:

        async def work() -> None:
            while True:
                await busy.fetchval("SELECT pg_sleep(0.005)")

        working = asyncio.ensure_future(work())
        await wait_until(lambda: face_sees(face, busy, "active"))
        plan = await wait_for_guard(face, busy, Guard.SESSION)
        assert outcomes(await face.run(plan)) == [Outcome.TERMINATED]
        with pytest.raises(DRIVER_ERRORS):
            await working


async def wait_for_guard(face: Face, connection: asyncpg.Connection, guard: Guard) -> Plan:
    async def look() -> Plan | None:
        plan = await face.plan_for(connection)
        return plan if plan.victims[0].guard is guard else None

    plan = await wait_until(look)
    assert isinstance(plan, Plan)
    return plan


async def test_another_transaction_by_now_is_changed_and_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.execute("BEGIN; SELECT 1")
        plan = await wait_for_guard(face, one, Guard.TRANSACTION)
        await one.execute("COMMIT; BEGIN; SELECT 2")
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        await one.execute("COMMIT")
        assert await lives(one)


@pytest.mark.parametrize("kind", ["operator", "superuser"])
async def test_never_a_session_of_pgtop(every_server: ThrowawayServer, tmp_path: Path, kind: str) -> None:
    """By no kind of plan: one of another role that may end sessions, and one of the same role."""
    role, other_role = await create_role(every_server, kind), await create_role(every_server, "operator")
    target, others = as_role(role), as_role(other_role)
    async with (
        face_on(every_server, tmp_path / "a", target=target) as face,
        connection_on(target, "dashboard") as same,
        connection_on(others, "daemon") as other,
    ):
        snapshot = await face.snapshot()
        meant = {each.own_pid for each in (face.own_connection, same, other)}
        chosen = [each.id for each in snapshot.backends if each.pid in meant]
        policy = ReapPolicy(idle_after_seconds=0.0, emergency_idle_after_seconds=0.0)
        for planning in (
            face.reaper.plan_terminate(snapshot, policy, chosen),
            face.reaper.plan_cancel(snapshot, policy, chosen),
            face.reaper.plan_sweep(snapshot, policy),
            face.reaper.plan_emergency(snapshot, policy),
        ):
            plan = await planning
            assert not meant & {victim.backend.pid for victim in plan.victims}
            spared = {each.backend.pid: each.spared_for for each in plan.spared}
            assert {spared[pid] for pid in meant & spared.keys()} == {SparedFor.OWN}


async def test_the_guard_never_signals_its_own_session(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """Not even by a forged plan: no row comes back, and the connection is there."""
    async with face_on(every_server, tmp_path / "a") as face:
        snapshot = await face.snapshot()
        own = next(each for each in snapshot.backends if each.pid == snapshot.own_pid)
        assert outcomes(await face.run(forged(snapshot, own))) == [Outcome.CHANGED]
        cancel = msgspec.structs.replace(forged(snapshot, own, Guard.STATEMENT), act=Act.CANCEL)
        assert outcomes(await face.run(cancel)) == [Outcome.CHANGED]
        assert face.own_connection.own_pid == snapshot.own_pid
        assert (await face.own_connection.fetch("SELECT 1"))[0][0] == 1


DISGUISES = {
    "the name alone": (),
    "an own session's key": (f"SELECT pg_advisory_lock_shared({OWN_SESSION_CLASS}, 1)",),
    "the reaper's key": (f"SELECT pg_advisory_lock_shared({REAPER_CLASS}, 4095)",),
    "a key held exclusively": (f"SELECT pg_advisory_lock({OWN_SESSION_CLASS}, 1)",),
}


@pytest.mark.parametrize("kind", ["selected", "sweep", "emergency"])
@pytest.mark.parametrize("disguise", DISGUISES)
async def test_a_client_in_disguise_is_ended_like_any_other(
    every_server: ThrowawayServer, tmp_path: Path, kind: str, disguise: str
) -> None:
    """Named as pgtop's sessions are, with pgtop's keys: its role is what it cannot fake."""
    operator, plain = await create_role(every_server, "operator"), await create_role(every_server)
    async with (
        face_on(every_server, tmp_path / "a", target=as_role(operator)) as face,
        session(
            every_server, application_name="pgtop daemon@x", user=plain.name, password=plain.password
        ) as one,
    ):
        await one.fetchval("SELECT 1")
        for statement in DISGUISES[disguise]:
            await one.fetchval(statement)
        snapshot = await idle(face, one)
        policy = ReapPolicy(warn_at=0.001, idle_after_seconds=0.0, emergency_idle_after_seconds=0.0)
        planning = {
            "selected": lambda: face.reaper.plan_terminate(snapshot, policy, [found(snapshot, one).id]),
            "sweep": lambda: face.reaper.plan_sweep(snapshot, policy),
            "emergency": lambda: face.reaper.plan_emergency(snapshot, policy),
        }[kind]
        plan = await planning()
        assert one.get_server_pid() in {victim.backend.pid for victim in plan.victims}
        assert not any(victim.warning for victim in plan.victims)
        report = await face.run(plan)
        became = {result.victim.backend.pid: result.outcome for result in report.results}
        assert became[one.get_server_pid()] is Outcome.TERMINATED


@pytest.mark.parametrize(("name", "kind"), [("app", "_shared"), ("pgtop x", "")])
async def test_a_role_alone_makes_nobody_pgtops_own(
    server: ThrowawayServer, tmp_path: Path, name: str, kind: str
) -> None:
    """A superuser's session of another name, or with the key held as no pgtop holds it."""
    async with face_on(server, tmp_path / "a") as face, session(server, application_name=name) as one:
        await one.fetchval(f"SELECT pg_advisory_lock{kind}({OWN_SESSION_CLASS}, 1)")
        await idle(face, one)
        assert len((await face.plan_for(one)).victims) == 1


async def test_the_statement_of_a_disguised_client_is_cancelled(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server, application_name="pgtop x") as one:
        sleeping = asyncio.ensure_future(one.fetchval("SELECT pg_sleep(60)"))
        await wait_until(lambda: face_sees_asleep(face, one))
        snapshot = await face.snapshot()
        plan = await face.reaper.plan_cancel(snapshot, STALE, [found(snapshot, one).id])
        assert outcomes(await face.run(plan)) == [Outcome.CANCELLED]
        with pytest.raises(asyncpg.QueryCanceledError):
            await sleeping


async def test_read_only_terminates_no_session(server: ThrowawayServer, tmp_path: Path) -> None:
    """Whatever plan a face lets through; nothing is written down either."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        face.reaper.read_only = True
        with pytest.raises(ReadOnlyError):
            await face.run(plan)
        assert await lives(one)
        assert not face.audit.exists()


async def test_one_denied_of_two_is_done_in_part(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """Status 6, not 5. The outcome's line is the attempt's, with what the server said."""
    role, plain = await create_role(every_server, "monitor"), await create_role(every_server)
    async with (
        face_on(every_server, tmp_path / "a", target=as_role(role)) as face,
        session(every_server, user=role.name, password=role.password) as mine,
        session(every_server, user=plain.name, password=plain.password) as other,
    ):
        for each in (mine, other):
            await each.fetchval("SELECT 'whose'")
        await idle(face, mine)
        await idle(face, other)
        plan = await face.plan_for(mine, other)
        assert (identities(plan), plan.forbidden) == ({found(await face.snapshot(), mine).id}, 1)
        # The right to the other was there when the plan was made.
        backend = found(await face.snapshot(), other)
        plan = msgspec.structs.replace(
            plan, victims=(*plan.victims, Victim(backend, "selected", Guard.STATE))
        )
        report = await face.run(plan)
        assert outcomes(report) == [Outcome.TERMINATED, Outcome.DENIED]
        assert report.exit_code == ExitCode.PARTLY
        assert await lives(other)
    lines = face.lines()
    for attempt, outcome in zip(lines[:2], lines[2:], strict=True):
        changing = ("event", "time", "usage_after", "outcome", "detail")
        assert {**attempt, **dict.fromkeys(changing)} == {**outcome, **dict.fromkeys(changing)}
        assert outcome["query"] == "SELECT 'whose'"
        assert (outcome["role"], outcome["rescue"]) == (role.name, False)
    assert [line["detail"] for line in lines[:3]] == [None] * 3
    assert "terminate" in lines[3]["detail"]


async def test_never_an_auxiliary_process(every_server: ThrowawayServer, tmp_path: Path) -> None:
    async with face_on(every_server, tmp_path / "a") as face, session(every_server) as other:
        snapshot = await idle(face, other)
        rows = await other.fetch(
            "SELECT pid, (date_part('epoch', backend_start) * 1e6)::int8 AS start FROM pg_stat_activity "
            "WHERE backend_type <> 'client backend'"
        )
        assert rows
        assert not {row["pid"] for row in rows} & {backend.pid for backend in snapshot.backends}
        for row in rows:
            backend = msgspec.structs.replace(
                found(snapshot, other), pid=row["pid"], backend_start=row["start"]
            )
            assert outcomes(await face.run(forged(snapshot, backend))) == [Outcome.CHANGED]
        still = await other.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type <> 'client backend'")
        assert {row["pid"] for row in rows} <= {row["pid"] for row in still}


async def test_a_right_lost_since_the_plan_denies_every_victim(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(every_server, "monitor")
    plain = await create_role(every_server)
    async with (
        face_on(every_server, tmp_path / "a", target=as_role(role)) as face,
        session(every_server, user=plain.name, password=plain.password) as one,
    ):
        snapshot = await idle(face, one)
        report = await face.run(forged(snapshot, found(snapshot, one)))
        assert outcomes(report) == [Outcome.DENIED]
        assert report.exit_code == ExitCode.NOT_PERMITTED
        assert await lives(one)
    assert face.lines()[-1]["outcome"] == "denied"


@pytest.mark.parametrize("member_of", ["", "pg_signal_backend", "its role"])
@pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
async def test_a_plan_holds_what_the_server_lets_the_role_end(
    every_server: ThrowawayServer, tmp_path: Path, member_of: str, inherits: str
) -> None:
    """Neither less nor more, and its grant makes the plan hold the rest."""
    role, plain = await create_role(every_server), await create_role(every_server)
    see = f"GRANT pg_read_all_stats TO {role.name}"
    if every_server.version >= 16:
        see += " WITH INHERIT TRUE"
    await execute(every_server, f"ALTER ROLE {role.name} {inherits}", see)
    if member_of:
        await execute(every_server, f"GRANT {member_of.replace('its role', plain.name)} TO {role.name}")
    if every_server.version == 15 and inherits == "NOINHERIT":
        return  # such a role sees no state there, and nothing is planned
    may_end = bool(member_of) and inherits == "INHERIT"
    async with (
        session(every_server, user=plain.name, password=plain.password) as one,
        session(every_server) as superuser,
        face_on(every_server, tmp_path / "a", target=as_role(role)) as face,
    ):
        await idle(face, one)
        plan = await face.plan_for(one, superuser)
        skipped = {each.backend.usename: each.spared_for for each in plan.spared}
        assert {each.backend.usename for each in plan.victims} == ({plain.name} if may_end else set())
        assert skipped.pop("postgres") is SparedFor.SUPERUSER
        assert skipped == ({} if may_end else {plain.name: SparedFor.FORBIDDEN})
        if not may_end:
            assert plan.usage_after == plan.usage_before
            snapshot = await idle(face, one)
            assert outcomes(await face.run(forged(snapshot, found(snapshot, one)))) == [Outcome.DENIED]
            for statement in plan.permission.partition("Run: ")[2].split(";")[:-1]:
                await execute(every_server, statement)
            plan = await face.plan_for(one, superuser)
            assert plan.permission == ""
        assert outcomes(await face.run(plan)) == [Outcome.TERMINATED]


async def test_a_function_that_was_withdrawn_is_granted_by_the_remedy(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory()
    role, plain = await create_role(server, "operator"), await create_role(server)
    await execute(server, "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC")
    async with (
        face_on(server, tmp_path / "a", target=as_role(role)) as face,
        session(server, user=plain.name, password=plain.password) as one,
    ):
        await idle(face, one)
        plan = await face.plan_for(one)
        assert (plan.victims, plan.forbidden) == ((), 1)
        assert "may not call pg_terminate_backend" in plan.spared[0].reason
        await execute(server, plan.permission.partition("Run: ")[2])
        assert outcomes(await face.run(await face.plan_for(one))) == [Outcome.TERMINATED]


async def test_superusers_are_spared_where_pgtop_is_none(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(every_server, "operator")
    target = as_role(role)
    async with (
        face_on(every_server, tmp_path / "a", target=target) as face,
        session(every_server) as superuser,
    ):
        snapshot = await idle(face, superuser)
        backend = found(snapshot, superuser)
        plan = await face.reaper.plan_terminate(snapshot, STALE, [backend.id])
        assert [spared.spared_for for spared in plan.spared] == [SparedFor.SUPERUSER]
        assert outcomes(await face.run(forged(snapshot, backend))) == [Outcome.CHANGED]
        assert await lives(superuser)


async def test_a_session_whose_role_was_dropped_since_can_be_ended(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """As services that hand out roles for an hour leave them behind."""
    role = await create_role(every_server, "operator")
    passing = await create_role(every_server)
    target = as_role(role)
    async with (
        face_on(every_server, tmp_path / "a", target=target) as face,
        session(every_server, user=passing.name, password=passing.password) as one,
    ):
        await one.fetchval("SELECT 1")
        await execute(every_server, f'DROP ROLE "{passing.name}"')
        await idle(face, one)
        report = await face.run(await face.plan_for(one))
        assert outcomes(report) == [Outcome.TERMINATED]


@pytest.mark.parametrize("place", ["full", "directory", "below a file"])
async def test_an_audit_log_that_cannot_be_written_ends_nobody(
    server: ThrowawayServer, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    path = {"full": Path("/dev/full"), "directory": tmp_path, "below a file": tmp_path / "file" / "log"}[
        place
    ]
    async with face_on(server, path) as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        with pytest.raises(AuditError, match="--audit-log") as refused:
            await face.run(plan)
        assert str(path) in str(refused.value)
        assert await lives(one)


async def test_without_a_connection_nobody_is_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        await fetch_value(server, "SELECT pg_terminate_backend($1)", face.own_connection.own_pid)
        with pytest.raises(PgtopError, match="nothing was terminated"):
            await face.run(plan)
        assert await lives(one)
        assert not (tmp_path / "a").exists()


async def test_a_plan_of_a_server_that_restarted_ends_nobody(server: ThrowawayServer, tmp_path: Path) -> None:
    """The address answers, but the postmaster is another one."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        identity = plan.server.identity
        for other in (
            msgspec.structs.replace(identity, postmaster_start=identity.postmaster_start - 1),
            msgspec.structs.replace(identity, in_recovery=True),
        ):
            elsewhere = msgspec.structs.replace(
                plan, server=msgspec.structs.replace(plan.server, identity=other)
            )
            assert outcomes(await face.run(elsewhere)) == [Outcome.CHANGED]
        assert await lives(one)


async def test_a_backend_that_does_not_die_survived(server: ThrowawayServer, tmp_path: Path) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.fetchval("SELECT 1")
        plan = await face.plan_for(one)
        with stopped(plan.victims[0].backend.pid):
            report = await face.run(plan)
        assert outcomes(report) == [Outcome.SURVIVED]
        assert report.exit_code == ExitCode.PARTLY


async def test_a_sweep_ends_the_stale_and_spares_who_may_be_at_work(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    async with (
        face_on(every_server, tmp_path / "a") as face,
        session(every_server) as stale,
        session(every_server) as leader,
        session(every_server) as listener,
        session(every_server, application_name="Patroni heartbeat") as patroni,
        session(every_server) as in_transaction,
    ):
        for each in (stale, patroni):
            await each.fetchval("SELECT 1")
        await leader.fetchval("SELECT pg_advisory_lock(1)")
        await listener.execute("LISTEN jobs")
        await face.snapshot()
        await listener.execute("COMMIT")
        await in_transaction.execute("BEGIN; SELECT 1")
        plan = await face.reaper.plan_sweep(await idle(face, stale), STALE)
        spared = {each.backend.pid: each.spared_for for each in plan.spared}
        assert spared[leader.get_server_pid()] is SparedFor.ADVISORY_LOCK
        assert spared[listener.get_server_pid()] is SparedFor.LISTENING
        assert spared[patroni.get_server_pid()] is SparedFor.NAMED
        assert spared[in_transaction.get_server_pid()] is SparedFor.IN_TRANSACTION
        assert stale.get_server_pid() in {victim.backend.pid for victim in plan.victims}
        report = await face.run(plan)
        assert set(outcomes(report)) <= {Outcome.TERMINATED, Outcome.CHANGED}
        for each in (leader, listener, patroni, in_transaction):
            assert await lives(each)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await lives(stale)


async def test_cancel_ends_the_statement_and_not_the_session(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(every_server, tmp_path / "a") as face, session(every_server) as one:
        sleeping = asyncio.ensure_future(one.fetchval("SELECT pg_sleep(60)"))
        await wait_until(lambda: face_sees_asleep(face, one))
        snapshot = await face.snapshot()
        plan = await face.reaper.plan_cancel(snapshot, STALE, [found(snapshot, one).id])
        assert outcomes(await face.run(plan)) == [Outcome.CANCELLED]
        with pytest.raises(asyncpg.QueryCanceledError):
            await sleeping
        assert await lives(one)
        again = asyncio.ensure_future(one.fetchval("SELECT 7 FROM pg_sleep(0.5)"))
        await wait_until(lambda: face_sees(face, one, "active"))
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await again == 7
    assert {line["act"] for line in face.lines()} == {"cancel"}


async def test_a_statement_that_ended_meanwhile_is_not_cancelled(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        sleeping = asyncio.ensure_future(one.fetchval("SELECT 7 FROM pg_sleep(0.5)"))
        await wait_until(lambda: face_sees_asleep(face, one))
        snapshot = await face.snapshot()
        plan = await face.reaper.plan_cancel(snapshot, STALE, [found(snapshot, one).id])
        assert await sleeping == 7
        await wait_until(lambda: face_sees(face, one, "idle"))
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]


async def test_waiting_for_an_advisory_lock_is_not_holding_one(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with face_on(server, tmp_path / "a") as face, sessions(server, 2) as (holder, waiting):
        await holder.fetchval("SELECT pg_advisory_lock(2)")
        stuck = asyncio.ensure_future(waiting.fetchval("SELECT pg_advisory_lock(2)"))
        await wait_until(lambda: face_waits(face, waiting))
        plan = await face.plan_for(holder, waiting)
        assert [bool(victim.warning) for victim in plan.victims] == [True, False]
        await holder.fetchval("SELECT pg_advisory_unlock(2)")
        await stuck


async def face_waits(face: Face, connection: asyncpg.Connection) -> bool:
    return found(await face.snapshot(), connection).waits_on_lock


async def test_a_connection_lost_in_the_middle_is_unknown_and_then_failed(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was signalled, and nobody can say what became of it; the second was not, and lives."""
    async with face_on(server, tmp_path / "a") as face, sessions(server, 2) as (first, second):
        for each in (first, second):
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(first, second)
        ask = face.own_connection.fetchrow

        async def ask_and_lose(query: str, *arguments: object) -> asyncpg.Record | None:
            row = await ask(query, *arguments)
            face.own_connection.drop()
            return row

        monkeypatch.setattr(face.own_connection, "fetchrow", ask_and_lose)
        report = await face.run(plan)
        assert outcomes(report) == [Outcome.UNKNOWN, Outcome.FAILED]
        assert report.exit_code == ExitCode.PARTLY
        assert await lives(second)
    assert [line["outcome"] for line in face.lines()] == [None, None, "unknown", "failed"]


async def test_each_victim_has_its_outcome_for_any_driver_error(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that the driver cannot read, and a refusal that says nothing was done; the third is ended."""
    async with face_on(server, tmp_path / "a") as face, sessions(server, 3) as opened:
        for each in opened:
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(*opened)
        errors = [asyncpg.InternalClientError("unreadable"), asyncpg.LockNotAvailableError("not now")]
        ask = face.own_connection.fetchrow

        async def ask_in_vain(query: str, *arguments: object) -> asyncpg.Record | None:
            if errors:
                raise errors.pop(0)
            return await ask(query, *arguments)

        monkeypatch.setattr(face.own_connection, "fetchrow", ask_in_vain)
        report = await face.run(plan)
        assert outcomes(report) == [Outcome.UNKNOWN, Outcome.FAILED, Outcome.TERMINATED]
    assert [line["outcome"] for line in face.lines()[3:]] == ["unknown", "failed", "terminated"]


async def test_the_usage_after_keeps_slots_told_of_by_a_refusal(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Through a relay the host tells nothing, and terminating a session frees no slot but its own."""
    async with (
        relay(server) as way,
        face_on(server, tmp_path / "a", target=way.target()) as face,
        session(server) as one,
    ):
        snapshot = msgspec.structs.replace(await idle(face, one), unlisted=5)
        plan = await face.reaper.plan_terminate(snapshot, ReapPolicy(), [found(snapshot, one).id])
        report = await face.run(plan)
        assert report.count(Outcome.TERMINATED) == 1
        assert report.measured_usage is not None
        assert round((plan.usage_before - report.measured_usage) * plan.slots) == 1
