"""Every error is one line on standard error that names the mend, with the exit status of the design."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import create_role, sessions
from tests.support.running import LIMIT_SECONDS, assert_one_line, environment, run, start


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--intervall 5", "no such option: --intervall|--interval|try pgtop --help"),
        ("snapshot --jsn", "no such option: --jsn|--json|try pgtop snapshot --help"),
        ("-x", "no such option: -x|try pgtop --help"),
        ("demo -h db1", "no such option: -h|try pgtop demo --help"),
        ("--no-dashboard", "no such option: --no-dashboard"),
        ("--port", "--port|requires an argument"),
        ("--json=1 snapshot", "--json|does not take a value"),
        ("--interval soon", '--interval|"soon" is not a duration|5min'),
        ("--interval 10ms", '--interval cannot be "10ms"|give 100ms to 1h'),
        ("--interval=-1", '--interval|"-1" is not a duration'),
        ("snapshot --idle-after 3weeks", '--idle-after|"3weeks" is not a duration'),
        ("snapshot --warn-at 80", '--warn-at cannot be "80"|80%'),
        ("snapshot --warn-at much", '--warn-at|"much" is not a fraction|80%'),
        ("--on-alert no-such-program", '--on-alert: there is no program "no-such-program"|without a shell'),
        ("demo --on-alert no-such-program", '--on-alert: there is no program "no-such-program"'),
        ("--theme pink", '--theme cannot be "pink"|give dark, light, ansi or colour-blind'),
        ("-p 99999 snapshot", '--port "99999" is not a port|1 to 65535'),
        ("reap --time-factor 20", "--time-factor is for the daemon|add --watch"),
        ("snapshot -w -W", "-w and -W cannot be used together"),
        ("snapshot host=db1 dbname=shop", "unexpected argument|quote|-U"),
        ("demo shop", "unexpected argument|pgtop demo takes none"),
        ("demo --max-connections many", "--max-connections|'many'"),
        ("demo --no-dashboard --max-connections 3", "--max-connections"),
        ("demo --no-dashboard --leak-every 0", "--leak-every"),
        ("snapshot postgresql://db1:port/", "port"),
        ("snapshot hots=db1", "hots"),
        ("snapshot --service nowhere", "nowhere"),
        ("snapshot -W", "no terminal|PGPASSWORD"),
        ("", "the dashboard needs a terminal|standard input|pgtop snapshot"),
        ("demo", "the dashboard needs a terminal|--no-dashboard"),
    ],
)
def test_bad_arguments_are_told_in_one_line(tmp_path: Path, arguments: str, words: str) -> None:
    """Exit status 2, whatever is wrong with the command line."""
    assert_one_line(run(tmp_path, *arguments.split()), 2, *words.split("|"))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PGTOP_INTERVAL", "soon", 'PGTOP_INTERVAL|"soon" is not a duration'),
        ("PGTOP_INTERVAL", "0", 'PGTOP_INTERVAL cannot be "0"|give 100ms to 1h'),
        ("PGTOP_WARN_AT", "81", 'PGTOP_WARN_AT cannot be "81"'),
        ("PGTOP_IDLE_AFTER", "\x1b[2J", 'PGTOP_IDLE_AFTER|"·[2J" is not a duration'),
        ("PGTOP_AUDIT_LOG", "~nobody-of-this-name/log", "PGTOP_AUDIT_LOG|give the path"),
        ("PGTOP_PORT", "http", 'PGTOP_PORT "http" is not a port'),
        ("PGTOP_JSON", "maybe", "PGTOP_JSON|1 for yes"),
        ("PGTOP_NO_PASSWORD", "maybe", "PGTOP_NO_PASSWORD|1 for yes"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variable: str, value: str, words: str) -> None:
    """The error names the variable, not a flag that nobody typed."""
    done = run(tmp_path, "snapshot", variables={variable: value})
    assert_one_line(done, 2, *words.split("|"))
    assert "--" not in done.stderr.replace("--help", "")


def test_a_flag_beats_its_variable(tmp_path: Path) -> None:
    """A bad variable does no harm where a flag stands in its place."""
    done = run(tmp_path, "snapshot", "--warn-at", "2", variables={"PGTOP_WARN_AT": "3"})
    assert_one_line(done, 2, '--warn-at cannot be "2"')


def test_a_password_given_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    """Neither in the variable of a yes or no, nor as a word of an unquoted conninfo, nor in a URI."""
    secret = "hunter2"  # noqa: S105 - nobody's
    for done in (
        run(tmp_path, "snapshot", variables={"PGTOP_PASSWORD": secret}),
        run(tmp_path, "snapshot", "host=db1", f"password={secret}"),
        run(tmp_path, "snapshot", "host=db1", "password=", secret),
        run(tmp_path, "snapshot", f"--password={secret}"),
        run(tmp_path, "snapshot", f"postgresql://app:{secret}@db1:port/"),
    ):
        assert_one_line(done, 2)
        assert secret not in done.stderr


@contextlib.contextmanager
def silence() -> Iterator[socket.socket]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_SECONDS)
        yield listener


def test_no_server(tmp_path: Path) -> None:
    """Status 3, naming host and port: a closed port, an unknown host, a missing socket, a silent server."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
        assert_one_line(run(tmp_path, "snapshot", "-h", "127.0.0.1", "-p", port), 3, f"127.0.0.1:{port}")
    assert_one_line(run(tmp_path, "snapshot", "-h", "no-such-host.invalid"), 3, "no-such-host.invalid")
    assert_one_line(run(tmp_path, "snapshot", "-h", str(tmp_path)), 3, ".s.PGSQL.5432")
    with silence() as listener:
        port = str(listener.getsockname()[1])
        done = run(tmp_path, "snapshot", f"host=127.0.0.1 port={port} connect_timeout=1")
        assert_one_line(done, 3, f"127.0.0.1:{port}", "in time")


