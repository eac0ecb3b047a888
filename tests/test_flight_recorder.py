"""What a face records: notices told once, threads that are missing, settings, and the history of before."""

import sqlite3
import threading
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import OutageBegan, OutageEnded, ServerChanged
from pgtop.core.sample_history import TIERS, Past
from pgtop.errors import HistoryBusyError
from pgtop.flight_recorder import BUSY_TRIES, FlightRecorder, kept_part
from pgtop.history.recorder import MOST_WAITING, Kept
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore
from pgtop.settings.defaults_and_bounds import Config
from tests.builders import NOW, SERVER, SERVER_KEY, backend, past_of, snapshot
from tests.support.polls import moment, played, seconds_of

FORMER = """
PRAGMA application_id = 1885828208;
PRAGMA user_version = 1;
CREATE TABLE series (id INTEGER PRIMARY KEY, address INTEGER, cluster TEXT, written_at INTEGER,
    latest_at INTEGER, unbroken_since INTEGER, lows BLOB);
CREATE TABLE bucket (series INTEGER, tier INTEGER, number INTEGER, at INTEGER, total INTEGER, idle INTEGER,
    active INTEGER, slots INTEGER, in_transaction INTEGER, hidden INTEGER, starts INTEGER);
"""


def former_file(path: Path, pasts: dict[str, Past]) -> None:
    """Write the history file of earlier versions, with these pasts by cluster."""
    connection = sqlite3.connect(path)
    connection.executescript(FORMER)
    for number, (cluster, past) in enumerate(pasts.items()):
        lows = msgspec.json.encode(past.lows)
        row = (number, SERVER_KEY.address, cluster, 0, past.latest_at, past.unbroken_since, lows)
        connection.execute("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        for tier, buckets in enumerate(past.tiers):
            for each in buckets:
                sample = each.sample
                states = (sample.total, sample.idle, sample.active, sample.slots, sample.in_transaction)
                at = (number, tier, each.at // TIERS[tier][0], each.at)
                connection.execute(
                    "INSERT INTO bucket VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*at, *states, sample.hidden, each.starts),
                )
    connection.commit()
    connection.close()


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "recordings", SERVER_KEY)


@pytest.fixture
def recorder(store: RecordingStore) -> FlightRecorder:
    return FlightRecorder(store, Kept.STATEMENTS, "dashboard", "ops")


def poll(recorder: FlightRecorder, seconds: float) -> None:
    recorder.polled(snapshot(backend(), taken_at=moment(seconds)), 2.0)


def recorded(store: RecordingStore) -> list[float]:
    return seconds_of(played(Recording(store.files())))


async def test_a_dashboard_that_is_closed_at_once_is_recorded(
    store: RecordingStore, recorder: FlightRecorder
) -> None:
    poll(recorder, 0)
    await recorder.finish()
    assert recorded(store) == [0]


async def test_nothing_is_made_before_there_is_something(
    store: RecordingStore, recorder: FlightRecorder
) -> None:
    await recorder.finish()
    assert not store.directory.exists()


class Busy(RecordingStore):
    """A file that is locked whenever one comes."""

    def write(self, work: object) -> object:  # type: ignore[override]
        raise HistoryBusyError("the recording is not kept: others keep it locked")


async def test_a_file_that_is_locked_for_a_moment_does_not_matter(tmp_path: Path) -> None:
    """It is said where it stays so."""
    recorder = FlightRecorder(Busy(tmp_path, SERVER_KEY), Kept.STATEMENTS, "daemon", "ops")
    for number in range(BUSY_TRIES):
        assert recorder.notice == ""
        poll(recorder, number * 2)
        await recorder.finish()
    assert "locked" in recorder.notice


async def test_a_lack_of_threads_is_told_and_loses_nothing(
    store: RecordingStore, recorder: FlightRecorder
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    poll(recorder, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        await recorder.finish()
    assert "can't start new thread" in recorder.notice
    poll(recorder, 2)
    await recorder.finish()
    assert recorded(store) == [0, 2]


class Broken(RecordingStore):
    """A store with a mistake in it."""

    def write(self, work: object) -> object:  # type: ignore[override]
        raise KeyError("\x1b oops")


async def test_a_mistake_of_the_recorder_ends_nothing(tmp_path: Path) -> None:
    recorder = FlightRecorder(Broken(tmp_path, SERVER_KEY), Kept.STATEMENTS, "daemon", "ops")
    poll(recorder, 0)
    await recorder.finish()
    assert recorder.notice.startswith("the recording is not kept: KeyError")
    assert recorder.notice.isprintable()


async def test_a_damaged_file_costs_no_poll(store: RecordingStore, recorder: FlightRecorder) -> None:
    """It is set aside and said, and the same write goes to a new one."""
    poll(recorder, 0)
    await recorder.finish()
    store.files()[0].write_text("garbage")
    poll(recorder, 2)
    await recorder.finish()
    assert "damaged" in recorder.notice
    assert recorded(store) == [2]


async def test_a_disk_that_hangs_takes_no_more_memory(recorder: FlightRecorder) -> None:
    for number in range(MOST_WAITING + 100):
        poll(recorder, number * 2)
    await recorder.finish()
    assert len(recorded(recorder.store)) == MOST_WAITING


async def test_an_outage_and_its_end_are_events(store: RecordingStore, recorder: FlightRecorder) -> None:
    """At the first poll without an answer, and at the first with one; and a restart in between."""
    poll(recorder, 0)
    for _ in range(3):
        recorder.polled(Outage(OutageKind.LOST, "lost"), 2.0)
    later = msgspec.structs.replace(
        SERVER, identity=msgspec.structs.replace(SERVER.identity, postmaster_start=NOW)
    )
    recorder.polled(snapshot(backend(), server=later, taken_at=moment(60)), 2.0)
    await recorder.finish()
    events = Recording(store.files()).events(0, 2**62)
    assert [type(each) for each in events] == [OutageBegan, OutageEnded, ServerChanged]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, Kept.FINGERPRINTS),
        ({"record_queries": True}, Kept.STATEMENTS),
        ({"hide_queries": True, "record_queries": True}, Kept.SESSIONS),
        ({"record": False, "record_queries": True}, Kept.COUNTS),
    ],
)
def test_settings_say_how_much_is_recorded(settings: dict[str, bool], kept: Kept) -> None:
    assert kept_part(Config(**settings)) is kept  # type: ignore[arg-type]


