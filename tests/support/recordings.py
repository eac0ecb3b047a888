"""Recordings made of values: the files that the recorder would have written."""

from collections.abc import Iterable
from pathlib import Path

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.outage import Outage
from pgtop.core.recorded import Event, Seen
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore, ServerKey
from tests.builders import NOW, SERVER_KEY


def seen(
    result: Snapshot | Outage,
    seconds: float = 0.0,
    facts: Facts = Facts(),  # noqa: B008 - frozen
) -> Seen:
    """A poll at its snapshot's time, or an outage that many seconds after NOW."""
    at = result.taken_at if isinstance(result, Snapshot) else NOW + round(seconds * MICROSECONDS)
    return Seen(at, result, 2.0, facts)


def recorded(
    root: Path,
    polls: Iterable[Seen],
    events: Iterable[Event] = (),
    *,
    kept: Kept = Kept.STATEMENTS,
    server: ServerKey = SERVER_KEY,
) -> list[Path]:
    """Record these polls and events of a server under a directory; return the files."""
    store = RecordingStore(root, server)
    recorder = Recorder(store, kept)
    for poll in polls:
        recorder.polled(poll)
    for event in events:
        recorder.happened(event)
    recorder.write(recorder.take(), is_last=True)
    return store.files()


def recording(root: Path, polls: Iterable[Seen], events: Iterable[Event] = ()) -> Recording:
    """Record these polls and events, and return the recording of them."""
    return Recording(recorded(root, polls, events))
