"""Traps that others lay for break-glass on the server's host: files, programs, names, settings."""

import asyncio
import os
import resource
import signal
import socket as sockets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from pgtop.commands.break_glass.run import Prepared, carry_out
from pgtop.core.break_glass_plan import Ask, plan_stalled_logins
from pgtop.core.plan import DecidedBy, Outcome, Plan, ReapPolicy, SparedFor
from pgtop.demo.account import server_account
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.errors import ConnectError, NotPermittedError, UsageError
from pgtop.postgres.conninfo.target import Endpoint
from pgtop.postgres.host import proc
from pgtop.postgres.host.pgtop_sessions import trusted_users
from pgtop.postgres.host.server_at_address import server_at
from pgtop.postgres.host.server_settings import Asked, ask_settings, limits_of
from pgtop.postgres.host.servers import ClosedError, HostServers, Wanted, choose, find_server, find_servers
from pgtop.postgres.host.watcher import HostView, HostWatcher
from pgtop.postgres.snapshot_probe import Probe
from pgtop.settings.defaults_and_bounds import Config
from tests.conftest import ServerFactory
from tests.servers import (
    REPOSITORY,
    available,
    create_role,
    execute,
    session,
    sessions,
    wait_until,
    wait_until_sync,
)
from tests.support.filling import (
    FIRST_PACKET,
    OTHER_HOST,
    silent_process,
    socket_open_to_others,
    stalled_in_authentication,
    twin,
)
from tests.support.hosting import face_on_host, host_server, process_of
from tests.support.targets import connection_on, target_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads Linux's /proc")

MALLORY = 64_321
"""A user of this host who has nothing to do with the server."""

_POSTMASTER = """
import ctypes, os, sys
if len(sys.argv) > 1:
    os.setgroups([])
    os.setresuid(*map(int, sys.argv[1].split(",")))
if len(sys.argv) > 2:
    ctypes.CDLL(None).prctl(15, sys.argv[2].encode(), 0, 0, 0)
child = os.posix_spawn("/bin/sleep", ["postgres: checkpointer", "600"], os.environ)
print(os.getpid(), flush=True)
sys.stdin.read()
os.kill(child, 9)
"""

_FIND = (
    "from pgtop.postgres.host.servers import *; found = find_servers(); "
    "print([each.pid for each in found.servers], found.unheard)"
)


@contextmanager
def false_postmaster(
    place: Path, users: tuple[int, int, int] | None = None, name: str | None = None
) -> Iterator[int]:
    """A process with a child of a PostgreSQL title, as anybody may start one; gives its pid.

    As root it is mallory's, or of the real, effective and saved users given.
    """
    if users is None and os.geteuid() == 0:
        users = (MALLORY, MALLORY, MALLORY)
    command = [sys.executable, "-c", _POSTMASTER, *([",".join(map(str, users))] if users else [])]
    command += [name] if name else []
    with subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


_TOLD_TO_A_PERSON = """
import os, sys
import pgtop.safe_files, pgtop.core.password_search
from pgtop.errors import NotPermittedError
from pgtop.postgres.host.servers import Wanted, find_server
os.setgroups([])
os.setresgid(64322, 64322, 64322)
os.setresuid(64322, 64322, 64322)
place = sys.argv[1]
for wanted in (Wanted(1), Wanted(1, place), Wanted(1, "/root/closed")):
    try:
        find_server(wanted)
    except NotPermittedError as error:
        print(error)
"""


def laid_socket(place: Path, mode: int) -> str:
    """A directory of a socket of mallory's, and its lock file."""
    path = place / ".s.PGSQL.1"
    with sockets.socket(sockets.AF_UNIX) as one:
        one.bind(str(path))
    lock = Path(f"{path}.lock")
    lock.write_text("1\n/x\n1\n1\n")
    for each in (path, lock):
        os.chown(each, MALLORY, -1)
    place.chmod(mode)
    return str(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_processs_name_ends_no_line_of_what_the_kernel_tells(tmp_path: Path) -> None:
    """Anybody may put there what Python takes for the end of a line, and a field of their choice after it."""
    with false_postmaster(tmp_path, name="a\x0bpostgres:\x1c1") as pid:
        told = proc.status(pid)
        assert told["Name"] == "a\x0bpostgres:\x1c1"
        assert "postgres" not in told
    assert proc.status(pid) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("is_hidden", [False, True])
def test_no_stranger_is_recommended_to_run_pgtop_as(tmp_path: Path, is_hidden: bool) -> None:
    """Neither for a process named as a server, nor for a socket's lock file in a place like /tmp."""
    place = laid_socket(tmp_path, 0o1777)
    ask = [sys.executable, "-c", _TOLD_TO_A_PERSON, place]
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh", *ask] if is_hidden else ask
    with false_postmaster(tmp_path, name="postgres"):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith(": sudo pgtop break-glass") for line in lines), lines
    assert is_hidden or all(f"#{MALLORY}" in line for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("mode", "uid"), [(0o755, MALLORY), (0o1777, 0), (0o777, 0)])
