"""The audit log: whole lines, none lost, whatever the last writer did, and whoever writes beside."""

import errno
import os
import pwd
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from pgtop.audit.log import AuditLine, AuditLog, operator
from pgtop.core.plan import DecidedBy
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.reaper import Reaper
from tests.builders import HOSTILE, audit_line
from tests.servers import REPOSITORY, session
from tests.support.audit_logs import audit_lines, audited_pids, held_by_a_stopped_process
from tests.support.reaping import OPERATOR, face_on


def test_the_file_is_the_owners_alone_and_each_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    AuditLog(path).append([audit_line(1), audit_line(2, "x\ny")])
    AuditLog(path).append([audit_line(3)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert audited_pids(path) == [1, 2, 3]
    assert audit_lines(path)[0].application_name == "a\nb\x1b"
    assert b"\x1b" not in path.read_bytes()


def test_a_terminal_that_shows_the_log_obeys_none_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the file and on standard error: each line is printable, and read back the text is the same."""
    hostile = msgspec.structs.replace(
        audit_line(query=HOSTILE), application_name=HOSTILE, usename=HOSTILE, datname=HOSTILE, detail=HOSTILE
    )
    path = tmp_path / "audit.jsonl"
    AuditLog(path).append([hostile])
    AuditLog(None).append([hostile])
    for written in (path.read_text("utf-8"), capsys.readouterr().err):
        assert written.removesuffix("\n").isprintable()
        assert msgspec.json.decode(written, type=AuditLine) == hostile


def test_a_torn_last_line_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"torn')
    AuditLog(path).append([audit_line()])
    assert path.read_bytes().startswith(b'{"torn\n{')


def test_a_file_is_rotated_at_its_size_and_the_oldest_are_removed(tmp_path: Path) -> None:
    """All of one append stay in one file, however large they are; each file is the owner's alone."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, max_bytes=1000, keep=2)
    for number in range(0, 10, 2):
        log.append([audit_line(number), audit_line(number + 1, "q" * 2000)])
    assert {each.name for each in tmp_path.iterdir()} == {"audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"}
    assert [audited_pids(tmp_path / f"audit.jsonl{end}") for end in (".2", ".1", "")] == [
        [4, 5],
        [6, 7],
        [8, 9],
    ]
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_line_that_still_fits_rotates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    size = len(msgspec.json.encode(audit_line())) + 1
    log = AuditLog(path, max_bytes=3 * size)
    for _ in range(4):
        log.append([audit_line()])
    assert [len(audit_lines(each)) for each in sorted(tmp_path.iterdir())] == [1, 3]


def test_a_rotation_that_was_cut_short_loses_nothing(tmp_path: Path) -> None:
    """A crash between two renames leaves a gap, which is filled before the oldest goes."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, max_bytes=1, keep=3)
    for number in range(4):
        log.append([audit_line(number)])
    (tmp_path / "audit.jsonl.1").rename(tmp_path / "moved")
    log.append([audit_line(4)])
    assert [audited_pids(tmp_path / f"audit.jsonl{end}") for end in (".3", ".2", ".1", "")] == [
        [0],
        [1],
        [3],
        [4],
    ]


def test_a_log_that_may_not_be_rotated_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the file is this user's and its directory is not."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "audit.jsonl"
    monkeypatch.setattr(os, "rename", refuse)
    for number in range(3):
        AuditLog(path, max_bytes=1).append([audit_line(number)])
    assert audited_pids(path) == [0, 1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_daemons_log_that_root_rotates_stays_the_daemons(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).append([audit_line()])
    os.chown(path, 65534, 65534)
    path.chmod(0o644)
    AuditLog(path, max_bytes=1).append([audit_line()])
    assert audited_pids(path) == [1]
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65534, 0o640)


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_is_rotated_where_it_leads(tmp_path: Path, dangling: bool) -> None:
    target, link = tmp_path / "there" / "log", tmp_path / "audit.jsonl"
    link.symlink_to("there/log")
    if not dangling:
        AuditLog(target).append([audit_line(1)])
    AuditLog(link).append([audit_line(2)])
    AuditLog(link, max_bytes=1).append([audit_line(3)])
    assert link.is_symlink()
    assert audited_pids(target) == [3]
    assert audited_pids(tmp_path / "there" / "log.1") == ([2] if dangling else [1, 2])


WRITER = """
import sys
from pathlib import Path
from pgtop.audit.log import AuditLog
from tests.builders import audit_line
first = int(sys.argv[2])
log = AuditLog(Path(sys.argv[1]), max_bytes=8000, keep=1000, lock_seconds=60)
for number in range(first, first + 120, 2):
    log.append([audit_line(number, "q" * 3000), audit_line(number + 1)])
"""


def test_concurrent_writers_lose_and_tear_no_line_while_rotating(tmp_path: Path) -> None:
    """Each line is there exactly once, with those of the same append, in a file that is not too large."""
    path = tmp_path / "audit.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)], cwd=REPOSITORY)
        for first in (0, 1000, 2000, 3000)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    files = list(tmp_path.iterdir())
    assert len(files) > 100
    assert max(each.stat().st_size for each in files) <= 8000
    found = Counter(pid for each in files for pid in audited_pids(each))
    assert found == Counter(first + number for first in (0, 1000, 2000, 3000) for number in range(120))
    for each in files:
        there = audited_pids(each)
        assert [pid + 1 for pid in there[::2]] == there[1::2]


def test_a_writer_from_before_a_rotation_writes_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process rotates between this one's opening and its lock."""
    import fcntl

    path = tmp_path / "audit.jsonl"
    AuditLog(path).append([audit_line(1)])
    lock, rotated = fcntl.flock, []

    def lock_late(descriptor: int, operation: int) -> None:
        if not rotated:
            rotated.append(True)
            AuditLog(path, max_bytes=1).append([audit_line(2)])
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    AuditLog(path).append([audit_line(3)])
    assert (audited_pids(tmp_path / "audit.jsonl.1"), audited_pids(path)) == ([1], [2, 3])


def test_a_lock_that_is_never_let_go_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).append([audit_line(1)])
    with held_by_a_stopped_process(path):
        with pytest.raises(AuditError, match=r"holds its lock.*fuser.*--audit-log") as refused:
            AuditLog(path, lock_seconds=0.1).append([audit_line(2)])
        assert str(path) in str(refused.value)
    AuditLog(path).append([audit_line(3)])
    assert audited_pids(path) == [1, 3]


async def test_while_the_lock_is_held_nobody_is_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with face_on(server, path) as face, session(server) as one:
        await one.fetchval("SELECT 1")
        reaper = Reaper(
            SqlTerminator(face.own_connection), AuditLog(path, lock_seconds=0.1), "test", OPERATOR
        )
        plan = await face.plan_for(one)
        with held_by_a_stopped_process(path), pytest.raises(AuditError, match="holds its lock"):
            await reaper.run(plan, decided_by=DecidedBy.PERSON)
        assert await one.fetchval("SELECT 1") == 1
    assert path.read_bytes() == b""


def test_a_log_that_cannot_be_written_names_the_file_and_the_mend() -> None:
    with pytest.raises(AuditError, match=r"/dev/full.*No space.*make room or name another with --audit-log"):
        AuditLog(Path("/dev/full")).append([audit_line()])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_without_permission_asks_for_permission(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    path.chmod(0o400)
    with pytest.raises(AuditError, match=r"Permission denied.*let this user write there or name another"):
        AuditLog(path).append([audit_line()])


def test_each_error_of_a_log_has_its_own_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More room helps where there is too little of it, and nowhere else."""
    for number in errno.errorcode:
        error = OSError(number, os.strerror(number))
        monkeypatch.setattr(os, "open", Mock(side_effect=error))
        with pytest.raises(AuditError) as found:
            AuditLog(tmp_path / "audit.jsonl").append([audit_line()])
        monkeypatch.undo()
        mend = found.value.mend
        assert mend.endswith("name another with --audit-log PATH (--audit-log - for standard error)")
        has_room = number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        assert ("make room" in mend) is not has_room, os.strerror(number)
        assert ("let this user write" in mend) is (number in (errno.EACCES, errno.EPERM))


@pytest.mark.parametrize("by_link", [False, True])
def test_a_device_takes_any_amount_and_is_not_rotated(tmp_path: Path, by_link: bool) -> None:
    path = Path("/dev/null")
    if by_link:
        path = tmp_path / "audit.jsonl"
        path.symlink_to("/dev/null")
    for _ in range(3):
        AuditLog(path, max_bytes=1).append([audit_line()])
    assert stat.S_ISCHR(path.stat().st_mode)
    assert not Path("/dev/null.1").exists()


def test_dev_stderr_is_written_and_the_file_behind_it_is_not_rotated(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from pgtop.audit.log import AuditLog; "
        "from tests.builders import audit_line; "
        "[AuditLog(Path('/dev/stderr'), max_bytes=1).append([audit_line(n)]) for n in range(3)]"
    )
    behind = tmp_path / "errors"
    with behind.open("ab") as errors:
        subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, stderr=errors, check=True)
    assert audited_pids(behind) == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [behind]
    piped = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, stderr=subprocess.PIPE, check=True
    )
    assert [msgspec.json.decode(each)["pid"] for each in piped.stderr.splitlines()] == [0, 1, 2]


def test_a_pipe_is_written_whole_and_never_hangs(tmp_path: Path) -> None:
    """Neither where nobody has opened it, nor where it is full and nobody reads."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(AuditError, match="No such device"):
        AuditLog(path).append([audit_line()])
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        AuditLog(path, max_bytes=1).append([audit_line(5)])
        assert msgspec.json.decode(os.read(reader, 65_536))["pid"] == 5
        with pytest.raises(AuditError, match="does not read"):
            AuditLog(path, lock_seconds=0.1).append([audit_line(6, "q" * 1_000_000)])
    finally:
        os.close(reader)


def test_a_log_whose_name_is_not_text_is_named_all_the_same(tmp_path: Path) -> None:
    """A path comes as bytes from the command line, and a lone surrogate ends a program that prints it."""
    (tmp_path / "file").touch()
    with pytest.raises(AuditError) as refused:
        AuditLog(tmp_path / "file" / "\x1b[2J\udce9").append([audit_line()])
    assert str(refused.value).isprintable()


def test_standard_error_takes_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    AuditLog(None).append([audit_line(7)])
    assert msgspec.json.decode(capsys.readouterr().err, type=AuditLine).pid == 7


def test_the_operator_is_the_user_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert operator({}).user == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert operator({}).user == "4000000000"


def test_an_operator_whose_name_is_not_text_can_be_written_down(tmp_path: Path) -> None:
    """As a name arrives in the environment in bytes that are not UTF-8."""
    who = operator({"SUDO_USER": b"jos\xe9".decode("utf-8", "surrogateescape")})
    AuditLog(tmp_path / "a").append([msgspec.structs.replace(audit_line(), operator=who)])
    assert audit_lines(tmp_path / "a")[0].operator.sudo_user == "jos\ufffd"


def test_a_disk_that_does_not_keep_the_lines_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(AuditError, match=os.strerror(errno.EIO)):
        AuditLog(tmp_path / "a").append([audit_line()])


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pgtop.audit.log import AuditLog
from pgtop.errors import AuditError
from tests.builders import audit_line
log = AuditLog(Path(sys.argv[1]))
log.append([audit_line(1)])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + int(sys.argv[3]), hard))
try:
    log.append([audit_line(2), audit_line(2)], whole=sys.argv[2] == "whole")
