"""The audit log read back: each victim once, whatever rotated, was torn, or died in between."""

import os
import resource
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pgtop.audit import rotating_files
from pgtop.audit.log import AuditLog
from pgtop.audit.reader import AuditEntry, PassedOver, Unreadable, read_entries
from pgtop.safe_files import Place, UnsafeFileError
from tests.builders import NOON, attempt, outcome
from tests.servers import REPOSITORY
from tests.support.audit_logs import held_by_a_stopped_process


def entries(
    path: Path, since: datetime | None = None, passed_over: PassedOver | None = None
) -> list[AuditEntry]:
    return list(read_entries(path, passed_over or PassedOver(), since))


def told(found: list[AuditEntry]) -> list[tuple[int, str | None]]:
    return [(entry.line.pid, entry.outcome) for entry in found]


def test_an_attempt_and_its_outcome_are_one_entry(tmp_path: Path) -> None:
    """By plan, pid and backend_start together; in the order of the attempts, not of the outcomes."""
    one, other_plan = attempt(1), attempt(1, plan="q")
    reused = msgspec.structs.replace(attempt(1), backend_start="2026-01-03")
    lines = [one, other_plan, reused, outcome(reused, "denied"), outcome(other_plan, "changed"), outcome(one)]
    AuditLog(tmp_path / "log").append(lines)
    found = entries(tmp_path / "log")
    assert told(found) == [(1, "terminated"), (1, "changed"), (1, "denied")]
    assert [entry.line for entry in found] == [one, other_plan, reused]
    assert (found[0].at, found[0].detail) == (NOON, "it was told")
    assert found[0].outcome_time == (NOON + timedelta(seconds=1)).isoformat()


def test_an_attempt_without_an_outcome_is_an_entry(tmp_path: Path) -> None:
    AuditLog(tmp_path / "log").append([attempt(1), attempt(2), outcome(attempt(2))])
    (lost, _) = found = entries(tmp_path / "log")
    assert told(found) == [(1, None), (2, "terminated")]
    assert (lost.detail, lost.outcome_time) == (None, None)


def test_an_outcome_whose_attempt_is_lost_is_an_entry(tmp_path: Path) -> None:
    """As where its file went with the oldest: the outcome's line says all that the attempt's said."""
    AuditLog(tmp_path / "log").append([outcome(attempt(1)), attempt(2)])
    assert told(entries(tmp_path / "log")) == [(1, "terminated"), (2, None)]


