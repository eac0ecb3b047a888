"""A server seen from its own host, and sessions of it ended from there, on real servers."""

import asyncio
import os
import socket as sockets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Backend
from pgtop.core.plan import Guard, Outcome, Plan, SparedFor, Victim
from pgtop.demo.account import server_account
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import ConnectError, NotPermittedError, UsageError
from pgtop.postgres.conninfo.target import Endpoint
from pgtop.postgres.host import sockets as kernel_sockets
from pgtop.postgres.host.server_at_address import server_at
from pgtop.postgres.host.server_settings import ask_settings, limits_of
from pgtop.postgres.host.servers import (
    HostServers,
    Wanted,
    choose,
    find_servers,
    system_identifier,
)
from pgtop.postgres.host.terminate import HostTerminator
from pgtop.postgres.host.titles import read_title
from pgtop.postgres.host.watcher import HostView, HostWatcher
from tests.conftest import ServerFactory
from tests.servers import execute, fetch_value, session, sessions, wait_until, wait_until_sync
from tests.support.audit_logs import audited
from tests.support.filling import (
    FIRST_PACKET,
    connect_silently,
    silent_process,
    socket_open_to_others,
    stalled_login,
    walsender,
)
from tests.support.hosting import (
    HostFace,
    face_on_host,
    forge_mark,
    host_server,
    process_of,
    replaced,
    seen,
    title_of,
)
from tests.support.reaping import lives, outcomes
from tests.support.running import run_words, start_on_terminal
from tests.support.targets import stopped

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads Linux's /proc")


