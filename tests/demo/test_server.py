"""A throw-away server: starts anywhere and as anybody, stops as asked, and takes everything along."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from pgtop.demo import server as server_module
from pgtop.demo.account import readable_binaries, server_account, temporary_place
from pgtop.demo.server import HOST, PortTakenError, ServerError, ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import available, default_binaries, fetch_value, session
from tests.support.processes import (
    NOBODY,
    SERVER,
    program,
    python_for,
    segment_of,
    shared_memory_ids,
    traces,
    wait_until_no_trace,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")


@pytest.mark.parametrize("name", ['"a" \'b', "a,b", "t\tb\\s", "$H;`x`", "é*?[", "-rf", "x" * 120])
async def test_any_temporary_directory_will_do(
    temporary_directory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = temporary_directory / name
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with ThrowawayServer(default_binaries()) as server:
        assert server.directory.parent == place
        elsewhere = len(name) > 100 or bool(set(name) & set(',"$`\\'))
        assert (server.socket_dir.parent == server.directory) != elsewhere
        async with session(server), session(server, over_socket=True):
            pass
    assert not traces(server.directory, server.socket_dir)


def test_a_kill_below_a_directory_with_an_odd_name_leaves_nothing(temporary_directory: Path) -> None:
    place = temporary_directory / 'it\'s a "place", no $HOME; `x` *'
    place.mkdir()
    with program(SERVER, TMPDIR=str(place)) as starter:
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        assert starter.line().startswith("started")
        assert Path(directory).parent == place
        starter.process.kill()
        wait_until_no_trace(directory, sockets)
    assert list(place.iterdir()) == []


async def test_a_stopped_server_comes_back_on_its_port_with_its_data(server_factory: ServerFactory) -> None:
    server = server_factory()
    port = server.port
    async with session(server) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    server.stop("fast")
    assert server.pid is None
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(server.uri(), ssl=False)
    server.start()
    assert server.port == port
    assert await fetch_value(server, "SELECT value FROM kept") == 7
    server.settings["max_connections"] = "33"
    server.restart("immediate")
    assert await fetch_value(server, "SHOW max_connections") == "33"


def test_a_normal_end_leaves_no_trace_of_the_server() -> None:
    with ThrowawayServer(default_binaries()) as server:
        segment = segment_of(server.data_dir)
        assert traces(server.directory)
    assert not traces(server.directory, server.socket_dir)
    assert segment not in shared_memory_ids()


def test_an_exception_in_the_block_ends_the_server_too() -> None:
    server = ThrowawayServer(default_binaries())
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert not traces(server.directory, server.socket_dir)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = ThrowawayServer(default_binaries(), settings={"no_such_setting": "1"})
    with pytest.raises(ServerError, match="no_such_setting"):
        server.start()
    assert not traces(server.directory, server.socket_dir)


async def test_another_port_is_taken_when_the_first_is_taken_in_between(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([server.port, server.port])
    really_free = server_module.free_port
    monkeypatch.setattr(server_module, "free_port", lambda: next(ports, None) or really_free())
    with ThrowawayServer(default_binaries()) as second:
        assert second.port != server.port
        assert await fetch_value(second, "SELECT 1") == 1


def test_a_start_on_a_port_that_was_taken_meanwhile_is_an_error(
    server: ThrowawayServer, server_factory: ServerFactory
) -> None:
    second = server_factory()
    second.stop()
    with socket.socket() as taker:
        taker.bind((HOST, second.port))
        taker.listen()
        with pytest.raises(PortTakenError, match=str(second.port)):
            second.start()


async def test_with_scram_tcp_asks_for_a_password_and_the_socket_does_not(
    server_factory: ServerFactory,
) -> None:
    server = server_factory(auth="scram-sha-256")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.uri(password=server.password[::-1]), ssl=False)
    assert await fetch_value(server, "SELECT 1") == 1
    async with session(server, over_socket=True) as connection:
        assert await connection.fetchval("SELECT current_user") == "postgres"


def test_nobody_else_may_enter_the_directory_or_the_sockets(server: ThrowawayServer) -> None:
    """As root the server's user, and its group, pass through the directory."""
    for place in (server.socket_dir, server.data_dir):
        assert place.stat().st_mode & 0o077 == 0
    assert server.directory.stat().st_mode & 0o077 == (0o010 if server_account().is_other else 0)


@as_root
def test_as_root_the_server_runs_as_another_user_that_owns_its_data(server: ThrowawayServer) -> None:
    assert server.data_dir.stat().st_uid == server_account().uid != 0


