"""The audit log: whole lines, whatever the last writer did, and whoever writes beside."""

import errno
import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pgtop.audit import AuditedServer, AuditLine, AuditLog, Operator, operator
from pgtop.errors import AuditError


def line(pid: int = 1, query: str = "SELECT 1") -> AuditLine:
    return AuditLine(
        event="attempt",
        plan="p",
        time="t",
        operator=Operator("u", None, "h"),
        face="test",
        server=AuditedServer("h", 5432, 160000),
        act="terminate",
        trigger="selected",
        pid=pid,
        backend_start=None,
        state="idle",
        state_change=None,
        xact_start=None,
        query_start=None,
        application_name="a\nb\x1b",
        usename="u",
        datname="d",
        client_addr=None,
        idle_seconds=1.0,
        query=query,
        reason="r",
    )


def read(path: Path) -> list[AuditLine]:
    return [msgspec.json.decode(each, type=AuditLine) for each in path.read_bytes().split(b"\n") if each]


def test_the_file_is_the_owners_alone_and_each_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    AuditLog(path).append([line(1), line(2, "x\ny")])
    AuditLog(path).append([line(3)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.pid for each in read(path)] == [1, 2, 3]
    assert read(path)[0].application_name == "a\nb\x1b"
    assert b"\x1b" not in path.read_bytes()


def test_a_torn_last_line_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"torn')
    AuditLog(path).append([line()])
    assert path.read_bytes().startswith(b'{"torn\n{')


WRITER = """
import sys
from pathlib import Path
from pgtop.audit import AuditLog
from tests.test_audit import line
for _ in range(50):
    AuditLog(Path(sys.argv[1])).append([line(1, "q" * 3000), line(1)])
"""


def test_several_writers_at_once_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    root = Path(__file__).parent.parent
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=root) for _ in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert len(read(path)) == 300


def test_a_log_that_cannot_be_written_names_the_file_and_the_mend() -> None:
    with pytest.raises(AuditError, match=r"/dev/full.*--audit-log"):
        AuditLog(Path("/dev/full")).append([line()])


def test_a_log_whose_name_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    """A path comes as bytes from the command line, and a lone surrogate ends a program that prints it."""
    (tmp_path / "file").touch()
    with pytest.raises(AuditError) as refused:
        AuditLog(tmp_path / "file" / "\x1b[2J\udce9").append([line()])
    assert str(refused.value).isprintable()


def test_standard_error_takes_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    AuditLog(None).append([line(7)])
    assert msgspec.json.decode(capsys.readouterr().err, type=AuditLine).pid == 7


def test_the_operator_is_who_the_process_runs_as_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert operator({}).user == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert operator({}).user == "4000000000"


def test_an_operator_whose_name_is_no_text_can_be_written_down(tmp_path: Path) -> None:
    """As a name arrives in the environment in bytes that are no UTF-8."""
    who = operator({"SUDO_USER": b"jos\xe9".decode("utf-8", "surrogateescape")})
    AuditLog(tmp_path / "a").append([msgspec.structs.replace(line(), operator=who)])
    assert read(tmp_path / "a")[0].operator.sudo_user == "jos\ufffd"


def test_a_disk_that_does_not_keep_the_lines_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(AuditError, match=os.strerror(errno.EIO)):
        AuditLog(tmp_path / "a").append([line()])


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pgtop.audit import AuditLog
from pgtop.errors import AuditError
from tests.test_audit import line
log = AuditLog(Path(sys.argv[1]))
log.append([line(1)])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 100, hard))
try:
    log.append([line(2)])
except AuditError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append([line(3)])
"""


def test_a_line_that_was_written_in_part_is_told_and_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    root = Path(__file__).parent.parent
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], cwd=root, check=True, capture_output=True, text=True
    )
    assert "only a part" in said.stdout
    first, torn, third = path.read_bytes().splitlines()
    assert [msgspec.json.decode(each, type=AuditLine).pid for each in (first, third)] == [1, 3]
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(torn)
