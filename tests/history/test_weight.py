"""The weight of a recording: bytes for an hour, and a day of it."""

import time
from pathlib import Path

import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.history.graph_past import past_of
from pgtop.history.pruning import Bounds
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore
from tests.builders import NOW, SERVER_KEY
from tests.support.long_recordings import busy
from tests.support.polls import seconds_of, snapshot_of

HOUR = 1_800
"""The polls of an hour, one every two seconds."""


def record(
    store: RecordingStore,
    sessions: int,
    polls: int,
    changing: float,
    patch: pytest.MonkeyPatch,
    batch: int = 5,
) -> None:
    """Record polls, ten seconds at a time as the programs do; the host's clock goes with the server's."""
    recorder = Recorder(store, Kept.FINGERPRINTS)
    now = 0.0
    patch.setattr(time, "time", lambda: now)
    patch.setattr(time, "time_ns", lambda: round(now * 10**9))
    for number, seen in enumerate(busy(sessions, polls, changing)):
        recorder.polled(seen)
        if number % batch == batch - 1:
            now = seen.at / MICROSECONDS
            recorder.write(recorder.take())


@pytest.mark.parametrize(("sessions", "most"), [(200, 1_000_000), (1_000, 5_000_000)])
def test_an_hour_is_light(tmp_path: Path, sessions: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 5% of the sessions changing from poll to poll; measured over a quarter of one."""
    store = RecordingStore(tmp_path, SERVER_KEY)
    record(store, sessions, HOUR // 4, 0.05, monkeypatch)
    (path,) = store.files()
    assert path.stat().st_size * 4 <= most
    assert path.stat().st_size * 4 >= most / 20


def test_a_day_is_recorded_bounded_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """43,200 polls of few sessions, with room for half of them: the rest is told by its counts."""
    store = RecordingStore(tmp_path, SERVER_KEY, Bounds(keep_seconds=12 * 3600))
    record(store, 8, 24 * HOUR, 0.05, monkeypatch, batch=50)
    files = store.files()
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) < 8_000_000
    recording = Recording(files)
    assert recording.problems == []
    end = recording.last_at
    assert abs(end - NOW - 86_400 * MICROSECONDS) < 60 * MICROSECONDS
    assert 12 * 3600 <= (end - recording.first_at) / MICROSECONDS < 12 * 3600 + 1_300
    past = past_of(recording.counts(end - 86_400 * MICROSECONDS, end), "7", end + 1)
    assert past is not None
    assert (past.tiers[-1][-1].at - past.tiers[-1][0].at) / MICROSECONDS > 86_000
    assert not any(bucket.starts for bucket in past.tiers[-1][1:])
    for hours in (0.1, 5, 11.9):
        position = recording.at(end - round(hours * 3600 * MICROSECONDS))
        assert position is not None
        found = recording.seen(position)
        assert abs(seconds_of([found])[0] - (seconds_of_end(end) - hours * 3600)) < 3
        assert len(snapshot_of(found).backends) == 8


def seconds_of_end(end: int) -> float:
    return (end - NOW) / MICROSECONDS
