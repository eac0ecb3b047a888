"""`pgtop audit` as a process: what it tells of what was done, and of a log that is missing or hostile."""

import asyncio
import json
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgtop.audit.log import AuditedServer, AuditLine, AuditLog, Operator
from pgtop.demo.server import ThrowawayServer
from tests import builders
from tests.servers import REPOSITORY, session, wait_until
from tests.support.running import assert_one_line, environment, run, start_on_terminal
from tests.support.targets import stopped

COLUMNS = [
    *("time", "server", "operator", "face", "decided by", "action", "pid", "application", "user"),
    *("database", "client", "idle age", "blocked", "usage", "reason", "outcome"),
]
ODD = (1e308, -1.0, 1e9)
HOSTILE = "\x1b[2J\x9b31m\u202e evil\nname"


def attempt(pid: int, age: timedelta = timedelta(), **fields: Any) -> AuditLine:
    """An attempt of as long ago."""
    known = {
        "application_name": "web",
        "plan": f"p{pid}",
        "operator": Operator("op", "ann", "jump"),
        "decided_by": "policy",
        "usage_before": 0.9,
        "blocked_sessions": 0,
    }
    return builders.attempt(pid, datetime.now(UTC) - age, **{"backend_start": None, **known, **fields})


def outcome(
    of: AuditLine, word: str = "terminated", detail: str | None = None, usage_after: float | None = None
) -> AuditLine:
    """What became of it at once."""
    ended = builders.outcome(of, word, 0.0, detail)
    return msgspec.structs.replace(ended, usage_after=usage_after)


def written(path: Path, *lines: AuditLine) -> str:
    AuditLog(path).append(lines)
    return str(path)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in text.splitlines()]


def rows(text: str) -> dict[int, str]:
    """The table's rows by pid."""
    found = {}
    for each in text.splitlines():
        pid = next((word for word in each.split() if word.isdigit()), None)
        if pid is not None and each[:4].isdigit():
            found[int(pid)] = each
    return found


def test_people_read_who_was_ended_when_why_and_by_whom(tmp_path: Path) -> None:
    one, two = attempt(4001, reason="idle for 12m", idle_seconds=740.0), attempt(4002)
    log = written(tmp_path / "log", one, two, attempt(4003), outcome(one), outcome(two, "changed", "it left"))
    variables = {"TZ": "XYZ-05:30"}
    done = run(tmp_path, "audit", "--audit-log", log, variables=variables)
    assert (done.returncode, done.stderr) == (0, "")
    local = datetime.fromisoformat(one.time) + timedelta(hours=5, minutes=30)
    table = rows(done.stdout)
    assert list(table) == [4001, 4002, 4003]
    for told in (f"{local:%Y-%m-%d %H:%M:%S}", "ann as op@jump", "web", "12m", "idle for 12m", "terminated"):
        assert told in table[4001]
    assert "changed: it left" in table[4002]
    assert "no outcome written" in table[4003]
    assert "times in XYZ" in done.stdout
    assert "\n1 terminated, 1 changed, 1 without an outcome\n" in done.stdout


def test_eighty_columns_keep_what_counts(tmp_path: Path) -> None:
    one = attempt(4001, application_name="a" * 60, usename="u" * 60, reason="r" * 90)
    written(tmp_path / "log", one, outcome(one, "survived", "d" * 90), attempt(4002))
    lines = on_terminal(tmp_path, "--audit-log", "log")
    assert max(map(len, lines)) <= 80
    (row,) = (each for each in lines if " 4001 " in each)
    for told in (one.time[:10], "policy", "aaaa", "survived: ddd"):
        assert told in row
    assert lines[lines.index(row) - 1] == "server h:5432"
    (said,) = (number for number, each in enumerate(lines) if each.startswith("not shown at 80 columns: "))
    missing = " ".join(lines[said : said + 2]).partition(": ")[2].split(", ")
    assert set(missing) <= set(COLUMNS)
    assert {*re.split("  +", lines[2]), *missing, "server"} == set(COLUMNS)


