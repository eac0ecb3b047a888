"""The commands on a full server: once, for a while, or as the rescue role."""

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import Role, create_role, execute, wait_until
from tests.support.audit_logs import audited
from tests.support.daemons import watching
from tests.support.filling import THREE_SLOTS, full, leave, stalled_in_authentication
from tests.support.hostile import hostile_relay, message
from tests.support.running import assert_one_line, run, start_on_terminal


@pytest.fixture(params=[15, 18], ids=["pg15", "pg18"])
async def tiny(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server with three ordinary slots and the role `app`."""
    server = server_factory(THREE_SLOTS, version=request.param)
    await execute(server, "CREATE ROLE app LOGIN")
    return server


async def run_beside(home: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command, while this loop keeps its sessions alive."""
    return await asyncio.to_thread(run, home, *arguments, variables=variables)


@pytest.mark.parametrize("command", [("snapshot",), ("reap", "--dry-run"), ("reap",)])
async def test_a_command_tries_once_or_as_long_as_told_and_exits_with_4(
    tiny: ThrowawayServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    role = await create_role(tiny, "operator")
    async with full(tiny):
        once = await run_beside(tmp_path, *command, role.uri())
        assert_one_line(once, 4, "is full")
        assert "refused in" not in once.stderr
        waited = await run_beside(tmp_path, *command, role.uri(), "--wait", "700ms")
        assert waited.returncode == 4
        told, last = waited.stderr.splitlines()
        assert "retrying for" in told
        assert "tries refused in 0." in last


def in_latin_1(kind: int, body: bytes) -> bytes:
    """Words an error as a server of the locale fr_FR.ISO-8859-1 does before a login is complete."""
    if chr(kind) != "E":
        return message(chr(kind), body)
    told = "désolé, trop de clients sont déjà connectés".encode("latin-1")
    return message("E", re.sub(rb"\0M[^\0]*", b"\0M" + told, body))


async def test_a_server_that_speaks_another_encoding_is_full_all_the_same(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    """Without its SQLSTATE nobody would know, and the rescue role would not be tried."""
    role = await create_role(tiny, "operator")
    async with full(tiny), hostile_relay(tiny, in_latin_1) as relay:
        uri = relay.uri.replace("postgres@", f"{role.name}@")
        assert_one_line(await run_beside(tmp_path, "snapshot", uri), 4, "is full", "d?sol?, trop de clients")
        done = await run_beside(tmp_path, "snapshot", uri, "--rescue", "user=postgres")
        assert (done.returncode, done.stderr) == (0, "")


async def test_waiting_gets_in_when_somebody_leaves(tiny: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(tiny, "operator")
    async with full(tiny) as taken:
        asking = asyncio.create_task(run_beside(tmp_path, "snapshot", "--json", role.uri(), PGTOP_WAIT="60s"))
        text = tiny.log_path.read_text
        await wait_until(lambda: text().count("remaining connection slots") > 3, 30, "it does not try")
        await leave(taken, 1)
        done = await asking
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["counts"]["total"] == 3


async def test_a_limit_of_ones_own_exits_with_3(tiny: ThrowawayServer, tmp_path: Path) -> None:
    limited = await create_role(tiny, "operator", connection_limit=0)
    assert_one_line(run(tmp_path, "snapshot", limited.uri()), 3, "CONNECTION LIMIT")
    waited = await run_beside(tmp_path, "snapshot", limited.uri(), "--wait", "300ms")
    assert waited.returncode == 3
    assert "tries refused in" in waited.stderr


@pytest.mark.parametrize("given", ["flag", "variable", "file", "server"])
async def test_the_rescue_role_gets_in_at_the_first_attempt(
    tiny: ThrowawayServer, tmp_path: Path, given: str
) -> None:
    """However it is given: as a flag, a variable, in the file, or for a named server of the file."""
    role = await create_role(tiny, "operator")
    options: tuple[str, ...] = (role.uri(),)
    variables = {}
    file = tmp_path / "config.toml"
    if given == "flag":
        options = (role.uri(), "--rescue", "user=postgres")
    elif given == "variable":
        variables["PGTOP_RESCUE"] = "user=postgres"
    elif given == "file":
        file.write_text('rescue = "user=postgres"\n')
        options = (role.uri(), "--config", str(file))
    else:
        file.write_text(f'[servers.tiny]\nconninfo = "{role.uri()}"\nrescue = "user=postgres"\n')
        file.chmod(0o600)
        options = ("@tiny", "--config", str(file))
    async with full(tiny):
        seen = await run_beside(tmp_path, "snapshot", "--json", *options, **variables)
        assert seen.returncode == 0, seen.stderr
        found = json.loads(seen.stdout)
        assert found["rescue"] is True
        assert "connecting" not in found
        table = await run_beside(tmp_path, "snapshot", *options, **variables)
        assert "connected as postgres, the rescue role" in table.stdout
    seen = await run_beside(tmp_path, "snapshot", "--json", *options, **variables)
    assert "rescue" not in json.loads(seen.stdout)


async def test_the_dashboard_opens_while_the_rescue_login_is_unanswered(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(tiny, "operator")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"host=127.0.0.1 port={silent.getsockname()[1]}"
        rescue = f"user=postgres connect_timeout=60 {where}"
        async with full(tiny):
            with start_on_terminal(tmp_path, role.uri(), "--rescue", rescue) as (process, terminal):
                screen = Screen(terminal)
                await screen.shows("no slot is left", "connect: no answer yet", "quit")
                os.write(terminal, b"q")
                await wait_until(lambda: process.poll() is not None or screen.read(), 15, "q does not end it")
                assert process.returncode == 0


class Screen:
    """What a program has written to its terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._text = b""

    def read(self) -> None:
        """Takes what is there."""
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self._text += os.read(self._terminal, 65536)
            except OSError:  # the program has ended
                return

    async def shows(self, *words: str) -> None:
        """Waits until all words were written."""

        def shown() -> bool:
            self.read()
            return all(word.encode() in self._text for word in words)

        await wait_until(shown, 20, f"no {words} on the screen")


async def test_the_audit_log_says_that_the_rescue_role_ended_them(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    role = await create_role(tiny, "operator")
    audit = tmp_path / "audit.jsonl"
    fast = ("--emergency-idle-after", "1s", "--idle-after", "1s", "--audit-log", str(audit))
    async with full(tiny):
        command = ("reap", role.uri(), "--rescue", "user=postgres", *fast)
        await wait_until(lambda: ended(tmp_path, audit, command), 30, "nobody was ended")
    assert as_whom(audit) == {("postgres", True)}
    told = await run_beside(tmp_path, "audit", "--json", "--audit-log", str(audit))
    assert {json.loads(line)["role"] for line in told.stdout.splitlines()} == {"postgres"}


def as_whom(audit: Path) -> set[tuple[str | None, bool]]:
    """The roles in an audit log, and whether each was the rescue role."""
    lines = audited(audit)
    return {(line["role"], line["rescue"]) for line in lines}


async def ended(home: Path, audit: Path, command: tuple[str, ...]) -> bool:
    done = await run_beside(home, *command)
    assert done.returncode == 0, done.stderr
    return await asyncio.to_thread(audit.exists)


@pytest.mark.parametrize("version", [15])
async def test_a_snapshot_by_the_rescue_role_counts_unlisted_slots(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    server = server_factory(THREE_SLOTS, version=version, auth="scram-sha-256")
    role, app = await create_role(server, "operator"), await create_role(server)
    boss = await create_role(server, "superuser")
    rescue = f"user={boss.name} password={boss.password}"
    with stalled_in_authentication(server.port, app, 3):

        def counted() -> str:
            seen = run(tmp_path, "snapshot", role.uri(), variables={"PGTOP_RESCUE": rescue})
            return seen.stdout if "3 slots are held" in seen.stdout else ""

        await wait_until(counted, 15)
        seen = run(tmp_path, "snapshot", role.uri(), variables={"PGTOP_RESCUE": rescue})
        assert "4 of 3 slots · 133% · no ordinary slot is left" in seen.stdout
        assert "3 slots are held by clients still connecting" in seen.stdout
        seen = run(tmp_path, "snapshot", "--json", role.uri(), variables={"PGTOP_RESCUE": rescue})
        report = json.loads(seen.stdout)
        assert report["connecting"] == 3
        assert (report["counts"]["total"], report["usage"]) == (1, 4 / 3)
    assert boss.password not in seen.stdout + seen.stderr


def test_a_bad_rescue_conninfo_is_named_without_its_password(server: ThrowawayServer, tmp_path: Path) -> None:
    flag = run(tmp_path, "snapshot", server.uri(), "--rescue", "user=postgres pasword=hush")
    assert_one_line(flag, 2, "--rescue")
    variable = run(tmp_path, "snapshot", server.uri(), variables={"PGTOP_RESCUE": "password=hush"})
    assert_one_line(variable, 2, "PGTOP_RESCUE names no role")
    assert "hush" not in flag.stderr + variable.stderr


def test_settings_show_the_rescue_target_without_its_password(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    rescue = {"PGTOP_RESCUE": "user=boss password=hush"}
    shown = run(tmp_path, "config", server.uri(), variables=rescue)
    assert f"127.0.0.1:{server.port}/postgres as boss" in shown.stdout
    report = run(tmp_path, "config", "--json", server.uri(), variables=rescue)
    line = json.loads(report.stdout)["settings"]["rescue"]
    assert line == {"value": f"127.0.0.1:{server.port}/postgres as boss", "source": "PGTOP_RESCUE"}
    assert "hush" not in shown.stdout + report.stdout
    none = json.loads(run(tmp_path, "config", "--json", server.uri()).stdout)["settings"]["rescue"]
    assert none == {"value": None, "source": "default"}


@pytest.mark.parametrize("where", ["", "[servers.a]\n"])
def test_a_file_with_a_rescue_password_is_for_its_owner_alone(
    server: ThrowawayServer, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'{where}rescue = "user=postgres password=hush"\n')
    file.chmod(0o644)
    refused = run(tmp_path, "config", server.uri(), "--config", str(file))
    assert_one_line(refused, 2, "holds a password, and others may read it", "chmod 600")
    file.chmod(0o600)
    assert run(tmp_path, "config", server.uri(), "--config", str(file)).returncode == 0


async def test_the_daemon_starts_as_the_rescue_role_and_gives_it_back(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    """What it ends makes the room for the ordinary role."""
    role = await create_role(tiny, "operator")
    fast = ("--interval", "200ms", "--emergency-idle-after", "1s", "--rescue", "user=postgres")
    async with full(tiny):
        with watching(tmp_path, role.uri(), *fast) as daemon:
            await daemon.says("as postgres, the rescue role")
            await daemon.says("emergency: terminated ")
            await wait_until(lambda: count(daemon.log, "connected to") == 2, 30, "not given back")
            assert "the rescue role" not in daemon.log.splitlines()[-1]
            assert daemon.end() == 0
    assert as_whom(tmp_path / "audit.jsonl") == {("postgres", True)}


def count(text: Any, words: str) -> int:
    return str(text).count(words)


async def test_the_daemon_retries_when_its_roles_own_limit_is_reached(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    limited: Role = await create_role(tiny, "operator", connection_limit=0)
    with watching(tmp_path, limited.uri(), "--interval", "200ms") as daemon:
        await daemon.says("has reached its own CONNECTION LIMIT")
        await execute(tiny, f'ALTER ROLE "{limited.name}" CONNECTION LIMIT 1')
        await daemon.says("connected to")
        assert daemon.end() == 0


async def test_a_rescue_role_that_is_configured_later_gets_the_daemon_in(
    tiny: ThrowawayServer, tmp_path: Path
) -> None:
    """SIGHUP is enough."""
    role = await create_role(tiny, "operator")
    file = tmp_path / "config.toml"
    await asyncio.to_thread(file.write_text, "")
    async with full(tiny):
        with watching(tmp_path, role.uri(), "--interval", "200ms", "--config", str(file)) as daemon:
            await daemon.says("is full")
            await asyncio.to_thread(file.write_text, 'rescue = "user=postgres"\n')
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.says("as postgres, the rescue role")
            assert daemon.end() == 0