async def test_the_history_of_before_is_taken_over_once(tmp_path: Path, store: RecordingStore) -> None:
    """The graph goes on with it: at first from the old file, then from the recording alone."""
    path = tmp_path / "history.sqlite3"
    past = past_of([number % 50 + 3 for number in range(9_000)])
    other = past_of([90] * 40)
    former_file(path, {"7": past, "8": other})
    end = past.latest_at + 2 * MICROSECONDS
    recorder = FlightRecorder(store, Kept.STATEMENTS, "dashboard", "ops", path)
    at_first = await recorder.past("7", end)
    assert at_first == past
    recorder.polled(snapshot(backend(), taken_at=end), 2.0)
    await recorder.finish()
    path.unlink()
    found = await recorder.past("7", end)
    assert found is not None
    assert [each.at for each in found.tiers[-1]] == [each.at for each in past.tiers[-1]]
    assert [each.sample.total for each in found.tiers[-1]] == [each.sample.total for each in past.tiers[-1]]
    assert [each.starts for each in found.tiers[-1]].count(True) == 1
    assert found.latest_at == past.latest_at
    elsewhere = await recorder.past("8", end)
    assert elsewhere is not None
    assert {each.sample.total for each in elsewhere.tiers[-1]} == {90}
    chunks = sum(len(run.counts) for run in Recording(store.files()).counts(0, 2**62))
    former_file(path, {"7": past})
    recorder.polled(snapshot(backend(), taken_at=end + MICROSECONDS), 2.0)
    await recorder.finish()
    assert sum(len(run.counts) for run in Recording(store.files()).counts(0, 2**62)) == chunks + 1


async def test_a_damaged_history_of_before_is_left_alone(tmp_path: Path, store: RecordingStore) -> None:
    path = tmp_path / "history.sqlite3"
    path.write_text("garbage")
    recorder = FlightRecorder(store, Kept.STATEMENTS, "dashboard", "ops", path)
    assert await recorder.past("7", NOW) is None
    poll(recorder, 0)
    await recorder.finish()
    assert (recorder.notice, recorded(store)) == ("", [0])
    assert path.read_text() == "garbage"
