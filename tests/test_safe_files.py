"""No file is written or believed where another user of the host can put something else in its place."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtop.audit.log import AuditLog
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError, HistoryError, UsageError
from pgtop.history.day_file import write as write_file
from pgtop.history.recorder import Recorder
from pgtop.history.store import RecordingStore
from pgtop.safe_files import UnsafeFileError, check_readable, place_of, read_regular, read_trusted
from pgtop.settings.file import read_config_file
from tests.builders import SERVER_KEY, audit_line
from tests.servers import wait_until_sync
from tests.support.audit_logs import audited_pids
from tests.support.config_files import settings_in_force
from tests.support.polls import polls
from tests.support.polls import write as record
from tests.support.reap_command import STALE, stale
from tests.support.running import assert_one_line, run
from tests.support.tls import new_certificate

OTHER = 65534
"""Another user of the host; its primary group has the same number."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user's")


def give_away(path: Path, uid: int = OTHER, gid: int = -1) -> None:
    os.chown(path, uid, gid, follow_symlinks=False)


def directory(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


def refused(path: Path) -> str:
    """What is said of a log that is not written."""
    with pytest.raises(AuditError) as caught:
        AuditLog(path).append([audit_line()])
    return str(caught.value)


# The audit log


@as_root
def test_root_writes_nothing_where_another_owns_the_way(tmp_path: Path) -> None:
    """The directory itself, and one above it; the error names owner and mend."""
    mine = directory(tmp_path / "theirs", 0o755)
    below = directory(mine / "below", 0o755)
    give_away(mine)
    name = pwd.getpwuid(OTHER).pw_name
    for path in (mine / "audit.jsonl", below / "audit.jsonl", below / "new" / "audit.jsonl"):
        said = refused(path)
        assert f"{mine} belongs to {name}" in said
        assert f"sudo -u {name} pgtop" in said
        assert "--audit-log" in said
    assert [each.name for each in mine.rglob("*")] == ["below"]


@as_root
def test_no_stranger_is_recommended_to_run_pgtop_as(tmp_path: Path) -> None:
    """Anybody may make a directory in /tmp before root does, and what runs as them is theirs to change."""
    planted = directory(directory(tmp_path / "tmp", 0o1777) / "pgtop", 0o755)
    below = directory(planted / "log", 0o755)
    for path in (below, planted):
        give_away(path)
    for path in (planted / "audit.jsonl", below / "audit.jsonl"):
        said = refused(path)
        assert f"{planted} belongs to" in said
        assert "sudo" not in said


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_directory_that_everybody_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = directory(tmp_path / "open", mode)
    said = refused(path / "audit.jsonl")
    assert "may be changed by everybody: chmod go-w" in said
    assert list(path.iterdir()) == []


@as_root
def test_a_link_that_another_planted_leads_nowhere(tmp_path: Path) -> None:
    """As in /tmp: neither is what it names made, nor is anything appended to what is there."""
    shared = directory(tmp_path / "shared", 0o1777)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    for target in (victim, tmp_path / "new"):
        link = shared / "audit.jsonl"
        link.symlink_to(target)
        give_away(link)
        assert "the symbolic link" in refused(link)
        link.unlink()
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "new").exists()
    link.symlink_to(victim)
    AuditLog(link).append([audit_line(1)])  # one of root's own is what root wants


@as_root
def test_a_linked_directory_of_anothers_is_refused(tmp_path: Path) -> None:
    shared = directory(tmp_path / "shared", 0o1777)
    (shared / "logs").symlink_to(tmp_path)
    give_away(shared / "logs")
    assert "the symbolic link" in refused(shared / "logs" / "audit.jsonl")
    assert not (tmp_path / "audit.jsonl").exists()


@as_root
def test_anothers_file_in_a_shared_directory_is_refused(tmp_path: Path) -> None:
    """And a second name of a file that matters, which some systems let anybody make."""
    shared = directory(tmp_path / "shared", 0o1777)
    theirs = shared / "audit.jsonl"
    theirs.touch()
    give_away(theirs)
    assert "in a directory that everybody may write" in refused(theirs)
    assert theirs.read_bytes() == b""
    (tmp_path / "victim").write_bytes(b"mine")
    (shared / "linked.jsonl").hardlink_to(tmp_path / "victim")
    assert "hard link" in refused(shared / "linked.jsonl")
    assert (tmp_path / "victim").read_bytes() == b"mine"


