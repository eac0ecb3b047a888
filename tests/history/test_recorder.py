"""Several recorders on one server: nothing is lost, nothing is played twice, and no disk stops them."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.outage import Outage
from pgtop.core.recorded import AlertRaised, OutageBegan, OutageEnded, Seen
from pgtop.errors import HistoryBusyError, HistoryDamagedError, HistoryError
from pgtop.history import day_file
from pgtop.history.recorder import KEY_POLLS, MOST_WAITING, Kept, Recorder
from pgtop.history.store import RecordingStore
from tests.builders import SERVER, SERVER_KEY, backend, snapshot
from tests.servers import REPOSITORY, wait_until_sync
from tests.support.polls import (
    failed,
    hidden,
    moment,
    played,
    poll,
    polls,
    recorder_in,
    recording_in,
    seconds_of,
    write,
)

WRITER = """
import sys
from pathlib import Path
from pgtop.errors import HistoryBusyError
from tests.support.polls import poll, recorder_in
recorder = recorder_in(Path(sys.argv[1]))
begin, rounds = float(sys.argv[2]), int(sys.argv[3])
is_led = len(sys.argv) > 4
print("ready", flush=True)
for number in range(rounds):
    if is_led:
        sys.stdin.readline()
    for each in range(5):
        recorder.polled(poll(begin + number * 10 + each * 2))
    try:
        recorder.write(recorder.take())
    except HistoryBusyError:
        pass
    if is_led:
        print("done", flush=True)
