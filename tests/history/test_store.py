"""The files of a recording: who may read them, how large they grow, and that no state of one is fatal."""

import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtop.core.recorded import OutageEnded, Seen
from pgtop.core.text import printable
from pgtop.errors import HistoryBusyError, HistoryDamagedError, HistoryError
from pgtop.history import day_file, store
from pgtop.history.day_file import write as write_file
from pgtop.history.file_safety import DAMAGED_KEPT, find, set_aside
from pgtop.history.pruning import Bounds
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore, ServerKey
from tests.builders import HOSTILE, SERVER_KEY, backend
from tests.support.polls import moment, played, poll, polls, recorder_in, recording_in, seconds_of, write

DAY = 86_400.0
TODAY = 1_700_000_000.0
"""The host's time while old recordings are made."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pgtop" / "recordings"


@pytest.fixture
def recorder(root: Path) -> Recorder:
    return recorder_in(root)


def recorded_file(recorder: Recorder, number: int = 5) -> Path:
    """Write some polls; return the file they are in."""
    write(recorder, polls(range(number)))
    (path,) = recorder.store.files()
    return path


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


def alter(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def at_time(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Let this host's clock stand at a time, in seconds."""
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: round(now * 10**9))


def test_only_this_user_can_read_it(recorder: Recorder) -> None:
    path = recorded_file(recorder)
    assert path.stat().st_mode & 0o777 == 0o600
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_servers_are_apart_and_named_for_people(root: Path) -> None:
    """Nothing that a label says leads elsewhere, or to another server's recordings."""
    labels = ("../../etc", "", "/", HOSTILE, "db1:5432,db2:5432", "x" * 500, "a\udcffb")
    keys = [ServerKey(label, number) for number, label in enumerate(labels)]
    for key in keys:
        recorder = Recorder(RecordingStore(root, key), Kept.STATEMENTS)
        write(recorder, polls(range(3)))
        directory = recorder.store.directory
        assert directory.parent == root
        assert directory.name.isprintable()
        assert len(directory.name) < 80
        recording = Recording(recorder.store.files())
        assert len(played(recording)) == 3
        assert recording.server == printable(recording.server)
    assert len(list(root.iterdir())) == len(keys)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def overwrite_head(path: Path) -> None:
    path.write_bytes(b"\xff" * 512 + path.read_bytes()[512:])


def overwrite_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xa5" * 64
    path.write_bytes(data)


def write_text(path: Path) -> None:
    path.write_text("hello\n")


def lose_a_table(path: Path) -> None:
    alter(path, "DROP TABLE chunk")


def lose_a_column(path: Path) -> None:
    alter(path, "ALTER TABLE chunk RENAME COLUMN sight TO vision")


def forget_the_version(path: Path) -> None:
    alter(path, "PRAGMA user_version = 0", "DROP TABLE chunk")


