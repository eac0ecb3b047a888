"""`pgtop reap --watch` as a process: what it does by itself, and what it tells of it."""

import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pgtop.core.recorded import Acted
from pgtop.demo.server import ThrowawayServer
from pgtop.history.recording import Recording
from pgtop.postgres.queries.advisory_keys import REAPER_CLASS
from tests.conftest import ServerFactory
from tests.servers import create_role, fetch_value, session, sessions, wait_until
from tests.support.daemons import FAST, fill, free_port, gone, watching
from tests.support.reap_command import stale
from tests.support.relay import relay
from tests.support.running import LIMIT_SECONDS, assert_one_line, run, start
from tests.support.targets import silent_port, stopped

EMERGENCY = ("--idle-after", "1h", "--emergency-idle-after", "1s", "--warn-at", "0.8")


async def busy(connection: asyncpg.Connection, until: asyncio.Event) -> int:
    """A well-behaved client: a statement every little while; gives how many went well."""
    done = 0
    while not until.is_set():
        assert await connection.fetchval("SELECT 1") == 1
        done += 1
        await asyncio.sleep(0.05)
    return done


async def test_it_ends_the_stale_and_nobody_else(small: ThrowawayServer, tmp_path: Path) -> None:
    """A client that goes on working sees no error; the audit log accounts for each that was ended."""
    async with (
        session(small, application_name="busy") as working,
        sessions(small, 12, application_name="leak"),
    ):
        until = asyncio.Event()
        work = asyncio.ensure_future(busy(working, until))
        with watching(tmp_path, small.uri(), *FAST) as daemon:
            await daemon.says("active: this daemon sweeps")
            await daemon.says("leak postgres@postgres", times=12)
            await gone(small, "leak")
            until.set()
            assert await work > 0
            assert daemon.end() == 0
        assert daemon.log.splitlines()[-1].endswith("ended")
        assert len(re.findall(r" terminated \d+ leak ", daemon.log)) == 12
    outcomes = [line for line in daemon.audited() if line["event"] == "outcome"]
    assert {line["application_name"] for line in outcomes} == {"leak"}
    assert {(line["face"], line["trigger"], line["decided_by"]) for line in outcomes} == {
        ("daemon", "usage", "policy")
    }
    assert len(outcomes) == 12


async def test_below_the_line_it_says_nothing(small: ThrowawayServer, tmp_path: Path) -> None:
    """No line while nothing happens, however often it polls."""
    with watching(tmp_path, small.uri(), *FAST, "--warn-at", "0.8", "--log-format", "json") as daemon:
        await daemon.says('"active"')
        first = await state_change(small)
        await wait_until_polls(small, first, 5)
        assert [event["event"] for event in daemon.events()] == ["start", "connected", "active"]
        assert daemon.end(signal.SIGINT) == 130


async def test_a_role_that_may_terminate_nothing_is_told(small: ThrowawayServer, tmp_path: Path) -> None:
    """Below the line too: the day when it should act is too late. Told once, and not where it may."""
    monitor, other = await create_role(small, "monitor"), await create_role(small)
    async with session(small, user=other.name, password=other.password):
        for role, warnings in ((monitor, 1), (await create_role(small, "operator"), 0)):
            with watching(tmp_path, role.uri(), *FAST, "--warn-at", "0.8") as daemon:
                await daemon.says("active: this daemon sweeps")
                await wait_until_polls(small, await state_change(small), 5)
                assert daemon.log.count(f"GRANT pg_signal_backend TO {role.name};") == warnings
                assert daemon.end() == 0


async def state_change(server: ThrowawayServer) -> Any:
    """When the daemon's session last did something."""
    query = "SELECT max(state_change) FROM pg_stat_activity WHERE application_name LIKE 'pgtop daemon@%'"
    return await fetch_value(server, query)


