"""Reaping by itself on real servers: when a sweep comes, who of several does it, and when it rests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.findings import Finding, Grade, Kind, Remedy
from pgtop.core.plan import Act, Outcome, ReapPolicy, SparedFor, Trigger
from pgtop.core.retaken_slots import BURST_SECONDS, FIRST_REST_SECONDS
from pgtop.core.session_patterns import Patterns
from pgtop.core.stalled_logins import CALM_SECONDS
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError
from pgtop.postgres import advisory_keys
from pgtop.postgres.advisory_keys import drawn, signed
from pgtop.postgres.queries.advisory_keys import OWN_SESSION_CLASS, REAPER_CLASS
from pgtop.reaping.automatic import STUCK_SECONDS, AutomaticReaper, Turn, Unfit
from tests.servers import create_role, execute, fetch_value, session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.reaping import Face, as_role, face_on, hold_key, lives
from tests.support.targets import stopped, target_of

POLICY = ReapPolicy(warn_at=0.5, idle_after_seconds=0.0, emergency_idle_after_seconds=0.0)


@dataclass
class AutomaticSweeps:
    """One that reaps by itself, with a clock that the test moves on."""

    face: Face
    now: float = 1000.0
    reaper: AutomaticReaper = field(init=False)
    clock: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self.clock = lambda: self.now
        self.reaper = AutomaticReaper(
            self.face.reaper, self.face.own_connection, POLICY, every_seconds=60.0, clock=lambda: self.clock()
        )

    async def turn(self, after: float = 0.0, *, refused: bool = False, **found: Kind) -> Turn:
        """The next poll, so many seconds later by the test's clock.

        `found` has the kinds of the findings, by the applications whose sessions they explain.
        """
        self.now += after
        snapshot = await self.face.probe.poll()
        assert isinstance(snapshot, Snapshot)
        findings = [finding_of(snapshot, kind, name) for name, kind in found.items()]
        return await self.reaper.turn(snapshot, refused=refused, findings=findings)


def finding_of(snapshot: Snapshot, kind: Kind, name: str, *, may_be_acted_on: bool = True) -> Finding:
    """A finding that explains all sessions of an application."""
    there = tuple(each.id for each in snapshot.backends if each.application_name == name)
    remedy = Remedy(Act.TERMINATE, there) if may_be_acted_on else None
    return Finding(kind, Grade.LOOKS_LIKE, len(there), "", there, application_name=name, remedy=remedy)


@asynccontextmanager
async def auto_on(
    server: ThrowawayServer, audit: Path, *, database: str = "postgres"
) -> AsyncIterator[AutomaticSweeps]:
    async with face_on(server, audit, target=target_of(server, dbname=database)) as face:
        yield AutomaticSweeps(face)


def ended(turn: Turn) -> int:
    """How many sessions this turn ended."""
    return turn.report.count(Outcome.TERMINATED) if turn.report else 0


async def test_up_to_the_line_nobody_is_ended(small: ThrowawayServer, tmp_path: Path) -> None:
    """10 of 20 are 50%: on the line, not above it. One more, and the stale go."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 9, application_name="idle"):
        turn = await auto.turn()
        assert turn.is_active
        assert turn.plan is None
        async with session(small, application_name="idle"):
            turn = await auto.turn()
    assert turn.plan is not None
    assert turn.plan.trigger is Trigger.USAGE
    assert ended(turn) == 10
    assert {line["decided_by"] for line in audited(tmp_path / "a")} == {"policy"}