DAMAGES = [
    cut,
    overwrite_head,
    overwrite_pages,
    write_text,
    lose_a_table,
    lose_a_column,
    forget_the_version,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    recorder: Recorder, damage: Callable[[Path], None]
) -> None:
    """Nothing of it is thrown away, and nothing that was polled since is lost."""
    path = recorded_file(recorder, 300)
    damage(path)
    was = path.read_bytes()
    with pytest.raises(HistoryDamagedError) as raised:
        write(recorder, polls(range(300, 305)))
    (found,) = aside(path)
    assert found.read_bytes() == was
    assert found.name in str(raised.value)
    assert str(raised.value).isprintable()
    write(recorder, polls(range(305, 310)))
    assert seconds_of(played(Recording([path]))) == [number * 2 for number in range(300, 310)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_to_its_reader(recorder: Recorder, damage: Callable[[Path], None]) -> None:
    """One that says so, and changes nothing; another day's file is read all the same."""
    path = recorded_file(recorder, 300)
    sound = path.with_name("2001-01-01.sqlite3")
    sound.write_bytes(path.read_bytes())
    damage(path)
    was = path.read_bytes()
    with pytest.raises(HistoryError) as raised:
        Recording([path])
    assert printable(str(raised.value)) == str(raised.value)
    recording = Recording(recorder.store.files())
    assert len(played(recording)) == 300
    assert recording.problems
    assert list(recording.counts(0, moment(10_000)))
    assert recording.events(0, moment(10_000)) == []
    assert path.read_bytes() == was
    assert aside(path) == []


@pytest.mark.parametrize(
    "body", [b"", b"junk", zlib.compress(b"junk"), zlib.compress(b"\x92\x02\xc3"), zlib.compress(b"\x90")]
)
def test_a_damaged_part_costs_no_other(recorder: Recorder, body: bytes) -> None:
    """Up to the next keyframe; of events and counts just what is damaged."""
    path = recorded_file(recorder, 450)
    recorder.happened(OutageEnded(moment(4)))
    recorder.happened(OutageEnded(moment(5)))
    recorder.write(recorder.take())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE chunk SET body = ?, samples = ? WHERE id = 2", (body, body))
    connection.execute("UPDATE event SET body = ? WHERE id = 1", (body,))
    connection.commit()
    connection.close()
    recording = Recording([path])
    assert seconds_of(played(recording)) == [number * 2 for number in (*range(150), *range(300, 450))]
    assert sum(len(run.counts) for run in recording.counts(0, moment(1_000))) == 300
    assert recording.events(0, moment(1_000)) == [OutageEnded(moment(5))]
    assert recording.problems
    assert all(each.isprintable() for each in recording.problems)


def test_the_files_beside_a_damaged_one_go_with_it(root: Path) -> None:
    """They would be taken for the new file's."""
    path = root / "2026-01-01.sqlite3"
    root.mkdir(parents=True)
    path.write_text("garbage")
    beside = [Path(f"{path}{companion}") for companion in ("-journal", "-wal", "-shm")]
    for each in beside:
        each.write_text(each.name)
    set_aside(find(path))
    assert not any(each.exists() for each in (path, *beside))
    assert sorted(each.read_text() for each in aside(path)) == sorted(
        ["garbage", *(each.name for each in beside)]
    )


def test_only_some_damaged_files_are_kept(root: Path) -> None:
    """Of all days together; and nothing else beside them is removed."""
    root.mkdir(parents=True)
    other = root / "2026-01-01.sqlite3.damaged-by-me"
    other.write_text("mine")
    for number in range(DAMAGED_KEPT + 3):
        path = root / f"2026-01-0{number + 1}.sqlite3"
        path.write_text(f"garbage {number}")
        with pytest.raises(HistoryDamagedError):
            write_file(path, {}, lambda _: None)
    assert other.read_text() == "mine"
    kept = {each.read_text() for each in root.glob("*.damaged-2*")}
    assert kept == {f"garbage {number}" for number in range(3, DAMAGED_KEPT + 3)}


def test_a_file_that_another_pgtop_began_is_not_set_aside(recorder: Recorder) -> None:
    """Two found the damage; the second finds a good file of the first's under the name."""
    path = recorded_file(recorder)
    path.write_text("garbage")
    found = find(path)
    path.rename(path.with_name("elsewhere"))
    write(recorder, polls(range(5, 10)))
    assert isinstance(set_aside(found), HistoryDamagedError)
    assert len(played(Recording([path]))) == 5


def today(recorder: Recorder) -> Path:
    """The file that the next poll goes to."""
    path = recorded_file(recorder)
    path.unlink()
    return path


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def of_another_program(path: Path) -> None:
    alter(path, "CREATE TABLE precious (x)", "PRAGMA user_version = 1")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (a_directory, "Is a directory"),
        (a_pipe, "is not a file"),
        (below_a_file, "Not a directory"),
        (of_another_program, "is not a recording of pgtop"),
    ],
)
def test_a_foreign_file_is_left_alone(recorder: Recorder, made: Callable[[Path], None], words: str) -> None:
    """An error that is not damage says so; nothing is renamed, removed or written."""
    path = today(recorder)
    made(path)
    before = {each: each.stat().st_mtime_ns for each in path.parent.parent.rglob("*")}
    with pytest.raises(HistoryError, match=words) as raised:
        write(recorder, polls(range(5)))
    assert not isinstance(raised.value, HistoryDamagedError | HistoryBusyError)
    with pytest.raises(HistoryError):
        Recording([path])
    assert {each: each.stat().st_mtime_ns for each in path.parent.parent.rglob("*")} == before


