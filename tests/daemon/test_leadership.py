"""Several daemons as processes, and clients that are in their way: who reaps, and that somebody does."""

import signal
import socket
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.queries.advisory_keys import REAPER_CLASS
from tests.conftest import ServerFactory
from tests.servers import Role, available, create_role, execute, fetch_value, session, sessions, wait_until
from tests.support.daemons import FAST, Watch, gone, watching
from tests.support.filling import TWENTY_SLOTS
from tests.support.reaping import hold_key
from tests.support.running import LIMIT_SECONDS

LEAK = 17
FULL = ("--interval", "200ms", "--every", "1s", "--idle-after", "1s", "--emergency-idle-after", "1s")
"""With the line at 5% of 20 slots, all that is idle for a second goes."""
LINE = ("--warn-at", "0.05")


@pytest.fixture(params=list(available()) or [0], ids=lambda version: f"pg{version}")
def small(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server of 20 slots, of each version at hand."""
    settings = TWENTY_SLOTS
    return server_factory(settings, version=request.param)


async def test_a_client_in_disguise_that_holds_the_key_stops_no_daemon(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Older than the daemon, named as one; it is named in the log once, and ended like the others."""
    role = await create_role(small)
    async with session(
        small, application_name="pgtop daemon@db1", user=role.name, password=role.password
    ) as hostile:
        await hold_key(hostile)
        with watching(tmp_path, small.uri(), *FULL, *LINE) as daemon:
            await daemon.says("active: this daemon sweeps")
            await daemon.says(f"({role.name}, pgtop daemon@db1): its role may not terminate")
            async with sessions(small, LEAK, application_name="leak"):
                await daemon.says("terminated ", times=LEAK + 1)
                await gone(small, "leak")
            assert daemon.log.count("skipped: pid") == 1
            assert "standing by" not in daemon.log
            assert daemon.end() == 0
    assert hostile.is_closed()


async def test_a_client_that_holds_keys_exclusively_stops_no_daemon(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """A thousand of them, under any name."""
    role = await create_role(small)
    async with session(small, application_name="psql", user=role.name, password=role.password) as hostile:
        taken = (
            f"SELECT count(pg_advisory_lock({REAPER_CLASS}, (n << 12) | 11)) FROM generate_series(0, 999) n"
        )
        assert await hostile.fetchval(taken) == 1000
        with watching(tmp_path, small.uri(), *FULL, *LINE) as daemon:
            await daemon.says("active: this daemon sweeps", f"({role.name}, psql): holds pgtop's key exclus")
            async with sessions(small, LEAK, application_name="leak"):
                await daemon.says("terminated ", times=LEAK)
            assert daemon.log.count("skipped: pid") == 1
            assert daemon.end() == 0


async def of_two(
    small: ThrowawayServer, tmp_path: Path, said: str, uri: str, *arguments: str
) -> tuple[Watch, Watch]:
    """Starts an older daemon as the arguments say, and a healthy one beside it; a leak fills the server.

    The healthy one ends it all, and the older one says why it does not.
    """
    async with AsyncExitStack() as stack:
        first = stack.enter_context(watching(tmp_path / "a", uri, *FULL, *LINE, *arguments))
        await first.says("active: this daemon sweeps")
        second = stack.enter_context(watching(tmp_path / "b", small.uri(), *FULL, *LINE))
        await second.says("connected to")
        leak = await stack.enter_async_context(sessions(small, LEAK, application_name="leak"))
        assert await fetch_value(small, "SELECT count(*) FROM pg_stat_activity WHERE datid > 0") >= 20
        await second.says("terminated ", times=LEAK)
        await gone(small, "leak")
        assert len(leak) == LEAK
        await first.says(said)
        assert (first.end(), second.end()) == (0, 0)
        return first, second
    raise AssertionError


async def test_an_older_one_whose_filters_match_nobody_resigns(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """All of 17 leaked sessions are ended by the other; each daemon says once how it stands."""
    said = "resigned, since its rules match no session that may be terminated: daemon@"
    first, second = await of_two(small, tmp_path, said, small.uri(), "--application", "nosuch*")
    assert first.log.count(said) == 1
    assert first.log.count("active:") == second.log.count("active:") == 1
    assert not first.audited()


@pytest.mark.parametrize("place", ["full", "directory"])
async def test_an_older_one_whose_audit_log_cannot_be_written_resigns(
    small: ThrowawayServer, tmp_path: Path, place: str
) -> None:
    log = "/dev/full" if place == "full" else str(tmp_path)
    said = "WARNING resigned, since its audit log cannot be written: daemon@"
    first, second = await of_two(small, tmp_path, said, small.uri(), "--audit-log", log)
    assert first.log.count("cannot write the audit log") == first.log.count(said) == 1
    assert len(second.audited()) >= 2 * LEAK


async def test_an_older_one_that_may_end_nobody_stands_by(small: ThrowawayServer, tmp_path: Path) -> None:
    """It sees all and may signal nobody: neither thinks it the leader beside one that may."""
    role = await create_role(small, "monitor")
    await grant_reserved(small, role)
    _, second = await of_two(small, tmp_path, f": daemon@{socket.gethostname()} is active", role.uri())
    assert f"({role.name}, pgtop daemon@" in second.log


async def grant_reserved(small: ThrowawayServer, role: Role) -> None:
    """Lets a role in on a full server, where the version knows such a right."""
    if small.version >= 16:
        await execute(small, f'GRANT pg_use_reserved_connections TO "{role.name}"')


async def test_an_older_one_whose_victims_are_all_superusers_resigns(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(small, "operator")
    said = "resigned, since its rules match no session that may be terminated"
    first, _ = await of_two(small, tmp_path, said, role.uri())
    assert first.log.count(said) == 1


async def test_a_leader_that_is_stopped_is_passed_over(server_factory: ServerFactory, tmp_path: Path) -> None:
    """By SIGSTOP. When it goes on, it looks before it acts, and leads again, since it is the oldest."""
    small = server_factory(TWENTY_SLOTS)
    with ExitStack() as stack:
        first = stack.enter_context(watching(tmp_path / "a", small.uri(), *FAST))
        await first.says("active: this daemon sweeps")
        second = stack.enter_context(watching(tmp_path / "b", small.uri(), *FAST))
        await second.says("standing by: daemon@")
        first.process.send_signal(signal.SIGSTOP)
        try:
            async with sessions(small, LEAK, application_name="leak"):
                await second.says("active: this daemon sweeps", "has not been heard from, for 1")
                await second.says("terminated ", times=LEAK)
                await gone(small, "leak")
        finally:
            first.process.send_signal(signal.SIGCONT)
        await second.says("standing by: daemon@", times=2)
        async with sessions(small, 3, application_name="later"):
            await first.says("terminated ", times=3)
        assert {line["application_name"] for line in first.audited()} == {"later"}
        assert {line["application_name"] for line in second.audited()} == {"leak"}
        assert (first.end(), second.end()) == (0, 0)


async def test_a_longer_interval_is_promised_as_it_is_read(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """At SIGHUP: the key that is held from then on says how long the next poll may take."""
    small = server_factory()
    config = tmp_path / "pgtop.toml"
    config.write_text("interval = 0.2\n", encoding="utf-8")
    asked = "SELECT max(objid::int8 & 4095) FROM pg_locks WHERE classid = $1"
    with watching(tmp_path / "a", small.uri(), "--config", str(config)) as daemon:
        await daemon.says("active: this daemon sweeps")
        for interval, promise in (("0.2", 11), ('"1h"', 3610)):
            config.write_text(f"interval = {interval}\n", encoding="utf-8")
            daemon.process.send_signal(signal.SIGHUP)

            async def promised(expected: int = promise) -> bool:
                return await fetch_value(small, asked, REAPER_CLASS) == expected

            await wait_until(promised, LIMIT_SECONDS)
        assert daemon.end() == 0
