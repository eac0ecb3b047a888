"""Clients that stop in the middle of their login, ended from the server's own host."""

import asyncio
import json
import os
import re
import socket
import struct
import sys
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.break_glass_plan import Ask, plan_stalled_logins
from pgtop.core.plan import Outcome, Plan, ReapPolicy, SparedFor
from pgtop.core.session_patterns import Patterns
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.postgres.host.watcher import HostView
from tests.conftest import ServerFactory
from tests.servers import available, create_role, execute, session, wait_until
from tests.support.filling import PROTOCOL_3, connect_silently, silent_process, stalled_login
from tests.support.hosting import HostFace, face_on_host, process_of
from tests.support.running import assert_one_line, read_until, run, start_on_terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

SETTINGS = {"max_connections": "10", "superuser_reserved_connections": "2", "authentication_timeout": "600"}
STALLED = Ask(stalled_logins_seconds=0.0)


def half_a_packet(port: int) -> socket.socket:
    """A client that has sent a part of its first packet."""
    one = socket.create_connection((HOST, port))
    one.sendall(struct.pack("!ii", 100, PROTOCOL_3) + b"user\0ap")
    return one


async def logging_in(face: HostFace, number: int) -> HostView:
    """A look at which so many are connecting."""

    async def there() -> HostView | None:
        view = await face.look()
        return view if len(view.connecting) == number else None

    view = await wait_until(there)
    assert isinstance(view, HostView)
    return view


def planned(view: HostView, ask: Ask = STALLED, policy: ReapPolicy | None = None) -> Plan:
    return plan_stalled_logins(view.snapshot, view.silent, policy or ReapPolicy(), ask)