def test_a_terminal_is_as_wide_as_columns_says(tmp_path: Path) -> None:
    """As for other programs, `COLUMNS` beats the terminal's own width."""
    one = attempt(4001, application_name="a" * 60)
    written(tmp_path / "log", one, outcome(one))
    lines = on_terminal(tmp_path, "--audit-log", "log", variables={"COLUMNS": "400"})
    assert re.split("  +", lines[2]) == COLUMNS
    assert not any("not shown" in each or "…" in each for each in lines)


def test_a_pipe_gets_every_column_and_all_text(tmp_path: Path) -> None:
    """Whatever `COLUMNS` says: nobody reads a pipe at a width."""
    one = attempt(4001, application_name="a" * 60, usename="u" * 60, datname="d" * 60, reason="r" * 300)
    log = written(tmp_path / "log", one, outcome(one, "survived", "x" * 500))
    done = run(tmp_path, "audit", "--audit-log", log, variables={"COLUMNS": "40"})
    assert (done.returncode, done.stderr) == (0, "")
    row = rows(done.stdout)[4001]
    for text in ("a" * 60, "u" * 60, "d" * 60, "r" * 300, "survived: " + "x" * 500):
        assert f" {text}" in row
    assert "…" not in done.stdout
    assert re.split("  +", done.stdout.splitlines()[2]) == COLUMNS


def test_a_row_tells_the_authority_usage_and_queue(tmp_path: Path) -> None:
    by_hand = attempt(4001, decided_by="person", usage_before=1.0, blocked_sessions=7)
    by_rule = attempt(4002, usage_before=0.9)
    log = written(
        tmp_path / "log",
        by_hand,
        by_rule,
        outcome(by_hand, usage_after=0.79),
        outcome(by_rule),
        attempt(4003),
    )
    done = run(tmp_path, "audit", "--audit-log", log)
    table = {pid: re.split("  +", row) for pid, row in rows(done.stdout).items()}
    shown = {
        pid: tuple(row[COLUMNS.index(title)] for title in ("decided by", "blocked", "usage"))
        for pid, row in table.items()
    }
    assert shown == {
        4001: ("person", "7", "100% → 79%"),
        4002: ("policy", "0", "90% → ?"),
        4003: ("policy", "0", "90% → ?"),
    }
    assert "\ndecided by: 2 policy, 1 person\n" in done.stdout
    first, second, third = objects(run(tmp_path, "audit", "--json", "--audit-log", log).stdout)
    keys = ("decided_by", "usage_before", "usage_after", "blocked_sessions")
    assert [first[key] for key in keys] == ["person", 1.0, 0.79, 7]
    assert [second[key] for key in keys] == [third[key] for key in keys] == ["policy", 0.9, None, 0]


def test_a_log_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Its lines lack the newer fields."""
    one = attempt(4001)
    log = tmp_path / "log"
    for line in (one, outcome(one)):
        known = msgspec.to_builtins(line)
        for key in ("decided_by", "usage_before", "usage_after", "blocked_sessions"):
            del known[key]
        with log.open("a") as file:
            file.write(json.dumps(known) + "\n")
    done = run(tmp_path, "audit", "--audit-log", str(log))
    assert (done.returncode, done.stderr) == (0, "")
    row = re.split("  +", rows(done.stdout)[4001])
    assert [row[COLUMNS.index(title)] for title in ("decided by", "blocked", "usage")] == ["?", "?", "? → ?"]
    assert "\n1 terminated\ndecided by: 1 not recorded\n" in done.stdout


def test_a_usage_that_no_server_has_is_unknown(tmp_path: Path) -> None:
    """The log may be another user's: a number beyond reason must not end the command."""
    log = written(
        tmp_path / "log", *(attempt(pid, usage_before=usage) for pid, usage in enumerate(ODD, 4001))
    )
    done = run(tmp_path, "audit", "--audit-log", log)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("? → ?") == len(ODD)


