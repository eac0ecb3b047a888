"""The history's file: what it gives back, that it stays small, and that no state of it is fatal."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import TIERS, History, Past, Sample
from pgtop.errors import HistoryBusyError, HistoryDamagedError, HistoryError
from pgtop.history import store as history_store
from pgtop.history.file_safety import DAMAGED_KEPT
from pgtop.history.store import CLUSTERS_KEPT, SERIES_KEPT, SERIES_SECONDS, HistoryStore, Series
from tests.builders import NOW, SERIES, past_of
from tests.servers import REPOSITORY, wait_until_sync

WRITER = """
import sys
from pathlib import Path
from tests.builders import SERIES, history_of
from pgtop.history import store as history_store
from pgtop.errors import HistoryBusyError
from pgtop.history.store import HistoryStore
store, offset, rounds = HistoryStore(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for number in range(rounds):
    past = history_of([offset + number % 7] * 40, 2.0, number * 80).past()
    while True:
        try:
            store.save(SERIES, past, "begin")
        except HistoryBusyError:
            continue
        break
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pgtop" / "history.sqlite3"


@pytest.fixture
def store(path: Path) -> HistoryStore:
    return HistoryStore(path)


def loaded(store: HistoryStore, series: Series = SERIES) -> Past:
    past = store.load(series)
    assert past is not None
    return past


def set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


def count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    number: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return number


def alter(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_series_loads_just_what_was_saved_for_it(store: HistoryStore) -> None:
    """Every field of every bucket comes back, for this series; another has none."""
    past = past_of([n % 90 for n in range(800)])
    assert store.load(SERIES) is None
    assert store.save(SERIES, past, "add") is False
    assert store.save(SERIES, past, "begin") is True
    assert loaded(store) == past
    assert store.load(Series(SERIES.address, "1")) is None
    assert store.load(Series(SERIES.address, "")) is None
    assert store.load(Series(1, SERIES.cluster)) is None


def test_samples_added_later_make_the_same_series(store: HistoryStore) -> None:
    """Written in parts, in the middle of buckets, it is what it would be written at once."""
    totals = [n * n % 83 for n in range(900)]
    growing = History()
    until = None
    for number, total in enumerate(totals):
        at = NOW + number * 2 * MICROSECONDS
        growing.add(Sample(at, total, total // 2, total // 3, 97, total // 5, total % 11 == 0))
        if number % 37 == 5 or number == len(totals) - 1:
            past = growing.past(until)
            assert past is not None
            assert store.save(SERIES, past, "begin" if until is None else "add")
            until = past.latest_at
    assert loaded(store) == past_of(totals)


def test_only_this_user_can_read_it(store: HistoryStore, path: Path) -> None:
    store.save(SERIES, past_of([1]), "begin")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_but_numbers_is_in_it(store: HistoryStore, path: Path) -> None:
    store.save(SERIES, past_of([1, 2]), "begin")
    connection = sqlite3.connect(path)
    rows = [row for table in ("series", "bucket") for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    kinds = {type(value) for row in rows for value in row}
    assert kinds == {int, str, bytes}
    assert {value for row in rows for value in row if isinstance(value, str)} == {SERIES.cluster}


@pytest.mark.parametrize("every", [0.1, 2.0, 60.0, 3600.0])
def test_it_is_bounded_at_every_interval(store: HistoryStore, path: Path, every: float) -> None:
    """After 50,000 samples, written in parts, a tier has no more rows than buckets, and the file is small."""
    growing = History()
    until = None
    for number in range(50_000):
        growing.add(Sample(NOW + int(number * every * MICROSECONDS), number % 90, 3, 4, 97), every)
        if number % 5_000 == 4_999:
            past = growing.past(until)
            assert past is not None
            store.save(SERIES, past, "begin" if until is None else "add")
            until = past.latest_at
    assert count(path, "bucket") <= sum(kept for _, kept in TIERS)
    assert path.stat().st_size < 600_000
    span = max(width * kept for width, kept in TIERS)
    assert all(buckets[-1].at - buckets[0].at <= span for buckets in loaded(store).tiers)


def test_no_more_servers_are_kept_than_bounded(store: HistoryStore, path: Path) -> None:
    """Those written last stay; what belonged to the others goes with them."""
    past = past_of([5] * 100)
    for number in range(SERIES_KEPT + 5):
        store.save(Series(number, "1"), past, "begin")
    assert count(path, "series") == SERIES_KEPT
    assert count(path, "bucket") == SERIES_KEPT * sum(map(len, past.tiers))
    assert store.load(Series(0, "1")) is None
    assert store.load(Series(SERIES_KEPT + 4, "1")) == past


def test_a_server_of_many_names_drives_out_no_other(store: HistoryStore, path: Path) -> None:
    """It claims another system identifier each time: the last few of its series stay, and all others."""
    past = past_of([5])
    store.save(Series(1, "honest"), past, "begin")
    for number in range(SERIES_KEPT + 5):
        store.save(Series(2, str(number)), past, "begin")
    assert count(path, "series") == 1 + CLUSTERS_KEPT
    assert store.load(Series(1, "honest")) == past
    assert store.load(Series(2, str(SERIES_KEPT + 4))) == past


@pytest.mark.parametrize("away", [1, -1])
def test_a_server_nobody_looks_at_expires(
    store: HistoryStore, path: Path, monkeypatch: pytest.MonkeyPatch, away: int
) -> None:
    """Also one that was looked at by a clock that ran ahead."""
    store.save(Series(1, "1"), past_of([5]), "begin")
    later = time.time() + away * (SERIES_SECONDS + 10)
    monkeypatch.setattr(history_store.time, "time", lambda: later)
    store.save(Series(2, "1"), past_of([5]), "begin")
    assert store.load(Series(1, "1")) is None
    assert count(path, "series") == 1


def test_replacing_leaves_nothing_of_what_was_there(store: HistoryStore) -> None:
    """A clock that was set back makes the rows of before worthless, the later ones too."""
    store.save(SERIES, past_of([50] * 100, begin=10_000_000), "begin")
    earlier = past_of([7] * 10)
    assert store.save(SERIES, earlier, "replace")
    assert loaded(store) == earlier


def test_two_dashboards_on_one_server_make_one_series(store: HistoryStore) -> None:
    """The fuller sample of a bucket stays, whoever wrote last."""
    low, high = past_of([10] * 60), past_of([20] * 60)
    for order in ([low, high], [high, low]):
        for past in order:
            store.save(SERIES, past, "begin")
        assert {each.sample.total for tier in loaded(store).tiers for each in tier} == {20}
        assert [len(tier) for tier in loaded(store).tiers] == [len(tier) for tier in low.tiers]


def start_writer(path: Path, offset: int, rounds: int) -> "subprocess.Popen[str]":
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(offset), str(rounds)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def test_two_processes_write_at_once(store: HistoryStore, path: Path) -> None:
    """Neither fails nor loses the other's: each bucket has the fuller's sample."""
    writers = [start_writer(path, offset, 60) for offset in (10, 30)]
    for writer in writers:
        with writer:
            writer.communicate(timeout=60)
        assert writer.returncode == 0
    past = loaded(store)
    assert set_aside(path) == []
    assert all(30 <= each.sample.total <= 36 for tier in past.tiers for each in tier)
    assert past.latest_at == NOW + (59 * 80 + 78) * MICROSECONDS


def test_a_writer_that_is_killed_leaves_a_sound_file(store: HistoryStore, path: Path) -> None:
    """Twelve times in the middle of its work; what it had written before is there."""
    for _ in range(12):
        writer = start_writer(path, 10, 1_000_000)
        with writer:
            before = path.stat().st_mtime_ns if path.exists() else 0
            wait_until_sync(lambda before=before: path.exists() and path.stat().st_mtime_ns > before)
            writer.send_signal(signal.SIGKILL)
        past = store.load(SERIES)
        assert set_aside(path) == []
    assert past is not None
    assert len(past.tiers[0]) >= 40


def test_a_file_that_others_keep_locked_is_left_alone(
    store: HistoryStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_store, "BUSY_SECONDS", 0.05)
    past = past_of([5])
    store.save(SERIES, past, "begin")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for call in (lambda: store.load(SERIES), lambda: store.save(SERIES, past, "add")):
        with pytest.raises(HistoryBusyError):
            call()
    other.close()
    assert loaded(store) == past


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def overwrite_head(path: Path) -> None:
    path.write_bytes(b"\xff" * 512 + path.read_bytes()[512:])


def overwrite_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xa5" * 64
    path.write_bytes(data)


def overwrite_anothers(path: Path) -> None:
    """Where this server's series is sound."""
    HistoryStore(path).save(Series(1, "1"), past_of([5] * 2_000), "begin")
    data = bytearray(path.read_bytes())
    data[-4096:-4032] = b"\xa5" * 64
    path.write_bytes(data)


def write_text(path: Path) -> None:
    path.write_text("hello\n")


def lose_a_table(path: Path) -> None:
    alter(path, "DROP TABLE bucket")


def lose_a_column(path: Path) -> None:
    alter(path, "ALTER TABLE bucket RENAME COLUMN idle TO lazy")


def write_words(path: Path) -> None:
    alter(path, "UPDATE bucket SET total = 'many'")


def write_nonsense(path: Path) -> None:
    alter(path, "UPDATE bucket SET total = -5")


def break_lows(path: Path) -> None:
    alter(path, "UPDATE series SET lows = x'7b7b'")


def forget_the_version(path: Path) -> None:
    alter(path, "PRAGMA user_version = 0", "DROP TABLE series")


DAMAGES = [
    cut,
    overwrite_head,
    overwrite_middle,
    overwrite_anothers,
    write_text,
    lose_a_table,
    lose_a_column,
    write_words,
    write_nonsense,
    break_lows,
    forget_the_version,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    store: HistoryStore, path: Path, damage: Callable[[Path], None]
) -> None:
    past = past_of([n % 50 for n in range(2_000)])
    store.save(SERIES, past, "begin")
    damage(path)
    was = path.read_bytes()
    with pytest.raises(HistoryDamagedError) as raised:
        store.load(SERIES)
    (aside,) = set_aside(path)
    assert aside.read_bytes() == was
    assert aside.name in str(raised.value)
    assert str(raised.value).isprintable()
    assert store.load(SERIES) is None
    assert store.save(SERIES, past, "begin")
    assert loaded(store).tiers[1:] == past.tiers[1:]


def test_the_files_beside_a_damaged_one_go_with_it(store: HistoryStore, path: Path) -> None:
    """It would be taken for the new file's."""
    path.parent.mkdir(parents=True)
    path.write_text("garbage")
    beside = [Path(f"{path}{companion}") for companion in ("-journal", "-wal", "-shm")]
    for each in beside:
        each.write_text(each.name)
    history_store.set_aside(history_store.find(path))
    assert not any(each.exists() for each in (path, *beside))
    assert sorted(each.read_text() for each in set_aside(path)) == sorted(
        ["garbage", *(each.name for each in beside)]
    )


def test_only_some_damaged_files_are_kept(store: HistoryStore, path: Path) -> None:
    """And nothing else beside them is removed."""
    path.parent.mkdir(parents=True)
    other = path.parent / "history.sqlite3.damaged-by-me"
    other.write_text("mine")
    for number in range(DAMAGED_KEPT + 3):
        path.write_text(f"garbage {number}")
        with pytest.raises(HistoryDamagedError):
            store.load(SERIES)
    assert other.read_text() == "mine"
    kept = {each.read_text() for each in set_aside(path)} - {"mine"}
    assert kept == {f"garbage {number}" for number in range(3, DAMAGED_KEPT + 3)}


def test_a_file_that_another_pgtop_began_is_not_set_aside(store: HistoryStore, path: Path) -> None:
    """Two found the damage; the second finds a good file of the first's under the name."""
    path.parent.mkdir(parents=True)
    path.write_text("garbage")
    found = history_store.find(path)
    path.rename(path.with_name("elsewhere"))
    store.save(SERIES, past_of([5]), "begin")
    assert isinstance(history_store.set_aside(found), HistoryDamagedError)
    assert loaded(store) == past_of([5])


def a_directory(path: Path) -> None:
    path.mkdir(parents=True)


def a_pipe(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)


def below_a_file(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file")


def of_another_program(path: Path) -> None:
    path.parent.mkdir(parents=True)
    alter(path, "CREATE TABLE precious (x)", "PRAGMA user_version = 1")


def of_a_newer_pgtop(path: Path) -> None:
    HistoryStore(path).save(SERIES, past_of([5]), "begin")
    alter(path, "PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (a_directory, "Is a directory"),
        (a_pipe, "is not a file"),
        (below_a_file, "Not a directory"),
        (of_another_program, "is not a pgtop history"),
        (of_a_newer_pgtop, "a newer pgtop wrote"),
    ],
)
def test_a_foreign_file_is_left_alone(
    store: HistoryStore, path: Path, made: Callable[[Path], None], words: str
) -> None:
    """An error that is not damage says so; nothing is renamed, removed or written."""
    made(path)
    before = {each: each.stat().st_mtime_ns for each in path.parent.parent.rglob("*")}
    for call in (lambda: store.load(SERIES), lambda: store.save(SERIES, past_of([5]), "begin")):
        with pytest.raises(HistoryError, match=words) as raised:
            call()
        assert not isinstance(raised.value, HistoryDamagedError | HistoryBusyError)
    assert {each: each.stat().st_mtime_ns for each in path.parent.parent.rglob("*")} == before


def test_a_file_that_is_named_by_mistake_is_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("precious")
    with pytest.raises(HistoryError, match="is not a pgtop history"):
        HistoryStore(notes).load(SERIES)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    assert notes.read_text() == "precious"


def test_a_disk_without_room_is_told_and_harms_nothing(store: HistoryStore, path: Path) -> None:
    """What was there before is there after; with room again, it goes on."""
    past = past_of([5] * 50)
    store.save(SERIES, past, "begin")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        with pytest.raises(HistoryError) as raised:
            store.save(SERIES, past_of([6] * 3_000), "add")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert not isinstance(raised.value, HistoryDamagedError)
    assert loaded(store) == past
    assert store.save(SERIES, past_of([6] * 3_000), "add")


def test_a_symbolic_link_leads_to_the_file(tmp_path: Path, path: Path) -> None:
    """Also when it is damaged: the link stays, and leads to a new one."""
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    HistoryStore(link).save(SERIES, past_of([5]), "begin")
    assert count(path, "series") == 1
    path.write_text("garbage")
    with pytest.raises(HistoryDamagedError):
        HistoryStore(link).load(SERIES)
    HistoryStore(link).save(SERIES, past_of([5]), "begin")
    assert link.is_symlink()
    assert (count(path, "series"), len(set_aside(path))) == (1, 1)


def test_times_rise_in_what_is_loaded(store: HistoryStore) -> None:
    store.save(SERIES, past_of([n % 50 for n in range(9_000)], 1.0), "begin")
    for tier in loaded(store).tiers:
        assert all(one.at < other.at for one, other in pairwise(tier))
