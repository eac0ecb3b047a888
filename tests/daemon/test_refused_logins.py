"""`pgtop reap --watch` where logins are refused and the view shows slots that are free."""

import asyncio
import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.servers import Role, create_role, execute, fetch_value, sessions, wait_until
from tests.support.daemons import free_port, watching
from tests.support.filling import TWENTY_SLOTS, stalled_in_authentication, stalled_login
from tests.support.reap_command import STALE, answer, reap, stale
from tests.support.relay import relay

RULES = ("--login-probe", "1s", "--idle-after", "1h", "--emergency-idle-after", "1s", "--interval", "200ms")
LEFT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'good'"


@contextmanager
def strangers(port: int, role: Role, number: int) -> Iterator[None]:
    """Clients that stop in the middle of the login, and come back where they are refused or ended."""
    done = threading.Event()
    threads = [threading.Thread(target=_stranger, args=(port, role, done)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _stranger(port: int, role: Role, done: threading.Event) -> None:
    while not done.wait(0.02):
        with suppress(OSError), stalled_login(port, user=role.name) as client:
            client.settimeout(0.05)
            while not done.is_set():
                with suppress(TimeoutError):
                    if client.recv(1024)[:1] in (b"", b"E"):
                        break


def measured(port: int, name: str) -> float:
    """One of the daemon's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        found = re.search(rf"^{name} (\S+)$", response.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("version", [14, 15, 16, 17, 18])
async def test_stalled_logins_of_strangers_end_one_session_at_most(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """Healthy idle sessions live while strangers hold the slots; once they leave, all is as before."""
    server = server_factory(TWENTY_SLOTS, version=version, auth="scram-sha-256")
    role, other = await create_role(server, "operator"), await create_role(server)
    with free_port() as port:
        pass
    with watching(tmp_path, role.uri(), *RULES, "--metrics-listen", f"127.0.0.1:{port}") as daemon:
        await daemon.says("active")
        async with stale(server, 8, application_name="good", user=other.name, password=other.password):
            with strangers(server.port, other, 20):
                await daemon.says("LOGINS ARE STALLED: ", "pgtop break-glass --stalled-logins 10s")
                await daemon.says("emergency: terminated 1 of 1 session")

                async def refused_five_times() -> bool:
                    number = await asyncio.to_thread(measured, port, "pgtop_refused_logins_total")
                    return number >= 5

                await wait_until(refused_five_times, 60)
                assert await asyncio.to_thread(measured, port, "pgtop_login_stall") == 1
            await daemon.says("new connections are no longer refused")
            assert await fetch_value(server, LEFT) == 7
            assert daemon.log.count("LOGINS ARE STALLED") == 1
            async with stale(server, 12, application_name="leak", user=other.name, password=other.password):
                await wait_until(lambda: daemon.log.count("emergency: terminated ") >= 2, 60)
        assert daemon.end() == 0


@pytest.mark.parametrize("version", [15, 18])
async def test_a_mixture_ends_what_the_sessions_have_over_the_line(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """18 of 20 slots are sessions', the rest of clients still connecting: 3 and one as a try are ended."""
    server = server_factory(TWENTY_SLOTS, version=version, auth="scram-sha-256")
    role, other = await create_role(server, "operator"), await create_role(server)
    with watching(tmp_path, role.uri(), *RULES) as daemon:
        await daemon.says("active")
        async with stale(server, 17, application_name="good", user=other.name, password=other.password):
            with strangers(server.port, other, 20):
                await daemon.says("terminated 3 of 3 sessions", "emergency: terminated 1 of 1 session")
            assert daemon.end() == 0
            ended = [line for line in daemon.audited() if line["event"] == "outcome"]
            assert len(ended) == 4


@pytest.mark.parametrize("version", [15, 18])
async def test_a_one_shot_reap_ends_nobody_for_stalled_logins(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """In by the rescue role: it says who holds the slots and what helps; `--always` ends what it is told."""
    server = server_factory(TWENTY_SLOTS, version=version, auth="scram-sha-256")
    role, other = await create_role(server, "operator"), await create_role(server)
    rescue = ("--rescue", server.uri())
    async with stale(server, 8, application_name="good", user=other.name, password=other.password):
        with stalled_in_authentication(server.port, other, 12):
            done = await reap(tmp_path, server, *STALE, *rescue, uri=role.uri())
            assert done.returncode == 0
            said = " ".join(done.stdout.split())
            assert "still connecting" in said
            assert ": terminating idle sessions will not help for long" in said
            assert "a shorter authentication_timeout; pg_hba.conf or a firewall" in said
            told = await answer(tmp_path, server, *STALE, *rescue, uri=role.uri())
            assert (told["trigger"], told["victims"]) == ("none", [])
            assert told["connecting"] >= 11
            assert told["usage_before"] >= 1.0
            done = await reap(tmp_path, server, *STALE, "--always", *rescue, uri=role.uri())
            assert "terminated 8 sessions" in done.stdout
            assert "will not help for long" in " ".join(done.stdout.split())


async def test_a_one_shot_reap_counts_no_refusal_that_may_be_anothers(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Behind an address that is not the server's own, the slots it knows of are those that are listed."""
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    role, other = await create_role(server, "operator"), await create_role(server)
    async with (
        relay(server) as balancer,
        stale(server, 8, application_name="good", user=other.name, password=other.password),
    ):
        with stalled_in_authentication(server.port, other, 12):
            for port, is_counted in ((balancer.port, False), (server.port, True)):
                uri = role.uri().replace(f":{server.port}", f":{port}")
                rescue = ("--rescue", server.uri().replace(f":{server.port}", f":{port}"))
                told = await answer(tmp_path, server, *STALE, *rescue, uri=uri)
                assert (told["trigger"], told["victims"]) == ("none", [])
                assert ("connecting" in told) is is_counted
                assert (told["usage_before"] >= 1.0) is is_counted


@pytest.mark.parametrize("number", [8, 15, 17])
async def test_a_refusal_by_another_server_behind_a_balancer_ends_nobody(
    server_factory: ServerFactory, tmp_path: Path, number: int
) -> None:
    """One address may be several servers': the full one's words are told, and are not acted on."""
    server, full = server_factory(TWENTY_SLOTS), server_factory(TWENTY_SLOTS)
    for each in (server, full):
        await execute(
            each, "CREATE ROLE operator LOGIN IN ROLE pg_monitor, pg_signal_backend", "CREATE ROLE app LOGIN"
        )
    async with relay(server) as balancer:
        uri = server.uri(user="operator").replace(f":{server.port}", f":{balancer.port}")
        with watching(tmp_path, uri, *RULES) as daemon:
            await daemon.says("active")
            async with stale(server, number, application_name="good", user="app"), sessions(full, 20):
                balancer.balance(full)
                before = balancer.connections
                await daemon.says("a new connection was refused: ")
                await wait_until(lambda: balancer.connections >= before + 20, 60)
                assert await fetch_value(server, LEFT) == number
            assert daemon.end() == 0
        assert "LOGINS ARE STALLED" not in daemon.log