recorder.write(recorder.take(), is_last=True)
"""


def start_writer(root: Path, begin: float, rounds: int, *more: str) -> "subprocess.Popen[str]":
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(begin), str(rounds), *more],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def rows(root: Path, table: str = "chunk") -> int:
    found = 0
    for path in RecordingStore(root, SERVER_KEY).files():
        connection = sqlite3.connect(path)
        found += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        connection.close()
    return found


def test_each_poll_is_played_back(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    given = polls(range(400))
    for start in range(0, 400, 5):
        write(recorder, given[start : start + 5])
    assert played(recording_in(tmp_path)) == given


def test_a_failed_write_loses_nothing(tmp_path: Path) -> None:
    """Locked at the first try, it is written with the next batch, and can be read on its own."""
    recorder = recorder_in(tmp_path)
    given = polls(range(15))
    write(recorder, given[:5])
    (path,) = recorder.store.files()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(day_file, "BUSY_SECONDS", 0.05)
        with pytest.raises(HistoryBusyError):
            write(recorder, given[5:10])
    other.close()
    write(recorder, given[10:])
    assert played(recording_in(tmp_path)) == given


def test_a_write_that_fails_at_its_very_end_loses_nothing(tmp_path: Path) -> None:
    """As when the disk is full: what was there stays, and what was not written is written later."""
    recorder = recorder_in(tmp_path)
    many = [backend(pid, query=f"SELECT {os.urandom(60).hex()}") for pid in range(10, 900)]
    given = [poll(number * 2, *many) for number in range(3)]
    write(recorder, given[:1])
    (path,) = recorder.store.files()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    changed = [msgspec.structs.replace(each, query=os.urandom(90).hex()) for each in many]
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        with pytest.raises(HistoryError) as raised:
            write(recorder, [poll(6, *changed)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert not isinstance(raised.value, HistoryDamagedError)
    assert played(recording_in(tmp_path)) == given[:1]
    write(recorder, [])
    assert played(recording_in(tmp_path)) == [given[0], poll(6, *changed)]


def test_no_more_waits_than_is_bounded(tmp_path: Path) -> None:
    """The oldest are lost while the disk takes nothing."""
    (tmp_path / "file").touch()
    recorder = recorder_in(tmp_path / "file")
    given = polls(range(MOST_WAITING + 500))
    for start in range(0, len(given), 100):
        with pytest.raises(HistoryError):
            write(recorder, given[start : start + 100])
    (tmp_path / "file").unlink()
    write(recorder, [])
    assert played(recording_in(tmp_path / "file")) == given[-MOST_WAITING:]


def test_a_disk_that_hangs_is_bounded_too(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    given = polls(range(MOST_WAITING + 5))
    for each in given:
        recorder.polled(each)
        recorder.forget_oldest()
    assert recorder.take().items == tuple(given[5:])


def test_only_one_of_two_writes_what_both_see(tmp_path: Path) -> None:
    """Each poll is played once, and the file is not twice as large."""
    first, second = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 300, 5):
        write(first, polls(range(number, number + 5)))
        write(second, [poll(each * 2 + 1) for each in range(number, number + 5)])
    found = seconds_of(played(recording_in(tmp_path)))
    assert found[:-5] == sorted(found[:-5])
    assert found.count(200) == 1
    assert rows(tmp_path) < 65


def test_the_second_goes_on_once_the_first_is_killed(tmp_path: Path) -> None:
    """Nothing is missing in between: the second had held back what the first could not write any more."""
    first, second = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 50, 5):
        write(first, polls(range(number, number + 5)))
        write(second, [poll(each * 2 + 1) for each in range(number, number + 5)])
    # Killed: its last five polls are never written.
    for number in range(50, 100, 5):
        write(second, [poll(each * 2 + 1) for each in range(number, number + 5)])
    write(second, [], is_last=True)
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == sorted(found)
    assert max(later - earlier for earlier, later in pairwise(found)) <= 2
    assert found[-1] == 199


def test_at_the_end_nothing_is_held_back(tmp_path: Path) -> None:
    first, second = recorder_in(tmp_path), recorder_in(tmp_path)
    write(first, polls(range(5)))
    write(second, [poll(9)])
    write(second, [poll(11)], is_last=True)
    assert seconds_of(played(recording_in(tmp_path)))[-2:] == [9, 11]


def test_a_failed_poll_does_not_stand_for_an_answer(tmp_path: Path) -> None:
    """One program is cut off, the other is not: the past is what the other saw."""
    cut, fine = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 60, 5):
        write(cut, [failed(each * 2) for each in range(number, number + 5)])
        write(fine, [poll(each * 2 + 1) for each in range(number, number + 5)])
    found = played(recording_in(tmp_path))
    answered = [each for each in found if isinstance(each.result, Snapshot)]
    assert seconds_of(answered) == [number * 2 + 1 for number in range(60)]
    assert all(each.at < moment(1) or each.at > moment(119) for each in found if each not in answered)


def test_hidden_states_do_not_stand_for_seen_ones(tmp_path: Path) -> None:
    blind, sighted = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 30, 5):
        write(blind, [hidden(each * 2) for each in range(number, number + 5)])
        write(sighted, [poll(each * 2 + 1) for each in range(number, number + 5)])
    found = played(recording_in(tmp_path))
    seen = [each for each in found if isinstance(each.result, Snapshot) and not each.result.counts.hidden]
    assert seconds_of(seen) == [number * 2 + 1 for number in range(30)]
    assert len(found) <= len(seen) + 1


def test_statements_are_kept_by_whoever_may_keep_them(tmp_path: Path) -> None:
    """A program without statements does not stand for one with them."""
    bare, full = recorder_in(tmp_path, Kept.SESSIONS), recorder_in(tmp_path, Kept.STATEMENTS)
    for number in range(0, 30, 5):
        write(bare, polls(range(number, number + 5)))
        write(full, [poll(each * 2 + 1) for each in range(number, number + 5)])
    queries = {
        each.result.backends[0].query
        for each in played(recording_in(tmp_path))[1:]
        if isinstance(each.result, Snapshot)
    }
    assert queries == {"SELECT 1"}


def test_a_finer_interval_is_played(tmp_path: Path) -> None:
    """A wall that polls each minute leaves a dashboard's polls alone, and is left out itself."""
    wall, close = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 150, 5):
        if number % 30 == 0:
            write(wall, [poll(number * 2 + 0.5, every=60)])
        write(close, polls(range(number, number + 5)))
    write(wall, [], is_last=True)
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == [number * 2 for number in range(150)]


def test_the_coarser_goes_on_where_the_finer_ended(tmp_path: Path) -> None:
    wall, close = recorder_in(tmp_path), recorder_in(tmp_path)
    write(close, polls(range(30)))
    for number in range(5):
        write(wall, [poll(number * 60 + 10, every=60)])
    write(wall, [], is_last=True)
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == [number * 2 for number in range(30)] + [70, 130, 190, 250]


