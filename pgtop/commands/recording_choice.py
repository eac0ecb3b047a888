"""The recording that a command line asks for: a server's, or a file's that somebody sent."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgtop.commands.text_table import local_moment
from pgtop.core.activity import MICROSECONDS
from pgtop.core.masking import masked
from pgtop.core.moment_text import parse_moment
from pgtop.core.text import printable
from pgtop.errors import HistoryError, UsageError
from pgtop.history.file_safety import shown
from pgtop.history.recording import Recording
from pgtop.history.store import SUFFIX, recorded_files
from pgtop.settings.resolve import settings_of, target_of

if TYPE_CHECKING:
    import click

    from pgtop.settings.defaults_and_bounds import Config, Given

WHO_RECORDS: Final = "the dashboard and pgtop reap --watch record while they run; see pgtop record list"

_ANOTHER: Final = "name another FILE; see pgtop record list"
_MINUTE: Final = 60 * MICROSECONDS


def chosen_recording(context: "click.Context", config: "Config", target_or_file: str | None) -> Recording:
    """Return the recording of a CONNINFO, of an `@server`, or of a FILE; the default target's for None.

    A FILE is a recording's file, or a directory of such files. It may have counts and events alone; see
    `need_polls`. Raises UsageError if there is no recording, or if it cannot be read.
    """
    path = named_file(target_or_file)
    files = _target_files(context, config) if path is None else files_at(path)
    return recording_of(files)


def named_file(target_or_file: str | None) -> Path | None:
    """Return the path if a text names a recording's file or directory; None for a server.

    >>> [named_file(text) for text in ("shop", "@prod", "postgresql://db1/shop", "host=/tmp", None)]
    [None, None, None, None, None]
    >>> named_file("incident.sqlite3")
    PosixPath('incident.sqlite3')
    """
    text = target_or_file or ""
    if "://" in text or text.startswith("@"):
        return None
    is_path = text.endswith(SUFFIX) or os.sep in text
    if not is_path or ("=" in text and not os.path.lexists(text)):
        return None
    return Path(text)


def files_at(path: Path) -> list[Path]:
    """Return a recording's file, or all those of a directory. Raises UsageError if there is none."""
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir may raise
        return [path]
    files = recorded_files(path)
    if not files:
        raise UsageError(f"there is no recording in {shown(path)}", WHO_RECORDS)
    return files


def recording_of(files: list[Path]) -> Recording:
    """Return the recording of files. Raises UsageError if not one of them can be read."""
    try:
        return Recording(files)
    except HistoryError as error:
        raise UsageError(error.problem, error.mend or _ANOTHER) from error
    except OSError as error:  # a name that is too long, a directory that may not be entered
        raise UsageError(f"{shown(files[0])} cannot be read ({error.strerror})", _ANOTHER) from error


def need_polls(recording: Recording) -> None:
    """Raise UsageError if no poll of a recording can be read."""
    if recording.first() is None:
        name = printable(recording.server) or "this server"
        why = "; ".join(recording.problems) or "only counts and events were kept (--no-record)"
        raise UsageError(f"the recording of {name} has no poll: {why}", WHO_RECORDS)


def moment_in(recording: Recording, given: "Given") -> int:
    """Return the moment that --at names, in microseconds; a minute may begin before the recording does.

    Raises UsageError for anything but a moment of the recording, which must have polls.
    """
    first, last = recording.first_at, recording.last_at
    try:
        moment = parse_moment(given.written, last)
    except ValueError as error:
        raise UsageError(given.source, str(error)) from error
    if first - _MINUTE < moment < last + _MINUTE:
        return min(max(moment, first), last)
    side = "before the recording begins" if moment < first else "after the recording ends"
    raise UsageError(
        f"{given.source} {printable(given.written)} is {local_moment(moment)}, {side}",
        f"it goes from {local_moment(first)} to {local_moment(last)}",
    )


def _target_files(context: "click.Context", config: "Config") -> list[Path]:
    # Imported here: a file that is named needs no target, and nothing of how one connects.
    from pgtop.flight_recorder import recording_store

    store = recording_store(target_of(context, settings_of(context)), config)
    files = store.files()
    if not files:
        name = printable(masked(store.server.label))
        raise UsageError(f"there is no recording of {name} in {shown(config.record_dir)}", WHO_RECORDS)
    return files