async def wait_until_polls(server: ThrowawayServer, last: Any, number: int) -> None:
    """Waits until the daemon has asked something so many more times."""
    for _ in range(number):

        async def moved(before: Any = last) -> Any:
            now = await state_change(server)
            return now if now != before else None

        last = await wait_until(moved, LIMIT_SECONDS)


async def test_a_full_server_gets_room_at_once(small: ThrowawayServer, tmp_path: Path) -> None:
    """Truly full: an ordinary role is refused, the daemon makes just enough room in the poll that sees it."""
    role = await create_role(small)
    with watching(tmp_path, small.uri(), *FAST, *EMERGENCY) as daemon:
        await daemon.says("active")
        credentials = {"user": role.name, "password": role.password}
        async with stale(small, 14, **credentials), AsyncExitStack() as stack:
            with stopped(daemon.process.pid):  # or it might make room before the refusal is seen
                await stack.enter_async_context(sessions(small, 5, **credentials))
                with pytest.raises(asyncpg.TooManyConnectionsError):
                    await asyncpg.connect(role.uri(), ssl=False)
            await daemon.says("emergency: terminated 5 of 5 sessions, usage 100% → 75%")
            async with session(small, user=role.name, password=role.password) as one:
                assert await one.fetchval("SELECT 1") == 1


async def test_an_emergency_says_how_many_hide_behind_a_name(small: ThrowawayServer, tmp_path: Path) -> None:
    """Any client can call itself Patroni; not so for one that is protected by its user."""
    role = await create_role(small, "plain")
    arguments = (*FAST, *EMERGENCY, "--protect-user", role.name)
    with watching(tmp_path, small.uri(), *arguments) as daemon:
        await daemon.says("active")
        async with (
            session(small, application_name="Patroni", user=role.name, password=role.password),
            sessions(small, 3, application_name="Patroni x"),
            stale(small, 13, application_name="leak"),
            AsyncExitStack() as stack,
        ):
            with stopped(daemon.process.pid):  # or it might act before the server is full
                await stack.enter_async_context(sessions(small, 2, application_name="leak"))
            await daemon.says(
                "emergency: terminated 5 of 5 sessions, usage 100% → 75%; 3 protected by their names"
            )


async def test_of_two_one_reaps_and_the_other_takes_over(small: ThrowawayServer, tmp_path: Path) -> None:
    """In another database too, and after kill -9 of the active one."""
    with watching(tmp_path / "a", small.uri(), *FAST) as first:
        await first.says("active: this daemon sweeps")
        with watching(tmp_path / "b", small.uri(database="template1"), *FAST) as second:
            await second.says(f"standing by: daemon@{socket.gethostname()} is active")
            async with sessions(small, 12, application_name="one"):
                await first.says("terminated ", times=12)
            first.end(signal.SIGKILL)
            await second.says("active: this daemon sweeps")
            async with sessions(small, 12, application_name="two"):
                await second.says("terminated ", times=12)
            assert "sweep" not in second.log.split("active: this daemon sweeps")[0]
            assert second.end() == 0


async def test_it_survives_its_server(small: ThrowawayServer, tmp_path: Path) -> None:
    """A restart is told in two lines; its health is bad meanwhile, and it reaps again after it."""
    with free_port() as port:
        listen = f"127.0.0.1:{port}"
    with watching(tmp_path, small.uri(), *FAST, "--metrics-listen", listen) as daemon:
        await daemon.says("active")
        await wait_until(lambda: status(f"http://{listen}/healthz") == 200, LIMIT_SECONDS)
        small.stop()
        await daemon.says("WARNING no data")
        await wait_until(lambda: status(f"http://{listen}/healthz") == 503, LIMIT_SECONDS)
        small.start()
        await daemon.says("connected to 127.0.0.1", times=2)
        assert ", after " in daemon.log
        await wait_until(lambda: status(f"http://{listen}/healthz") == 200, LIMIT_SECONDS)
        async with sessions(small, 12):
            await daemon.says("terminated ", times=12)
        assert daemon.end() == 0