def test_an_owner_is_named_where_nobody_else_can_have_made_the_socket(
    tmp_path: Path, mode: int, uid: int
) -> None:
    """As in /var/run/postgresql, and unlike /tmp; so it is with a data directory."""
    place = tmp_path / "place"
    place.mkdir()
    data = place / "data"
    data.mkdir()
    os.chown(data, MALLORY, -1)
    wanted = Wanted(socket_dir=laid_socket(place, mode))
    for each in (wanted, Wanted(data_dir=str(data))):
        with pytest.raises(ClosedError) as told:
            choose(HostServers((), closed=(26, MALLORY)), each)
        assert told.value.uid == uid


_DIRECTORY_OF_MALLORYS = """
import ctypes, os, signal, struct, sys
libc = ctypes.CDLL(None)
device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
place, script, users = sys.argv[1:]
if (
    libc.unshare(0x20000)
    or libc.mount(None, b"/", None, 0x44000, None)
    or libc.mount(b"mallorys", place.encode(), b"fuse", 0, options)
):
    sys.exit("no FUSE")
signal.signal(signal.SIGCHLD, lambda *_: os._exit(0))
if os.fork() == 0:
    os.chdir(place)
    os.execv(sys.executable, [sys.executable, "-I", "-c", script, users])
while True:
    request = os.read(device, 1 << 17)
    _, operation, unique = struct.unpack_from("=IIQ", request)
    LOOKUP, GETATTR, INIT = 1, 3, 26
    if operation == LOOKUP:
        continue
    code, answer = 0, b""
    if operation == INIT:
        answer = struct.pack("=IIIIHHI", 7, struct.unpack_from("=I", request, 44)[0], 4096, 0, 9, 9, 4096)
        answer = answer.ljust(64, b"\\0")
    elif operation == GETATTR:
        answer = struct.pack("=QII6Q10I", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, *[0] * 5)
    else:
        code = -38
    os.write(device, struct.pack("=IiQ", 16 + len(answer), code, unique) + answer)
"""


@contextmanager
def postmaster_in_a_directory_that_never_answers(place: Path) -> Iterator[int]:
    """A false postmaster of mallory's whose directory is served by a program of hers; gives its pid."""
    users = f"{MALLORY},{MALLORY},{MALLORY}"
    command = [sys.executable, "-c", _DIRECTORY_OF_MALLORYS, str(place), _POSTMASTER, users]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            pytest.skip("no file system of a program's can be mounted here")
        yield int(said)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks into others' directories")
def test_a_directory_that_never_answers_keeps_nobody_waiting(server: ThrowawayServer, tmp_path: Path) -> None:
    """Not the search for all servers, in which its user is named; one that is named is found without it."""
    with postmaster_in_a_directory_that_never_answers(tmp_path) as pid:
        told = found_pids()
        assert str(pid) not in told
        assert str(server.pid) in told
        assert told.endswith(f"({MALLORY},)\n")
        found = find_servers(server_account().uid)
        assert not found.unheard
        assert find_server(Wanted(data_dir=str(server.data_dir))).pid == server.pid


def test_users_who_did_not_answer_are_named(server: ThrowawayServer) -> None:
    found = HostServers((host_server(server),), unheard=(MALLORY,))
    with pytest.raises(UsageError, match=f"perhaps one of user #{MALLORY}, whose directories do not answer"):
        choose(found, Wanted())
    assert choose(found, Wanted(port=server.port)).pid == server.pid
    with pytest.raises(ConnectError, match=f"perhaps there is one of user #{MALLORY}, whose"):
        choose(found, Wanted(port=1))