def test_several_servers_are_told_apart(tmp_path: Path) -> None:
    """By the column where it has room, or by a heading wherever the server changes."""
    one, two = (AuditedServer(f"{name}.example.com", 5432, 160000, "7") for name in ("db1", "db2"))
    lines = [attempt(4000 + number, server=each) for number, each in enumerate((one, one, two, one))]
    log = written(tmp_path / "log", *lines)
    piped = rows(run(tmp_path, "audit", "--audit-log", log).stdout)
    assert [row.split()[2] for row in piped.values()] == [
        f"db{number}.example.com:5432" for number in (1, 1, 2, 1)
    ]
    shown = on_terminal(tmp_path, "--audit-log", "log")
    order = [each.split()[1] if each.startswith("server ") else "row" for each in shown[3:10]]
    first, second = "db1.example.com:5432", "db2.example.com:5432"
    assert order == [first, "row", "row", second, "row", first, "row"]


def test_clusters_at_one_address_are_told_apart(tmp_path: Path) -> None:
    """As through a tunnel that led elsewhere the day before."""
    clusters = [AuditedServer("localhost", 5432, 160000, each) for each in ("71", "72", None)]
    log = written(tmp_path / "log", *(attempt(4001 + n, server=each) for n, each in enumerate(clusters)))
    table = rows(run(tmp_path, "audit", "--audit-log", log).stdout)
    for pid, identifier in ((4001, "71"), (4002, "72"), (4003, "?")):
        assert f"  localhost:5432 ({identifier})  " in table[pid]
    done = run(tmp_path, "audit", "--audit-log", log, "--server", "localhost:5432 (72)")
    assert list(rows(done.stdout)) == [4002]


def test_the_server_chooses(tmp_path: Path) -> None:
    """By the name that the table shows, or by its host; a glob, without regard to case."""
    known = (("db1", 5432), ("db1", 5433), ("DB2", 5432), ("/run/postgresql", 5432))
    hour = timedelta(hours=1)
    log = written(
        tmp_path / "log",
        *(
            attempt(
                number, age=3 * hour if host == "DB2" else timedelta(), server=AuditedServer(host, port, 1)
            )
            for number, (host, port) in enumerate(known, 1)
        ),
    )

    def chosen(*options: str) -> list[int]:
        done = run(tmp_path, "audit", "--json", "--audit-log", log, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return [each["pid"] for each in objects(done.stdout)]

    assert chosen("--server", "db1") == [1, 2]
    assert chosen("--server", "db1:5433") == [2]
    assert chosen("--server", "db2") == [3]
    assert chosen("--server", "db*:5432", "--server", "/run/*") == [1, 3, 4]
    assert chosen("--server", "db2", "--since", "1h") == []
    done = run(tmp_path, "audit", "--audit-log", log, "--server", "db2", "--since", "1h")
    assert done.stdout == f"nothing on db2 was terminated or cancelled in the last 1h: {log}\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--since", "1h"]])
def test_an_unknown_server_is_an_error(tmp_path: Path, options: list[str]) -> None:
    """A typing error must not look as if nothing had been done there."""
    log = written(tmp_path / "log", attempt(1), attempt(2, server=AuditedServer("db2", 5433, 1)))
    done = run(tmp_path, "audit", "--audit-log", log, "--server", "h", "--server", "db3", *options)
    assert_one_line(done, 2, 'no server "db3" is in the audit log', log, "db2:5433, h:5432")
    empty = str(tmp_path / "empty")
    Path(empty).touch()
    done = run(tmp_path, "audit", "--audit-log", empty, "--server", "db3")
    assert (done.returncode, done.stdout) == (0, f"nothing on db3 was terminated or cancelled: {empty}\n")


