"""A full server: how a connection is asked for again, who has it meanwhile, and when it is given back."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

from pgtop import poller as polling
from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit, Outage
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import PgtopError, UsageError
from pgtop.exit_codes import ExitCode
from pgtop.poller import Poller
from pgtop.postgres import snapshot_probe as probing
from pgtop.postgres.conninfo.rescue_role import with_rescue
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.errors.kinds import FullError, LimitReachedError
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.retry_pauses import LoginRetry
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe
from pgtop.settings.defaults_and_bounds import Given, in_force
from tests.conftest import ServerFactory
from tests.servers import close, execute, fetch_value, session, wait_until
from tests.support.filling import THREE_SLOTS, full, leave
from tests.support.targets import connection_on, rescued, target_of


@pytest.fixture(params=[15, 18], ids=["pg15", "pg18"])
async def tiny(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server with three ordinary slots and the role `app`."""
    server = server_factory(THREE_SLOTS, version=request.param)
    await execute(server, "CREATE ROLE app LOGIN", "CREATE ROLE watcher LOGIN", "GRANT pg_monitor TO watcher")
    return server


# Asking again


def test_the_second_try_is_immediate_and_later_ones_pause() -> None:
    now = 100.0
    drawn: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.25

    tries = LoginRetry(lambda: now, draw)
    assert (tries.seconds, tries.count) == (0.0, 0)
    assert tries.refused() == 0.0
    assert tries.refused() == 0.25
    now = 103.0
    assert tries.refused(2) == 0.5  # two logins, twice the pause: the server's load stays the same
    assert (tries.seconds, tries.count) == (3.0, 4)
    assert set(drawn) == {(0.15, 0.4)}
    tries.clear()
    assert (tries.seconds, tries.count, tries.refused()) == (0.0, 0, 0.0)


@pytest.mark.parametrize("mode", ["prefer", "allow", "disable"])
async def test_one_try_is_one_attempt_at_a_server_without_tls(
    server_factory: ServerFactory, mode: str
) -> None:
    server = server_factory(THREE_SLOTS | {"log_connections": "on"})
    await execute(server, "CREATE ROLE app LOGIN")
    await one_attempt_each(server, f"sslmode={mode}")


@pytest.mark.parametrize("mode", ["prefer", "allow", "require"])
async def test_one_try_is_one_attempt_at_a_server_with_tls(with_tls: ThrowawayServer, mode: str) -> None:
    with_tls.settings.update(THREE_SLOTS | {"log_connections": "on"})
    with_tls.restart()
    try:
        await execute(with_tls, "DROP ROLE IF EXISTS app", "CREATE ROLE app LOGIN")
        await one_attempt_each(with_tls, f"sslmode={mode}")
    finally:
        for name in (*THREE_SLOTS, "log_connections"):
            with_tls.settings.pop(name)
        with_tls.restart()


async def one_attempt_each(server: ThrowawayServer, options: str) -> None:
    """Each try is one attempt at the server, whatever sslmode leaves open.

    Every slot is taken: only such a refusal comes before the authentication, where libpq tries twice.
    """
    async with full(server), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(session(server))
        own_connection = OwnConnection(target_of(server, options, user="app"), "test")
        begun = attempts(server)
        for tried in range(1, 6):
            with pytest.raises(FullError):
                await own_connection.take()
            assert own_connection.tries.count == tried
        assert attempts(server) - begun == 5


def attempts(server: ThrowawayServer) -> int:
    """How many connections the server has had."""
    return server.log_path.read_text().count("connection received")


@pytest.mark.parametrize(("mode", "refused"), [("prefer", "hostssl"), ("allow", "hostnossl")])
async def test_a_role_is_let_in_the_other_way(with_tls: ThrowawayServer, mode: str, refused: str) -> None:
    """pg_hba.conf refuses the way that sslmode puts first."""
    hba = with_tls.data_dir / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"{refused} all all all reject\n{before}")
    try:
        with_tls.restart()
        async with connection_on(target_of(with_tls, f"sslmode={mode}")) as own_connection:
            assert own_connection.is_held
    finally:
        hba.write_text(before)
        with_tls.restart()


async def test_a_longer_interval_does_not_delay_the_next_login(
    tiny: ThrowawayServer,
) -> None:
    async with full(tiny):
        poller = Poller(Probe(OwnConnection(target_of(tiny, user="watcher"), "test")), 2.0)
        for _ in range(2):
            assert isinstance(await poller.next(), Outage)
        poller.interval_seconds = 3600.0
        assert told_of(await asyncio.wait_for(poller.next(), 60))[2] == 3


