"""The weight of a recording, the CPU that a poll of it takes, and the time in which one is found again."""

import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pgtop.core.activity import MICROSECONDS
from pgtop.core.recorded import Seen
from pgtop.history.recorder import Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore
from tests.builders import SERVER_KEY
from tests.support.long_recordings import busy

_HOUR = 1_800
_BATCH = 5


class Weighed(NamedTuple):
    """The figures of an hour, polled every two seconds, with 5% of the sessions changing each time."""

    megabytes: float
    cpu_ms: float
    """For one poll: what was collected, compressed and written, and the disk's part of this process."""
    seek_ms: float
    """The median of moments chosen at random, in a recording that was just opened."""
    open_ms: float


def weighed(sessions: int) -> Weighed:
    """Record an hour of so many sessions, and look into it."""
    with tempfile.TemporaryDirectory() as root:
        store = RecordingStore(Path(root), SERVER_KEY)
        recorder = Recorder(store)
        cpu_ns = 0
        batch: list[Seen] = []
        for seen in busy(sessions, _HOUR, 0.05):
            batch.append(seen)
            if len(batch) == _BATCH:
                begun = time.process_time_ns()
                for each in batch:
                    recorder.polled(each)
                recorder.write(recorder.take())
                cpu_ns += time.process_time_ns() - begun
                batch.clear()
        megabytes = sum(path.stat().st_size for path in store.files()) / 1e6
        seek_ms, open_ms = _seeks_ms(store.files())
    return Weighed(megabytes, cpu_ns / 1e6 / _HOUR, seek_ms, open_ms)


def _seeks_ms(files: list[Path]) -> tuple[float, float]:
    chance = random.Random(1)  # noqa: S311 - not a secret
    begun = time.perf_counter()
    recording = Recording(files)
    open_ms = (time.perf_counter() - begun) * 1e3
    first, last = recording.first_at, recording.last_at
    found = []
    for _ in range(30):
        moment = first + chance.randrange(last - first + MICROSECONDS)
        begun = time.perf_counter()
        position = recording.at(moment)
        if position is not None:
            recording.seen(position)
        found.append((time.perf_counter() - begun) * 1e3)
    return median(found), open_ms
