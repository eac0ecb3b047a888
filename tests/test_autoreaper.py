"""Reaping by itself on real servers: when a sweep comes, who of several does it, and when it rests."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from pgtop.autoreaper import STUCK_SECONDS, AutoReaper, Turn
from pgtop.core.activity import Snapshot
from pgtop.core.match import Patterns
from pgtop.core.plan import ReapPolicy, SparedFor, Trigger
from pgtop.core.rebound import BURST_SECONDS, FIRST_REST_SECONDS
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.conninfo import resolve
from pgtop.reaper import Outcome
from tests.conftest import ServerFactory
from tests.postgres.targets import stopped, target_of
from tests.reaping import Face, face_on
from tests.servers import create_role, session, sessions, wait_until

POLICY = ReapPolicy(warn_at=0.5, idle_after_seconds=0.0, emergency_idle_after_seconds=0.0)


@dataclass
class Auto:
    """One that reaps by itself, with a clock that the test moves on."""

    face: Face
    now: float = 1000.0
    reaper: AutoReaper = field(init=False)

    def __post_init__(self) -> None:
        self.reaper = AutoReaper(
            self.face.reaper, self.face.seat, POLICY, every_seconds=60.0, clock=lambda: self.now
        )

    async def turn(self, after: float = 0.0, *, refused: bool = False) -> Turn:
        """The next poll, so many seconds later by the test's clock."""
        self.now += after
        snapshot = await self.face.probe.poll()
        assert isinstance(snapshot, Snapshot)
        return await self.reaper.turn(snapshot, refused=refused)


@pytest.fixture
async def small(server_factory: ServerFactory) -> ThrowawayServer:
    """A server of 20 slots."""
    return server_factory({"max_connections": "23", "superuser_reserved_connections": "3"})


@asynccontextmanager
async def auto_on(server: ThrowawayServer, audit: Path, *, database: str = "postgres") -> AsyncIterator[Auto]:
    async with face_on(server, audit, target=target_of(server, dbname=database)) as face:
        yield Auto(face)


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


async def test_a_refused_login_is_an_emergency_whatever_is_shown(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Slots that the view does not show count as taken."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 3):
        assert (await auto.turn()).plan is None
        turn = await auto.turn(refused=True)
        assert turn.plan is not None
        assert turn.plan.trigger is Trigger.EMERGENCY
        assert ended(turn) == 3


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
        assert second.active.pid == old.face.seat.own_pid
        assert len(second.holders) == 2
        old.face.seat.drop()

        async def taken_over() -> bool:
            return (await young.turn()).is_active

        await wait_until(taken_over)
        async with sessions(small, 12):
            assert ended(await young.turn(60)) == 12


async def test_who_stops_gives_the_key_back(small: ThrowawayServer, tmp_path: Path) -> None:
    async with auto_on(small, tmp_path / "a") as old, auto_on(small, tmp_path / "b") as young:
        await old.turn()
        assert not (await young.turn()).is_active
        await old.reaper.stop()
        assert (await young.turn()).is_active
        assert (await old.face.seat.fetch("SELECT 1"))[0][0] == 1


async def test_who_stops_measures_no_more_what_became_of_a_sweep(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Who begins again an hour later would take what came meanwhile for a pool that came back at once."""
    async with auto_on(small, tmp_path / "a") as auto:
        async with sessions(small, 12, application_name="pool"):
            assert ended(await auto.turn()) == 12
        await auto.reaper.stop()
        async with sessions(small, 12, application_name="pool"):
            turn = await auto.turn(3600)
        assert not turn.measured
        assert not turn.patience.futile


async def test_a_key_that_no_pgtop_holds_keeps_nobody_from_reaping(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """An application's own advisory lock of the same number, shared, is not taken for a daemon."""
    async with session(small, application_name="odd") as odd, auto_on(small, tmp_path / "a") as auto:
        await odd.execute(f"SELECT pg_advisory_lock_shared({0x7067746F}, {0x70726561})")
        assert (await auto.turn()).is_active


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


async def test_the_next_sweep_is_no_part_of_what_became_of_the_last(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Three come back, three others are ended: all three slots of the first sweep are taken again."""
    async with auto_on(small, tmp_path / "a") as auto, sessions(small, 15, application_name="x"):
        auto.reaper.policy = msgspec.structs.replace(POLICY, max_per_sweep=3)
        auto.reaper.every_seconds = 5.0
        assert ended(await auto.turn()) == 3
        async with sessions(small, 3, application_name="x"):
            assert ended(await auto.turn(5)) == 3
            turn = await auto.turn(5)
        assert [(each.freed, each.taken) for each in turn.measured] == [(3, 3)]


async def test_who_does_not_die_keeps_nobody_from_making_room(small: ThrowawayServer, tmp_path: Path) -> None:
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
    """Emergencies in which each is denied come one at most each minute, and over others each time."""
    monitor, other = await create_role(small, "monitor"), await create_role(small)
    target = resolve(monitor.uri(), {}, {"HOME": "/nonexistent"})
    async with face_on(small, tmp_path / "a", target=target) as face:
        auto = Auto(face)
        async with sessions(small, 19, user=other.name, password=other.password):
            turn = await auto.turn()
            assert turn.report is not None
            assert {result.outcome for result in turn.report.results} == {Outcome.DENIED}
            assert (await auto.turn(5)).plan is None
            first = {result.victim.backend.pid for result in turn.report.results}
            turn = await auto.turn(55)
            assert turn.report is not None
            assert not first & {result.victim.backend.pid for result in turn.report.results}


async def test_a_leak_on_a_server_that_is_full_from_the_start_is_no_pool(
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
        await wait_until(lambda: not auto.face.seat.is_held)
        async with sessions(small, 12, application_name="pool"):
            turn = await auto.turn(10)
        assert not turn.measured
        assert ended(turn) == 12