@as_root
def test_the_servers_user_cannot_say_where_root_writes(server: ThrowawayServer) -> None:
    """Whoever else runs as that user could put links in the places of the logs, or of the password."""
    account = server_account()
    assert account.may('cd "$1"', server.data_dir)
    assert not account.may('ln -s /etc "$1/workload.log"', server.directory)
    assert not account.may('echo more >>"$1"', server.log_path)
    assert server.directory.stat().st_uid == server.log_path.stat().st_uid == 0


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_no_directory_that_another_user_may_change_is_used(
    temporary_directory: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Its owner could replace what is made there, and a link in its place would say where root writes."""
    place = temporary_directory / "theirs"
    place.mkdir()
    place.chmod(mode)
    if mode == 0o755:
        os.chown(place, NOBODY, NOBODY)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert temporary_place(server_account()) == Path("/tmp")  # noqa: S108
    os.chown(place, 0, 0)
    place.chmod(0o1777)
    assert temporary_place(server_account()) == place


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_the_server_is_given_no_variable_that_it_does_not_need() -> None:
    """Its user may read all of them, and the starter's may hold secrets."""
    with program(SERVER, SECRET="root's own", PGPASSWORD="root's own") as starter:  # noqa: S106
        directory, sockets = starter.line(), starter.line()
        starter.go_on()
        pid = int(starter.line().split()[1])
        given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        names = {each.partition(b"=")[0] for each in given} - {b""}
        assert {b"LC_ALL", b"PATH"} <= names <= {b"LC_ALL", b"PATH", b"TMPDIR", b"LD_LIBRARY_PATH"}
        starter.process.kill()
        wait_until_no_trace(directory, sockets)


def test_a_false_lock_file_keeps_nobody_waiting(
    server_factory: ServerFactory,
) -> None:
    """As root it is another user's to lay."""
    server = server_factory()
    server.stop()
    lock = server.data_dir / "postmaster.pid"
    for text in ("", "9" * 4000, "no number"):
        lock.write_text(text)
        assert not server.is_up
        lock.unlink()
    os.mkfifo(lock)
    assert said_at_once(lambda: server.is_up, lock) is False
    found: list[bool | None] = []

    def ready(condition: Callable[[], bool], *_: object) -> None:
        found.append(said_at_once(condition, lock))

    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as running,
    ):
        patch.setattr(subprocess, "Popen", lambda *_, **__: running)
        patch.setattr(server_module, "wait_for", ready)
        server.start()
        assert found == [False]
    lock.unlink()


def said_at_once(ask: Callable[[], bool], pipe: Path) -> bool | None:
    """What is said without a wait for somebody to write the pipe; None where that is waited for."""
    said: list[bool] = []
    asking = Thread(target=lambda: said.append(ask()))
    asking.start()
    asking.join(10)
    hung = asking.is_alive()
    while asking.is_alive():  # lets go whoever waits for a writer
        with suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        asking.join(0.05)
    return None if hung else said[0]


@as_root
@pytest.mark.parametrize("version", available())
async def test_programs_that_the_servers_user_cannot_read_are_copied(
    temporary_directory: Path, version: int
) -> None:
    """As in a virtual environment below a home directory of mode 0700."""
    root = available()[version].parent
    if not (root / "share").is_dir():
        pytest.skip("the programs of this version are not in one tree")
    closed = temporary_directory / "closed"
    closed.mkdir(mode=0o700)
    package = closed / "site-packages" / root.parent.name
    shutil.copytree(root, package / root.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = root.parent.with_name(f"{root.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, package.with_name(libraries.name))
    bin_dir = package / root.name / "bin"
    assert readable_binaries(server_account(), bin_dir, temporary_directory / "copy") != bin_dir
    with ThrowawayServer(bin_dir) as server:
        assert await fetch_value(server, "SELECT 'abc' ~ '[a-z]'")


@as_root
def test_an_ordinary_user_starts_and_ends_a_server_of_its_own(temporary_directory: Path) -> None:
    python = python_for(NOBODY)
    if python is None:
        pytest.skip("no Python that an ordinary user may run here")
    os.chown(temporary_directory, NOBODY, NOBODY)
    place = {"TMPDIR": str(temporary_directory), "PGTOP_PG_BIN": str(default_binaries())}
    for killed in (False, True):
        with program(SERVER, python=python, user=NOBODY, **place) as starter:
            directory, sockets = starter.line(), starter.line()
            starter.go_on()
            assert starter.line().startswith("started")
            assert Path(directory, "data").stat().st_uid == NOBODY
            if killed:
                starter.process.kill()
            else:
                starter.go_on()
                assert starter.process.wait(30) == 0
            wait_until_no_trace(directory, sockets)