@contextmanager
def slow_clients(port: int) -> Iterator[None]:
    """Up to 300 clients, as many as are taken within 5 s, that drip a request, each a byte a second."""
    over = threading.Event()
    taken = threading.Event()

    def drip() -> None:
        with ExitStack() as stack:
            clients = []
            until = time.monotonic() + 5
            while len(clients) < 300 and time.monotonic() < until:
                with suppress(TimeoutError):
                    place = ("127.0.0.1", port)
                    clients.append(stack.enter_context(socket.create_connection(place, timeout=0.5)))
            taken.set()
            while not over.wait(1):
                for client in clients:
                    with suppress(OSError):
                        client.send(b"G")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert taken.wait(LIMIT_SECONDS)
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of another process is Linux's")
async def test_slow_clients_at_the_metrics_do_not_stop_it(small: ThrowawayServer, tmp_path: Path) -> None:
    """Hundreds hold connections to a daemon of 64 descriptors: it reaps, and a scrape is answered."""
    with free_port() as port:
        listen = f"127.0.0.1:{port}"
    with watching(tmp_path, small.uri(), *FAST, "--metrics-listen", listen) as daemon:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        await daemon.says("active")
        with slow_clients(port):
            async with sessions(small, 10, application_name="leaked"):
                await daemon.says("terminated ", times=10)
            assert await asyncio.to_thread(status, f"http://{listen}/metrics") == 200
        assert "Too many open files" not in daemon.log
        assert daemon.end() == 0


def full_pipe() -> tuple[int, int, int]:
    """A pipe that takes no more: both ends, and the number of bytes in it."""
    reading, writing = os.pipe()
    return reading, writing, fill(writing)


def read_to_the_end(descriptor: int) -> bytes:
    """All that comes until nobody writes any more."""
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read()