def test_another_server_behind_the_address_is_not_the_same(tmp_path: Path) -> None:
    """Two dashboards may be sent to two hosts: what each saw stays in the file."""
    primary, standby = recorder_in(tmp_path), recorder_in(tmp_path)
    other = msgspec.structs.replace(SERVER, host="db2")
    for number in range(0, 20, 5):
        write(primary, polls(range(number, number + 5)))
        taken = [
            snapshot(backend(), server=other, taken_at=moment(each * 2)) for each in range(number, number + 5)
        ]
        write(standby, [Seen(each.taken_at, each, 2.0) for each in taken])
    assert rows(tmp_path) == 8
    hosts = {
        each.result.server.host
        for each in played(recording_in(tmp_path))
        if isinstance(each.result, Snapshot)
    }
    assert hosts == {"db1"}


def test_a_program_that_was_stopped_for_an_hour_covers_none_of_it(tmp_path: Path) -> None:
    """Its batch has polls of before and after; those that another made in between are played."""
    stopped, awake = recorder_in(tmp_path), recorder_in(tmp_path)
    write(stopped, polls(range(5)))
    stopped.polled(poll(10))
    for number in range(5, 1800, 5):
        write(awake, [poll(each * 2 + 1) for each in range(number, number + 5)])
    write(stopped, [poll(3700), poll(3702)])
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == sorted(found)
    assert {11, 1801, 3601 - 2} <= set(found)
    assert [each for each in found if each % 2 == 1] == [float(each * 2 + 1) for each in range(5, 1800)]


def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path) -> None:
    """The same times come again, and others have written of them: they are not these polls."""
    first, second = recorder_in(tmp_path), recorder_in(tmp_path)
    for number in range(0, 100, 5):
        write(first, polls(range(number, number + 5)))
    write(second, polls(range(100, 105)))
    again = [poll(each * 2 + 0.25) for each in range(20, 90)]
    for start in range(0, len(again), 5):
        write(second, again[start : start + 5])
    write(second, [], is_last=True)
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == [
        *(number * 2 for number in range(105)),
        *(number * 2 + 0.25 for number in range(20, 90)),
    ]