@as_root
def test_a_second_name_of_roots_own_link_is_refused(tmp_path: Path) -> None:
    """Some systems let anybody make one, in the place of a log, of a link that leads to what matters."""
    shared = directory(tmp_path / "shared", 0o1777)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "roots").symlink_to(victim)
    os.link(tmp_path / "roots", shared / "audit.jsonl", follow_symlinks=False)
    assert "hard link" in refused(shared / "audit.jsonl")
    assert victim.read_bytes() == b"mine"


@as_root
def test_no_name_that_another_takes_stops_the_log(tmp_path: Path) -> None:
    """A directory among the rotated files keeps the log from being rotated, not from being written."""
    shared = directory(tmp_path / "shared", 0o1777)
    path = shared / "audit.jsonl"
    AuditLog(path).append([audit_line(1)])
    for number in (1, 2):
        planted = directory(shared / f"audit.jsonl.{number}", 0o755)
        (planted / "full").touch()
        give_away(planted)
    AuditLog(path, max_bytes=1, keep=2).append([audit_line(2)])
    assert audited_pids(path) == [1, 2]


WRITE = 7
"""Rights in an access control list."""


def let_write(path: Path, *entries: tuple[int, int]) -> None:
    """Give others the right to write, by an access control list: 2 is for a user, 8 for a group."""
    nobody = 0xFFFFFFFF
    listed = [(1, 7, nobody), *((tag, WRITE, number) for tag, number in entries), (4, 5, nobody)]
    listed += [(0x10, 7, nobody), (0x20, 0, nobody)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in sorted(listed))
    try:
        os.setxattr(path, "system.posix_acl_access", packed)
    except OSError:
        pytest.skip("this file system has no access control lists")


@as_root
@pytest.mark.parametrize(
    ("entry", "said"), [((2, OTHER), "user"), ((8, OTHER), "group"), ((2, 0), ""), ((8, 0), "")]
)
def test_an_access_control_list_counts_as_the_mode_does(
    tmp_path: Path, entry: tuple[int, int], said: str
) -> None:
    """The directory's group is root's own, so that its mode alone would let nobody else write."""
    logs = directory(tmp_path / "logs", 0o750)
    let_write(logs, entry)
    assert logs.stat().st_mode & 0o777 == 0o770
    if said:
        assert f"may be changed by {said} " in refused(logs / "audit.jsonl")
        assert list(logs.iterdir()) == []
        logs.chmod(0o750)  # the mend that was told
    AuditLog(logs / "audit.jsonl").append([audit_line(1)])


@as_root
def test_a_shared_directory_gives_no_file_away(tmp_path: Path) -> None:
    """Whoever makes `audit.jsonl.1` there does not get the next log."""
    shared = directory(tmp_path / "shared", 0o1777)
    path = shared / "audit.jsonl"
    planted = shared / "audit.jsonl.1"
    planted.write_bytes(b"")
    planted.chmod(0o660)
    give_away(planted, OTHER, OTHER)
    AuditLog(path).append([audit_line(1)])
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o600)
    AuditLog(path, max_bytes=1).append([audit_line(2)])
    assert audited_pids(path) == [2]
    assert path.stat().st_uid == 0


@as_root
@pytest.mark.parametrize(("gid", "is_taken"), [(0, True), (OTHER, False), (4_000_000, False)])
def test_a_group_may_write_where_it_has_no_other_member(tmp_path: Path, gid: int, is_taken: bool) -> None:
    """Each user's own group and root's; not one with members, nor one that nobody knows."""
    place = directory(tmp_path / "place", 0o775)
    give_away(place, 0, gid)
    if is_taken:
        AuditLog(place / "audit.jsonl").append([audit_line(1)])
        assert audited_pids(place / "audit.jsonl") == [1]
    else:
        assert "may be changed by group" in refused(place / "audit.jsonl")


RACE = """
cd "$1"
touch theirs
while :; do
  for name in audit.jsonl audit.jsonl.1 audit.jsonl.2; do
    ln -s "$2/made-$name" $name; rm -f $name
    ln -sf theirs $name; mv -f $name x
    ln -s "$2/victim" x2; mv -f x2 $name; rm -f $name
  done
done
"""


