"""A recording with other names, in one file that can be sent to somebody."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.over_recording import DiagnosisOfRecording, in_order
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage
from pgtop.core.recorded import Diagnosed, Event, Seen
from pgtop.core.scrubbing import NameKind, Scrubber
from pgtop.errors import HistoryError
from pgtop.history.day_file import write
from pgtop.history.file_safety import shown
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore, ServerKey

if TYPE_CHECKING:
    import sqlite3

_POLLS_AT_ONCE: Final = 150
_EVER: Final = 2**62

Answer = TypeVar("Answer")


class _OneFile(RecordingStore):
    """A store whose polls all go into one new file, and are kept."""

    def __init__(self, path: Path, server: ServerKey) -> None:
        super().__init__(path.parent, server)
        self.path = path

    def write(self, work: "Callable[[sqlite3.Connection], Answer]") -> Answer:
        return write(self.path, {"server": self.server.label}, work)


def write_scrubbed(
    recording: Recording,
    path: Path,
    warn_at: float,
    thresholds: Thresholds = STANDARD,
    progress: Callable[[float], None] = lambda _: None,
) -> int:
    """Write a recording with other names into a new file of mode 0600; return its bytes.

    The findings are those of a diagnosis of what is written, made with `warn_at` (a fraction of the slots)
    and these thresholds: so their sentences name nothing else either. `progress` hears the part that is done,
    from 0 to 1. Raises HistoryError if there is such a file already, or if it cannot be written.
    """
    if os.path.lexists(path):
        raise _exists(path)
    try:
        with TemporaryDirectory(prefix=".pgtop-", dir=path.parent) as directory:
            made = Path(directory, "scrubbed.sqlite3")
            recorder = Recorder(_OneFile(made, _key(recording)), Kept.FINGERPRINTS)
            for number, each in enumerate(_scrubbed(recording, warn_at, thresholds, progress), start=1):
                if isinstance(each, Seen):
                    recorder.polled(each)
                else:
                    recorder.happened(each)
                if number % _POLLS_AT_ONCE == 0:
                    recorder.write(recorder.take())
            recorder.write(recorder.take(), is_last=True)
            _put(made, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise HistoryError(
            f"{shown(path)} cannot be written ({error.strerror or error})", "name another file with -o"
        ) from error
    return path.stat().st_size


def _exists(path: Path) -> HistoryError:
    return HistoryError(f"{shown(path)} is there already", "name another file with -o")


def _put(made: Path, path: Path) -> None:
    """Give a file its name, unless something has that name by now. Raises OSError."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with made.open("rb") as source, os.fdopen(descriptor, "wb") as target:
                shutil.copyfileobj(source, target)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise


def _key(recording: Recording) -> ServerKey:
    """Return the key of a scrubbed recording: the host that its polls name first, under its other name."""
    position = recording.first()
    while position is not None:
        result = recording.seen(position).result
        if isinstance(result, Snapshot):
            return ServerKey(Scrubber().server(result.server).address, 0)
        position = recording.next(position)
    return ServerKey(Scrubber().name(NameKind.HOST, "?"), 0)


def _scrubbed(
    recording: Recording, warn_at: float, thresholds: Thresholds, progress: Callable[[float], None]
) -> Iterator[Seen | Event]:
    scrubber, diagnosis = Scrubber(), DiagnosisOfRecording(warn_at, thresholds)
    first, last = recording.first_at, recording.last_at
    span = max(1, last - first)
    waiting: list[Diagnosed] = []
    for each in in_order(recording.between(0, _EVER), recording.events(0, _EVER)):
        if isinstance(each, Diagnosed):
            waiting.append(each)
            continue
        if isinstance(each, Seen):
            progress((each.at - first) / span)
            scrubbed: Seen | Event = scrubber.seen(each)
        else:
            scrubbed = scrubber.event(each)
        diagnosis.take(scrubbed)
        yield scrubbed
        if isinstance(each, Seen) and not isinstance(each.result, Outage):
            yield from _diagnosed(waiting, each.at, diagnosis)
            waiting = [one for one in waiting if one.at > each.at]
    yield from map(scrubber.event, waiting)


def _diagnosed(waiting: Iterable[Diagnosed], now: int, diagnosis: DiagnosisOfRecording) -> Iterator[Event]:
    """Yield what the diagnosis says now, for each of those that were recorded until now."""
    found = tuple(msgspec.structs.replace(each, backends=(), remedy=None) for each in diagnosis.findings)
    for each in waiting:
        if each.at <= now:
            yield Diagnosed(each.at, found)