def on_terminal(home: Path, *options: str, variables: dict[str, str] | None = None) -> list[str]:
    """Return the lines that the command writes to a terminal of 80 columns."""
    shown = b""
    with start_on_terminal(home, "audit", *options, variables=variables) as (process, ours):
        while chunk := _chunk(ours):
            shown += chunk
        assert process.wait(timeout=60) == 0
    return shown.decode().splitlines()


def _chunk(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""


def test_scripts_read_one_object_for_each_victim(tmp_path: Path) -> None:
    one, two = attempt(1), attempt(2)
    ended = outcome(one, "denied", "no")
    log = written(tmp_path / "log", one, two, ended)
    done = run(tmp_path, "audit", "--json", "--audit-log", log)
    assert (done.returncode, done.stderr) == (0, "")
    expected = msgspec.to_builtins(one)
    del expected["event"]
    first, second = objects(done.stdout)
    assert first == {**expected, "outcome": "denied", "detail": "no", "outcome_time": ended.time}
    assert (second["outcome"], second["detail"], second["outcome_time"]) == (None, None, None)


def test_since_and_application_choose(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    log = written(
        tmp_path / "log",
        attempt(1, age=3 * hour),
        attempt(2, age=hour / 2),
        attempt(3, application_name="Leaky-worker"),
        attempt(4, application_name=None),
    )

    def chosen(*options: str) -> list[int]:
        done = run(tmp_path, "audit", "--json", "--audit-log", log, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return [each["pid"] for each in objects(done.stdout)]

    assert chosen() == [1, 2, 3, 4]
    assert chosen("--since", "1h") == [2, 3, 4]
    assert chosen("--application", "leaky*") == [3]
    assert chosen("--application", "WEB", "--since", "1h") == [2]
    assert chosen("--application", "") == [4]
    assert chosen("--application", "none") == []
    done = run(tmp_path, "audit", "--audit-log", log, "--application", "none", "--since", "1h")
    assert done.stdout.startswith("nothing of none was terminated or cancelled in the last 1h: ")
    assert_one_line(run(tmp_path, "audit", "--since", "soon"), 2, "--since", "soon")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_text_reaches_no_terminal(tmp_path: Path, options: list[str]) -> None:
    one = attempt(
        1,
        application_name=HOSTILE,
        usename=HOSTILE,
        datname=HOSTILE,
        reason=HOSTILE,
        face=HOSTILE,
        decided_by=HOSTILE,
        server=AuditedServer(HOSTILE, 5432, 1, HOSTILE),
        operator=Operator(HOSTILE, HOSTILE, HOSTILE),
        query=HOSTILE,
    )
    log = tmp_path / f"log{HOSTILE}"
    written(log, one, outcome(one, HOSTILE, HOSTILE))
    with log.open("ab") as file:
        file.write(b"torn")
    done = run(tmp_path, "audit", *options, "--audit-log", str(log))
    assert done.returncode == 0
    assert all(each.isprintable() for each in (done.stdout + done.stderr).split("\n"))
    assert "evil" in done.stdout
    if options:
        assert [each["application_name"] for each in objects(done.stdout)] == [HOSTILE]


def test_lines_that_cannot_be_read_are_one_warning_and_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.with_name("log.1").write_bytes(b"torn by a crash\n")
    log.write_bytes(b"x\n" * 4)
    written(log, attempt(7))
    for options in ([], ["--json"]):
        done = run(tmp_path, "audit", "--audit-log", str(log), *options)
        assert done.returncode == 0
        where = f"{log}.1 line 1, {log} line 1, {log} line 2 and 2 more"
        assert done.stderr == f"pgtop: skipped 5 lines of the audit log that cannot be read: {where}\n"
        assert "7" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_other_users_beside_the_log_are_one_warning(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    log = written(place / "log", attempt(4001))
    os.chown(written(place / "log.1", attempt(4002)), 64_321, -1)
    for options in ((), ("--json",)):
        done = run(tmp_path, "audit", "--audit-log", log, *options)
        assert done.returncode == 0
        assert done.stderr.count("skipped 1 file beside the audit log") == 1
        assert f"{log}.1 of #64321" in done.stderr
        assert "4001" in done.stdout
        assert "4002" not in done.stdout


def test_without_a_log_nothing_was_ended(tmp_path: Path) -> None:
    """One plain line for people; nothing on standard output for scripts."""
    people, scripts = run(tmp_path, "audit"), run(tmp_path, "audit", "--json")
    assert (people.returncode, people.stderr) == (0, "")
    assert people.stdout.startswith("nothing was terminated or cancelled: no audit log yet at ")
    assert people.stdout.count("\n") == 1
    assert (scripts.returncode, scripts.stdout) == (0, "")
    assert "nothing was terminated" in scripts.stderr


def test_a_log_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert_one_line(run(tmp_path, "audit", "--audit-log", missing), 2, "no audit log", missing)
    done = run(tmp_path, "audit", "--json", variables={"PGTOP_AUDIT_LOG": missing})
    assert_one_line(done, 2, "no audit log", missing)


@pytest.mark.parametrize("path", ["/dev/null", "pipe", ".", "log/below", "loop"])
def test_a_log_that_cannot_be_read_is_one_line_with_the_mend(tmp_path: Path, path: str) -> None:
    """And never hangs, as the reader of a pipe could."""
    (tmp_path / "log").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    assert_one_line(
        run(tmp_path, "audit", "--audit-log", path), 2, "cannot read the audit log", "--audit-log"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_of_another_user_is_one_line_with_the_mend(tmp_path: Path) -> None:
    log = tmp_path / "log"
    written(log, attempt(1))
    log.chmod(0)
    done = run(tmp_path, "audit", "--audit-log", str(log))
    assert_one_line(done, 2, "Permission denied", str(log), "the user who wrote it")


def test_standard_error_cannot_be_read_back(tmp_path: Path) -> None:
    assert_one_line(run(tmp_path, "audit", "--audit-log", "-"), 2, "cannot be read back", "--audit-log PATH")


REAPER = """
import asyncio, sys
from pathlib import Path
import pgtop.reaping.reaper
from pgtop.core.activity import BackendId
from pgtop.core.policy import ReapPolicy
from pgtop.postgres.conninfo.resolve import resolve
from tests.support.reaping import face_on

pgtop.reaping.reaper.CONFIRM_SECONDS = 600.0

async def main(uri, pid, log):
    async with face_on(None, Path(log), target=resolve(uri, {}, {})) as face:
        snapshot = await face.snapshot()
        chosen = [each.id for each in snapshot.backends if each.pid == int(pid)]
        plan = await face.reaper.plan_terminate(snapshot, ReapPolicy(), chosen)
        await face.run(plan)

asyncio.run(main(*sys.argv[1:]))
"""
"""The real reaper on one session, which for once waits long for it to go."""


async def test_a_reaper_killed_before_the_outcome_leaves_the_attempt(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The victim is stopped, so that the reaper waits for it to go; kill -9 takes the reaper meanwhile."""
    log = tmp_path / "log"
    async with session(server, application_name="victim") as one:
        await one.fetchval("SELECT 1")
        pid = one.get_server_pid()
        with stopped(pid):
            reaper = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                REAPER,
                server.uri(),
                str(pid),
                str(log),
                cwd=REPOSITORY,
                env=environment(tmp_path),
            )
            try:
                await wait_until(lambda: log.exists() and log.read_bytes().endswith(b"\n"), limit=30)
            finally:
                reaper.kill()
            assert await reaper.wait() == -signal.SIGKILL
    done = await asyncio.to_thread(run, tmp_path, "audit", "--audit-log", str(log))
    assert (done.returncode, done.stderr) == (0, "")
    assert "victim" in rows(done.stdout)[pid]
    assert "no outcome written" in rows(done.stdout)[pid]
    assert "\n1 without an outcome\n" in done.stdout