@pytest.mark.parametrize("version", sorted(available()))
async def test_stalled_logins_are_ended_and_their_slots_are_free(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """A full server of them, silent ones too; the session among them lives, and nothing is recovered."""
    server = server_factory(SETTINGS, version=version, auth="scram-sha-256")
    app = await create_role(server)
    face = face_on_host(server, tmp_path / "b")
    with ExitStack() as stack:
        async with session(server, user=app.name, password=app.password) as one:
            await one.fetchval("SELECT 1")
            for _ in range(9):
                stack.enter_context(stalled_login(server.port, user=app.name))
            await logging_in(face, 9)
            with pytest.raises(asyncpg.TooManyConnectionsError):
                await asyncpg.connect(server.uri(user="postgres", password=server.password), ssl=False)
            stack.enter_context(connect_silently(server.port))
            stack.enter_context(half_a_packet(server.port))
            view = await logging_in(face, 11)
            assert (view.snapshot.counts.starting, view.snapshot.counts.total) == (9, 10)
            latest = max(each.since for each in view.connecting)
            await wait_until(lambda: face.watcher.now - latest > 1_100_000)
            arguments = ("--data-dir", str(server.data_dir), "--stalled-logins", "1s", "--yes", "--json")
            done = await asyncio.to_thread(run, tmp_path, "break-glass", *arguments)
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            assert [each["outcome"] for each in report["victims"]] == ["terminated"] * 11
            assert {each["state"] for each in report["victims"]} == {"starting"}
            assert all(re.match("logging in for .*s from 127", each["reason"]) for each in report["victims"])
            assert (report["usage_before"], report["usage_after"]) == (10 / 8, 1 / 8)
            async with session(server, user=app.name, password=app.password) as newcomer:
                assert await newcomer.fetchval("SELECT 1") == 1
            assert await one.fetchval("SELECT 1") == 1
    log = server.log_path.read_text()
    assert not re.search("terminated by signal|crash of another|automatic recovery|reinitializing", log)
    audit = (tmp_path / ".local/state/pgtop/audit.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in audit]
    assert {(line["face"], line["trigger"], line["state"]) for line in lines} == {
        ("break-glass", "break-glass", "starting")
    }
    assert [line["outcome"] for line in lines] == [None] * 11 + ["terminated"] * 11


async def test_without_the_option_they_are_named_and_live(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SETTINGS, auth="scram-sha-256")
    face = face_on_host(server, tmp_path / "b")
    with stalled_login(server.port), stalled_login(server.port), connect_silently(server.port):
        view = await logging_in(face, 3)
        assert not (await face.plan()).victims
        place = ("break-glass", "--data-dir", str(server.data_dir))
        done = await asyncio.to_thread(run, tmp_path, *place, "--dry-run")
        assert "3 clients are logging in, for up to" in done.stdout
        assert "pgtop break-glass --stalled-logins 10s terminates the stalled ones" in " ".join(
            done.stdout.split()
        )
        dry = await asyncio.to_thread(run, tmp_path, *place, "--stalled-logins", "1s", "--dry-run")
        assert "--stalled-logins" not in dry.stdout
        none = await asyncio.to_thread(run, tmp_path, *place, "--stalled-logins", "1h", "--dry-run")
        assert "dry run: No client has been logging in for more than 1h" in none.stdout
        assert {each.pid for each in (await face.look()).connecting} == {each.pid for each in view.connecting}


async def test_they_are_not_called_sessions(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Neither in the question nor in the outcome."""
    server = server_factory(SETTINGS, auth="scram-sha-256")
    face = face_on_host(server, tmp_path / "b")
    with stalled_login(server.port), stalled_login(server.port), connect_silently(server.port):
        view = await logging_in(face, 3)
        latest = max(each.since for each in view.connecting)
        await wait_until(lambda: face.watcher.now - latest > 1_100_000)
        words = ("break-glass", "--data-dir", str(server.data_dir), "--stalled-logins", "1s")

        def answer() -> str:
            with start_on_terminal(tmp_path, *words) as (process, terminal):
                said = read_until(terminal, "[y/N]")
                os.write(terminal, b"n\n")
                process.wait(20)
                return said

        assert "Terminate these 3 stalled logins? [y/N]" in await asyncio.to_thread(answer)
        done = await asyncio.to_thread(run, tmp_path, *words, "--yes")
        assert "terminated 3 stalled logins" in done.stdout
        assert "session" not in done.stdout.partition("terminated 3")[2].partition("\n")[0]


@pytest.mark.parametrize("version", sorted(available()))
async def test_a_session_whose_title_stands_still_lives(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """A superuser has turned titles off for its role: it keeps the last one of its login."""
    server = server_factory(SETTINGS, version=version)
    await execute(server, "CREATE ROLE app LOGIN", "ALTER ROLE app SET update_process_title = off")
    face = face_on_host(server, tmp_path / "b")
    async with session(server, user="app") as one:
        await one.fetchval("SELECT 1")
        with connect_silently(server.port):
            view = await logging_in(face, 1)
            assert view.snapshot.counts.starting == 0
            plan = planned(view)
            assert [each.backend.usename for each in plan.victims] == [None]
            assert [(each.backend.pid, each.spared_for) for each in plan.spared] == [
                (one.get_server_pid(), SparedFor.UNTOLD)
            ]
            await face.run(plan)
        assert not (await face.plan()).victims
        assert await one.fetchval("SELECT 1") == 1


async def test_a_client_that_goes_on_with_its_login_lives(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """One that was silent and has sent its packet since, and one that has got in."""
    server = server_factory(SETTINGS)
    face = face_on_host(server, tmp_path / "b")
    with connect_silently(server.port) as silent:
        plan = planned(await logging_in(face, 1))
        assert len(plan.victims) == 1
        words = b"user\0postgres\0database\0postgres\0\0"
        silent.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL_3) + words)
        silent.settimeout(20)
        said = b""
        while not said.endswith(b"Z\0\0\0\x05I"):
            said += silent.recv(65536)
        report = await face.run(plan)
        assert [each.outcome for each in report.results] == [Outcome.CHANGED]
        silent.sendall(b"Q\0\0\0\x0dSELECT 7\0")
        assert silent.recv(1)


SLOW = "SCRAM-SHA-256$200000000:AAAAAAAAAAAAAAAAAAAAAA==$" + ":".join(["A" * 43 + "="] * 2)
"""The hash of a password that takes minutes to check."""


async def test_a_login_that_the_server_works_at_lives(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Its title is that of one whose client does not answer."""
    server = server_factory(SETTINGS, auth="scram-sha-256")
    async with session(server, password=server.password) as admin:
        await admin.execute("CREATE ROLE app LOGIN")
        # ALTER ROLE would check at once that it is not the hash of an empty password.
        await admin.execute("UPDATE pg_authid SET rolpassword = $1 WHERE rolname = 'app'", SLOW)
        hba = server.data_dir / "pg_hba.conf"
        hba.write_text(f"host all app all password\n{hba.read_text()}")
        await admin.execute("SELECT pg_reload_conf()")
    face = face_on_host(server, tmp_path / "b")
    with stalled_login(server.port, user="app") as client:
        assert client.recv(9) == b"R\0\0\0\x08\0\0\0\x03"
        plan = planned(await logging_in(face, 1))
        assert len(plan.victims) == 1
        client.sendall(b"p\0\0\0\x06x\0")
        await wait_until(lambda: (found := process_of(plan.victims[0].backend.pid)) and found.is_at_work)
        report = await face.run(plan)
        assert [(each.outcome, each.detail) for each in report.results] == [
            (Outcome.CHANGED, "it is running")
        ]


async def test_a_silent_client_gives_no_slot_back(server_factory: ServerFactory, tmp_path: Path) -> None:
    """It holds none: neither the plan nor the report says that its end makes room."""
    server = server_factory(SETTINGS)
    face = face_on_host(server, tmp_path / "b")
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        with connect_silently(server.port):
            plan = planned(await logging_in(face, 1))
            assert (plan.usage_before, plan.usage_after) == (1 / 8, 1 / 8)
            report = await face.run(plan)
            assert [each.outcome for each in report.results] == [Outcome.TERMINATED]
            assert report.usage_after == 1 / 8


async def test_filters_protections_and_numbers_count_for_logins(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """By a name only where the client has sent it; a replica that logs in is never meant."""
    server = server_factory(SETTINGS, auth="scram-sha-256")
    await execute_with_password(server)
    face = face_on_host(server, tmp_path / "b")
    with (
        stalled_login(server.port, user="app"),
        stalled_login(server.port, user="app", replication="true"),
        connect_silently(server.port),
    ):
        view = await logging_in(face, 2)

        def phases(policy: ReapPolicy, ask: Ask = STALLED) -> list[str | None]:
            return sorted(str(each.backend.usename) for each in planned(view, ask, policy).victims)

        assert phases(ReapPolicy()) == ["None", "app"]
        assert phases(ReapPolicy(only=Patterns(users=("app",)))) == ["app"]
        assert phases(ReapPolicy(only=Patterns(users=("web",)))) == []
        assert phases(ReapPolicy(only=Patterns(addresses=("10.0.0.0/8",)))) == []
        assert phases(ReapPolicy(protected=Patterns(users=("app",)))) == ["None"]
        assert phases(ReapPolicy(protected=Patterns(addresses=("127.0.0.0/8",)))) == []
        assert phases(ReapPolicy(), Ask(count=1, stalled_logins_seconds=0.0)) == ["app"]
        assert phases(ReapPolicy(max_per_sweep=1)) == ["app"]
        assert phases(ReapPolicy(), Ask(stalled_logins_seconds=3600.0)) == []


async def execute_with_password(server: ThrowawayServer) -> None:
    async with session(server, password=server.password) as admin:
        await admin.execute("CREATE ROLE app LOGIN PASSWORD 'x'")


async def test_a_pgtop_that_logs_in_lives(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SETTINGS, auth="scram-sha-256")
    face = face_on_host(server, tmp_path / "b")
    with silent_process("pgtop", server.port):
        plan = planned(await logging_in(face, 1))
        assert not plan.victims
        assert [each.spared_for for each in plan.spared] == [SparedFor.OWN]


@pytest.mark.parametrize("other", ["--down-to", "--older-than"])
def test_options_for_sessions_contradict_it(server: ThrowawayServer, tmp_path: Path, other: str) -> None:
    value = "50%" if other == "--down-to" else "5s"
    done = run(tmp_path, "break-glass", "--stalled-logins", "5s", other, value)
    assert_one_line(done, 2, "--stalled-logins", other)
    assert_one_line(run(tmp_path, "break-glass", "--stalled-logins", "10ms"), 2, "--stalled-logins", "1s")
