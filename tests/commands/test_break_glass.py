"""`pgtop break-glass` as people and scripts run it, on servers that let nobody in."""

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pgtop.commands.break_glass import run as face
from pgtop.commands.break_glass.table import render_plan
from pgtop.core.break_glass_plan import Ask
from pgtop.core.plan import ReapPolicy
from pgtop.demo.server import SUPERUSER, ThrowawayServer
from pgtop.errors import UsageError
from pgtop.postgres.host.server_settings import Asked
from pgtop.postgres.host.servers import Wanted, user_name
from pgtop.reaping.report_json import as_report
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.filling import connect_silently, stalled_login
from tests.support.hosting import face_on_host, host_server
from tests.support.running import (
    assert_one_line,
    command,
    environment,
    read_until,
    redirected,
    run,
    start_on_terminal,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc"),
    pytest.mark.usefixtures("no_other_sessions"),
]

USER, DATABASE = "my app", "the [local] shop"


@asynccontextmanager
async def full(server: ThrowawayServer) -> AsyncIterator[dict[str, list[asyncpg.Connection]]]:
    """Every slot taken, the superusers' too: 8 idle over TCP, 8 over Unix sockets, 4 at work."""
    await execute(server, f'CREATE ROLE "{USER}" LOGIN SUPERUSER', f'CREATE DATABASE "{DATABASE}"')
    names = {"user": USER, "database": DATABASE}
    async with AsyncExitStack() as stack:
        opened = {
            "tcp": await stack.enter_async_context(sessions(server, 8, **names)),
            "unix": await stack.enter_async_context(sessions(server, 8, over_socket=True, **names)),
            "active": await stack.enter_async_context(sessions(server, 3)),
            "in transaction": await stack.enter_async_context(sessions(server, 1, over_socket=True)),
        }
        for each in (*opened["tcp"], *opened["unix"]):
            await each.fetchval("SELECT 1")
        for each in opened["in transaction"]:
            await each.execute("BEGIN; SELECT 1")
        working = [asyncio.ensure_future(each.fetchval("SELECT pg_sleep(600)")) for each in opened["active"]]
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(server.uri(user=SUPERUSER))
        try:
            yield opened
            assert not any(task.done() for task in working)
            assert await opened["in transaction"][0].fetchval("SELECT 1") == 1
        finally:
            for task in working:
                task.cancel()
            for each in opened["active"]:
                each.terminate()


async def stale(server: ThrowawayServer, connections: list[asyncpg.Connection], place: Path) -> None:
    """Waits until these sessions are seen to be idle for longer than a second."""
    face = face_on_host(server, place / "unused")
    pids = {connection.get_server_pid() for connection in connections}

    async def are_stale() -> bool:
        plan = await face.plan(Ask(count=1000, older_than_seconds=1.05))
        return pids <= {victim.backend.pid for victim in plan.victims}

    await wait_until(are_stale)


def alive(connections: list[asyncpg.Connection]) -> int:
    return sum(not connection.is_closed() for connection in connections)


def break_glass(home: Path, server: ThrowawayServer, *arguments: str, **rest: Any) -> Any:
    return run(home, "break-glass", "--data-dir", str(server.data_dir), *arguments, **rest)