def test_rotated_files_are_read_oldest_first_and_pairs_go_across_them(tmp_path: Path) -> None:
    """Also with a gap in the numbers, and with no newest file, as in the middle of a rotation."""
    log = AuditLog(tmp_path / "log", max_bytes=1, keep=100)
    for each in [attempt(pid) for pid in range(12)]:
        log.append([each])
        log.append([outcome(each)])
    assert len(list(tmp_path.iterdir())) == 24
    assert told(entries(tmp_path / "log")) == [(pid, "terminated") for pid in range(12)]
    (tmp_path / "log").rename(tmp_path / "moved")
    (tmp_path / "log.4").unlink()
    assert told(entries(tmp_path / "log")) == [
        (pid, None if pid in (9, 11) else "terminated") for pid in range(12)
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_others_beside_the_log_are_passed_over(tmp_path: Path) -> None:
    """In a directory such as /tmp anybody may lay one, of any size."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    path = place / "audit.jsonl"
    AuditLog(path).append([attempt(1)])
    for number in range(1, 6):
        forged = place / f"audit.jsonl.{number}"
        AuditLog(forged).append([attempt(100 + number)])
        os.chown(forged, 64_321 + number, -1)
    passed_over = PassedOver()
    assert told(entries(path, passed_over=passed_over)) == [(1, None)]
    assert (passed_over.files, passed_over.count) == (5, 0)
    assert len(passed_over.first_files) == PassedOver.REMEMBERED
    os.chown(path, 64_321, -1)
    passed_over = PassedOver()
    assert entries(path, passed_over=passed_over) == []
    assert passed_over.files == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("is_file", [True, False])
def test_a_link_of_another_users_leads_to_no_log(tmp_path: Path, is_file: bool) -> None:
    place, shared = tmp_path / "place", tmp_path / "shared"
    for each in (place, shared):
        each.mkdir()
    AuditLog(place / "audit.jsonl").append([attempt(1)])
    os.chown(place, 64_321, -1)
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(place / "audit.jsonl" if is_file else place)
    os.chown(link, 64_321, -1, follow_symlinks=False)
    path = link if is_file else link / "audit.jsonl"
    for read in (entries, rotating_files.exists):
        with pytest.raises(UnsafeFileError, match="64321"):
            read(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_log_in_its_users_own_directory_is_that_users(tmp_path: Path, mode: int) -> None:
    """As root reads a daemon's."""
    place = tmp_path / "daemons"
    place.mkdir()
    path = place / "audit.jsonl"
    AuditLog(path).append([attempt(1)])
    place.chmod(mode)
    for each in (place, path):
        os.chown(each, 64_321, -1)
    assert rotating_files.exists(path)
    assert told(entries(path)) == [(1, None)]
    os.chown(path, 64_322, -1)
    assert told(entries(path)) == ([] if mode == 0o1777 else [(1, None)])


def test_without_a_log_or_its_directory_nothing_is_listed(tmp_path: Path) -> None:
    assert entries(tmp_path / "no" / "audit.jsonl") == []
    assert not rotating_files.exists(tmp_path / "no" / "audit.jsonl")


def test_a_rotation_while_opening_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process rotates between the opening of the newest file and the reader's lock on it."""
    path, opened, rotations = tmp_path / "log", rotating_files.open_to_read, 2
    for pid in range(4):
        AuditLog(path, max_bytes=1).append([attempt(pid)])

    def open_and_rotate(place: Place, number: int = 0) -> object:
        nonlocal rotations
        file = opened(place, number)
        if not number and rotations:
            AuditLog(path, max_bytes=1).append([attempt(98 + rotations)])
            rotations -= 1
        return file

    monkeypatch.setattr(rotating_files, "open_to_read", open_and_rotate)
    assert told(entries(path)) == [(pid, None) for pid in (0, 1, 2, 3, 100, 99)]


@pytest.mark.parametrize("opened_before", range(1, 5))
def test_rotations_without_the_lock_show_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened_before: int
) -> None:
    """Two writers that hand the lock to each other leave a reader no moment to take it."""
    path, opened, count = tmp_path / "log", rotating_files.open_to_read, 0
    for pid in range(4):
        AuditLog(path, max_bytes=1).append([attempt(pid)])

    def open_and_rotate(place: Place, number: int = 0) -> object:
        nonlocal count
        file = opened(place, number)
        count += 1
        if count == opened_before:
            AuditLog(path, max_bytes=1).append([attempt(99)])
        return file

    monkeypatch.setattr(rotating_files, "open_to_read", open_and_rotate)
    monkeypatch.setattr(rotating_files, "locked_to_read", lambda _file: False)
    monkeypatch.setattr(rotating_files, "READER_LOCK_SECONDS", 0.0)
    assert told(entries(path)) == [(pid, None) for pid in (0, 1, 2, 3)]


def test_lines_that_cannot_be_read_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    good = msgspec.json.encode(attempt(1)) + b"\n"
    bad = [
        good[:40] + b"\n",
        b"\x00" * 3000 + b"\n",
        b"\xff\xfe\x9b[2J\n",
        b"[" * 100_000 + b"\n",
        good.replace(b'"attempt"', b'"other"'),
        good.replace(b"2026-01-02T12", b"yesterday"),
        good.replace(b"+00:00", b""),
        good.replace(b'"pid":1', b'"pid":"1"'),
        good.replace(b"SELECT 1", b"\xff"),
    ]
    for each in bad:
        assert each != good
    path.write_bytes(good + b"".join(bad) + b"\n" + good.replace(b'"pid":1', b'"pid":2') + good[:50])
    passed_over = PassedOver()
    assert told(entries(path, passed_over=passed_over)) == [(1, None), (2, None)]
    assert passed_over.count == len(bad) + 1
    assert passed_over.first == [Unreadable(path, number) for number in (2, 3, 4)]