def test_hostile_words_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """What was typed is made printable where it is repeated."""
    done = run(tmp_path, "snapshot", "-h", "/\x1b]52;c;aGk=\x07\x9b2J\u202e\n", "-U", "\x1b[31m")
    assert_one_line(done, 3)


@pytest.fixture(scope="module")
def guarded(module_server_factory: "ServerFactory") -> ThrowawayServer:
    """A server with few slots that asks for passwords."""
    settings = {"max_connections": "8", "superuser_reserved_connections": "3"}
    if (version := ThrowawayServer().version) >= 16:
        assert version
        settings["reserved_connections"] = "0"
    return module_server_factory(settings, auth="scram-sha-256")


async def test_a_refused_login(tmp_path: Path, guarded: ThrowawayServer) -> None:
    """Status 3: a wrong password, none at all, an unknown role or database, a role's own limit."""
    role = await create_role(guarded)
    limited = await create_role(guarded, connection_limit=0)
    wrong = guarded.uri(user=role.name, password="wrong")  # noqa: S106 - wrong on purpose
    assert_one_line(run(tmp_path, "snapshot", wrong), 3, "password", role.name)
    without = guarded.uri(user=role.name)
    assert_one_line(run(tmp_path, "snapshot", without), 3, "password", "-W", "PGPASSWORD")
    unknown = guarded.socket_uri(user="nobody_here")
    assert_one_line(run(tmp_path, "snapshot", unknown), 3, 'role "nobody_here" does not exist')
    nowhere = guarded.socket_uri(database="nowhere")
    assert_one_line(run(tmp_path, "snapshot", nowhere), 3, 'database "nowhere" does not exist')
    assert_one_line(run(tmp_path, "snapshot", limited.uri()), 3, "CONNECTION LIMIT", limited.name)


async def test_a_full_server(tmp_path: Path, guarded: ThrowawayServer) -> None:
    """Status 4 where no ordinary slot is left; a superuser still gets in."""
    role = await create_role(guarded)
    async with sessions(guarded, 5, user=role.name, password=role.password):
        assert_one_line(run(tmp_path, "snapshot", role.uri()), 4, "is full", "superuser")
        done = run(tmp_path, "snapshot", guarded.socket_uri())
        assert (done.returncode, done.stderr) == (0, "")
        assert "6 of 5 slots · 120% · no ordinary slot is left" in done.stdout


async def test_a_server_that_lets_nothing_be_seen(tmp_path: Path, guarded: ThrowawayServer) -> None:
    """Status 5 where the role may not even ask for the sessions."""
    role = await create_role(guarded)
    database = f"blind_{role.name}"
    from tests.servers import execute

    await execute(guarded, f"CREATE DATABASE {database}")
    await execute(
        guarded, "REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(int) FROM PUBLIC", database=database
    )
    assert_one_line(run(tmp_path, "snapshot", role.uri(database)), 5, role.name, "pg_stat_get_activity")


def test_a_fault_of_our_own_is_one_line(tmp_path: Path) -> None:
    """Status 1 without a traceback, unless PGTOP_DEBUG asks for it; then every line of it is printable."""
    code = (
        "import pgtop.commands.snapshot.run as face, pgtop.commands.main, sys\n"
        "async def look(*_, **__): raise RuntimeError('a\\x1b[2J\\nb')\n"
        "face.look = look\n"
        "sys.exit(pgtop.commands.main.run(['snapshot']))\n"
    )

    def broken(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment(tmp_path, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=False,
        )

    assert_one_line(broken(), 1, "unexpected error: RuntimeError: a·[2J b (set PGTOP_DEBUG=1")
    traced = broken(PGTOP_DEBUG="1")
    assert traced.returncode == 1
    assert "Traceback" in traced.stderr
    assert all(line.isprintable() for line in traced.stderr.split("\n"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_quietly(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """SIGTERM is status 0, Ctrl-C 130; neither leaves a word, also while a server does not answer."""
    with silence() as listener:
        port = str(listener.getsockname()[1])
        with start(tmp_path, "snapshot", "-h", "127.0.0.1", "-p", port) as process:
            peer, _ = listener.accept()
            with peer:
                assert peer.recv(1), "it has begun to log in"
                process.send_signal(number)
                out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, out, err) == (status, b"", b"")


@pytest.mark.parametrize("arguments", ["--help", "--version", "snapshot", "snapshot --json"])
def test_a_reader_that_has_left_is_not_an_error(
    tmp_path: Path, server: ThrowawayServer, arguments: str
) -> None:
    """`pgtop snapshot | head -1` ends without a word."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as broken:  # noqa: PTH123 - a descriptor, not a path
        done = run(tmp_path, *arguments.split(), *connect(server, arguments), stdout=broken)
    assert (done.returncode, done.stderr) == (0, "")


def connect(server: ThrowawayServer, arguments: str) -> list[str]:
    """The conninfo, for the commands that take one."""
    return [server.uri()] if arguments.startswith("snapshot") else []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", ["--help", "snapshot --json"])
def test_a_full_disk_is_told(tmp_path: Path, server: ThrowawayServer, arguments: str) -> None:
    """Output that cannot be written is an error, not a success."""
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, *arguments.split(), *connect(server, arguments), stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("pgtop: cannot write to standard output (No space left")
    assert done.stderr.count("\n") == 1