def test_an_empty_file_is_begun(recorder: Recorder) -> None:
    """As it is left where a program was killed just after it had made it."""
    path = today(recorder)
    path.touch()
    with pytest.raises(HistoryError):
        Recording([path])
    write(recorder, polls(range(5)))
    assert len(played(Recording([path]))) == 5


def test_a_newer_pgtops_file_gets_one_beside_it(recorder: Recorder) -> None:
    """It is not written to; both are read as one recording, as far as they can be."""
    path = recorded_file(recorder)
    alter(path, "PRAGMA user_version = 2", "ALTER TABLE chunk ADD COLUMN mood TEXT")
    was = path.read_bytes()
    write(recorder, polls(range(5, 10)))
    assert path.read_bytes() == was
    assert [each.name for each in recorder.store.files()] == [path.name, f"{path.stem}.v1.sqlite3"]
    assert seconds_of(played(Recording(recorder.store.files()))) == [number * 2 for number in range(10)]


def test_a_symbolic_link_leads_to_the_files(tmp_path: Path, root: Path) -> None:
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    write(recorder_in(tmp_path / "link"), polls(range(5)))
    assert len(played(recording_in(root))) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_without_the_right_to_write_is_told(recorder: Recorder) -> None:
    path = recorded_file(recorder)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(HistoryError, match="the recording is not kept"):
            write(recorder, polls(range(5, 10)))
        assert len(played(Recording([path]))) == 5
    finally:
        path.parent.chmod(0o700)


def test_a_locked_file_is_read_once_it_is_free(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_file, "BUSY_SECONDS", 0.05)
    path = recorded_file(recorder)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for call in (lambda: Recording([path]), lambda: write(recorder, polls(range(5, 10)))):
        with pytest.raises(HistoryBusyError):
            call()
    other.close()
    assert len(played(Recording([path]))) == 5