@pytest.mark.parametrize("version", [14, 15, 16, 17, 18])
async def test_a_full_server_gets_room_and_active_sessions_live(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """Names with blanks, a cluster_name, both kinds of sockets; no crash recovery, and the room is there."""
    settings = {"max_connections": "20", "superuser_reserved_connections": "3", "cluster_name": "main: x"}
    server = server_factory(settings, version=version)
    async with full(server) as opened:
        await stale(server, [*opened["tcp"], *opened["unix"]], tmp_path)
        arguments = ("--count", "12", "--older-than", "1s", "--yes", "--json")
        done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # the kernel tells all ages at once
        report = json.loads(done.stdout)
        assert report["trigger"] == "break-glass"
        assert [each["outcome"] for each in report["victims"]] == ["terminated"] * 12
        assert {each["usename"] for each in report["victims"]} == {f"{USER} {DATABASE}"}
        ages = [each["idle_seconds"] for each in report["victims"]]
        assert ages == sorted(ages, reverse=True)
        assert (report["usage_before"], report["usage_after"]) == (20 / 17, 8 / 17)
        await wait_until(lambda: alive(opened["tcp"]) + alive(opened["unix"]) == 4)
        async with session(server) as newcomer:
            assert await newcomer.fetchval("SELECT 1") == 1
    log = server.log_path.read_text()
    assert log.count("terminating connection due to administrator command") >= 12
    assert not re.search("terminated by signal|crash of another|automatic recovery|reinitializing", log)
    audit = (tmp_path / ".local/state/pgtop/audit.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in audit]
    assert {(line["face"], line["decided_by"]) for line in lines} == {("break-glass", "command")}
    assert [line["outcome"] for line in lines] == [None] * 12 + ["terminated"] * 12


async def test_the_plan_says_what_runs_who_goes_and_what_is_not_seen(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Nobody is ended by a dry run, and without a terminal and --yes neither."""
    server = server_factory({"max_connections": "10"}, auth="scram-sha-256")
    with stalled_login(server.port), connect_silently(server.port):
        async with sessions(server, 3, password=server.password) as three:
            await wait_until(lambda: "authentication" in titles(server))
            await stale(server, three, tmp_path)
            arguments = ("--older-than", "1s", "--down-to", "40%")
            dry = await asyncio.to_thread(break_glass, tmp_path, server, *arguments, "--dry-run")
            assert dry.returncode == 0, dry.stderr
            for words in (
                f"port {server.port}",
                str(server.data_dir),
                "4 of 7 slots held",
                f"of user {user_name(host_server(server).uid)} · data directory {server.data_dir}",
                "1 slot held by clients that are still connecting, 1 more sent nothing so far",
                "authentication",
                "dry run: Terminate 2 sessions, idle for",
                "57% → 28%",
                "2  postgres in postgres",
                "not visible from the host: applications, advisory locks, LISTEN",
            ):
                assert words in dry.stdout
            assert all(line.isprintable() for line in dry.stdout.splitlines())
            asked = await asyncio.to_thread(break_glass, tmp_path, server, *arguments)
            assert asked.returncode == 2
            assert "--yes" in asked.stderr
            assert asked.stdout.count("terminate ") == 2
            assert alive(three) == 3


def titles(server: ThrowawayServer) -> str:
    parent = host_server(server).pid
    listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(parent)], capture_output=True, text=True)
    return listed.stdout


@pytest.mark.parametrize(("key", "ended"), [("y", 1), ("n", 0), ("", 0)])
async def test_on_a_terminal_it_asks_and_no_is_the_default(
    server: ThrowawayServer, tmp_path: Path, key: str, ended: int
) -> None:
    place = ["--data-dir", str(server.data_dir)]
    async with session(server, user=SUPERUSER) as one:
        await one.fetchval("SELECT 1")
        arguments = [*place, "--count", "1", "--older-than", "1s"]
        await stale(server, [one], tmp_path)

        def answer() -> tuple[int, str]:
            with start_on_terminal(tmp_path, "break-glass", *arguments) as (process, terminal):
                said = read_until(terminal, "[y/N]")
                os.write(terminal, f"{key}\n".encode())
                said += read_until(terminal, "terminated")
                return process.wait(20), said

        status, said = await asyncio.to_thread(answer)
        assert status == 0
        assert "Terminate this session? [y/N]" in said
        assert ("terminated 1 session" in said) is bool(ended)
        assert ("nothing was terminated" in said) is not ended
        await wait_until(lambda: alive([one]) == 1 - ended)
    lines = audited(tmp_path / ".local/state/pgtop/audit.jsonl")
    assert [line["decided_by"] for line in lines] == ["person"] * 2 * ended


async def test_a_plan_in_a_pipe_is_whole(server: ThrowawayServer, tmp_path: Path) -> None:
    """No name is cut, as it is on a terminal, which also says which columns it leaves out."""
    role = await create_role(server, name="long_" + "x" * 45)
    async with session(server, user=role.name, password=role.password) as one:
        await one.fetchval("SELECT 1")
        await stale(server, [one], tmp_path)
        arguments = ("--count", "1", "--older-than", "1s", "--dry-run")
        piped = await asyncio.to_thread(break_glass, tmp_path, server, *arguments)

        def on_terminal() -> str:
            place = ("--data-dir", str(server.data_dir))
            with start_on_terminal(tmp_path, "break-glass", *place, *arguments) as (process, terminal):
                said = read_until(terminal, "not shown at 80 columns: ")
                assert process.wait(20) == 0
                return said

        shown = await asyncio.to_thread(on_terminal)
    assert piped.returncode == 0, piped.stderr
    assert any(f" {role.name}  postgres " in line for line in piped.stdout.splitlines())
    assert "not shown" not in piped.stdout
    assert f" {role.name}  postgres " not in shown
    await execute(server, f"DROP ROLE {role.name}")


async def test_one_age_counts_for_every_kind_of_socket(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Sessions over a Unix socket that are idle for a moment go no sooner than those over TCP."""
    server = server_factory({"max_connections": "13", "superuser_reserved_connections": "3"})
    async with sessions(server, 3) as tcp, sessions(server, 7, over_socket=True) as unix:
        for each in (*tcp, *unix):
            await each.fetchval("SELECT 1")
        await stale(server, [*tcp, *unix], tmp_path)
        done = await asyncio.to_thread(break_glass, tmp_path, server, "--yes")
        assert done.returncode == 0, done.stderr
        assert "is idle for more than 30s (usage is 100%)" in done.stdout
        assert "--older-than asks for another idle age" in done.stdout
        assert alive(tcp) + alive(unix) == 10
        shorter = ("--emergency-idle-after", "1s", "--yes", "--json")
        done = await asyncio.to_thread(break_glass, tmp_path, server, *shorter)
        victims = json.loads(done.stdout)["victims"]
        assert [each["outcome"] for each in victims] == ["terminated"] * 3
        assert {each["pid"] for each in victims} <= {each.get_server_pid() for each in (*tcp, *unix)}


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_lock_queue_is_told_and_its_blocker_can_be_included(
    server_factory: ServerFactory, tmp_path: Path, over_socket: bool
) -> None:
    """One session idle in transaction, which three others wait for."""
    server = server_factory({"max_connections": "20"})
    await execute(server, "CREATE TABLE orders (id int)")
    face = face_on_host(server, tmp_path / "unused")

    async def is_queue() -> bool:
        snapshot = (await face.look()).snapshot
        ages = [each.state_seconds(snapshot.taken_at) for each in snapshot.backends]
        return snapshot.waiting_on_locks == 3 and max(filter(None, ages), default=0) > 1.1

    async with session(server, over_socket=over_socket) as blocker, sessions(server, 3) as queue:
        await blocker.execute("BEGIN; LOCK TABLE orders")
        waiting = [asyncio.ensure_future(each.fetchval("SELECT count(*) FROM orders")) for each in queue]
        await wait_until(is_queue)
        dry = await asyncio.to_thread(break_glass, tmp_path, server, "--count", "9", "--dry-run")
        assert "3 sessions wait for locks: terminating idle sessions does not help there" in dry.stdout
        assert "--include-idle-in-transaction 30s terminates such sessions too" in words_of(dry.stdout)
        assert "1 session idle in transaction may block them" in words_of(dry.stdout)
        idle = ("--include-idle-in-transaction", "1s", "--dry-run")
        below = await asyncio.to_thread(break_glass, tmp_path, server, *idle)
        assert "There is room to connect: b in the dashboard" in words_of(below.stdout)
        included = ("--count", "9", "--include-idle-in-transaction", "1s", "--yes", "--json")
        done = await asyncio.to_thread(break_glass, tmp_path, server, *included)
        assert done.returncode == 0, done.stderr
        victims = json.loads(done.stdout)["victims"]
        assert [(each["pid"], each["outcome"]) for each in victims] == [
            (blocker.get_server_pid(), "terminated")
        ]
        assert (await asyncio.wait(waiting, timeout=20))[1] == set()
        await asyncio.gather(*waiting, return_exceptions=True)


def words_of(text: str) -> str:
    """A text without the places where its lines were folded."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--protect-application", "billing"),
        ("--include-advisory-locks",),
        ("--include-listeners",),
        ("--no-default-protections",),
        ("--application", "web"),
    ],
)
def test_a_rule_about_what_the_host_does_not_show_is_refused(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Status 2, before any server is looked for; a variable of the kind may be meant for others."""
    assert_one_line(run(tmp_path, "break-glass", *arguments), 2, arguments[0], "the host does not show that")
    variables = {"PGTOP_PROTECT_APPLICATION": "billing"}
    done = run(tmp_path, "break-glass", "--data-dir", "/nonexistent", variables=variables)
    assert "protections by application have no effect" in done.stderr


async def test_the_filters_and_protections_hold(server: ThrowawayServer, tmp_path: Path) -> None:
    await execute(server, "CREATE ROLE web LOGIN SUPERUSER", "CREATE ROLE etl LOGIN SUPERUSER")
    async with session(server, user="web") as web, session(server, user="etl") as etl:
        for each in (web, etl):
            await each.fetchval("SELECT 1")
        await stale(server, [web, etl], tmp_path)
        arguments = ("--count", "9", "--older-than", "1s", "--yes", "--json")
        for more in (
            ("--protect-user", "w*", "--user", "web"),
            ("--database", "none"),
            ("--address", "10.0.0.0/8"),
        ):
            done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments, *more)
            assert (done.returncode, json.loads(done.stdout)["victims"]) == (0, []), done.stderr
        done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments, "--user", "web")
        assert [each["usename"] for each in json.loads(done.stdout)["victims"]] == ["web"]
        await wait_until(lambda: (alive([web]), alive([etl])) == (0, 1))


def test_titles_that_tell_nothing_are_refused(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory({"update_process_title": "off"})
    assert_one_line(break_glass(tmp_path, server, "--yes"), 5, "update_process_title", "reload")


async def test_an_audit_log_that_cannot_be_written_ends_nobody(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        await stale(server, [one], tmp_path)
        arguments = ("--count", "1", "--older-than", "1s", "--yes", "--json", "--audit-log", "/dev/full")
        done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments)
        assert_one_line(done, 2, "cannot write the audit log /dev/full")
        assert await one.fetchval("SELECT 1") == 1


async def test_a_yes_given_beforehand_counts_though_nobody_reads_the_plan(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """As `--yes | true` runs it: status 0 says that it is done, and so it is."""
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        await stale(server, [one], tmp_path)
        reader, writer = os.pipe()
        os.close(reader)
        try:
            arguments = ("--count", "1", "--older-than", "1s", "--yes")
            done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments, stdout=writer)
        finally:
            os.close(writer)
        assert (done.returncode, done.stderr) == (0, "")
        await wait_until(lambda: alive([one]) == 0)


async def test_an_outcome_that_cannot_be_written_is_status_6(server: ThrowawayServer, tmp_path: Path) -> None:
    """As JSON, of which nothing is written before the act; a closed standard output ends nobody at all."""
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        await stale(server, [one], tmp_path)
        log = tmp_path / "audit.jsonl"
        wish = ("--count", "1", "--older-than", "1s", "--yes", "--json", "--audit-log", str(log))
        line = ("break-glass", "--data-dir", str(server.data_dir), *wish)
        closed = await asyncio.to_thread(redirected, tmp_path, ">&-", *line)
        assert (closed.returncode, alive([one]), log.exists()) == (2, 1, False)
        full = await asyncio.to_thread(redirected, tmp_path, ">/dev/full", *line)
        assert full.returncode == 6
        assert "cannot write to standard output" in full.stderr
        await wait_until(lambda: alive([one]) == 0)


def test_a_closed_standard_output_is_said_in_one_line(server: ThrowawayServer, tmp_path: Path) -> None:
    arguments = ["break-glass", "--data-dir", str(server.data_dir), "--dry-run", "--count", "1"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command(*arguments)],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "pgtop: standard output is closed\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--port", "1"), 3, ["no"]),
        (("--count", "0"), 2, ["--count"]),
        (("--count", "1", "--down-to", "50%"), 2, ["--down-to", "--count"]),
        (("--down-to", "0"), 2, ["--down-to"]),
        (("--older-than", "10ms"), 2, ["--older-than", "1s"]),
        (("--dry-run", "--yes"), 2, ["--dry-run", "--yes"]),
        (("--json",), 2, ["--json", "--yes"]),
        (("--read-only", "--yes"), 2, ["read_only"]),
        (("--application", "web", "--dry-run"), 2, ["--application"]),
        (("shop",), 2, ["pgtop break-glass", "takes none"]),
    ],
)
def test_a_failure_is_told_in_one_line(
    server: ThrowawayServer, tmp_path: Path, arguments: tuple[str, ...], status: int, words: list[str]
) -> None:
    assert_one_line(run(tmp_path, "break-glass", *arguments), status, *words)