@contextmanager
def unread(home: Path, conninfo: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A daemon whose standard error is a full pipe; gives it, and the end to read what it says."""
    reading, writing, filled = full_pipe()
    try:
        with start(home, "reap", conninfo, "--watch", *arguments, stderr=writing) as process:
            os.close(writing)
            yield process, reading
            if process.poll() is None:
                os.read(reading, filled)
    finally:
        os.close(reading)


@pytest.mark.parametrize("is_read_again", [True, False])
async def test_it_reaps_while_nobody_reads_its_log(
    small: ThrowawayServer, tmp_path: Path, is_read_again: bool
) -> None:
    """What it had to say comes when it is read, whole and in order; it ends in order where it never is."""
    audit = str(tmp_path / "audit.jsonl")
    with unread(tmp_path, small.uri(), *FAST, "--audit-log", audit) as (process, reading):
        async with sessions(small, 3, application_name="leaked"):
            await gone(small, "leaked")
        process.send_signal(signal.SIGTERM)
        if not is_read_again:
            assert process.wait(LIMIT_SECONDS) == 0
            return
        said = await asyncio.to_thread(read_to_the_end, reading)
        assert process.wait(LIMIT_SECONDS) == 0
    told = said.lstrip(b".").decode()
    found = [told.index(words) for words in ("watching", "connected", "active", "terminated ", "ended\n")]
    assert found == sorted(found)
    assert len(re.findall(r" terminated \d+ leaked ", told)) == 3


async def test_an_audit_log_that_nobody_reads_ends_nobody(small: ThrowawayServer, tmp_path: Path) -> None:
    """Asked for on standard error, which takes no more: nobody is ended, and the daemon lives and ends."""
    with free_port() as port:
        listen = f"127.0.0.1:{port}"
    more = ("--audit-log", "-", "--metrics-listen", listen)
    with unread(tmp_path, small.uri(), *FAST, *more) as (process, _):
        async with sessions(small, 3, application_name="leaked"):

            async def gave_up() -> bool:
                scraped = await asyncio.to_thread(body, f"http://{listen}/metrics")
                return "pgtop_up 1.0" in scraped and "pgtop_leader 0.0" in scraped

            await wait_until(gave_up, LIMIT_SECONDS)
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaked'"
            assert await fetch_value(small, count) == 3
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, LIMIT_SECONDS) == 0


def body(url: str) -> str:
    """What is answered; "" where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


def status(url: str) -> int:
    """The HTTP status; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


async def test_it_waits_for_a_server_that_is_not_up_yet(small: ThrowawayServer, tmp_path: Path) -> None:
    small.stop()
    with watching(tmp_path, small.uri(), *FAST) as daemon:
        await daemon.says("no data", "no server listens")
        small.start()
        await daemon.says("active: this daemon sweeps")


async def test_the_configuration_is_read_again(small: ThrowawayServer, tmp_path: Path) -> None:
    """At SIGHUP: a bad one is refused by file and key, and the old one stays in force; a good one counts."""
    config = tmp_path / "pgtop.toml"
    config.write_text('protect_application = "kept"\n', encoding="utf-8")
    async with stale(small, 5, application_name="kept") as kept:
        with watching(tmp_path / "d", small.uri(), *FAST, "--config", str(config)) as daemon:
            await daemon.says("nothing can be terminated", "5 protected")
            config.write_text("protect_aplication = []\n", encoding="utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.says(
                "WARNING the new configuration is invalid, the old one stays in force", "protect_aplication"
            )
            first = await state_change(small)
            await wait_until_polls(small, first, 5)
            assert [await each.fetchval("SELECT 1") for each in kept] == [1] * 5
            config.write_text('metrics_listen = "127.0.0.1:1"\n', encoding="utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.says("configuration reloaded", "at the next start: metrics_listen")
            await daemon.says("terminated ", times=5)
            assert daemon.end() == 0


async def test_another_server_counts_from_the_next_start(small: ThrowawayServer, tmp_path: Path) -> None:
    """At SIGHUP: the daemon stays where it is, and says so."""
    config = tmp_path / "pgtop.toml"
    config.touch(mode=0o600)
    config.write_text(f'[servers.x]\nconninfo = "{small.uri()}"\n', encoding="utf-8")
    with watching(tmp_path / "d", "@x", *FAST, "--config", str(config)) as daemon:
        await daemon.says("active: this daemon sweeps")
        config.write_text('[servers.x]\nconninfo = "host=db2 user=u dbname=shop"\n', encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.says("at the next start: the server, db2:5432/shop as u")
        assert daemon.end() == 0


async def test_read_only_counts_from_the_moment_it_is_read(small: ThrowawayServer, tmp_path: Path) -> None:
    """Nobody is ended any more, and the key goes to another."""
    config = tmp_path / "pgtop.toml"
    config.write_text("", encoding="utf-8")
    with watching(tmp_path / "a", small.uri(), *FAST, "--config", str(config)) as first:
        await first.says("active: this daemon sweeps")
        config.write_text("read_only = true\n", encoding="utf-8")
        first.process.send_signal(signal.SIGHUP)
        await first.says("read_only is set now")
        async with stale(small, 5) as kept:
            before = await state_change(small)
            await wait_until_polls(small, before, 5)
            assert [await each.fetchval("SELECT 1") for each in kept] == [1] * 5
        with watching(tmp_path / "b", small.uri(), *FAST) as second:
            await second.says("active: this daemon sweeps")
            assert second.end() == 0
        assert first.end() == 0
        assert not first.audited()


async def test_it_ends_also_while_the_first_login_hangs(tmp_path: Path) -> None:
    """SIGTERM is status 0 in order, long before the login's own limit."""
    with silent_port() as port:
        with watching(tmp_path, f"host=127.0.0.1 port={port} user=u connect_timeout=600") as daemon:
            await daemon.says("watching 127.0.0.1")
            assert daemon.end() == 0
        assert daemon.log.splitlines()[-1].endswith("ended")


@pytest.mark.parametrize("silent", [False, True], ids=["answers", "silent"])
async def test_a_sweep_that_began_gets_its_outcomes(
    small: ThrowawayServer, tmp_path: Path, silent: bool
) -> None:
    """SIGTERM in the middle of the first sweep; on a silent server too, before the connection gives up."""
    async with stale(small, 1, application_name="leak") as (victim,):
        with stopped(victim.get_server_pid()), watching(tmp_path, small.uri(), *FAST) as daemon:
            await wait_until(daemon.audited, LIMIT_SECONDS)
            own_connection = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pgtop daemon@%'"
            pid = await fetch_value(small, own_connection)
            assert isinstance(pid, int)
            with stopped(pid) if silent else nullcontext():
                assert daemon.end() == 0
    attempt, outcome = daemon.audited()
    assert (attempt["event"], outcome["event"]) == ("attempt", "outcome")
    assert outcome["outcome"] == ("unknown" if silent else "survived")
    assert "did not answer within" not in outcome["detail"]
    assert "sweep: terminated 0 of 1 session" in daemon.log


async def test_refused_logins_are_noticed(small: ThrowawayServer, tmp_path: Path) -> None:
    """Its own logins are refused while active sessions hold every slot, and are not any more afterwards."""
    role = await create_role(small, "operator")
    with watching(tmp_path, role.uri(), *FAST, "--login-probe", "1s") as daemon:
        await daemon.says("active")
        async with sessions(small, 22, application_name="stuck") as stuck:
            begun = [asyncio.ensure_future(each.execute("SELECT pg_sleep(60)")) for each in stuck]
            await daemon.says("a new connection was refused: no slot is left", "nothing can be terminated")
            for statement in begun:  # a client that is only gone leaves its session there until it has slept
                statement.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
        await daemon.says("new connections are no longer refused")


async def test_json_lines_hold_no_secret(small: ThrowawayServer, tmp_path: Path) -> None:
    """Each line is an object with time, level, event and message; statements only where asked for."""
    role = await create_role(small, "operator")
    other = await create_role(small)
    for asked in ((), ("--log-queries",)):
        with watching(
            tmp_path / f"d{len(asked)}", role.uri(), *FAST, "--log-format", "json", *asked
        ) as daemon:
            await daemon.says('"active"')
            async with sessions(small, 12, user=other.name, password=other.password) as opened:
                for each in opened:
                    await each.execute("SELECT 'a secret of theirs'")
                await daemon.says('"sweep"')
                await daemon.says('"victim"', times=12)
            assert daemon.end() == 0
        events = daemon.events()
        assert all({"time", "level", "event", "message"} <= event.keys() for event in events)
        victims = [event for event in events if event["event"] == "victim"]
        assert {event["outcome"] for event in victims} == {"terminated"}
        assert role.password not in daemon.log
        assert ("a secret of theirs" in daemon.log) is bool(asked)
        assert [event["event"] for event in events][-1] == "stop"


async def test_systemd_is_told(small: ThrowawayServer, tmp_path: Path) -> None:
    """READY once it is at work, STATUS in words, WATCHDOG in time, STOPPING at the end."""
    # Not under tmp_path: a socket's path has to be short.
    with (
        tempfile.TemporaryDirectory() as place,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{place}/notify")
        manager.settimeout(LIMIT_SECONDS)
        variables = {"NOTIFY_SOCKET": f"{place}/notify", "WATCHDOG_USEC": "600000"}
        with watching(tmp_path, small.uri(), *FAST, **variables) as daemon:
            told: list[str] = []
            while not (told.count("WATCHDOG=1") >= 3 and any("reaping" in each for each in told)):
                told.append(await asyncio.to_thread(lambda: manager.recv(4096).decode()))
            assert "READY=1" in told
            assert "STATUS=reaping: 1 of 20 slots, 5%" in told
            assert daemon.end() == 0
            while told[-1] != "STOPPING=1":
                told.append(await asyncio.to_thread(lambda: manager.recv(4096).decode()))


async def test_a_dry_run_ends_nobody(small: ThrowawayServer, tmp_path: Path) -> None:
    """It tells what it would do, holds no key, and leaves no line in the audit log."""
    async with sessions(small, 12) as opened:
        with watching(tmp_path, small.uri(), *FAST, "--dry-run") as daemon:
            await daemon.says("dry run: would terminate ", "usage 65% → ")
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1"
            assert await fetch_value(small, held, REAPER_CLASS) == 0
            assert daemon.end() == 0
        assert [await each.fetchval("SELECT 1") for each in opened] == [1] * 12
    assert not daemon.audited()


async def test_a_dry_run_records_what_it_sees(small: ThrowawayServer, tmp_path: Path) -> None:
    """And no act: it is to show what the daemon would have met with."""
    async with sessions(small, 12):
        with watching(tmp_path, small.uri(), *FAST, "--dry-run", "--record-dir", f"{tmp_path}/r") as daemon:
            await daemon.says("dry run: would terminate ")
            assert daemon.end() == 0
    (file,) = (tmp_path / "r").glob("*/*.sqlite3")
    recording = Recording([file])
    assert not recording.is_empty
    assert not [each for each in recording.events(0, 2**62) if isinstance(each, Acted)]


async def test_an_audit_log_that_cannot_be_written_ends_nobody(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """The daemon says so once, and stays."""
    (tmp_path / "audit.jsonl").mkdir()
    async with sessions(small, 12) as opened:
        with watching(tmp_path, small.uri(), *FAST) as daemon:
            await daemon.says("cannot write the audit log")
            first = await state_change(small)
            await wait_until_polls(small, first, 5)
            assert daemon.log.count("cannot write the audit log") == 1
            assert daemon.end() == 0
        assert [await each.fetchval("SELECT 1") for each in opened] == [1] * 12


async def test_a_lasting_fault_ends_it_at_once(small: ThrowawayServer, tmp_path: Path) -> None:
    """An unknown role is status 3, hidden states are 5, an address for metrics that is taken is 2."""
    plain = await create_role(small)
    unknown = run(tmp_path, "reap", "--watch", small.uri(user="nobody_here"))
    assert unknown.returncode == 3
    assert 'pgtop: role "nobody_here" does not exist' in unknown.stderr
    async with session(small):
        blind = await asyncio.to_thread(run, tmp_path, "reap", "--watch", plain.uri())
    assert blind.returncode == 5
    assert f"GRANT pg_monitor TO {plain.name}" in blind.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await asyncio.to_thread(
            run, tmp_path, "reap", "--watch", small.uri(), "--metrics-listen", address
        )
    assert done.returncode == 2
    assert f"cannot listen at {address} for metrics" in done.stderr
    assert_one_line(run(tmp_path, "reap", "--watch", "--read-only", small.uri()), 2, "read_only")


async def test_after_a_failover_it_reaps_on_the_other_server(
    small: ThrowawayServer, server_factory: ServerFactory, tmp_path: Path
) -> None:
    """The address answers as another server: it connects again, and judges that one's sessions."""
    other = server_factory({"max_connections": "33", "superuser_reserved_connections": "3"})
    async with relay(small) as way:
        conninfo = f"postgresql://postgres@127.0.0.1:{way.port}/postgres?sslmode=disable"
        with watching(tmp_path, conninfo, *FAST) as daemon:
            await daemon.says("active: this daemon sweeps", "1 of 20 slots taken")
            way.switch(other)
            await daemon.says("again, after", "1 of 30 slots taken", "ANOTHER DATABASE CLUSTER")
            await daemon.says("active: this daemon sweeps", times=2)
            async with sessions(small, 3, application_name="of the old") as kept:
                async with sessions(other, 3, application_name="of the new"):
                    await daemon.says("terminated ", times=3)
                assert [await each.fetchval("SELECT 1") for each in kept] == [1] * 3
            assert daemon.end() == 0
        assert {line["application_name"] for line in daemon.audited()} == {"of the new"}
