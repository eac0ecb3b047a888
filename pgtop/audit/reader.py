"""The audit log read back: one entry for each victim, whatever became of its lines.

A log is read twice and never held whole: first the outcomes, without the statements, then the attempts, each
of which then knows its outcome.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from pgtop.audit.log import AuditLine
from pgtop.audit.rotating_files import LogPart, numbered_lines, reading

ATTEMPT: Final = "attempt"
OUTCOME: Final = "outcome"

_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)
"""Two days, as no zone is further from UTC than one, and a line's own may be another than the reader's."""
_LONGEST_RUN_SECONDS: Final = 3600.0
"""A victim's two lines are never further apart than this."""

_Line = TypeVar("_Line")
_Key: TypeAlias = tuple[str, int, str | None]


class AuditEntry(msgspec.Struct, frozen=True):
    """The action taken on one victim."""

    line: AuditLine
    """Its attempt; its outcome where the attempt's line is lost."""
    at: datetime
    """The time of the line, by the clock of the host that pgtop ran on."""
    outcome: str | None
    """None where none was written: pgtop was killed in between, could not write, or is at it still."""
    detail: str | None
    usage_after: float | None
    """As the outcome's line has it."""
    outcome_time: str | None


class Unreadable(msgspec.Struct, frozen=True):
    """A line that was skipped: torn by a crash, or not written by pgtop."""

    path: Path
    line: int


class PassedOver:
    """The number of lines, and of other programs' files, that were skipped, and the first few of them."""

    REMEMBERED: Final = 3

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Unreadable] = []
        self.files = 0
        self.first_files: list[tuple[Path, int]] = []
        """Their paths and users."""

    def add(self, unreadable: Unreadable) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < self.REMEMBERED:
            self.first.append(unreadable)

    def add_file(self, path: Path, uid: int) -> None:
        """One more file that another user has laid beside the log."""
        self.files += 1
        if len(self.first_files) < self.REMEMBERED:
            self.first_files.append((path, uid))


class _Outcome(msgspec.Struct, frozen=True):
    """An outcome's line, without what its attempt says as well."""

    event: Literal["attempt", "outcome"]
    plan: str
    time: str
    pid: int
    backend_start: str | None
    outcome: str | None = None
    detail: str | None = None
    usage_after: float | None = None


def read_entries(path: Path, passed_over: PassedOver, since: datetime | None = None) -> Iterator[AuditEntry]:
    """The log's entries in the order of their attempts, from `since` on, a time with its zone.

    What is written while it is read is left out. Raises OSError.
    """
    not_before = 0.0 if since is None else since.timestamp() - _LONGEST_RUN_SECONDS
    with reading(path, not_before, passed_over.add_file) as parts:
        outcomes = _outcomes(parts)
        for line in _readable(parts, passed_over):
            at = _moment(line.time)
            if at is not None and (entry := _entry(line, at, outcomes)) and (since is None or at >= since):
                yield entry


def _outcomes(parts: Iterable[LogPart]) -> dict[_Key, _Outcome]:
    """The outcome of each victim that has one."""
    found: dict[_Key, _Outcome] = {}
    decoder = msgspec.json.Decoder(_Outcome)
    for part in parts:
        for _, raw in numbered_lines(part):
            outcome = _decoded(decoder, raw)
            if outcome is not None and outcome.event == OUTCOME and _moment(outcome.time) is not None:
                found[outcome.plan, outcome.pid, outcome.backend_start] = outcome
    return found


def _readable(parts: Iterable[LogPart], passed_over: PassedOver) -> Iterator[AuditLine]:
    decoder = msgspec.json.Decoder(AuditLine)
    for part in parts:
        for number, raw in numbered_lines(part):
            line = _decoded(decoder, raw)
            if line is not None and line.event in (ATTEMPT, OUTCOME) and _moment(line.time) is not None:
                yield line
            elif raw.strip():
                passed_over.add(Unreadable(part.path, number))


def _entry(line: AuditLine, at: datetime, outcomes: dict[_Key, _Outcome]) -> AuditEntry | None:
    """The victim's entry, by its attempt, which takes the outcome; an outcome that is left makes its own."""
    outcome = outcomes.pop((line.plan, line.pid, line.backend_start), None)
    if outcome is not None:
        return AuditEntry(line, at, outcome.outcome, outcome.detail, outcome.usage_after, outcome.time)
    return AuditEntry(line, at, None, None, None, None) if line.event == ATTEMPT else None


def _decoded(decoder: "msgspec.json.Decoder[_Line]", raw: bytes) -> _Line | None:
    """The line; None where it cannot be read."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _moment(text: str) -> datetime | None:
    """A time with its zone; None for anything else, and where no zone has a year for it."""
    try:
        moment = datetime.fromisoformat(text)
        # Asked of it later, to be compared and shown: beyond the years 1 to 9999 that cannot be answered.
        return moment if moment.tzinfo and _FIRST <= moment <= _LAST else None
    except ValueError:
        return None