_WITH_ITS_FILES_TOLD = """
import sys
sys.addaudithook(lambda event, what: event == "open" and print(what[0], file=sys.stderr))
from pgtop.commands.break_glass.run import prepare, find
from pgtop.core.break_glass_plan import Ask
from pgtop.core.plan import ReapPolicy
from pgtop.postgres.host.servers import Wanted
prepare(find(Wanted(data_dir=sys.argv[1])), ReapPolicy(), Ask(count=1), print)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nothing_of_a_strangers_memory_is_read(server: ThrowawayServer, tmp_path: Path) -> None:
    """The command line is of that: a page of it may be in a file that a program of theirs never delivers."""
    with false_postmaster(tmp_path) as pid:
        done = subprocess.run(
            [sys.executable, "-c", _WITH_ITS_FILES_TOLD, str(server.data_dir)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert f"/proc/{server.pid}/cmdline" in done.stderr.splitlines()
        theirs = {line for line in done.stderr.splitlines() if line.startswith(f"/proc/{pid}/")}
        assert theirs == {f"/proc/{pid}/status"}


@pytest.mark.parametrize("kind", ["links", "long"])
def test_no_path_that_a_lock_file_names_is_followed(
    server: ThrowawayServer, tmp_path: Path, kind: str
) -> None:
    """It may lead through as many links as somebody likes, or to a place that never answers."""
    for number in range(1500):
        (tmp_path / f"l{number}").symlink_to(tmp_path / f"l{number + 1}")
    path = str(tmp_path / "l0") if kind == "links" else "/x" * 2100
    with false_postmaster(tmp_path) as pid:
        lay(tmp_path, (str(pid), path, "1", "5432", path, ""))
        found = {each.pid: each for each in find_servers().servers}
        assert (pid in found) is (kind == "links")
        assert choose(find_servers(), Wanted(data_dir=str(server.data_dir))).pid == server.pid
        assert choose(find_servers(), Wanted(socket_dir=str(server.socket_dir))).pid == server.pid


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
        if os.geteuid() == 0:
            os.chown(laid, MALLORY, -1, follow_symlinks=False)
        found = found_pids()
        assert str(pid) not in found
        assert str(server.pid) in found


def test_a_pipe_in_place_of_a_lock_file_is_not_one(server: ThrowawayServer, tmp_path: Path) -> None:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_false_postmaster_does_not_hide_the_server_behind_a_socket(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Whoever says to have the same port and socket directory has not made the socket that is there."""
    found = host_server(server)
    with false_postmaster(tmp_path) as pid:
        lay(tmp_path, (str(pid), str(tmp_path), "1", str(found.port), found.socket_dir))
        assert {pid, found.pid} <= {each.pid for each in find_servers().servers}
        assert server_at(Endpoint(found.socket_dir, found.port, found.socket_dir)) == found
        assert choose(find_servers(), Wanted(found.port, found.socket_dir)) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_lock_file_of_another_user_proves_no_directory(server: ThrowawayServer, tmp_path: Path) -> None:
    """In /tmp anybody may lay one for a server that does not listen there, beside a socket of their own."""
    found = host_server(server)
    laid = tmp_path / f".s.PGSQL.{found.port}.lock"
    laid.write_text(f"{found.pid}\n{found.data_dir}\n1\n{found.port}\n")
    os.chown(laid, MALLORY, -1)
    assert not Wanted(socket_dir=str(tmp_path)).admits(found)
    os.chown(laid, found.uid, -1)
    assert Wanted(socket_dir=str(tmp_path)).admits(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_strangers_link_to_another_server_is_not_this_ones_socket(
    server: ThrowawayServer, server_factory: ServerFactory
) -> None:
    """In /tmp anybody may lay one where a socket was tidied away: the sessions seen there are the other's."""
    other = server_factory()
    path = other.socket_dir / f".s.PGSQL.{other.port}"
    place = str(other.socket_dir)
    assert server_at(Endpoint(place, other.port, place)) == host_server(other)
    path.unlink()
    path.symlink_to(server.socket_dir / f".s.PGSQL.{server.port}")
    os.chown(path, MALLORY, -1, follow_symlinks=False)
    assert server_at(Endpoint(place, other.port, place)) is None
    assert not Wanted(other.port, place).admits(host_server(other))


def lay(place: Path, lines: tuple[str, ...], owner: int = MALLORY) -> None:
    """A lock file, of mallory's where root can give it away."""
    laid = place / "postmaster.pid"
    laid.write_text("\n".join(lines))
    if os.geteuid() == 0:
        os.chown(laid, owner, -1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("users", "owner", "is_listed"),
    [
        ((MALLORY, MALLORY, MALLORY), MALLORY, True),
        ((MALLORY, MALLORY, MALLORY), 0, False),
        ((MALLORY, 0, 0), 0, False),
        ((MALLORY, 26, 26), 26, False),
        ((0, 0, 0), 0, False),
    ],
)
def test_a_false_postmaster_is_of_its_own_user_or_none(
    server: ThrowawayServer, tmp_path: Path, users: tuple[int, int, int], owner: int, is_listed: bool
) -> None:
    """Neither root nor a program of another rank than its caller's is one, and the lock file is its own."""
    found = host_server(server)
    with false_postmaster(tmp_path, users) as pid:
        lay(tmp_path, (str(pid), found.data_dir, "1", str(found.port), ""), owner)
        servers = find_servers().servers
        assert found in servers
        assert (pid in {each.pid for each in servers}) is is_listed
        if is_listed:
            with pytest.raises(UsageError, match=f"of #{MALLORY}"):
                choose(HostServers(tuple(each for each in servers if each.port == found.port)), Wanted())


def test_a_data_directory_means_the_server_that_runs_in_it(server: ThrowawayServer, tmp_path: Path) -> None:
    """Whatever another process says of itself."""
    found = host_server(server)
    with false_postmaster(tmp_path) as pid:
        lines = (str(pid), found.data_dir, "1", str(found.port), "")
        lay(tmp_path, lines)
        servers = find_servers()
        assert {each.pid for each in servers.servers if each.port == found.port} == {pid, found.pid}
        with pytest.raises(UsageError, match=r"name one with --data-dir$"):
            choose(servers, Wanted(port=found.port))
        assert choose(servers, Wanted(data_dir=found.data_dir)).pid == found.pid
        assert choose(servers, Wanted(port=found.port, data_dir=found.data_dir)).pid == found.pid


def test_a_servers_program_is_out_of_reach_of_this_terminal(server: ThrowawayServer) -> None:
    """Where it is not the program that it seems, it could type into root's terminal."""
    asked = ask_settings(host_server(server))
    assert asked.running
    groups = {os.getsid(process.pid) for process in asked.running.values()}
    assert asked.answers()
    assert os.getsid(0) not in groups


def test_a_hanging_program_is_ended_with_all_it_started(tmp_path: Path) -> None:
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
        wait_until_sync(lambda child=child: process_of(child) is None)


def test_a_program_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    """It may be anybody's, and what it prints is not kept."""
    command = ["/bin/sh", "-c", "yes; yes"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert Asked({"a": process}).answers() == {}
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_no_server_hides_or_counterfeits_another_in_the_list(server: ThrowawayServer) -> None:
    """Anybody may start hundreds, and choose what each says of its directory."""
    found = host_server(server)
    said = f"/x, of #{MALLORY}; port 1, {found.data_dir}"
    false = [
        msgspec.structs.replace(found, uid=MALLORY, port=port, data_dir=said + "x" * 4000)
        for port in range(1, 200)
    ]
    with pytest.raises(UsageError) as told:
        choose(HostServers((*false, found)), Wanted())
    assert found.label in told.value.problem
    assert f"189 more of #{MALLORY}" in told.value.problem
    assert f"'{said}xx" in told.value.problem
    assert len(told.value.problem) < 4000


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


async def test_outcomes_are_told_though_the_last_poll_is_refused(
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
            answer = await carry_out(prepared, Config(audit_log=tmp_path / "b"), decided_by=DecidedBy.PERSON)
    assert answer.report is not None
    assert [result.outcome for result in answer.report.results] == [Outcome.TERMINATED]
    assert answer.usage_after == plan.usage_after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("over_socket", [False, True])
@pytest.mark.parametrize(
    ("name", "uid", "keeps_rank", "is_believed"),
    [
        ("pgtop", 0, False, True),
        ("psql", 0, False, False),
        ("pgtop", MALLORY, False, False),
        ("pgtop", MALLORY, True, False),
    ],
)
async def test_only_a_trusted_users_process_is_believed_to_be_a_pgtop(
    server: ThrowawayServer,
    tmp_path: Path,
    over_socket: bool,
    name: str,
    uid: int,
    keeps_rank: bool,
    is_believed: bool,
) -> None:
    """Anybody may call a process so, and may hand a connection to a program that runs as root."""
    face = face_on_host(server, tmp_path / "a")
    with (
        socket_open_to_others(server) as path,
        silent_process(name, path if over_socket else server.port, FIRST_PACKET, uid, keeps_rank=keeps_rank),
    ):

        async def one() -> Plan | None:
            plan = await face.plan()
            is_in = not any(each.spared_for is SparedFor.AGE_UNKNOWN for each in plan.spared)
            return plan if is_in and len(plan.victims) + len(plan.spared) == 1 else None

        plan = await wait_until(one)
        assert isinstance(plan, Plan)
        assert [each.spared_for for each in plan.spared] == ([SparedFor.OWN] if is_believed else [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
async def test_a_session_from_another_network_is_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    """As from a container that has the socket's directory: the kernel tells of no other network's sockets."""
    face = face_on_host(server, tmp_path / "a")
    with (
        socket_open_to_others(server) as path,
        silent_process("psql", path, FIRST_PACKET, MALLORY, is_apart=True),
    ):

        async def one_victim() -> Plan | None:
            plan = await face.plan()
            return plan if plan.victims else None

        plan = await wait_until(one_victim)
        assert isinstance(plan, Plan)
        (victim,) = plan.victims
        assert victim.backend.idle_at_least
        report = await face.run(plan)
        assert [each.outcome for each in report.results] == [Outcome.TERMINATED]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
async def test_a_silent_client_from_another_network_is_listed(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    face = face_on_host(server, tmp_path / "a")
    with socket_open_to_others(server) as path, silent_process("psql", path, b"", MALLORY, is_apart=True):

        async def one() -> HostView | None:
            view = await face.look()
            return view if view.silent else None

        view = await wait_until(one)
        assert isinstance(view, HostView)
        assert [(each.phase, each.address) for each in view.connecting] == [("silent", None)]
        plan = plan_stalled_logins(view.snapshot, view.silent, ReapPolicy(), Ask(stalled_logins_seconds=0.0))
        report = await face.run(plan)
        assert [each.outcome for each in report.results] == [Outcome.TERMINATED]


async def test_a_process_that_has_just_begun_is_not_a_client(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the postmaster's command line still, and the sockets that the postmaster listens on."""
    watcher = face_on_host(server, tmp_path / "a").watcher
    postmaster = proc.read_process(watcher.server.pid, frozenset({watcher.server.uid}))
    assert postmaster is not None
    assert proc.socket_inodes(postmaster.pid)
    just_begun = msgspec.structs.replace(postmaster, parent=postmaster.pid)
    processes = proc.processes
    monkeypatch.setattr(proc, "processes", lambda users: [*processes(users), just_begun])
    view = watcher.look()
    assert (view.snapshot.backends, view.silent) == ((), ())


async def test_a_twin_of_its_connection_keeps_no_session_alive(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """From the same address and port, to another address of the server's."""
    server = server_factory({"listen_addresses": f"{HOST},{OTHER_HOST}"})
    face = face_on_host(server, tmp_path / "a")
    async with session(server) as one:
        client_port = await one.fetchval("SELECT inet_client_port()")
        with twin(server.port, client_port):
            plan = await face.plan_for(one)
            report = await face.run(plan)
            assert [each.outcome for each in report.results] == [Outcome.TERMINATED]


async def test_a_twin_of_a_pgtops_connection_is_none_of_its(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory({"listen_addresses": f"{HOST},{OTHER_HOST}"})
    face = face_on_host(server, tmp_path / "a")
    with silent_process("pgtop", server.port, FIRST_PACKET):

        async def idle(number: int) -> Plan | None:
            plan = await face.plan()
            return plan if len(plan.victims) + len(plan.spared) == number else None

        plan = await wait_until(lambda: idle(1))
        assert isinstance(plan, Plan)
        (own,) = plan.spared
        with twin(server.port, own.backend.client_port or 0) as other:
            other.sendall(FIRST_PACKET)
            plan = await wait_until(lambda: idle(2))
            assert isinstance(plan, Plan)
            assert [each.backend.pid for each in plan.spared] == [own.backend.pid]
            assert [each.backend.client_port for each in plan.victims] == [own.backend.client_port]


@pytest.mark.parametrize(
    ("uid", "said", "trusted"),
    [(0, "1000", {0, 26, 1000}), (0, "x", {0, 26}), (0, None, {0, 26}), (500, "1000", {0, 26, 500})],
)
def test_sudos_word_for_who_called_counts_for_root_alone(
    monkeypatch: pytest.MonkeyPatch, server: ThrowawayServer, uid: int, said: str | None, trusted: set[int]
) -> None:
    found = msgspec.structs.replace(host_server(server), uid=26)
    monkeypatch.setattr(os, "geteuid", lambda: uid)  # from here on: only root may look for all servers
    assert trusted_users(found, {} if said is None else {"SUDO_UID": said}) == trusted


@contextmanager
def in_a_namespace(server: ThrowawayServer) -> Iterator[None]:
    """The server with process numbers of its own, as in a container: its own is 1 there."""
    server.stop()
    arguments = [
        *(str(server.program_dir / "postgres"), "-D", str(server.data_dir), "-p", str(server.port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={server.socket_dir}"),
        *(part for name, value in server.settings.items() for part in ("-c", f"{name}={value}")),
    ]
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if account := server_account().popen:
        command += ["setpriv", f"--reuid={account['user']}", f"--regid={account['group']}", "--clear-groups"]
    ready = server.data_dir / "postmaster.pid"
    with (
        server.log_path.open("ab") as log,
        subprocess.Popen([*command, *arguments], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until_sync(
                lambda: process.poll() is not None or (ready.exists() and "ready" in ready.read_text())
            )
            if process.poll() is not None:
                pytest.skip("no namespace of process numbers can be had here")
            yield
            os.kill(host_server(server).pid, signal.SIGINT)
            process.wait(20)
        finally:
            process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
def test_a_containers_program_is_not_run_out_here(server_factory: ServerFactory) -> None:
    """Whoever plays a server in a container would have left it: what is run for root is outside of it."""
    server = server_factory()
    with in_a_namespace(server):
        assert ask_settings(host_server(server)).answers() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
async def test_a_containers_clients_are_counted_by_its_numbers(server_factory: ServerFactory) -> None:
    """Its sessions have other pids out here, and are not taken for clients that it does not list."""
    server = server_factory(version=15, auth="scram-sha-256")
    app = await create_role(server)
    with in_a_namespace(server):
        async with (
            connection_on(target_of(server)) as own_connection,
            sessions(server, 3, user=app.name, password=app.password),
        ):
            probe = Probe(own_connection)
            with stalled_in_authentication(server.port, app, 2):

                async def counted() -> bool:
                    return (await probe.snapshot()).unlisted == 2

                await wait_until(counted, 15)
                assert (await probe.snapshot()).counts.total == 4


_ORPHANS = """
import os
ends = os.pipe()
for end in ends:
    os.set_inheritable(end, True)
os.dup2(ends[0], 0)
for title in ("postgres: checkpointer", "postgres: app shop [local] idle"):
    os.posix_spawn("/bin/cat", [title], os.environ)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
def test_orphans_that_a_containers_server_gets_are_none_of_its(server_factory: ServerFactory) -> None:
    """No process of another user is counted, nor does one say what the server's titles begin with."""
    server = server_factory()
    server.settings["cluster_name"] = "main"
    with in_a_namespace(server):
        found = host_server(server)
        enter = ["nsenter", f"--target={found.pid}", "--pid", "setpriv", f"--reuid={MALLORY}"]
        subprocess.run(
            [*enter, "--clear-groups", sys.executable, "-c", _ORPHANS], check=True, stdout=subprocess.DEVNULL
        )
        orphans = [each.users for each in proc.sketches() if each.parent == found.pid]
        assert orphans.count({MALLORY}) == 2
        watcher = HostWatcher(found)
        assert watcher.look().snapshot.backends == ()
        assert watcher.prefix == "postgres: main: "
        # They end with the namespace: a server takes the death of any child for a crash.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may begin a namespace")
async def test_a_server_with_process_numbers_of_its_own_is_found(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Its lock file has another number than this host, and its sessions are ended by this host's numbers."""
    server = server_factory()
    with in_a_namespace(server):
        assert (server.data_dir / "postmaster.pid").read_text().split()[0] == "1"
        assert host_server(server).pid != 1
        async with session(server) as client:
            await client.fetchval("SELECT 1")
            face = face_on_host(server, tmp_path / "a")

            async def one_victim() -> Plan | None:
                plan = await face.plan()
                return plan if len(plan.victims) == 1 else None

            plan = await wait_until(one_victim)
            assert isinstance(plan, Plan)
            report = await face.run(plan)
            assert [each.outcome for each in report.results] == [Outcome.TERMINATED]