def _is_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_link_that_comes_after_the_look_is_not_followed(tmp_path: Path) -> None:
    with place_of(tmp_path / "audit.jsonl") as place:
        place.path.symlink_to("made")
        with pytest.raises(OSError, match="symbolic links"):
            place.open(os.O_RDWR | os.O_CREAT)
    assert not (tmp_path / "made").exists()


@as_root
def test_nobody_wins_a_race_against_the_log() -> None:
    """Another user puts links and files in its place all the while: all stays where it belongs."""
    shell = shutil.which("sh")
    assert shell is not None
    done: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as place:  # not pytest's, which is closed to the other
        Path(place).chmod(0o755)
        shared, mine = directory(Path(place, "shared"), 0o1777), directory(Path(place, "mine"), 0o755)
        (mine / "victim").write_bytes(b"mine")
        arguments = [shell, "-c", RACE, "sh", str(shared), str(mine)]
        with subprocess.Popen(
            arguments, user=OTHER, stderr=subprocess.DEVNULL, start_new_session=True
        ) as other:
            try:
                wait_until_sync((shared / "theirs").exists)
                for number in range(100_000):
                    if number >= 2000 and all(done[won] for won in (True, False)):
                        break
                    try:
                        AuditLog(shared / "audit.jsonl", max_bytes=2000, keep=2).append([audit_line(number)])
                    except AuditError:
                        done[False] += 1
                    else:
                        done[True] += 1
                assert other.poll() is None
            finally:
                os.killpg(other.pid, signal.SIGKILL)
        wait_until_sync(lambda: not _is_group(other.pid))
        assert done[True]
        assert done[False]
        assert [(each.name, each.read_bytes()) for each in mine.iterdir()] == [("victim", b"mine")]
        assert (shared / "theirs").read_bytes() == b""


def test_a_loop_of_links_and_a_path_through_a_file_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").touch()
    assert "symbolic links" in refused(tmp_path / "a")
    assert "Not a directory" in refused(tmp_path / "file" / "audit.jsonl")
    assert "Is a directory" in refused(Path("/"))


def test_a_way_back_and_a_relative_path_lead_where_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`..` after a link is the parent of where the link leads."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/er")
    monkeypatch.chdir(tmp_path)
    with place_of(Path("link/../here.jsonl")) as place:
        assert (place.path, place.status) == (tmp_path / "deep" / "here.jsonl", None)
    AuditLog(Path("link/../new/log")).append([audit_line(1)])
    assert audited_pids(tmp_path / "deep" / "new" / "log") == [1]
    assert stat.S_IMODE((tmp_path / "deep" / "new").stat().st_mode) == 0o700


@as_root
async def test_nobody_is_ended_where_the_log_is_not_safe(server: ThrowawayServer, tmp_path: Path) -> None:
    """Root's `pgtop reap` with the log in a directory of the daemon's user: one line, status 2."""
    place = directory(tmp_path / "state", 0o755)
    give_away(place)
    async with stale(server, 2, application_name="kept") as kept:
        arguments = ("reap", server.uri(), "--always", *STALE, "--application", "kept")
        log = ("--audit-log", str(place / "audit.jsonl"))
        done = await asyncio.to_thread(run, tmp_path, *arguments, *log)
        assert [await each.fetchval("SELECT 1") for each in kept] == [1, 1]
    assert_one_line(done, 2, "is not written", str(place), "sudo -u", "--audit-log")
    assert list(place.iterdir()) == []


# The recording


@as_root
def test_nothing_is_recorded_where_others_may_write(tmp_path: Path) -> None:
    """Nor in a shared directory: SQLite would follow a link that stands for its journal."""
    theirs, shared = directory(tmp_path / "theirs", 0o755), directory(tmp_path / "shared", 0o1777)
    give_away(theirs)
    for place in (theirs, shared):
        store = RecordingStore(place, SERVER_KEY)
        planted = directory(store.directory, 0o755)
        give_away(planted)
        with pytest.raises(HistoryError, match=r"the recording is not kept.*--record-dir"):
            record(Recorder(store), polls(range(5)))
        assert list(planted.iterdir()) == []
    with pytest.raises(HistoryError, match=r"the recording is not kept.*--record-dir"):
        write_file(shared / "2026-01-01.sqlite3", {}, lambda _: None)
    assert [each.name for each in shared.iterdir()] == [planted.name]