async def test_waiting_gets_the_slot_that_somebody_leaves(tiny: ThrowawayServer) -> None:
    said: list[str] = []
    async with full(tiny) as sessions:
        own_connection = OwnConnection(target_of(tiny, user="watcher"), "test")
        entering = asyncio.create_task(enter(own_connection, 30, said.append))
        await wait_until(lambda: own_connection.tries.count >= 3, complaint="it does not go on trying")
        assert not entering.done()
        await close(sessions.pop())
        await asyncio.wait_for(entering, 10)
        assert own_connection.is_held
        assert own_connection.tries.count == 0
        await own_connection.release()
    assert len(said) == 1
    assert "retrying for 30s" in said[0]


async def test_waiting_ends_and_says_how_often_it_tried(tiny: ThrowawayServer) -> None:
    async with full(tiny):
        own_connection = OwnConnection(target_of(tiny, user="watcher"), "test")
        with pytest.raises(FullError, match=r"; \d+ tries refused in "):
            await enter(own_connection, 0.5)
        with pytest.raises(FullError) as once:
            await enter(own_connection, 0)
        assert "tries refused" not in str(once.value)
        assert once.value.exit_code == ExitCode.FULL


async def test_an_outage_counts_the_tries_and_names_the_limit(tiny: ThrowawayServer) -> None:
    await execute(tiny, "CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    async with full(tiny):
        probe = Probe(OwnConnection(target_of(tiny, user="watcher"), "test"))
        outages = [await probe.poll() for _ in range(3)]
        assert [told_of(each) for each in outages] == [("full", only(tiny), n) for n in (1, 2, 3)]
        first, second, third = outages
        assert isinstance(first, Outage)
        assert isinstance(second, Outage)
        assert isinstance(third, Outage)
        assert first.retry_after_seconds == 0.0
        assert 0.15 <= second.retry_after_seconds <= 0.4
        assert third.seconds >= second.seconds > 0.0
    limited = Probe(OwnConnection(target_of(tiny, user="limited"), "test"))
    assert told_of(await limited.poll()) == ("limit", Limit.ROLE, 1)


def only(server: ThrowawayServer) -> Limit:
    """What refuses an ordinary role where only the superusers' slots are left: the words changed with 16."""
    return Limit.RESERVED if server.version >= 16 else Limit.ORDINARY


def told_of(result: Snapshot | Outage) -> tuple[str, str | None, int]:
    assert isinstance(result, Outage)
    return result.kind, result.limit, result.tries


# The rescue role


async def test_the_rescue_role_takes_the_connection_and_gives_it_back(
    tiny: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first attempt, and the ordinary role has it again with the first poll after there is room."""
    monkeypatch.setattr(probing, "GIVE_BACK_SECONDS", 0.0)
    async with full(tiny) as sessions:
        own_connection = OwnConnection(rescued(tiny), "test")
        probe = Probe(own_connection)
        first = await polled(probe)
        assert (first.is_rescue, first.privileges.role, own_connection.role) == (True, "postgres", "postgres")
        assert own_connection.refused is only(tiny)
        again = await polled(probe)
        assert again.is_rescue
        assert again.own_pid == first.own_pid
        await leave(sessions)  # the rescue role's own session counts as well, wherever it sits
        back = await wait_until(lambda: ordinary(probe), complaint="the connection is not given back")
        assert (back.privileges.role, own_connection.role, own_connection.refused) == (
            "watcher",
            "watcher",
            None,
        )
        assert back.server.identity.postmaster_start == first.server.identity.postmaster_start
        await wait_until(lambda: left(tiny, first.own_pid), complaint="the rescue role's session stayed")
        await own_connection.release()


async def polled(probe: Probe) -> Snapshot:
    result = await probe.poll()
    assert isinstance(result, Snapshot), result
    return result


async def ordinary(probe: Probe) -> Snapshot | None:
    snapshot = await polled(probe)
    return None if snapshot.is_rescue else snapshot


async def left(server: ThrowawayServer, pid: int) -> bool:
    return await fetch_value(server, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0


async def test_a_connection_that_is_to_be_steady_is_not_given_back(tiny: ThrowawayServer) -> None:
    """What was planned as the one role is not to be done as the other."""
    async with full(tiny) as sessions:
        own_connection = OwnConnection(rescued(tiny), "test")
        await own_connection.take()
        pid = own_connection.own_pid
        await leave(sessions)
        with own_connection.steady():
            await own_connection.give_back()
            assert (own_connection.is_rescue, own_connection.own_pid) == (True, pid)
        await wait_until(lambda: given_back(own_connection), complaint="not given back afterwards")
        assert own_connection.own_pid != pid
        await own_connection.release()


async def test_a_long_interval_does_not_delay_giving_the_connection_back(
    tiny: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the poll that shows it follows at once."""
    monkeypatch.setattr(polling, "GIVE_BACK_SECONDS", 0.05)
    monkeypatch.setattr(probing, "GIVE_BACK_SECONDS", 0.05)
    async with full(tiny) as sessions:
        own_connection = OwnConnection(rescued(tiny), "test")
        poller = Poller(Probe(own_connection), 3600)
        first = await poller.next()
        assert isinstance(first, Snapshot)
        assert first.is_rescue
        waiting = asyncio.create_task(poller.next())
        await leave(sessions)
        second = await asyncio.wait_for(waiting, 20)
        assert isinstance(second, Snapshot)
        assert not second.is_rescue
        await own_connection.release()


async def test_a_giving_back_that_is_broken_off_leaves_no_session(tiny: ThrowawayServer) -> None:
    """As by q, while a statement of the rescue role's session goes on."""
    async with full(tiny) as sessions:
        own_connection = OwnConnection(rescued(tiny), "test")
        await own_connection.take()
        await leave(sessions, 3)
        gone = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
        await wait_until(lambda: is_number(tiny, gone, 0))
        asking = asyncio.create_task(own_connection.fetch("SELECT pg_sleep(8)", limit_seconds=60))
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'watcher' AND state = 'idle'"
        await wait_until(lambda: own_connection.is_busy)
        giving = asyncio.create_task(own_connection.give_back())
        try:
            await wait_until(lambda: is_number(tiny, query, 1), complaint="the ordinary role did not log in")
            giving.cancel()
            await wait_until(lambda: is_number(tiny, query, 0), complaint="its session stayed")
        finally:
            asking.cancel()
            await own_connection.release()


async def is_number(server: ThrowawayServer, query: str, number: int) -> bool:
    return bool(await fetch_value(server, query) == number)


async def given_back(own_connection: OwnConnection) -> bool:
    await own_connection.give_back()
    return not own_connection.is_rescue


async def test_a_new_configuration_does_not_change_the_sessions_role(
    tiny: ThrowawayServer,
) -> None:
    """The audit log says as whom somebody was ended; another rescue role counts from the next login."""
    async with full(tiny), connection_on(rescued(tiny)) as own_connection:
        for rescue in (None, msgspec.structs.replace(own_connection.target, user="somebody")):
            own_connection.target = msgspec.structs.replace(own_connection.target, rescue=rescue)
            assert (own_connection.is_rescue, own_connection.role) == (True, "postgres")


async def test_the_rescue_role_is_not_used_where_the_ordinary_one_gets_in(server: ThrowawayServer) -> None:
    async with connection_on(rescued(server, user="postgres", rescue="user=nobody")) as own_connection:
        assert not own_connection.is_rescue
        assert own_connection.role == "postgres"


async def test_the_rescue_role_is_not_used_for_any_other_refusal(
    server: ThrowawayServer,
) -> None:
    with pytest.raises(PgtopError, match="does not exist"):
        await OwnConnection(rescued(server, user="no_such_role"), "test").take()


async def test_the_rescue_role_helps_where_the_roles_own_limit_is_reached(tiny: ThrowawayServer) -> None:
    await execute(tiny, "CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    async with connection_on(rescued(tiny, user="limited")) as own_connection:
        assert own_connection.is_rescue
        assert own_connection.refused is Limit.ROLE


@pytest.mark.parametrize(
    ("rescue", "said", "refused"),
    [
        ("user=nobody", 'connect: role "nobody"', 1),
        ("user=app", "is full: only reserved slots are left", 2),
    ],
)
async def test_a_rescue_role_that_does_not_get_in_either_is_told_of(
    tiny: ThrowawayServer, rescue: str, said: str, refused: int
) -> None:
    """Only what was refused for lack of a slot counts."""
    async with full(tiny):
        own_connection = OwnConnection(rescued(tiny, rescue=rescue), "test")
        with pytest.raises(FullError) as caught:
            await own_connection.take()
        assert said.split(":")[0] in str(caught.value) or tiny.version < 16
        assert own_connection.tries.count == refused
        assert not own_connection.is_held


async def test_a_refused_rescue_role_is_not_tried_each_time(
    tiny: ThrowawayServer,
) -> None:
    """It is told of all the same, and the ordinary role goes on at its pace."""
    async with full(tiny):
        probe = Probe(OwnConnection(rescued(tiny, rescue="user=nobody"), "test"))
        for number in range(1, 6):
            result = await probe.poll()
            assert told_of(result) == ("full", only(tiny), number)
            assert isinstance(result, Outage)
            assert "nobody" in result.rescue_problem
            assert "-U" not in result.rescue_problem + result.message  # that is the ordinary role's
        assert tiny.log_path.read_text().count('role "nobody" does not exist') == 1


@pytest.mark.parametrize("version", [15, 18])
async def test_a_rescue_role_at_its_own_limit_leaves_the_server_full(
    server_factory: ServerFactory, version: int
) -> None:
    server = server_factory(THREE_SLOTS, version=version)
    await execute(
        server,
        "CREATE ROLE app LOGIN",
        "CREATE ROLE watcher LOGIN",
        "CREATE ROLE limited LOGIN CONNECTION LIMIT 0",
    )
    async with full(server):
        own_connection = OwnConnection(rescued(server, rescue="user=limited"), "test")
        with pytest.raises(FullError, match='connect: role "limited" has reached its own') as caught:
            await own_connection.take()
        assert caught.value.limit == only(server)
        assert own_connection.tries.count == 2


async def test_a_limit_stays_a_limit_where_the_rescue_role_does_not_get_in(tiny: ThrowawayServer) -> None:
    await execute(tiny, "CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    with pytest.raises(LimitReachedError, match="can't connect"):
        await OwnConnection(rescued(tiny, user="limited", rescue="user=nobody"), "test").take()


ORDINARY = resolve(
    "postgresql://app:secret@db1:5433/shop?sslmode=verify-full&connect_timeout=3",
    {},
    {"HOME": "/nonexistent"},
)


@pytest.mark.parametrize(
    ("rescue", "changed"),
    [
        ("user=postgres", {}),
        ("postgresql://postgres:other@/", {"password": "other"}),
        ("user=postgres dbname=postgres", {"database": "postgres"}),
        ("user=postgres host=/run/postgresql", {"hosts": ("/run/postgresql",)}),
        ("user=postgres host=a,b", {"hosts": ("a", "b"), "ports": (5433, 5433)}),
        ("user=postgres port=6000", {"ports": (6000,)}),
        ("user=postgres sslmode=disable", {"tls": msgspec.structs.replace(ORDINARY.tls, sslmode="disable")}),
    ],
)
def test_the_rescue_conninfo_inherits_what_it_leaves_out(rescue: str, changed: dict[str, Any]) -> None:
    """But never its password."""
    environ = {"HOME": "/nonexistent", "PGUSER": "x", "PGPASSWORD": "x", "PGHOST": "x", "PGDATABASE": "x"}
    found = with_rescue(ORDINARY, rescue, "--rescue", environ).rescue
    expected = msgspec.structs.replace(ORDINARY, user="postgres", password=None)
    assert found == msgspec.structs.replace(expected, **changed)


def test_a_rescue_role_that_is_the_ordinary_one_is_none() -> None:
    assert with_rescue(ORDINARY, "user=app", "--rescue", {"HOME": "/nonexistent"}).rescue is None


@pytest.mark.parametrize("rescue", ["dbname=postgres", "postgres", "host=db1", "user='a", "colour=red"])
def test_a_rescue_conninfo_that_is_bad_is_named(rescue: str) -> None:
    with pytest.raises(UsageError, match=r"^PGTOP_RESCUE"):
        with_rescue(ORDINARY, rescue, "PGTOP_RESCUE", {"HOME": "/nonexistent"})


def test_no_password_of_a_rescue_role_is_in_a_repr() -> None:
    """Nor in what a crash of the screen shows of its variables."""
    target = with_rescue(ORDINARY, "user=postgres password=hush", "--rescue", {"HOME": "/nonexistent"})
    given = Given("user=postgres password=hush", "user=postgres password=hush", "--rescue")
    held = (target, given, in_force({"rescue": given}))
    for shown in (*map(repr, held), *map(pretty_repr, held)):
        assert "hush" not in shown
        assert "secret" not in shown
    assert "--rescue" in repr(given)