def test_a_reader_sees_what_is_written_after_it_began(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the next day's file."""
    at_time(monkeypatch, TODAY)
    write(recorder, polls(range(5)))
    recording = Recording(recorder.store.files)
    assert seconds_of(played(recording))[-1] == 8
    write(recorder, polls(range(5, 10)))
    recording.refresh()
    assert seconds_of(played(recording))[-1] == 18
    at_time(monkeypatch, TODAY + DAY)
    write(recorder, polls(range(10, 15)))
    recording.refresh()
    assert seconds_of(played(recording)) == [number * 2 for number in range(15)]


# Bounds


def days(recorder: Recorder, number: int, monkeypatch: pytest.MonkeyPatch, size: int = 40) -> None:
    """Write some polls of random sessions on each of some days up to TODAY, an hour apart."""
    for hour in range(-24 * (number - 1), 1):
        at_time(monkeypatch, TODAY + hour * 3600)
        sessions = [backend(10 + each, query=os.urandom(50).hex()) for each in range(size)]
        write(recorder, [poll(hour * 3600 + each * 2, *sessions) for each in range(5)])


def hours(recording: Recording) -> list[float]:
    return sorted({seconds // 3600 for seconds in seconds_of(played(recording))})


def test_old_polls_go_and_their_counts_stay(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the graph, up to two days; a file with nothing in it goes as a whole."""
    recorder.store.bounds = Bounds(keep_seconds=10 * 3600)
    monkeypatch.setattr(store, "PRUNE_SECONDS", 0.0)
    days(recorder, 6, monkeypatch)
    recording = Recording(recorder.store.files())
    assert hours(recording) == list(range(-10, 1))
    told = sorted({each.at // (3600 * 10**6) for run in recording.counts(0, 2**62) for each in run.counts})
    assert len(told) == 49
    assert len(recorder.store.files()) == 3
    sizes = [path.stat().st_size for path in recorder.store.files()]
    assert sizes[0] < sizes[1] / 1.2  # the room of what was dropped is given back


def test_files_stay_below_their_size(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together; the oldest polls go first, a part of a day at a time."""
    recorder.store.bounds = Bounds(keep_seconds=30 * DAY, max_bytes=400_000)
    monkeypatch.setattr(store, "PRUNE_SECONDS", 0.0)
    days(recorder, 4, monkeypatch)
    total = sum(path.stat().st_size for path in recorder.store.files())
    assert 250_000 < total <= 400_000
    found = hours(Recording(recorder.store.files()))
    assert found == list(range(round(found[0]), 1))
    assert len(found) > 24


def test_one_file_alone_stays_below_its_size(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.store.bounds = Bounds(max_bytes=200_000)
    monkeypatch.setattr(store, "PRUNE_SECONDS", 0.0)
    at_time(monkeypatch, TODAY)
    for number in range(150):
        sessions = [backend(10 + each, query=os.urandom(90).hex()) for each in range(20)]
        write(recorder, [poll(number * 10 + each * 2, *sessions) for each in range(5)])
    (path,) = recorder.store.files()
    assert path.stat().st_size <= 200_000
    found = seconds_of(played(Recording([path])))
    assert found[-1] == 149 * 10 + 8
    assert len(found) > 100


def test_a_long_recording_outlives_short_bounds_of_another(
    root: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that nobody watches any more go when they are as old as their own settings let them be."""
    others = {keep: ServerKey(f"other {keep}", keep) for keep in (2, 30)}
    at_time(monkeypatch, TODAY)
    for keep, key in others.items():
        short = RecordingStore(root, key, Bounds(keep_seconds=keep * DAY))
        write(Recorder(short), polls(range(5)))
        for path in short.files():
            os.utime(path, (TODAY, TODAY))
    at_time(monkeypatch, TODAY + 5 * DAY)
    write(recorder, polls(range(5)))
    left = {directory.name for directory in root.iterdir()}
    assert left == {others[30].directory, SERVER_KEY.directory}


def test_nothing_but_recordings_is_removed(
    root: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old it is: a recording that somebody named, notes, another program's directory."""
    path = recorded_file(recorder)
    (root / "other").mkdir()
    mine = [path.with_name("incident.sqlite3"), path.with_name("notes.txt"), root / "other" / "x.sqlite3"]
    for each in mine:
        each.write_bytes(path.read_bytes())
        os.utime(each, (1, 1))
    monkeypatch.setattr(store, "PRUNE_SECONDS", 0.0)
    write(recorder_in(root), polls(range(5)))
    assert all(each.exists() for each in mine)


def test_damage_found_while_old_polls_go_is_told(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write itself is done: its polls are not written again."""
    days(recorder, 2, monkeypatch)
    old = recorder.store.files()[0]
    recorder.store.bounds = Bounds(keep_seconds=3600)
    monkeypatch.setattr(store, "PRUNE_SECONDS", 0.0)
    alter(old, "DROP TABLE event")
    write(recorder, [poll(100)])
    assert "damaged" in recorder.store.damage
    assert len(aside(old)) == 1
    found: list[Seen] = played(Recording(recorder.store.files()))
    assert seconds_of(found)[-1] == 100
    assert seconds_of(found).count(100) == 1
