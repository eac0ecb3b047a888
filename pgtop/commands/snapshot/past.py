"""The face of `pgtop snapshot --at`: one poll of a recording, with what the diagnosis says of it."""

from typing import Final

import msgspec

from pgtop.commands.progress import Progress
from pgtop.commands.text_table import local_moment, local_zone, paragraph
from pgtop.core.activity import MICROSECONDS, Snapshot, seconds_between
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.over_recording import DiagnosisOfRecording, in_order
from pgtop.core.json_text import timestamp
from pgtop.core.outage import Outage
from pgtop.core.recorded import Seen, without_statements
from pgtop.core.snapshot_json import OutageWords, RecordedReport, SnapshotReport, snapshot_report
from pgtop.core.text import ago
from pgtop.errors import UsageError
from pgtop.history.recording import Recording

_WARM_UP: Final = 900 * MICROSECONDS
"""The time before a poll that its diagnosis takes into account: as far back as traffic counts."""
_POLLS_MISSING: Final = 3
"""A poll that is older than this many intervals is not the one of that moment."""


class LookBack(msgspec.Struct, frozen=True):
    """A recorded snapshot and its findings."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    asked_at: int
    """The moment that was asked for, microseconds by the server's clock."""
    outage: Outage | None
    """The outage at that moment, if the snapshot is from before it."""
    is_far: bool
    """True if nothing was recorded between the snapshot, or the outage's polls, and that moment."""


def look_back(recording: Recording, at: int, warn_at: float, *, hides_queries: bool = False) -> LookBack:
    """Return the last snapshot at or before a moment (microseconds) of a recording that has polls.

    `warn_at` is a fraction of the slots. Raises UsageError if the server had not answered until then.
    """
    position = recording.at(at)
    found = None if position is None else recording.seen(position)
    outage = found.result if found is not None and isinstance(found.result, Outage) else None
    is_far = found is not None and at - found.at > _POLLS_MISSING * found.interval_seconds * MICROSECONDS
    while position is not None and not isinstance(recording.seen(position).result, Snapshot):
        position = recording.previous(position)
    if position is None:
        said = f" ({outage.message})" if outage is not None else ""
        raise UsageError(
            f"the server had not answered by {local_moment(at)}{said}",
            "give a later --at; pgtop record list shows what there is",
        )
    last = recording.seen(position)
    diagnosis = DiagnosisOfRecording(warn_at)
    snapshot = last.result
    since = last.at - _WARM_UP
    with Progress("reading the recording") as progress:
        polls = progress.over(recording.between(since, last.at), lambda each: (each.at - since) / _WARM_UP)
        for each in in_order(polls, recording.events(since, last.at)):
            known = without_statements(each) if hides_queries and isinstance(each, Seen) else each
            diagnosis.take(known)
            if isinstance(known, Seen) and isinstance(known.result, Snapshot):
                snapshot = known.result
    if not isinstance(snapshot, Snapshot):
        raise TypeError("a recording gave back another poll than before")
    return LookBack(snapshot, diagnosis.findings, at, outage, is_far)


def past_lines(seen: LookBack, now: int, width: int | None) -> list[str]:
    """Return the lines above the table: that it is the past, and what filled the server then.

    `now` is in microseconds; each line has at most `width` cells.
    """
    taken_at = seen.snapshot.taken_at
    age = ago(seconds_between(taken_at, now))
    said = [f"the past, as recorded at {local_moment(taken_at)} {local_zone()}, {age}: not live"]
    if seen.outage is not None:
        said.append(f"no data at {local_moment(seen.asked_at)}: {seen.outage.message}; this was before")
    elif seen.is_far:
        said.append(f"nothing was recorded from then until {local_moment(seen.asked_at)}")
    said += [f"{each.mark} {each.sentence}" for each in seen.findings]
    return [line for each in said for line in paragraph(each, width)]


def past_report(seen: LookBack, warn_at: float, now: int) -> SnapshotReport:
    """Return the report of a recorded snapshot; `now` is in microseconds."""
    age = seconds_between(seen.snapshot.taken_at, now) or 0.0
    outage = msgspec.UNSET if seen.outage is None else OutageWords(seen.outage.kind, seen.outage.message)
    recorded = RecordedReport(timestamp(seen.asked_at), round(age, 3), outage)
    return snapshot_report(seen.snapshot, warn_at, seen.findings, recorded)