# The configuration, and what else a person writes


def write(path: Path, text: str = "warn_at = 0.5\n", mode: int = 0o644) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_configuration_that_everybody_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """It says who is ended, and what an alert runs."""
    path = write(tmp_path / "config.toml", mode=mode)
    done = run(tmp_path, "config", "--config", str(path))
    assert_one_line(done, 2, "is not read", "may be changed by everybody", f"chmod go-w {path}", "--config")


def test_a_configuration_in_an_open_directory_is_refused(tmp_path: Path) -> None:
    path = write(directory(tmp_path / "open", 0o777) / "config.toml")
    with pytest.raises(UsageError, match="may be changed by everybody"):
        read_config_file(str(path))


@as_root
def test_anothers_configuration_is_not_roots(tmp_path: Path) -> None:
    path = write(tmp_path / "config.toml")
    give_away(path)
    with pytest.raises(UsageError, match=r"belongs to .* and pgtop runs as root"):
        read_config_file(str(path))
    link = directory(tmp_path / "shared", 0o1777) / "config.toml"
    link.symlink_to(write(tmp_path / "mine.toml"))
    give_away(link)
    with pytest.raises(UsageError, match="the symbolic link"):
        read_config_file(str(link))


@as_root
def test_sudo_with_the_users_home_takes_roots_own_files(tmp_path: Path) -> None:
    """Where sudo keeps HOME, the log and the settings are root's all the same."""
    give_away(tmp_path)
    home = pwd.getpwuid(0).pw_dir
    settings = settings_in_force(tmp_path)
    assert settings["file"].startswith(home)
    for key in ("audit_log", "history"):
        assert settings["settings"][key]["value"].startswith(home)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    return path


def test_a_pipe_for_a_file_does_not_hang(tmp_path: Path, pipe: Path) -> None:
    """As --config, as service file, and as the one in PGSYSCONFDIR."""
    name, home = str(pipe), tmp_path
    assert_one_line(run(home, "config", "--config", name), 2, name, "not a regular file")
    service = run(home, "snapshot", "--service", "x", variables={"PGSERVICEFILE": name})
    assert_one_line(service, 2, "service file", "not a regular file")
    (home / "conf").mkdir()
    os.mkfifo(home / "conf" / "pg_service.conf")
    system = run(home, "snapshot", "--service", "x", variables={"PGSYSCONFDIR": str(home / "conf")})
    assert_one_line(system, 2, "service file", "not a regular file")


@pytest.mark.parametrize("option", ["sslrootcert", "sslcrl", "sslkey", "sslcert"])
def test_a_pipe_for_a_certificate_does_not_hang(tmp_path: Path, pipe: Path, option: str) -> None:
    certificate = new_certificate(tmp_path / "client.crt", "client", "")
    files = {"sslrootcert": certificate, "sslcert": certificate, "sslkey": certificate.with_suffix(".key")}
    said = " ".join(f"{name}={path}" for name, path in {**files, option: pipe}.items())
    conninfo = f"host=127.0.0.1 port=1 sslmode=verify-ca {said}"
    assert_one_line(run(tmp_path, "snapshot", conninfo), 3, option, "not a regular file")


@pytest.mark.parametrize("read", [read_regular, read_trusted, check_readable])
def test_a_path_that_is_not_a_file_is_told(
    tmp_path: Path, pipe: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read(pipe)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        read(Path("/dev/zero"))


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.touch(0o600)
    os.truncate(path, 1 << 40)
    assert_one_line(run(tmp_path, "config", "--config", str(path)), 2, "large.toml", "more than 4 MB")


def test_an_open_file_may_be_the_configuration(tmp_path: Path) -> None:
    """`--config /dev/stdin < file` names a file that the shell opened."""
    with write(tmp_path / "config.toml").open("rb") as file:
        assert (
            settings_in_force(tmp_path, "--config", "/dev/stdin", stdin=file)["settings"]["warn_at"]["value"]
            == 0.5
        )


def test_an_unsafe_path_is_an_os_error_that_says_what_is_wrong(tmp_path: Path) -> None:
    place = directory(tmp_path / "open", 0o777)
    with pytest.raises(UnsafeFileError) as caught, place_of(place / "x"):
        pass
    assert caught.value.strerror == caught.value.problem
