"""Faults of the server, for real: the dashboard says so, keeps its last data, and comes back."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pgtop.core.outage import OutageKind
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.session.retry_pauses import RETRY_AFTER_SECONDS
from pgtop.postgres.session.session_settings import SETTINGS
from tests.conftest import ServerFactory
from tests.servers import execute, fetch_value, session, wait_until
from tests.support.outages import dashboard_on, is_back, is_live, is_out
from tests.support.targets import stopped, target_of


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_is_stopped_and_started(
    server_factory: ServerFactory, tmp_path: Path, mode: str
) -> None:
    """And it says that this is the same server, begun again."""
    server = server_factory()
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        server.stop(mode)
        await is_out(driven, "no server listens at 127.0.0.1", "retrying")
        server.start()
        await is_back(driven, server)
        await driven.shows(f"127.0.0.1:{server.port} was restarted at ")


async def test_a_restart_between_two_polls_is_noticed_at_once(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """However long the interval is: nobody waits a minute to hear that the connection is gone."""
    server = server_factory()
    async with dashboard_on(target_of(server), tmp_path, interval_seconds=60.0) as driven:
        await is_live(driven)
        server.stop()
        await is_out(driven, "no server listens at")
        server.start()
        await is_back(driven, server)


async def test_crash_recovery_after_a_backend_was_killed(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """The postmaster stays, all sessions go, and pgtop gets in again when the server has recovered."""
    server = server_factory()
    async with (
        session(server, application_name="app") as one,
        dashboard_on(target_of(server), tmp_path) as driven,
    ):
        await driven.select(one.get_server_pid())
        before = driven.own_connection.own_pid
        os.kill(one.get_server_pid(), signal.SIGKILL)
        await wait_until(lambda: driven.own_connection.own_pid != before, 30)
        await is_back(driven, server)
        await wait_until(lambda: one.get_server_pid() not in driven.listed)


async def test_a_server_that_starts_up_says_so(server_factory: ServerFactory, tmp_path: Path) -> None:
    """A standby that takes no queries answers 57P03 as one in recovery does, for as long as it likes."""
    server = server_factory()
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        server.stop()
        signal_file = server.data_dir / "standby.signal"
        signal_file.touch()
        stat = server.data_dir.stat()
        os.chown(signal_file, stat.st_uid, stat.st_gid)
        server.settings["hot_standby"] = "off"
        with suppress(Exception):
            await asyncio.wait_for(asyncio.to_thread(server.start), 3.0)
        await is_out(driven, "accepts no connections at the moment", "retrying")
        await asyncio.to_thread(server.stop, "immediate")
        signal_file.unlink()
        server.settings["hot_standby"] = "on"
        server.start()
        await is_back(driven, server)


async def test_its_own_backend_is_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    """Again and again: each time it connects again, and never twice."""
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        own_connection = driven.own_connection
        for _ in range(3):
            before = own_connection.own_pid
            assert await fetch_value(server, "SELECT pg_terminate_backend($1)", before)
            await wait_until(
                lambda before=before: own_connection.is_held and own_connection.own_pid != before, 30
            )
            await is_back(driven, server)


async def test_a_backend_that_hangs(server: ThrowawayServer, tmp_path: Path) -> None:
    """Greyed as soon as the answer is late, and live again when the answer comes: on the same connection."""
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        own_connection = driven.own_connection
        pid = own_connection.own_pid
        with stopped(pid):
            await driven.shows("does not answer · reconnecting")
            await driven.shows("no answer, ", " old")
            assert "● live" not in driven.text
            assert driven.backends.has_class("-greyed")
            before = driven.backends.sort_column
            await driven.press("s")
            assert driven.backends.sort_column is not before
        await is_back(driven, server)
        assert own_connection.own_pid == pid


async def test_a_backend_that_hangs_for_good_is_given_up(server: ThrowawayServer, tmp_path: Path) -> None:
    """It connects anew; the hanging backend is the server's to end, and no second session of pgtop's."""
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await is_live(driven)
        own_connection = driven.own_connection
        pid = own_connection.own_pid
        with stopped(pid):
            await wait_until(lambda: own_connection.is_held and own_connection.own_pid != pid, 30)
            await is_live(driven)
        await is_back(driven, server)


async def test_a_statement_that_takes_too_long(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own limit ends it. The connection is kept, and so are the data."""
    monkeypatch.setitem(SETTINGS, "statement_timeout", "300ms")
    await _is_out_while_the_roles_are_locked(server, tmp_path, "took longer than the statement's time limit")


async def test_a_lock_that_a_poll_waits_for(server: ThrowawayServer, tmp_path: Path) -> None:
    """It is not waited for longer than lock_timeout says."""
    await _is_out_while_the_roles_are_locked(server, tmp_path, "lock timeout")


