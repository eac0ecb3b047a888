"""What others lay in the way of who looks at a server from its host: files, programs, names, settings."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from pgtop.break_glass import Prepared, carry_out
from pgtop.config import Config
from pgtop.core.outcome import Outcome
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import NotPermittedError
from pgtop.postgres import proc
from pgtop.postgres.host import HostWatcher
from pgtop.postgres.host_servers import Wanted, choose, find_servers
from pgtop.postgres.host_settings import Asked, ask_settings, limits_of
from tests.conftest import ServerFactory
from tests.hosting import face_on_host, host_server
from tests.servers import REPOSITORY, available, execute, session, wait_until_sync

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads Linux's /proc")

_POSTMASTER = """
import os, sys
child = os.posix_spawn("/bin/sleep", ["postgres: checkpointer", "600"], os.environ)
print(os.getpid(), flush=True)
sys.stdin.read()
os.kill(child, 9)
"""

_FIND = "from pgtop.postgres.host_servers import *; print([each.pid for each in find_servers().servers])"


@contextmanager
def false_postmaster(place: Path) -> Iterator[int]:
    """A process with a child of a PostgreSQL title, as anybody may start one; gives its pid."""
    command = [sys.executable, "-c", _POSTMASTER]
    with subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def found_pids() -> str:
    """The postmasters that are found, by a process that can be given up."""
    command = [sys.executable, "-c", _FIND]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "long numbers", "a zero byte", "no such port"])
def test_a_false_postmasters_file_neither_hangs_nor_breaks_the_search(
    server: ThrowawayServer, tmp_path: Path, kind: str
) -> None:
    with false_postmaster(tmp_path) as pid:
        lines = [str(pid), str(tmp_path), "1", "5432", ""]
        laid = tmp_path / "postmaster.pid"
        if kind == "pipe":
            os.mkfifo(laid)
        elif kind == "link to a device":
            laid.symlink_to("/dev/zero")
        else:
            changed = {
                "long numbers": (2, "1" * 5000),
                "a zero byte": (1, "/a\0b"),
                "no such port": (3, "65536"),
            }
            line, text = changed[kind]
            laid.write_text("\n".join([*lines[:line], text, *lines[line + 1 :]]))
        found = found_pids()
        assert str(pid) not in found
        assert str(server.pid) in found


def test_a_pipe_in_place_of_a_lock_file_is_no_lock_file(server: ThrowawayServer, tmp_path: Path) -> None:
    found = host_server(server)
    laid = tmp_path / f".s.PGSQL.{found.port}.lock"
    os.mkfifo(laid)
    said: list[bool] = []
    asking = Thread(target=lambda: said.append(Wanted(socket_dir=str(tmp_path)).admits(found)))
    asking.start()
    asking.join(10)
    hung = asking.is_alive()
    os.close(os.open(laid, os.O_RDWR | os.O_NONBLOCK))  # lets go whoever waits for a writer
    asking.join()
    assert (hung, said) == (False, [False])


def test_a_data_directory_means_the_server_that_runs_in_it(server: ThrowawayServer, tmp_path: Path) -> None:
    """Whatever another process says of itself."""
    found = host_server(server)
    with false_postmaster(tmp_path) as pid:
        lines = (str(pid), found.data_dir, "1", str(found.port), "")
        (tmp_path / "postmaster.pid").write_text("\n".join(lines))
        servers = find_servers()
        assert {each.pid for each in servers.servers if each.port == found.port} == {pid, found.pid}
        assert choose(servers, Wanted(data_dir=found.data_dir)).pid == found.pid
        assert choose(servers, Wanted(port=found.port, data_dir=found.data_dir)).pid == found.pid


def test_a_servers_program_is_out_of_reach_of_this_terminal(server: ThrowawayServer) -> None:
    """Where it is not the program that it seems, it could type into root's terminal."""
    asked = ask_settings(host_server(server))
    assert asked.running
    groups = {os.getsid(process.pid) for process in asked.running.values()}
    assert asked.answers()
    assert os.getsid(0) not in groups


def test_a_program_that_hangs_is_ended_with_what_it_started_and_the_rest_is_answered(tmp_path: Path) -> None:
    """What it started holds its output open."""

    def started(script: str) -> "subprocess.Popen[bytes]":
        command = ["/bin/sh", "-c", script]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True)

    hanging = {name: started(f"sleep 600 & echo $! > {name}; sleep 600") for name in ("a", "c")}
    answers = Asked({"a": hanging["a"], "b": started("echo 7"), "c": hanging["c"]}).answers()
    assert answers == {"b": "7"}
    for name, process in hanging.items():
        assert process.returncode is not None
        child = int((tmp_path / name).read_text())
        wait_until_sync(lambda child=child: proc.read_process(child) is None)


async def test_a_role_named_as_recovery_makes_no_standby(server: ThrowawayServer, tmp_path: Path) -> None:
    await execute(server, 'CREATE ROLE "startup recovering" LOGIN SUPERUSER')
    face = face_on_host(server, tmp_path / "a")
    async with session(server, user="startup recovering") as one:
        await one.fetchval("SELECT 1")
        view = await face.look()
        assert len(view.snapshot.backends) == 1
        assert not view.snapshot.server.identity.in_recovery


@pytest.mark.parametrize("version", sorted(available()))
async def test_slots_are_those_that_the_server_runs_with(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """A max_connections that waits for a restart makes no room, and is told."""
    server = server_factory(version=version)
    answers = ask_settings(host_server(server)).answers()
    if "pg_controldata" not in answers:
        pytest.skip("the server's user has no pg_controldata beside its postgres")
    before = limits_of(answers)
    await execute(server, f"ALTER SYSTEM SET max_connections = {before.max_connections + 400}")
    answers = ask_settings(host_server(server)).answers()
    assert answers["max_connections"] == str(before.max_connections + 400)
    assert limits_of(answers) == before
    view = await asyncio.to_thread(HostWatcher(host_server(server), answers).look)
    assert any("waits for a restart" in note for note in view.notes)


async def test_what_was_done_is_told_though_the_look_after_it_is_refused(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """As by the title of a newcomer that tells nothing."""
    server = server_factory()
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        face = face_on_host(server, tmp_path / "a")
        plan = await face.plan_for(one)
        prepared = Prepared(await face.look(), plan, face.watcher)
        await execute(server, "ALTER SYSTEM SET update_process_title = off", "SELECT pg_reload_conf()")
        async with session(server) as newcomer:
            assert await newcomer.fetchval("SHOW update_process_title") == "off"
            with pytest.raises(NotPermittedError):
                await asyncio.to_thread(HostWatcher(face.watcher.server, {}).look)
            answer = await carry_out(prepared, Config(audit_log=tmp_path / "b"))
    assert answer.report is not None
    assert [result.outcome for result in answer.report.results] == [Outcome.TERMINATED]
    assert answer.usage_after == plan.usage_after