def test_a_line_without_an_end_takes_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line longer than any that pgtop writes is passed over once, and the one after it is read."""
    monkeypatch.setattr(rotating_files, "LONGEST_LINE_BYTES", 4000)
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10_000 + b"\n" + msgspec.json.encode(attempt(1)) + b"\n")
    passed_over = PassedOver()
    assert told(entries(path, passed_over=passed_over)) == [(1, None)]
    assert passed_over.first == [Unreadable(path, 1)]


def test_since_goes_by_the_attempts_time(tmp_path: Path) -> None:
    """Whatever the zone it is written in; an outcome that came later brings no earlier attempt back."""
    path = tmp_path / "log"
    early, late = attempt(1, NOON - timedelta(seconds=1)), attempt(2, NOON)
    elsewhere = msgspec.structs.replace(attempt(3), time="2026-01-02T14:00:00+02:00")
    AuditLog(path).append([early, late, elsewhere, outcome(early, after_seconds=60)])
    assert told(entries(path, NOON)) == [(2, None), (3, None)]


def test_since_leaves_whole_files_out_by_their_age(tmp_path: Path) -> None:
    """What was last written an hour and more before is not even read: here it could not be."""
    path = tmp_path / "log"
    AuditLog(path, max_bytes=1).append([attempt(1)])
    AuditLog(path, max_bytes=1).append([attempt(2)])
    (tmp_path / "log.1").write_bytes(b"garbage\n")
    passed_over = PassedOver()
    for age_seconds, count in ((3500, 1), (3700, 1)):
        at = NOON.timestamp() - age_seconds
        os.utime(tmp_path / "log.1", (at, at))
        assert told(entries(path, NOON, passed_over)) == [(2, None)]
        assert passed_over.count == count


def test_a_stopped_writer_does_not_keep_the_reader_waiting(tmp_path: Path) -> None:
    path = tmp_path / "log"
    AuditLog(path).append([attempt(1)])
    with held_by_a_stopped_process(path):
        assert told(entries(path)) == [(1, None)]


WRITER = """
import sys
from pathlib import Path
from pgtop.audit.log import AuditLog
from tests.builders import attempt, outcome
log = AuditLog(Path(sys.argv[1]), max_bytes=5000, keep=1000, lock_seconds=60)
for pid in range(int(sys.argv[2]), int(sys.argv[2]) + 100):
    log.append([attempt(pid)])
    log.append([outcome(attempt(pid))])
"""


def test_reading_while_others_write_and_rotate(tmp_path: Path) -> None:
    """Whatever moment is read: no line torn, nothing twice, and all that an earlier reading saw."""
    path = tmp_path / "log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)], cwd=REPOSITORY)
        for first in (0, 1000)
    ]
    before: dict[int, str | None] = {}
    passed_over = PassedOver()
    writing = True
    while writing:
        writing = any(writer.poll() is None for writer in writers)
        found = told(entries(path, passed_over=passed_over))
        now = dict(found)
        assert len(now) == len(found)
        assert before.keys() <= now.keys()
        assert {pid for pid, word in before.items() if word} <= {pid for pid, word in now.items() if word}
        before = now
    assert [writer.returncode for writer in writers] == [0, 0]
    assert before == {first + number: "terminated" for first in (0, 1000) for number in range(100)}
    assert passed_over.count == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user's")
def test_more_strangers_files_than_can_be_open_hide_no_entry(tmp_path: Path) -> None:
    """In a directory such as /tmp anybody may lay files beside the log."""
    tmp_path.chmod(0o1777)
    AuditLog(tmp_path / "log").append([attempt(1), outcome(attempt(1))])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = 300
    for each in range(1, number + 1):
        laid = tmp_path / f"log.{each}"
        laid.touch()
        os.chown(laid, 64_321, -1)
    passed_over = PassedOver()
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        assert told(entries(tmp_path / "log", passed_over=passed_over)) == [(1, "terminated")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert passed_over.files == number


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_beyond_the_calendar_is_passed_over(tmp_path: Path, time: str) -> None:
    """No other zone has a year for it, so that such a line would end the program that shows it."""
    AuditLog(tmp_path / "log").append([msgspec.structs.replace(attempt(1), time=time), attempt(2)])
    for since in (None, NOON):
        passed_over = PassedOver()
        (found,) = entries(tmp_path / "log", since, passed_over)
        assert found.line.pid == 2
        assert passed_over.count == 1
