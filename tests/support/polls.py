"""Polls made of values, for recorders that are given them and recordings that give them back."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pgtop.core.activity import MICROSECONDS, Backend, Snapshot
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import Seen
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore
from tests.builders import NOW, SERVER_KEY, backend, snapshot


def moment(seconds: float) -> int:
    """A time that many seconds after the first poll."""
    return NOW + round(seconds * MICROSECONDS)


def poll(seconds: float, *backends: Backend, every: float = 2.0, facts: Facts | None = None) -> Seen:
    """A poll that many seconds after the first one, of these sessions; of one that is idle without any."""
    taken = snapshot(*(backends or (backend(),)), taken_at=moment(seconds))
    return Seen(taken.taken_at, taken, every, facts or Facts())


def polls(numbers: Iterable[float], every: float = 2.0) -> list[Seen]:
    """Polls of one session, `every` so many seconds."""
    return [poll(number * every, every=every) for number in numbers]


def failed(seconds: float, every: float = 2.0) -> Seen:
    """A poll without an answer."""
    return Seen(moment(seconds), Outage(OutageKind.LOST, "the connection was lost"), every)


def hidden(seconds: float) -> Seen:
    """A poll by a role that sees no states."""
    one = backend(backend_start=None, state_change=None, query_start=None, state=None)
    return poll(seconds, one)


def write(recorder: Recorder, polls: Iterable[Seen], *, is_last: bool = False) -> None:
    """Have a recorder write these polls now."""
    for each in polls:
        recorder.polled(each)
    recorder.write(recorder.take(), is_last=is_last)


def recorder_in(root: Path, kept: Kept = Kept.STATEMENTS) -> Recorder:
    """A new program's recorder of the server of the builders."""
    return Recorder(RecordingStore(root, SERVER_KEY), kept)


def recording_in(root: Path) -> Recording:
    """What was recorded of the server of the builders."""
    return Recording(RecordingStore(root, SERVER_KEY).files())


def played(recording: Recording) -> list[Seen]:
    """All polls of a recording, one after the other."""
    found = []
    position = recording.first()
    while position is not None:
        found.append(recording.seen(position))
        position = recording.next(position)
    return found


def seconds_of(polls: Sequence[Seen]) -> list[float]:
    """The times of polls, in seconds after the first one of a test."""
    return [(each.at - NOW) / MICROSECONDS for each in polls]


def snapshot_of(seen: Seen) -> Snapshot:
    """The snapshot of a poll that was answered."""
    assert isinstance(seen.result, Snapshot)
    return seen.result
