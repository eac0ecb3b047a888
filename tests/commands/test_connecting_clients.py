"""Clients still connecting: on the server's own host each command counts their slots, as break-glass does."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import Role, create_role, wait_until
from tests.support.audit_logs import audited
from tests.support.daemons import watching
from tests.support.filling import TWENTY_SLOTS, stalled_in_authentication
from tests.support.reap_command import STALE, stale
from tests.support.running import run
from tests.support.targets import connection_on, target_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


@dataclass
class Stalled:
    """A server of 20 slots with sessions and clients that stall in their login."""

    server: ThrowawayServer
    operator: Role
    home: Path

    @property
    def over_socket(self) -> str:
        """The superuser's way in over the Unix socket."""
        return self.server.socket_uri()

    async def json(self, *arguments: str, status: int = 0) -> Any:
        """The JSON that a command prints."""
        done = await asyncio.to_thread(run, self.home, *arguments, "--json")
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)


@asynccontextmanager
async def stalled_server(
    server_factory: ServerFactory, home: Path, idle: int, connecting: int, version: int = 15
) -> AsyncIterator[Stalled]:
    server = server_factory(TWENTY_SLOTS, version=version, auth="scram-sha-256")
    app, operator = await create_role(server), await create_role(server, "operator")
    options = {"user": app.name, "password": app.password, "application_name": "good"}
    async with stale(server, idle, **options), connection_on(target_of(server)) as own_connection:
        with stalled_in_authentication(server.port, app, connecting):
            probe = Probe(own_connection)

            async def are_connecting() -> bool:
                seen = await probe.snapshot()
                return seen.unlisted + seen.counts.starting == connecting

            await wait_until(are_connecting, 15)
            await own_connection.release()
            yield Stalled(server, operator, home)


@pytest.mark.parametrize("version", [14, 17, 18])
async def test_all_commands_count_what_break_glass_counts(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """A superuser is never refused: the host alone tells, over the socket and over TCP."""
    async with stalled_server(server_factory, tmp_path, 4, 16, version) as stalled:
        glass = ("break-glass", "--data-dir", str(stalled.server.data_dir), "--dry-run")
        assert (await stalled.json(*glass))["usage_before"] == 1.0
        for where in (stalled.over_socket, stalled.server.uri()):
            seen = await stalled.json("snapshot", where)
            assert seen["usage"] == 21 / 20  # with the command's own session
            assert [each["kind"] for each in seen["findings"]] == ["login_stall"]
            plan = await stalled.json("reap", where, "--dry-run", *STALE)
            assert (plan["trigger"], plan["victims"]) == ("none", [])
            assert (plan["usage_before"], plan["connecting"]) == (21 / 20, 16)
            diagnosed = await stalled.json("diagnose", where)
            assert diagnosed["usage"] == 21 / 20
            assert [each["slots"] for each in diagnosed["findings"]] == [16]
            checked = await stalled.json("doctor", where)
            found = {each["topic"]: each for each in checked["findings"]}
            assert found["slots"]["status"] == "bad"
            assert found["slots"]["said"].startswith("21 of 20 slots in use (105%)")


async def test_the_rescue_role_counts_them_at_another_address(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """The ordinary role was refused over TCP, which may be another server's word."""
    async with stalled_server(server_factory, tmp_path, 4, 16) as stalled:
        rescued = (stalled.operator.uri(), "--rescue", stalled.over_socket)
        assert (await stalled.json("snapshot", *rescued))["connecting"] == 16
        plan = await stalled.json("reap", *rescued, "--dry-run", *STALE)
        assert (plan["trigger"], plan["connecting"]) == ("none", 16)
        assert (await stalled.json("diagnose", *rescued))["findings"][0]["kind"] == "login_stall"
        checked = await stalled.json("doctor", *rescued)
        assert "is full" in checked["refused"]
        (slots,) = [each["said"] for each in checked["findings"] if each["topic"] == "slots"]
        assert "16 slots are held by clients still connecting" in slots


async def test_sessions_below_the_line_are_not_reaped_for_them(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """11 sessions and 8 clients take 95%, and ending the sessions does not end the clients."""
    async with stalled_server(server_factory, tmp_path, 10, 8) as stalled:
        done = await asyncio.to_thread(run, tmp_path, "reap", stalled.over_socket, *STALE)
        assert done.returncode == 0
        said = " ".join(done.stdout.split())
        assert "nothing to do: 19 of 20 slots, 95%; 8 slots are held by clients still connecting" in said
        assert "the sessions alone are not above the 80% line" in said


async def test_the_usage_after_a_reap_counts_them_too(server_factory: ServerFactory, tmp_path: Path) -> None:
    """17 sessions are over the line: 2 are ended, and 5 clients still hold a slot after that."""
    async with stalled_server(server_factory, tmp_path, 16, 5) as stalled:
        audit = tmp_path / "audit.jsonl"
        done = await stalled.json("reap", stalled.over_socket, *STALE, "--audit-log", str(audit))
        assert (done["trigger"], len(done["victims"])) == ("emergency", 2)
        assert (done["usage_before"], done["usage_after"]) == (22 / 20, 20 / 20)
        outcomes = [line for line in audited(audit) if line["event"] == "outcome"]
        assert [(line["usage_before"], line["usage_after"]) for line in outcomes] == [(1.1, 1.0)] * 2


async def test_the_daemon_counts_them_in_each_poll(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Also one that is a superuser's, and that tests no login."""
    rules = ("--dry-run", "--login-probe", "0", "--interval", "200ms", "--log-format", "json")
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    app = await create_role(server)
    options = {"user": app.name, "password": app.password}
    with watching(tmp_path, server.socket_uri(), *rules) as daemon:
        await daemon.says('"event":"connected"')
        async with stale(server, 4, **options):
            with stalled_in_authentication(server.port, app, 17):
                await daemon.says('"event":"stall"')
            (stall,) = [each for each in daemon.events() if each["event"] == "stall"]
            assert stall["sessions"] == 5
            assert stall["connecting"] >= 15
        assert daemon.end() == 0