async def test_shows_what_the_server_itself_shows(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """On every version: who, where from, which state; since when over TCP, and at least over a socket."""
    face = face_on_host(every_server, tmp_path / "a")
    async with (
        session(every_server) as idle,
        session(every_server, over_socket=True) as local,
        session(every_server) as in_transaction,
        session(every_server) as active,
    ):
        await in_transaction.execute("BEGIN")
        sleeping = asyncio.ensure_future(active.fetchval("SELECT pg_sleep(60)"))
        await idle.fetchval("SELECT 1")

        async def settled() -> HostView | None:
            view = await face.look()
            return view if seen(view, active).state == "active" else None

        view = await wait_until(settled)
        assert isinstance(view, HostView)
        rows = await local.fetch(
            "SELECT pid, usename, datname, host(client_addr) AS addr, client_port, state, "
            "(date_part('epoch', state_change) * 1e6)::int8 AS change FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        shown = {backend.pid: backend for backend in view.snapshot.backends}
        assert {row["pid"] for row in rows} == shown.keys() - {local.get_server_pid()}
        for row in rows:
            backend = shown[row["pid"]]
            names = (
                backend.usename,
                backend.datname,
                backend.client_addr,
                backend.client_port,
                backend.state,
            )
            assert names == tuple(
                row[name] for name in ("usename", "datname", "addr", "client_port", "state")
            )
            assert not backend.idle_at_least
        change = next(row["change"] for row in rows if row["pid"] == idle.get_server_pid())
        assert abs((seen(view, idle).state_change or 0) - change) < 100_000
        bound = seen(view, local)
        assert (bound.client_addr, bound.client_port, bound.idle_at_least) == (None, -1, True)
        assert view.snapshot.counts.total == len(rows) + 1
        sleeping.cancel()


async def test_knows_the_servers_limits_and_which_cluster_it_is(every_server: ThrowawayServer) -> None:
    found = host_server(every_server)
    limits = limits_of(ask_settings(found).answers())
    assert (limits.max_connections, limits.superuser_reserved_connections, limits.slots) == (100, 3, 97)
    said = await fetch_value(every_server, "SELECT system_identifier::text FROM pg_control_system()")
    assert system_identifier(found) == said
    started = "SELECT date_part('epoch', pg_postmaster_start_time())::float8"
    began = await fetch_value(every_server, started)
    assert isinstance(began, float)
    assert abs(found.postmaster_start / 1e6 - began) < 2


async def test_a_lower_bound_grows_until_the_session_runs(server: ThrowawayServer, tmp_path: Path) -> None:
    face = face_on_host(server, tmp_path / "a")
    async with session(server, over_socket=True) as local:
        await local.fetchval("SELECT 1")
        await face.plan_for(local)
        first = seen(await face.look(), local)
        second = seen(await face.look(), local)
        assert first.state_change is not None
        assert first.state_change == second.state_change
        await local.fetchval("SELECT 1")
        third = seen(await face.look(), local)
        assert third.state_change is not None
        assert third.state_change > first.state_change


@pytest.mark.parametrize("version", [14, 15, 16, 17, 18])
async def test_clients_that_are_not_let_in_yet_are_told_apart(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """One that stalls in authentication holds a slot; one that says nothing does not."""
    server = server_factory({"cluster_name": "main: x"}, version=version, auth="scram-sha-256")
    face = face_on_host(server, tmp_path / "a")
    with stalled_login(server.port), connect_silently(server.port):

        async def both() -> HostView | None:
            view = await face.look()
            phases = sorted(client.phase for client in view.connecting)
            return view if phases == ["authentication", "silent"] else None

        view = await wait_until(both)
        assert isinstance(view, HostView)
        assert view.snapshot.counts.starting == view.snapshot.counts.total == 1
        plan = await face.plan()
        assert not plan.victims


@asynccontextmanager
async def planned(
    server: ThrowawayServer, audit: Path, **options: bool
) -> AsyncIterator[tuple[HostFace, asyncpg.Connection, Plan]]:
    """A face, an idle session, and the plan that would end just that one; the options are `session`'s."""
    face = face_on_host(server, audit)
    async with session(server, **options) as one:
        await one.fetchval("SELECT 1")
        yield face, one, await face.plan_for(one)


async def test_ends_the_victims_and_nobody_else(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """On every version, over TCP and over a Unix socket; the audit log has both lines of each."""
    audit = tmp_path / "audit.jsonl"
    face = face_on_host(every_server, audit)
    async with (
        sessions(every_server, 2) as (bystander, one),
        session(every_server, over_socket=True) as local,
    ):
        for each in (bystander, one, local):
            await each.fetchval("SELECT 1")
        report = await face.run(await face.plan_for(one, local))
        assert outcomes(report) == [Outcome.TERMINATED] * 2
        assert await lives(bystander)
        left = {backend.pid for backend in (await face.look()).snapshot.backends}
        assert not left & {one.get_server_pid(), local.get_server_pid()}
    lines = audited(audit)
    assert [line["outcome"] for line in lines] == [None, None, "terminated", "terminated"]
    assert {line["face"] for line in lines} == {"test"}


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_session_that_ran_a_statement_since_is_changed_and_lives(
    server: ThrowawayServer, tmp_path: Path, over_socket: bool
) -> None:
    """Though it is idle again: the time of the last data, or the run count, is another one."""
    async with planned(server, tmp_path / "a", over_socket=over_socket) as (face, one, plan):
        await one.fetchval("SELECT pg_sleep(0.5)")
        await wait_until(lambda: title_ends(one, " idle"))
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await lives(one)


def title_ends(connection: asyncpg.Connection, end: str) -> bool:
    title = Path(f"/proc/{connection.get_server_pid()}/cmdline").read_bytes().rstrip(b"\0")
    return title.endswith(end.encode())


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_session_that_turned_active_is_spared_and_lives(
    server: ThrowawayServer, tmp_path: Path, over_socket: bool
) -> None:
    async with planned(server, tmp_path / "a", over_socket=over_socket) as (face, one, plan):
        sleeping = asyncio.ensure_future(one.fetchval("SELECT 7 FROM pg_sleep(1)"))
        await wait_until(lambda: title_ends(one, " SELECT"))
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await sleeping == 7


async def test_a_session_with_an_unread_statement_is_changed(server: ThrowawayServer, tmp_path: Path) -> None:
    """Its title and its last data still say idle: a hung backend shows a slow one's instant."""
    async with planned(server, tmp_path / "a") as (face, one, plan):
        with stopped(one.get_server_pid()):
            asking = asyncio.ensure_future(one.fetchval("SELECT 7"))
            await asyncio.sleep(0)
            assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await asking == 7


async def test_a_pid_that_is_gone_is_changed(server: ThrowawayServer, tmp_path: Path) -> None:
    async with planned(server, tmp_path / "a") as (face, _, plan):
        pass
    await wait_until(lambda: not Path(f"/proc/{plan.victims[0].backend.pid}").exists())
    assert outcomes(await face.run(plan)) == [Outcome.CHANGED]


async def test_never_what_the_last_look_did_not_show_as_an_idle_client(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The postmaster, its own processes, another session of the same pid: by plans that no policy makes."""
    async with planned(server, tmp_path / "a") as (face, one, plan):
        backend = plan.victims[0].backend
        assert backend.backend_start is not None
        assert backend.state_change is not None
        forged = [
            {"pid": face.watcher.server.pid},
            {"pid": os.getpid()},
            {"backend_start": backend.backend_start + 10_000},
            {"state_change": backend.state_change - 1},
            *({"pid": pid} for pid in auxiliary_processes(face)),
        ]
        victims = tuple(Victim(changed(backend, **each), "forged", Guard.STATE) for each in forged)
        assert set(outcomes(await face.run(replaced(plan, victims)))) == {Outcome.CHANGED}
        assert await lives(one)
        assert process_of(face.watcher.server.pid)


def changed(backend: Backend, **fields: int) -> Backend:
    return msgspec.structs.replace(backend, **fields)


def auxiliary_processes(face: HostFace) -> list[int]:
    children = Path("/proc").glob("[0-9]*/stat")
    found = []
    for stat in children:
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        title = (stat.parent / "cmdline").read_bytes()
        if int(fields[1]) == face.watcher.server.pid and b"[local]" not in title and b"(" not in title:
            found.append(int(stat.parent.name))
    assert found
    return found


async def test_a_victim_whose_process_is_another_ones_by_now_lives(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As if the pid had been reused by the next session: same pid and parent, another start."""
    async with planned(server, tmp_path / "a") as (face, one, plan):
        identity = plan.victims[0].backend.id
        mark = face.watcher.mark(identity)
        assert mark is not None
        for other in (
            msgspec.structs.replace(mark, started_ticks=mark.started_ticks - 1),
            msgspec.structs.replace(mark, who=("other shop", *mark.who[1:])),
            msgspec.structs.replace(mark, who=(mark.who[0], None, None)),
        ):
            forge_mark(face.watcher, identity, other)
            assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        assert await lives(one)


@pytest.mark.parametrize("over_socket", [False, True])
@pytest.mark.parametrize("other", ["pid", "uid"])
async def test_a_process_of_another_parent_or_user_lives(
    server: ThrowawayServer, tmp_path: Path, other: str, over_socket: bool
) -> None:
    """As where the server's own process had gone, and another one had its number."""
    async with planned(server, tmp_path / "a", over_socket=over_socket) as (face, one, plan):
        found = face.watcher.server
        face.watcher.server = msgspec.structs.replace(found, **{other: 1})
        assert outcomes(await face.run(plan)) == [Outcome.CHANGED]
        face.watcher.server = found
        assert await lives(one)


async def test_a_backend_that_does_not_die_survived_and_is_never_killed(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with planned(server, tmp_path / "a") as (face, one, plan):
        with stopped(one.get_server_pid()):
            assert outcomes(await face.run(plan)) == [Outcome.SURVIVED]
            assert process_of(one.get_server_pid())


async def test_a_pid_that_another_process_has_by_now_is_gone(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been reused between the signal and the confirmation."""
    async with planned(server, tmp_path / "a") as (face, one, plan):
        termination = await HostTerminator(face.watcher).termination(plan)
        with stopped(one.get_server_pid()):
            assert await termination.signal(plan.victims[0]) is None
            process = process_of(one.get_server_pid())
            assert process is not None
            assert await termination.remaining(plan.victims) == {plan.victims[0].backend.id}
            later = msgspec.structs.replace(process, started_ticks=process.started_ticks + 1)
            monkeypatch.setattr(face.watcher, "read_process", lambda _: later)
            assert await termination.remaining(plan.victims) == frozenset()


async def test_no_descriptor_is_left_open(server: ThrowawayServer, tmp_path: Path) -> None:
    """Whatever became of a victim; none is held until the others are gone either."""
    face = face_on_host(server, tmp_path / "a")
    async with sessions(server, 3) as three:
        for each in three:
            await each.fetchval("SELECT 1")
        plan = await face.plan_for(*three)
        await three[0].fetchval("SELECT pg_sleep(0.5)")
        with stopped(three[1].get_server_pid()):
            running = asyncio.ensure_future(face.run(plan))
            await wait_until(lambda: three[2].is_closed())
            # One is open for a moment each time that the process is looked at.
            await wait_until(lambda: not [link for link in open_files() if "pidfd" in link])
            assert not running.done()
            report = await running
        assert sorted(outcomes(report)) == [Outcome.CHANGED, Outcome.SURVIVED, Outcome.TERMINATED]
    assert not [link for link in open_files() if "pidfd" in link]


def open_files() -> list[str]:
    found = []
    for name in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(name.readlink()))
    assert found
    return found


async def test_a_guess_is_refused(server_factory: ServerFactory, tmp_path: Path) -> None:
    """By what is configured, and by titles that tell nothing though it is configured otherwise."""
    server = server_factory({"update_process_title": "off"})
    found = host_server(server)
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        with pytest.raises(NotPermittedError, match="update_process_title"):
            HostWatcher(found, ask_settings(found).answers())
        watcher = HostWatcher(found, {})
        with pytest.raises(NotPermittedError, match="update_process_title"):
            await asyncio.to_thread(watcher.look)


async def test_walsenders_are_not_clients_and_host_names_are_read(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A logical one is `idle` like a client, in its title too."""
    server = server_factory({"log_hostname": "on"})
    face = face_on_host(server, tmp_path / "a")
    with walsender(server, "database") as logical, walsender(server, "true") as physical:
        async with session(server) as one:
            await one.fetchval("SELECT 1")
            await wait_until(lambda: all(title_of(pid).endswith(" idle") for pid in (logical, physical)))
            view = await face.look()
            assert [backend.pid for backend in view.snapshot.backends] == [one.get_server_pid()]
            assert seen(view, one).client_addr == "127.0.0.1"
            assert view.connecting == ()


@pytest.mark.parametrize(
    ("version", "too_long_by"), [(14, 15), (15, 30), (16, 0), (17, 15), (18, 1), (18, 15)]
)
async def test_a_title_that_is_cut_off_is_never_idle(
    server_factory: ServerFactory, tmp_path: Path, version: int, too_long_by: int
) -> None:
    """`idle in transaction` that lost fifteen letters reads as `idle`."""
    server = server_factory({"cluster_name": "x" * 9}, version=version)
    session_title = f"postgres: {'x' * 9}:   [local] idle in transaction"
    with little_room_for_titles(server) as room:
        letters = room - len(session_title) + too_long_by
        user, database = "u" * (letters // 2), "d" * (letters - letters // 2)
        await execute(server, f'CREATE ROLE "{user}" LOGIN', f'CREATE DATABASE "{database}"')
        face = face_on_host(server, tmp_path / "a")
        async with session(server, over_socket=True, user=user, database=database) as cut:
            await cut.execute("BEGIN")
            assert title_ends(cut, "idle in transaction") is (too_long_by == 0)
            assert too_long_by != 15 or title_ends(cut, " idle")
            view = await face.look()
            assert [backend.state for backend in view.snapshot.backends] == ["disabled"]
            plan = await face.plan()
            assert [each.spared_for for each in plan.spared] == [SparedFor.AGE_UNKNOWN]
            assert not plan.victims
            forged = taken_for_idle(face.watcher, view.snapshot.backends[0])
            assert outcomes(await face.run(replaced(plan, (forged,)))) == [Outcome.CHANGED]
            assert (await cut.fetchval("SELECT 1")) == 1


async def test_a_stranger_with_a_long_name_makes_nobody_refuse(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Its title has lost the activity, as it would lack it with update_process_title = off."""
    server = server_factory(auth="scram-sha-256")
    with little_room_for_titles(server) as room:
        letters = room - len("postgres:   127.0.0.1(54321)")
        names = {"user": "u" * (letters // 2), "database": "d" * (letters - letters // 2)}
        face = face_on_host(server, tmp_path / "a")
        with stalled_login(server.port, **names) as client:
            assert client.recv(1) == b"R"

            async def cut() -> HostView | None:
                view = await face.look()
                return view if view.snapshot.backends else None

            view = await wait_until(cut)
            assert isinstance(view, HostView)
            (stranger,) = view.snapshot.backends
            title = title_of(stranger.pid)
            assert f" 127.0.0.1({client.getsockname()[1]})" in title
            assert not title.endswith("authentication")
            assert stranger.state == "disabled"


def taken_for_idle(watcher: HostWatcher, backend: Backend) -> Victim:
    """The victim that it would be, had a look believed its title."""
    process, mark = process_of(backend.pid), watcher.mark(backend.id)
    assert process is not None
    assert mark is not None
    title = read_title(process.title, watcher.prefix)
    who = ("", None, None) if title is None else (title.names, title.host, title.port)
    forge_mark(watcher, backend.id, msgspec.structs.replace(mark, who=who))
    idle = msgspec.structs.replace(backend, state="idle", state_change=mark.state_change, idle_at_least=True)
    return Victim(idle, "forged", Guard.STATE)


@contextmanager
def little_room_for_titles(server: ThrowawayServer) -> Iterator[int]:
    """The server as it is where it was given few arguments and no environment; gives the longest title."""
    settings = {**server.settings, "port": str(server.port), "listen_addresses": "127.0.0.1", "fsync": "off"}
    settings["unix_socket_directories"] = str(server.socket_dir)
    server.stop()
    with (server.data_dir / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    # Where it runs from: a copy, where its user may not read the programs in their own place. Its path
    # would be room as well, and may be long.
    arguments = ["./postgres", "-D", str(server.data_dir)]
    with server.log_path.open("ab") as log:
        process = subprocess.Popen(
            arguments, cwd=server.program_dir, env={}, stdout=log, stderr=log, **server_account().popen
        )
    try:
        ready = server.data_dir / "postmaster.pid"
        wait_until_sync(lambda: ready.exists() and "ready" in ready.read_text(), complaint=server.log_tail())
        yield sum(len(argument) + 1 for argument in arguments) - 2
    finally:
        process.terminate()
        process.wait()


async def test_a_pgtop_of_this_host_is_known_and_spared(server: ThrowawayServer, tmp_path: Path) -> None:
    """By whose socket is at the other end, over TCP and over a Unix socket, at each look while it starts."""
    face = face_on_host(server, tmp_path / "a")
    for uri in (server.uri(), server.socket_uri()):
        with start_on_terminal(tmp_path, uri) as (_, _terminal):
            (own,) = await wait_until(lambda: own_sessions(face))
            for _ in range(20):
                plan = await face.plan()
                assert own not in {each.backend.pid for each in plan.victims}
                spared = {each.backend.pid: each.spared_for for each in plan.spared}
                assert spared.get(own, SparedFor.OWN) is SparedFor.OWN  # one that is active is not listed


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_pgtop_that_the_kernels_list_leaves_out_is_spared(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over_socket: bool
) -> None:
    """While others come and go it may leave out any: here all of pgtop's ends."""
    face = face_on_host(server, tmp_path / "a")
    monkeypatch.setattr(kernel_sockets, "unix_sockets", lambda _name="": iter(()))
    monkeypatch.setattr(kernel_sockets, "tcp_sockets", lambda **_ports: iter(()))
    async with session(server, over_socket=over_socket) as other:
        uri = server.socket_uri() if over_socket else server.uri()
        with start_on_terminal(tmp_path, uri) as (_, _terminal):
            assert other.get_server_pid() not in await wait_until(lambda: own_sessions(face))


_AS_THE_SERVERS_USER = """
import os, sys
from pgtop.postgres.host import watcher
from pgtop.postgres.host import servers
from pgtop.postgres.host import sockets
if sys.argv[4:]:
    sockets.unix_sockets = lambda name="": iter(())
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
found = servers.choose(servers.find_servers(), servers.Wanted(data_dir=sys.argv[3]))
view = watcher.HostWatcher(found).look()
print([each.pid for each in view.snapshot.backends if each.is_pgtop], view.notes)
"""


async def look_as_the_servers_user(
    face: HostFace, home: Path, *, has_list: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Print, as the user that runs the server, which sessions count as pgtop's, and the notes.

    Without `has_list` the kernel's list of Unix sockets leaves out all of them.
    """
    server = face.watcher.server
    words = [sys.executable, "-c", _AS_THE_SERVERS_USER, str(server.uid), str(server.gid), server.data_dir]
    words += [] if has_list else ["without"]
    return await asyncio.to_thread(run_words, home, words)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_hidden_pgtop_spares_all_sessions_of_its_user(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As the server's user sees one of root's: over TCP, and over a Unix socket, listed or not."""
    face = face_on_host(server, tmp_path / "a")
    async with session(server) as one, session(server, over_socket=True) as other:
        with start_on_terminal(tmp_path, server.uri()) as (_, _terminal):
            await wait_until(lambda: own_sessions(face))
            looks = [
                await look_as_the_servers_user(face, tmp_path, has_list=has_list)
                for has_list in (True, False)
            ]
        pids = [one.get_server_pid(), other.get_server_pid()]
        for done in looks:
            assert done.stdout.count("a pgtop of root runs here") == 1, done.stderr
            assert all(str(pid) in done.stdout for pid in pids), done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_users_pgtop_spares_nobody_to_the_servers_user(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """It may not be looked into, and what it calls itself is anybody's choice."""
    face = face_on_host(server, tmp_path / "a")
    with (
        socket_open_to_others(server) as where,
        silent_process("pgtop", where, FIRST_PACKET, uid=64_321),
    ):
        await wait_until(lambda: count(face))
        done = await look_as_the_servers_user(face, tmp_path)
    assert done.stdout.startswith("[] "), done.stderr
    assert "64321" not in done.stdout  # a pgtop of root's own may run here, and be named


async def count(face: HostFace) -> int:
    return (await face.look()).snapshot.counts.idle


async def own_sessions(face: HostFace) -> list[int]:
    return [each.pid for each in (await face.look()).snapshot.backends if each.is_pgtop]


async def test_an_endpoint_on_this_host_is_found_and_another_is_not(server: ThrowawayServer) -> None:
    def found(host: str, port: int = server.port) -> bool:
        at = server_at(Endpoint(host, port, host))
        assert at is None or at.pid == server.pid
        return at is not None

    for host in ("127.0.0.1", "localhost", str(server.socket_dir)):
        assert await asyncio.to_thread(found, host)
    for host in ("192.0.2.1", "no-such-watcher.invalid", "/nonexistent", "127.0.0.2"):
        assert not await asyncio.to_thread(found, host)
    assert not await asyncio.to_thread(found, "127.0.0.1", 1)


async def test_a_tunnel_on_the_other_ip_protocol_is_not_the_server(
    server_factory: ServerFactory,
) -> None:
    """PostgreSQL takes IPv6 alone on `::`: what listens at 0.0.0.0, as Docker does, may lead anywhere."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = server_factory({"listen_addresses": "::"})
    found = await asyncio.to_thread(server_at, Endpoint("::1", server.port, "::1"))
    assert found is not None
    assert found.pid == server.pid
    with sockets.create_server(("0.0.0.0", server.port)):  # noqa: S104 - as what is tested does
        assert await asyncio.to_thread(server_at, Endpoint("127.0.0.1", server.port, "127.0.0.1")) is None
        assert await asyncio.to_thread(server_at, Endpoint("localhost", server.port, "localhost")) is None


def has_ipv6() -> bool:
    try:
        with sockets.create_server(("::1", 0), family=sockets.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("addresses", "is_here"),
    [
        (("127.0.0.1",), True),
        (("127.0.0.2", "127.0.0.1"), True),  # nobody listens at the first
        (("127.0.0.1", "192.0.2.1"), False),
        (("192.0.2.1", "127.0.0.1"), False),
    ],
)
async def test_a_name_of_several_hosts_is_none_of_this_one(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...], is_here: bool
) -> None:
    """The login may have gone to any of them: their order changes from one look-up to the next."""

    def look_up(*_: object, **__: object) -> list[object]:
        kind = (sockets.AF_INET, sockets.SOCK_STREAM, 6, "")
        return [(*kind, (address, server.port)) for address in addresses]

    monkeypatch.setattr(sockets, "getaddrinfo", look_up)
    found = await asyncio.to_thread(server_at, Endpoint("db", server.port, "db"))
    assert (found is not None and found.pid == server.pid) is is_here


async def test_which_server_is_meant_is_asked_rather_than_guessed(server_factory: ServerFactory) -> None:
    one, other = server_factory(), server_factory()
    pair = HostServers((host_server(one), host_server(other)))
    for server in (one, other):
        for wanted in (
            Wanted(port=server.port),
            Wanted(data_dir=f"{server.data_dir}/"),
            Wanted(socket_dir=str(server.socket_dir)),
        ):
            assert choose(pair, wanted).pid == server.pid
    with pytest.raises(UsageError, match=f"{one.port}.*--data-dir"):
        choose(pair, Wanted())
    with pytest.raises(ConnectError, match=str(one.port)):
        choose(pair, Wanted(port=1))
    with pytest.raises(ConnectError, match="no PostgreSQL server"):
        choose(HostServers(()), Wanted())
    with pytest.raises(NotPermittedError, match="sudo pgtop"):
        choose(HostServers((), closed=(os.getuid(),)), Wanted(port=1))
    with pytest.raises(UsageError, match="several"):
        choose(HostServers((host_server(one),), closed=(12345,)), Wanted())


async def test_a_lock_file_counts_only_where_its_server_runs(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A server may have several socket directories, and its own file names only the first of them."""
    server = server_factory()
    found = host_server(server)
    wanted = Wanted(socket_dir=str(tmp_path))
    lock = tmp_path / f".s.PGSQL.{found.port}.lock"
    for lines, is_meant in (
        ((str(found.pid), found.data_dir), True),
        ((str(found.pid), "/another/place"), False),
        ((str(os.getpid()), found.data_dir), False),
        (("",), False),
    ):
        lock.write_text("\n".join(lines))
        os.chown(lock, found.uid, -1)  # as the server makes it
        assert wanted.admits(found) is is_meant
    lock.unlink()
    assert not wanted.admits(found)


async def test_a_server_that_is_gone_is_named_as_gone(server_factory: ServerFactory) -> None:
    server = server_factory()
    found = host_server(server)
    watcher = HostWatcher(found, {})
    server.stop("immediate")
    assert found.data_dir not in {each.data_dir for each in find_servers().servers}
    with pytest.raises(ConnectError, match="gone"):
        await asyncio.to_thread(watcher.look)