def test_seeking_after_the_clock_was_set_back_comes_closest(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    write(recorder, polls(range(100)))
    write(recorder, [poll(each * 2 + 1) for each in range(-1000, -900)])
    recording = recording_in(tmp_path)
    for asked, found in ((50.5, 50), (199, 198), (-1999, -1999), (-1900, -1901), (-5000, 0)):
        position = recording.at(moment(asked))
        assert position is not None
        assert seconds_of([recording.seen(position)]) == [found]


def test_a_file_that_is_removed_is_begun_anew(tmp_path: Path) -> None:
    """At once, with a chunk that needs nothing before it."""
    recorder = recorder_in(tmp_path)
    write(recorder, polls(range(5)))
    (path,) = recorder.store.files()
    path.unlink()
    write(recorder, polls(range(5, 10)))
    assert seconds_of(played(recording_in(tmp_path))) == [10, 12, 14, 16, 18]


def test_a_new_day_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = recorder_in(tmp_path)
    midnight = 1_700_006_400.0
    for number in range(0, 20, 5):
        monkeypatch.setattr("pgtop.history.store.time.time", lambda now=midnight - 20 + number * 2: now)
        write(recorder, polls(range(number, number + 5)))
    assert [path.name for path in recorder.store.files()] == ["2023-11-14.sqlite3", "2023-11-15.sqlite3"]
    assert seconds_of(played(recording_in(tmp_path))) == [number * 2 for number in range(20)]


def test_each_keyframe_can_be_read_without_what_was_before(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    for start in range(0, 3 * KEY_POLLS, 10):
        write(recorder, polls(range(start, start + 10)))
    (path,) = recorder.store.files()
    connection = sqlite3.connect(path)
    keys = connection.execute("SELECT id FROM chunk WHERE is_key ORDER BY id").fetchall()
    connection.execute("UPDATE chunk SET body = NULL WHERE id <= ?", keys[1])
    connection.commit()
    connection.close()
    assert len(keys) == 3
    recording = recording_in(tmp_path)
    assert seconds_of(played(recording)) == [number * 2 for number in range(2 * KEY_POLLS, 3 * KEY_POLLS)]


def test_a_chunk_that_is_lost_never_makes_a_wrong_poll(tmp_path: Path) -> None:
    """What followed it is left out up to the next keyframe, and that is said."""
    recorder = recorder_in(tmp_path)
    given = [poll(number * 2, *(backend(10 + each) for each in range(number % 7))) for number in range(300)]
    for start in range(0, 300, 5):
        write(recorder, given[start : start + 5])
    (path,) = recorder.store.files()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM chunk WHERE id IN (4, 31)")  # the latter is a keyframe
    connection.commit()
    connection.close()
    recording = recording_in(tmp_path)
    found = played(recording)
    assert found == given[:15]
    assert any("cannot be read" in each for each in recording.problems)


def test_a_killed_writer_leaves_what_it_wrote(tmp_path: Path) -> None:
    """Several times in the middle of its work; it can be read before anybody writes to it again."""
    for number in range(6):
        writer = start_writer(tmp_path, number * 100_000, 1_000_000)
        with writer:
            before = rows(tmp_path) if number else 0
            wait_until_sync(lambda before=before: _count(tmp_path) > before + 3)
            writer.send_signal(signal.SIGKILL)
        found = played(recording_in(tmp_path))
        assert found[-1].at >= moment(number * 100_000 + 8)
        assert found == sorted(found, key=lambda each: each.at)


def _count(root: Path) -> int:
    try:
        return rows(root)
    except sqlite3.Error:
        return 0


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three programs of one server: each poll that any of them made has one within its interval."""
    writers = [start_writer(tmp_path, begin, 60, "led") for begin in (0.0, 0.5, 1.0)]
    for _ in range(60):  # all are in the same ten seconds
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "done\n"
    for writer in writers:
        with writer:
            writer.communicate(timeout=60)
        assert writer.returncode == 0
    found = seconds_of(played(recording_in(tmp_path)))
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert found[0] <= 1
    assert found[-1] >= 598
    assert max(later - earlier for earlier, later in pairwise(found)) <= 2


def test_events_are_written_once_and_acts_by_each(tmp_path: Path) -> None:
    """An outage that both saw is told once; an alert is told by the one that raised it."""
    first, second = recorder_in(tmp_path), recorder_in(tmp_path)
    lost = Outage(failed(0).result.kind, "lost") if isinstance(failed(0).result, Outage) else None
    assert lost is not None
    for recorder, offset in ((first, 0.0), (second, 0.5)):
        for each in (poll(offset), failed(2 + offset)):
            recorder.polled(each)
        recorder.happened(OutageBegan(moment(2 + offset), lost))
        recorder.happened(AlertRaised(moment(2 + offset), Alert.FULL if offset else Alert.OVER))
        recorder.polled(poll(4 + offset))
        recorder.happened(OutageEnded(moment(4 + offset)))
        recorder.polled(poll(6))
        recorder.write(recorder.take(), is_last=True)
    kinds = [type(each).__name__ for each in recording_in(tmp_path).events(0, moment(100))]
    assert kinds == ["OutageBegan", "AlertRaised", "AlertRaised", "OutageEnded"]


def test_a_chunk_is_bounded_for_its_reader(tmp_path: Path) -> None:
    """After a disk was full for long, what waited is written in parts."""
    recorder = recorder_in(tmp_path)
    write(recorder, polls(range(1_000)))
    assert rows(tmp_path) == -(-1_000 // KEY_POLLS)
    assert len(played(recording_in(tmp_path))) == 1_000


def test_a_disk_that_was_full_for_a_while_leaves_the_order(tmp_path: Path) -> None:
    """What waited and what is new are played as they were polled."""
    recorder = Recorder(RecordingStore(tmp_path / "place", SERVER_KEY), Kept.STATEMENTS)
    (tmp_path / "place").touch()
    with pytest.raises(HistoryError):
        write(recorder, [*polls(range(3)), failed(6), *polls(range(100, 103))])
    (tmp_path / "place").unlink()
    write(recorder, polls(range(103, 106)))
    found = seconds_of(played(recording_in(tmp_path / "place")))
    assert found == [0, 2, 4, 6, 200, 202, 204, 206, 208, 210]