_AS_ANOTHER_USER = """
import asyncio, os, resource, select, subprocess, sys, termios
import pgtop.commands.main, pgtop.commands.break_glass.table, pgtop.settings.file, platformdirs.unix
import pgtop.commands.break_glass.command, pgtop.commands.break_glass.run, pgtop.core.password_search
os.setgroups([]); os.setgid(64321); os.setuid(64321)
sys.argv = ["pgtop", *sys.argv[1:]]
sys.exit(pgtop.commands.main.run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("named", [True, False])
def test_without_rights_the_command_to_run_is_named(server: ThrowawayServer, named: bool) -> None:
    arguments = ["break-glass", *(["--port", str(server.port)] if named else []), "--count", "1", "--yes"]
    done = subprocess.run(
        [sys.executable, "-c", _AS_ANOTHER_USER, *arguments],
        env=environment(Path("/nonexistent")),
        capture_output=True,
        text=True,
    )
    owner = user_name(host_server(server).uid)
    # Where nothing is named, the host may have a server of its own, in a directory that tells whose it is.
    assert_one_line(done, 5, f"pgtop {' '.join(arguments)}", *([owner, "sudo pgtop"] if named else ["sudo"]))


@pytest.mark.parametrize("files", [8, 11, 12, 20])
async def test_few_file_descriptors_end_all_or_none(
    server: ThrowawayServer, tmp_path: Path, files: int
) -> None:
    """Any number of victims needs no more of them than one; too few are found out before the first signal."""
    async with sessions(server, 20) as twenty:
        for each in twenty:
            await each.fetchval("SELECT 1")
        await stale(server, twenty, tmp_path)
        arguments = ("--count", "20", "--older-than", "1s", "--yes", "--json")

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        done = await asyncio.to_thread(break_glass, tmp_path, server, *arguments, preexec_fn=limited)
        if files < 12:
            assert_one_line(done, 2, "files can be opened", "ulimit -n")
            assert alive(twenty) == 20
            return
        assert (done.returncode, done.stderr) == (0, "")
        await wait_until(lambda: alive(twenty) == 0)


async def test_no_driver_and_no_screen_is_imported(server: ThrowawayServer, tmp_path: Path) -> None:
    """From the command line to the last outcome."""
    script = (
        "import sys, pgtop.commands.main\n"
        "status = pgtop.commands.main.run(sys.argv[1:])\n"
        "print([name for name in ('asyncpg', 'textual', 'rich', 'plotext', 'prometheus_client') "
        "if name in sys.modules], status)"
    )
    async with session(server) as one:
        await one.fetchval("SELECT 1")
        await stale(server, [one], tmp_path)
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(sys.executable, "-c", script, "break-glass", "--data-dir", str(server.data_dir)),
                *("--count", "1", "--older-than", "1s", "--yes", "--json"),
            ],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
        )
    assert '"outcome":"terminated"' in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_it_is_refused_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face.sys, "platform", "darwin")
    with pytest.raises(UsageError, match="Linux"):
        face.find(Wanted())


async def test_without_known_slots_a_count_is_required_and_no_usage_shown(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the server's own program cannot be run."""
    monkeypatch.setattr(face, "ask_settings", lambda _: Asked({}))

    def prepared(ask: Ask) -> face.Prepared:
        return face.prepare(host_server(server), ReapPolicy(), ask, print)

    async with session(server) as one:
        await one.fetchval("SELECT 1")
        with pytest.raises(UsageError, match="--count N"):
            await asyncio.to_thread(prepared, Ask())
        ready = await asyncio.to_thread(prepared, Ask(count=1, older_than_seconds=0.0))
        assert len(ready.plan.victims) == 1
        report = as_report(face.not_ended(ready, dry_run=True))
        assert (report.usage_before, report.usage_after) == (None, None)
        shown = render_plan(ready, 80, dry_run=True)
        assert "1 slot held, total unknown" in shown
        assert "%" not in shown