except AuditError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append([audit_line(3)])
"""


def test_all_lines_of_a_plan_are_on_the_disk_after_one_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ended before: what a crash of the host leaves must name whoever was meant."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append([audit_line(0)])
    flush, flushed = os.fsync, []

    def recorded(descriptor: int) -> None:
        found = os.fstat(descriptor)
        flushed.append((found.st_ino, found.st_size))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    log.append([audit_line(1), audit_line(2)])
    found = (tmp_path / "audit.jsonl").stat()
    assert flushed == [(found.st_ino, found.st_size)]


def test_a_line_cut_off_by_a_full_disk_is_told_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), "part", "100"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert os.strerror(errno.EFBIG) in said.stdout
    first, torn, third = path.read_bytes().splitlines()
    assert [msgspec.json.decode(each, type=AuditLine).pid for each in (first, third)] == [1, 3]
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(torn)


@pytest.mark.parametrize("room", [0, 100, 700])
def test_of_lines_that_belong_together_a_full_disk_keeps_none(tmp_path: Path, room: int) -> None:
    """Attempts of a plan that was not carried out would read as sessions that may have been signalled."""
    path = tmp_path / "audit.jsonl"
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), "whole", str(room)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert os.strerror(errno.EFBIG) in said.stdout
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(each, type=AuditLine).pid for each in lines] == [1, 3]