async def test_sweeps_keep_their_distance_and_emergencies_do_not(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    async with auto_on(small, tmp_path / "a") as auto:
        async with sessions(small, 12):
            assert ended(await auto.turn()) == 12
        async with sessions(small, 12):
            assert (await auto.turn(30)).plan is None
            assert 29 < auto.reaper.seconds_to_sweep() <= 30
            assert ended(await auto.turn(30)) == 12
        async with sessions(small, 20):
            turn = await auto.turn(1)
            assert turn.plan is not None
            assert turn.plan.trigger is Trigger.EMERGENCY
            assert ended(turn) == 12
            assert (await auto.turn(1)).plan is None


async def test_only_the_sessions_of_such_a_finding_go(small: ThrowawayServer, tmp_path: Path) -> None:
    """The others stay, however stale they are, and however full the server is."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 13, application_name="web") as pool:
        auto.reaper.only = (Kind.LEAK,)
        async with sessions(small, 6, application_name="leaky"):
            turn = await auto.turn(web=Kind.SURGE, leaky=Kind.LEAK)
            assert turn.plan is not None
            assert turn.plan.trigger is Trigger.EMERGENCY
            assert ended(turn) == 6
            assert (turn.hands_off, turn.wont_hold) == ("", None)
        assert all([await lives(each) for each in pool])
    assert {line["application_name"] for line in audited(tmp_path / "a")} == {"leaky"}


@pytest.mark.parametrize("number", [12, 19])
async def test_the_hands_are_off_what_was_not_asked_for(
    small: ThrowawayServer, tmp_path: Path, number: int
) -> None:
    """It says why, over the line and on a full server; a finding of the past is not acted on either."""
    async with auto_on(small, tmp_path / "a") as auto:
        auto.reaper.only = (Kind.LEAK, Kind.TOOLS)
        assert (await auto.turn(web=Kind.SURGE)).hands_off == ""
        async with sessions(small, number, application_name="web"):
            turn = await auto.turn(60, web=Kind.SURGE)
            assert turn.hands_off == "what fills it is a surge: --only leak,tools"
            assert (turn.plan, turn.report, turn.wont_hold) == (None, None, None)
            assert (await auto.turn(60)).hands_off == "nothing is known to fill it: --only leak,tools"
            seen = await auto.face.snapshot()
            past = finding_of(seen, Kind.LEAK, "web", may_be_acted_on=False)
            assert (await auto.reaper.turn(seen, findings=[past])).report is None
            assert ended(await auto.turn(60, web=Kind.LEAK)) > 0


async def test_it_knows_before_a_sweep_that_it_will_not_hold(small: ThrowawayServer, tmp_path: Path) -> None:
    """It sweeps all the same; not so in a leak, or below the line."""
    async with auto_on(small, tmp_path / "a") as auto:
        assert (await auto.turn(web=Kind.SURGE)).wont_hold is None
        for kind, is_told in ((Kind.SURGE, True), (Kind.POOL_ARITHMETIC, True), (Kind.LEAK, False)):
            async with sessions(small, 12, application_name="web"):
                turn = await auto.turn(60, web=kind)
                assert ended(turn) == 12
                assert (turn.wont_hold is not None) == is_told


async def test_a_login_stall_costs_one_session_and_no_more(small: ThrowawayServer, tmp_path: Path) -> None:
    """However long it lasts, and again only when logins have succeeded for a while."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 8):
        assert (await auto.turn()).plan is None
        turn = await auto.turn(refused=True)
        assert turn.plan is not None
        assert turn.plan.trigger is Trigger.EMERGENCY
        assert ended(turn) == 1
        assert (turn.stall_begins, turn.stall_is_over) == (True, False)
        for _ in range(3):
            turn = await auto.turn(300, refused=True)
            assert turn.plan is None
            assert turn.stall is not None
            assert not turn.stall_begins
        assert not (await auto.turn(CALM_SECONDS - 1)).stall_is_over
        assert (await auto.turn(refused=True)).plan is None
        assert (await auto.turn(CALM_SECONDS)).stall_is_over
        assert ended(await auto.turn(refused=True)) == 1


async def test_a_full_server_is_an_emergency_within_a_stall_too(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Sessions that hold every slot are another case than strangers who do."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 8):
        assert ended(await auto.turn(refused=True)) == 1
        async with sessions(small, 12):
            assert ended(await auto.turn(1, refused=True)) == 11


async def test_a_standby_ends_nobody_in_a_stall(small: ThrowawayServer, tmp_path: Path) -> None:
    """Two daemons do not make two tries."""
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        await old.turn()
        await young.turn()
        async with sessions(small, 6):
            assert (await young.turn(refused=True)).plan is None
            assert ended(await old.turn(refused=True)) == 1
            assert (await young.turn(refused=True)).plan is None


async def test_the_oldest_of_several_reaps_and_the_next_takes_over(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Whatever their databases: the younger stands by, and takes over in the poll that misses the older."""
    async with (
        auto_on(small, tmp_path / "old") as old,
        auto_on(small, tmp_path / "young", database="template1") as young,
    ):
        assert (await young.turn()).is_active
        assert (await old.turn()).is_active
        async with sessions(small, 12):
            second = await young.turn()
            assert ended(await old.turn()) == 12
        assert not second.is_active
        assert second.active is not None
        assert second.active.pid == old.face.own_connection.own_pid
        assert len(second.holders) == 2
        old.face.own_connection.drop()

        async def taken_over() -> bool:
            return (await young.turn()).is_active

        await wait_until(taken_over)
        async with sessions(small, 12):
            assert ended(await young.turn(60)) == 12


async def test_a_reaper_that_stops_gives_the_key_back(small: ThrowawayServer, tmp_path: Path) -> None:
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        await old.turn()
        assert not (await young.turn()).is_active
        await old.reaper.stop()
        assert (await young.turn()).is_active
        assert (await old.face.own_connection.fetch("SELECT 1"))[0][0] == 1


async def test_a_reaper_that_stops_measures_no_more_sweeps(small: ThrowawayServer, tmp_path: Path) -> None:
    """Who begins again an hour later would take what came meanwhile for a pool that came back at once."""
    async with auto_on(small, tmp_path / "a") as auto:
        async with sessions(small, 12, application_name="pool"):
            assert ended(await auto.turn()) == 12
        await auto.reaper.stop()
        async with sessions(small, 12, application_name="pool"):
            turn = await auto.turn(3600)
        assert not turn.measured
        assert not turn.patience.futile


async def test_a_key_held_by_another_program_keeps_nobody_from_reaping(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """An application's own advisory lock of the same class is not taken for a daemon, and named."""
    async with session(small, application_name="odd") as odd, auto_on(small, tmp_path / "a") as auto:
        await hold_key(odd)
        turn = await auto.turn()
        assert turn.is_active
        assert [each.key.pid for each in turn.passed_over] == [odd.get_server_pid()]


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "exclusive"])
async def test_a_client_that_holds_the_key_in_disguise_is_passed_over(
    every_server: ThrowawayServer, tmp_path: Path, shared: bool
) -> None:
    """Older, named as a daemon is, in another database; of a role that may end nobody."""
    role = await create_role(every_server)
    async with (
        session(
            every_server,
            application_name="pgtop daemon@x",
            user=role.name,
            password=role.password,
            database="template1",
        ) as hostile,
        auto_on(every_server, tmp_path / "a") as auto,
    ):
        await hold_key(hostile, shared=shared)
        turn = await auto.turn()
        assert turn.is_active
        assert not turn.keyless
        assert [each.key.pid for each in turn.passed_over] == [hostile.get_server_pid()]
        assert role.name in turn.passed_over[0].said


@pytest.mark.parametrize("kind", ["operator", "signal", "superuser"])
async def test_a_daemon_of_another_role_that_may_end_sessions_counts(
    every_server: ThrowawayServer, tmp_path: Path, kind: str
) -> None:
    role = await create_role(every_server, kind)
    async with (
        session(
            every_server, application_name="pgtop daemon@x", user=role.name, password=role.password
        ) as older,
        auto_on(every_server, tmp_path / "a") as auto,
    ):
        await hold_key(older)
        turn = await auto.turn()
        assert not turn.is_active
        assert turn.active is not None
        assert turn.active.pid == older.get_server_pid()


async def test_it_reaps_without_a_key_if_all_are_held_exclusively(
    small: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draw falls on keys that a client holds, each time: what it cannot know in earnest."""
    role = await create_role(small)
    number = drawn(12)
    async with (
        session(small, application_name="odd", user=role.name, password=role.password) as hostile,
        auto_on(small, tmp_path / "a") as auto,
    ):
        await hostile.execute(f"SELECT pg_advisory_lock({REAPER_CLASS}, {signed(number)})")
        monkeypatch.setattr(advisory_keys, "drawn", lambda _: number)
        async with sessions(small, 12):
            turn = await auto.turn()
        assert ended(turn) == 13  # the holder as well: a key of pgtop's is not a lock that protects
        assert "exclusively" in turn.keyless
        assert [each.key.pid for each in turn.passed_over] == [hostile.get_server_pid()]
        monkeypatch.undo()
        turn = await auto.turn(60)
        assert turn.is_active
        assert not turn.keyless


async def test_a_key_that_is_in_the_way_is_drawn_again(
    small: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter([first := drawn(12), drawn(12)])
    async with session(small, application_name="odd") as odd, auto_on(small, tmp_path / "a") as auto:
        await odd.execute(f"SELECT pg_advisory_lock({REAPER_CLASS}, {signed(first)})")
        monkeypatch.setattr(advisory_keys, "drawn", lambda _: next(numbers))
        turn = await auto.turn()
        assert not turn.keyless
        assert [each.pid for each in turn.holders] == [auto.face.own_connection.own_pid]


async def test_it_reaps_without_a_key_if_locks_are_revoked(small: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(small, "operator")
    await execute(small, "REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock_shared(int, int) FROM PUBLIC")
    async with (
        face_on(small, tmp_path / "a", target=as_role(role)) as face,
        sessions(small, 12, user=role.name, password=role.password),
    ):
        turn = await AutomaticSweeps(face).turn()
        assert "permission denied" in turn.keyless
        assert ended(turn) == 12


async def test_a_leader_that_is_not_heard_of_is_passed_over(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """Its session stands still for longer than its key says; while it is heard of, it leads again."""
    async with (
        session(every_server, application_name="pgtop daemon@old") as older,
        auto_on(every_server, tmp_path / "a") as auto,
    ):
        await hold_key(older, 1)

        async def passed_over() -> Turn | None:
            turn = await auto.turn()
            return turn if turn.is_active else None

        turn = await wait_until(passed_over)
        assert [(each.key.pid, each.reason) for each in turn.passed_over] == [
            (older.get_server_pid(), "has not been heard from")
        ]
        await older.fetchval("SELECT 1")
        turn = await auto.turn()
        assert not turn.is_active
        assert not turn.passed_over
        running = asyncio.ensure_future(older.fetchval("SELECT pg_sleep(60)"))
        await wait_until(passed_over)
        await execute(every_server, f"SELECT pg_cancel_backend({older.get_server_pid()})")
        with pytest.raises(asyncpg.QueryCanceledError):
            await running


async def test_a_poll_from_before_a_standstill_is_not_acted_on(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """As after SIGSTOP: whoever goes on looks again first."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 12):
        snapshot = await auto.face.probe.poll()
        assert isinstance(snapshot, Snapshot)
        late = round((auto.reaper.promise_seconds + 1) * MICROSECONDS)
        old = msgspec.structs.replace(snapshot, taken_at=snapshot.taken_at - late)
        turn = await auto.reaper.turn(old)
        assert turn.is_active
        assert turn.plan is None
        assert ended(await auto.turn()) == 12
    async with auto_on(small, tmp_path / "b") as auto, sessions(small, 12):
        moments = iter([1000.0, 1000.0 + auto.reaper.promise_seconds + 1])
        auto.clock = lambda: next(moments)
        assert (await auto.turn()).report is None


async def test_the_promise_follows_the_interval(small: ThrowawayServer, tmp_path: Path) -> None:
    """One key with the new promise and one with the rules, whatever was held before; none when it stops."""
    async with auto_on(small, tmp_path / "a") as auto, auto_on(small, tmp_path / "b") as other:
        pid = auto.face.own_connection.own_pid
        held = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND classid <> $2"
        for interval, promise in ((2.0, 12), (3600.0, 3610), (0.2, 11), (1e6, 4095)):
            auto.reaper.interval_seconds = interval
            assert (await auto.turn()).is_active
            (own,) = (await other.reaper.look()).holders
            assert (own.pid, own.promise_seconds) == (pid, promise)
            assert own.rules is not None
            assert await fetch_value(small, held, pid, OWN_SESSION_CLASS) == 2
        await auto.reaper.stop()
        assert await fetch_value(small, held, pid, OWN_SESSION_CLASS) == 0


# Leaving it to another


async def test_one_whose_rules_mean_nobody_leaves_it_to_another(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """It is older, and its filter matches nothing; the other ends them in the next poll."""
    small = every_server
    policy = msgspec.structs.replace(POLICY, warn_at=0.01, only=Patterns(applications=("leak",)))
    nothing = msgspec.structs.replace(policy, only=Patterns(applications=("nosuch*",)))
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        old.reaper.policy, young.reaper.policy = nothing, policy
        async with sessions(small, 3, application_name="leak"):
            assert (await old.turn()).is_active
            assert not (await young.turn()).is_active
            turn = await old.turn(2)
            assert (turn.is_active, turn.unfit) == (False, Unfit.NOBODY)
            assert turn.active is not None
            assert turn.active.pid == young.face.own_connection.own_pid
            assert ended(await young.turn(2)) == 3
        assert not (await old.turn(2)).is_active


async def test_two_with_the_same_rules_do_not_change_places(small: ThrowawayServer, tmp_path: Path) -> None:
    """Where all sessions of a server over its line are at work, neither can do better."""
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        for each in (old, young):
            each.reaper.policy = msgspec.structs.replace(POLICY, warn_at=0.01, idle_after_seconds=3600.0)
        for _ in range(3):
            turn = await old.turn(2)
            assert turn.is_active
            assert turn.plan is not None
            assert not (await young.turn(2)).is_active


async def test_new_rules_are_tried_at_once(small: ThrowawayServer, tmp_path: Path) -> None:
    """One that has resigned for its rules takes the key again, and acts from the next poll on."""
    nothing = msgspec.structs.replace(POLICY, only=Patterns(applications=("nosuch*",)))
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        old.reaper.policy = nothing
        await young.turn()
        async with sessions(small, 12):
            assert (await old.turn()).is_active  # it has the key, and lets the other see that first
            assert (await old.turn(2)).unfit is Unfit.NOBODY
            old.reaper.policy = POLICY
            turn = await old.turn(2)
            assert (turn.is_active, turn.report) == (True, None)
            assert not (await young.turn(2)).is_active
            assert ended(await old.turn(2)) == 12


async def test_a_lone_reaper_tries_even_what_it_could_not_do(small: ThrowawayServer, tmp_path: Path) -> None:
    """As it does with nobody beside it from the start."""
    async with auto_on(small, tmp_path / "a") as old:
        async with auto_on(small, tmp_path / "b") as young:
            old.reaper.policy = msgspec.structs.replace(POLICY, only=Patterns(applications=("late",)))
            await old.turn()
            await young.turn()
            async with sessions(small, 12, application_name="x"):
                assert (await old.turn(2)).unfit is Unfit.NOBODY
                await young.turn(2)
        async with sessions(small, 12, application_name="late"):

            async def alone() -> Turn | None:
                turn = await old.turn(60)
                return turn if turn.report is not None else None

            assert ended(await wait_until(alone)) == 12


@pytest.mark.parametrize("place", ["full", "below a file"])
async def test_one_whose_audit_log_cannot_be_written_leaves_it_to_another(
    small: ThrowawayServer, tmp_path: Path, place: str
) -> None:
    """It says so; the other ends them; with nobody beside it, it goes on trying, as today."""
    (tmp_path / "file").touch()
    path = {"full": Path("/dev/full"), "below a file": tmp_path / "file" / "log"}[place]
    async with auto_on(small, path) as old, sessions(small, 12):
        for _ in range(2):
            with pytest.raises(AuditError):
                await old.turn(60)
        async with auto_on(small, tmp_path / "b") as young:
            assert not (await young.turn()).is_active
            turn = await old.turn(2)
            assert (turn.is_active, turn.unfit) == (False, Unfit.AUDIT)
            assert ended(await young.turn(2)) == 12


async def test_a_log_that_is_writable_again_brings_it_back(small: ThrowawayServer, tmp_path: Path) -> None:
    """Not while the other does the work; nothing is left in the log by the trial."""
    file = tmp_path / "file"
    file.touch()
    async with auto_on(small, file / "log") as old, auto_on(small, tmp_path / "b") as young:
        young.reaper.policy = msgspec.structs.replace(POLICY, only=Patterns(applications=("nosuch*",)))
        await young.turn()
        async with sessions(small, 12):
            await old.turn()
            with pytest.raises(AuditError):
                await old.turn(2)
            for _ in range(4):
                assert (await old.turn(60)).unfit is Unfit.AUDIT
            file.unlink()
            assert (await old.turn(60)).is_active
            assert (file / "log").read_bytes() == b""
            assert not (await young.turn(2)).is_active
            assert ended(await old.turn(2)) == 12
            assert (await old.turn(2)).unfit is None


async def test_one_that_is_denied_everything_leaves_it_to_another(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Its role is a member, and the function was taken from it."""
    role, other = await create_role(small, "operator"), await create_role(small)
    await execute(
        small,
        "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC",
        f'GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO "{other.name}"',
    )
    async with (
        face_on(small, tmp_path / "a", target=as_role(role)) as face,
        auto_on(small, tmp_path / "b") as young,
        sessions(small, 12, user=other.name, password=other.password),
    ):
        old = AutomaticSweeps(face)
        await old.turn()
        await young.turn()
        turn = await old.turn(2)
        assert turn.report is None or {each.outcome for each in turn.report.results} == {Outcome.DENIED}
        assert (turn.is_active, turn.unfit) == (False, Unfit.DENIED)
        assert ended(await young.turn(2)) == 12


async def test_a_role_without_rights_does_not_lead_beside_one_with_them(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """Neither in its own eyes nor in the other's, though its session is older."""
    role = await create_role(every_server, "monitor")
    async with (
        face_on(every_server, tmp_path / "a", target=as_role(role)) as face,
        auto_on(every_server, tmp_path / "b") as young,
    ):
        old = AutomaticSweeps(face)
        assert (await old.turn()).is_active
        turn = await young.turn()
        assert turn.is_active
        assert [each.key.usename for each in turn.passed_over] == [role.name]
        assert not (await old.turn()).is_active


async def test_with_only_superusers_to_end_a_superuser_takes_over(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(small, "operator")
    async with (
        face_on(small, tmp_path / "a", target=as_role(role)) as face,
        auto_on(small, tmp_path / "b") as young,
    ):
        old = AutomaticSweeps(face)
        await old.turn()
        await young.turn()
        async with sessions(small, 12):
            turn = await old.turn(2)
            assert (turn.is_active, turn.unfit) == (False, Unfit.NOBODY)
            assert ended(await young.turn(2)) == 12


async def test_a_pool_that_comes_back_is_left_alone_after_three_sweeps(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Usage sweeps rest for ten minutes, emergencies go on, one a minute at most; then it is tried again."""
    async with auto_on(small, tmp_path / "a") as auto:
        async with sessions(small, 9, application_name="pool"):
            await auto.turn()
            await auto.turn(10)  # it is known by now that the pool does not grow
        for number in range(3):
            async with sessions(small, 12, application_name="pool"):
                assert ended(await auto.turn(60)) == 12
            async with sessions(small, 12, application_name="pool"):
                turn = await auto.turn(10)
                assert [each.is_futile for each in turn.measured] == [True]
                assert turn.measured[0].again == {"pool": 12}
                assert turn.patience.futile == number + 1
        resting = auto.now
        async with sessions(small, 12, application_name="pool"):
            assert (await auto.turn(60)).plan is None
            assert auto.reaper.patience.application == "pool"
        async with sessions(small, 20, application_name="pool"):
            assert ended(await auto.turn(10)) == 12
        async with sessions(small, 20, application_name="pool"):
            assert (await auto.turn(59)).plan is None
            assert ended(await auto.turn(1)) == 12
        async with sessions(small, 12, application_name="pool"):
            assert (await auto.turn(resting + FIRST_REST_SECONDS - auto.now - 1)).plan is None
            assert ended(await auto.turn(1)) == 12


async def test_a_steady_leak_is_swept_for_ever(small: ThrowawayServer, tmp_path: Path) -> None:
    """It grows by as much after each sweep as before, even where that is all that a sweep frees."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 9, application_name="steady"):
        auto.reaper.every_seconds = 10.0
        auto.reaper.policy = msgspec.structs.replace(POLICY, protected=Patterns(applications=("steady",)))
        await auto.turn()
        for number in range(6):
            async with sessions(small, 2, application_name="leak"):
                turn = await auto.turn(10)
                assert ended(turn) == 2
                assert [each.taken for each in turn.measured] == [2] * (number > 0)
                assert not any(each.is_futile for each in turn.measured)


async def test_the_next_sweep_does_not_count_for_the_last(small: ThrowawayServer, tmp_path: Path) -> None:
    """Three come back, three others are ended: all three slots of the first sweep are taken again."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 15, application_name="x"):
        auto.reaper.policy = msgspec.structs.replace(POLICY, max_per_sweep=3)
        auto.reaper.every_seconds = 5.0
        assert ended(await auto.turn()) == 3
        async with sessions(small, 3, application_name="x"):
            assert ended(await auto.turn(5)) == 3
            turn = await auto.turn(5)
        assert [(each.freed, each.taken) for each in turn.measured] == [(3, 3)]


async def test_survivors_do_not_keep_it_from_making_room(small: ThrowawayServer, tmp_path: Path) -> None:
    """The longest idle is stuck: the next emergency passes it over, and tries it again ten minutes later."""
    async with auto_on(small, tmp_path / "a") as auto, session(small, application_name="stuck") as one:
        auto.reaper.policy = msgspec.structs.replace(POLICY, max_per_sweep=1)
        with stopped(one.get_server_pid()):
            async with sessions(small, 19):
                turn = await auto.turn()
                assert turn.report is not None
                assert [result.outcome for result in turn.report.results] == [Outcome.SURVIVED]
                assert (await auto.turn(59)).plan is None
                turn = await auto.turn(1)
                assert ended(turn) == 1
                assert turn.plan is not None
                spared = {each.backend.application_name: each.spared_for for each in turn.plan.spared}
                assert spared["stuck"] is SparedFor.STUCK
                assert ended(await auto.turn(60)) == 1
            async with sessions(small, 19):
                turn = await auto.turn(STUCK_SECONDS)
                assert turn.report is not None
                assert turn.report.results[0].victim.backend.application_name == "stuck"


async def test_a_role_that_may_end_nobody_does_not_try_at_each_poll(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """What it may not end is in no plan, so that nothing is signalled and nothing is audited."""
    monitor, other = await create_role(small, "monitor"), await create_role(small)
    async with face_on(small, tmp_path / "a", target=as_role(monitor)) as face:
        auto = AutomaticSweeps(face)
        async with sessions(small, 19, user=other.name, password=other.password):
            for _ in range(2):
                turn = await auto.turn()
                assert turn.report is None
                assert turn.plan is not None
                assert (turn.plan.victims, turn.plan.forbidden) == ((), 19)
            assert not face.audit.exists()


async def test_a_leak_on_a_server_full_from_the_start_is_not_a_pool(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Where growth cannot be known, who fills the room one after the other does not bring a rest."""
    async with auto_on(small, tmp_path / "a") as auto:
        for _ in range(4):
            async with sessions(small, 19, application_name="leak"):
                assert ended(await auto.turn(60)) == 11
                swept = time.monotonic()
                await wait_until(lambda since=swept: time.monotonic() - since > BURST_SECONDS + 0.2)
                async with sessions(small, 10, application_name="leak"):
                    turn = await auto.turn(10)
                assert [(each.taken, each.is_futile) for each in turn.measured] == [(10, False)]
        assert not auto.reaper.patience.rest_seconds


async def test_another_server_begins_anew(small: ThrowawayServer, tmp_path: Path) -> None:
    """What a pool did before a restart says nothing of the server after it."""
    async with auto_on(small, tmp_path / "a") as auto:
        async with sessions(small, 12, application_name="pool"):
            assert ended(await auto.turn()) == 12
        small.stop()
        small.start()
        await wait_until(lambda: not auto.face.own_connection.is_held)
        async with sessions(small, 12, application_name="pool"):
            turn = await auto.turn(10)
        assert not turn.measured
        assert ended(turn) == 12