async def _is_out_while_the_roles_are_locked(server: ThrowawayServer, home: Path, said: str) -> None:
    async with session(server) as locking, dashboard_on(target_of(server), home) as driven:
        await is_live(driven)
        own_connection = driven.own_connection
        pid = own_connection.own_pid
        async with locking.transaction():
            await locking.execute("LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
            await is_out(driven, said, "retrying")
        released = time.monotonic()
        await is_back(driven, server, released)
        assert own_connection.own_pid == pid


async def test_the_role_may_see_no_more(server: ThrowawayServer, tmp_path: Path) -> None:
    """The rights are gone in the middle: states are hidden, and said to be, and none is counted as idle."""
    role = f"watcher_{os.urandom(4).hex()}"
    await execute(server, f"CREATE ROLE {role} LOGIN", f"GRANT pg_monitor TO {role}")
    async with session(server), dashboard_on(target_of(server, user=role), tmp_path) as driven:
        await is_live(driven)
        await driven.shows("idle ")
        await execute(server, f"REVOKE pg_monitor FROM {role}")
        await driven.shows("≤ ", "hidden", "GRANT pg_monitor")
        await execute(server, f"GRANT pg_monitor TO {role}")
        await wait_until(lambda: "GRANT pg_monitor" not in driven.text)
        await is_back(driven, server)


async def test_the_role_may_not_log_in_any_more(server: ThrowawayServer, tmp_path: Path) -> None:
    """Nothing happens to an open connection; once it is lost, the banner says why none is to be had."""
    role = f"watcher_{os.urandom(4).hex()}"
    await execute(server, f"CREATE ROLE {role} LOGIN", f"GRANT pg_monitor TO {role}")
    async with dashboard_on(target_of(server, user=role), tmp_path) as driven:
        await is_live(driven)
        await execute(server, f"ALTER ROLE {role} NOLOGIN")
        seen = driven.dashboard.state
        shown = seen.snapshot
        await wait_until(lambda: seen.snapshot is not shown)
        await is_live(driven)
        await end_connection(server, role)
        await is_out(driven, f'role "{role}" does not exist', "or may not log in", "retrying")
        await execute(server, f"ALTER ROLE {role} LOGIN")
        await is_back(driven, server)


async def test_the_database_is_dropped(server: ThrowawayServer, tmp_path: Path) -> None:
    database = f"shop_{os.urandom(4).hex()}"
    await execute(server, f"CREATE DATABASE {database}")
    target = target_of(server, dbname=database)
    async with dashboard_on(target, tmp_path) as driven:
        await is_live(driven)
        await execute(server, f"DROP DATABASE {database} WITH (FORCE)")
        await is_out(driven, f'database "{database}" does not exist', "retrying")
        await execute(server, f"CREATE DATABASE {database}")
        await is_back(driven, server)


async def test_the_password_is_changed(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Nothing happens to an open connection; once it is lost, it is made again when the password is right."""
    server = server_factory(auth="scram-sha-256")
    passfile = tmp_path / "passwords"
    role = "watcher"
    await execute(server, f"CREATE ROLE {role} LOGIN PASSWORD 'old'", f"GRANT pg_monitor TO {role}")

    def remember(password: str) -> None:
        passfile.write_text(f"127.0.0.1:{server.port}:*:{role}:{password}\n")
        passfile.chmod(0o600)

    remember("old")
    target = target_of(server, f"passfile={passfile}", user=role)
    async with dashboard_on(target, tmp_path) as driven:
        await is_live(driven)
        await execute(server, f"ALTER ROLE {role} PASSWORD 'new'")
        shown = driven.dashboard.state.snapshot
        await wait_until(lambda: driven.dashboard.state.snapshot is not shown)
        await is_live(driven)
        await end_connection(server, role)
        await is_out(driven, f'does not accept the password of "{role}"', "retrying")
        assert "old" not in driven.dashboard.state.outage.message  # type: ignore[union-attr]
        remember("new")
        await is_back(driven, server)


async def end_connection(server: ThrowawayServer, role: str) -> None:
    """Ends the sessions of a role."""
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
    assert await fetch_value(server, ended, role) == 1


def test_no_kind_of_outage_is_waited_out_for_two_seconds() -> None:
    """A server that is back is seen to be within two seconds: the longest pause leaves time for the login."""
    assert set(OutageKind) - RETRY_AFTER_SECONDS.keys() == {OutageKind.SILENT}  # no poll ends in that one
    assert all(seconds <= 1.5 for seconds in RETRY_AFTER_SECONDS.values())
