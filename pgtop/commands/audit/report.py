"""The face of `pgtop audit`: the audit log as a table for people or as JSON lines for scripts."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pgtop.audit import rotating_files
from pgtop.audit.log import Operator
from pgtop.audit.reader import AuditEntry, PassedOver, read_entries
from pgtop.commands.text_table import TextColumn, table_lines
from pgtop.core.json_text import json_line
from pgtop.core.masking import masked
from pgtop.core.name_patterns import is_application
from pgtop.core.session_labels import LOCAL, NO_APPLICATION, NO_DATABASE, NO_USER, label
from pgtop.core.text import clip, duration, plural, printable
from pgtop.errors import AuditError, UsageError
from pgtop.safe_files import UnsafeFileError, user_name

NO_OUTCOME: Final = "no outcome written"
WITHOUT_OUTCOME: Final = "without an outcome"

_WHY_NONE: Final = (
    f"{WITHOUT_OUTCOME}: it may have been signalled; pgtop was killed first,",
    "could not write the log, or is still running",
)
_LINES_AT_ONCE: Final = 256

Show: TypeAlias = Callable[[str], None]


class Question(msgspec.Struct, frozen=True):
    """A log, and the entries of it that are asked for."""

    path: Path
    named: bool
    """True if a person named the log: it must then exist."""
    since_seconds: float | None = None
    """The greatest age of an attempt, in seconds; None for any."""
    applications: tuple[str, ...] = ()
    """Globs for the application, without regard to case; all applications if there is none."""
    hides_queries: bool = False
    """True to leave out the statements that the log has."""


def show_table(question: Question, width: Callable[[], int], show: Show, warn: Show) -> None:
    """Print the table in lines of at most `width` cells. It raises AuditError and UsageError."""
    if not _is_there(question):
        path = printable(masked(str(question.path)))
        show(f"nothing was terminated or cancelled: no audit log yet at {path}\n")
        return
    passed_over = PassedOver()
    rows, counts = [], Counter[str | None]()
    for entry in _entries(question, passed_over):
        rows.append(_row(entry))
        counts[entry.outcome] += 1
    show("".join(clip(line, width()).rstrip() + "\n" for line in _lines(question, rows, counts, width())))
    _tell(passed_over, warn)


def show_json(question: Question, show: Show, warn: Show) -> None:
    """Print one line of JSON for each entry. It raises AuditError and UsageError."""
    if not _is_there(question):
        warn(f"nothing was terminated or cancelled: no audit log yet at {question.path}")
        return
    passed_over = PassedOver()
    entries = _entries(question, passed_over)
    lines = (json_line(_fields(entry, hides_query=question.hides_queries)) for entry in entries)
    while some := "".join(islice(lines, _LINES_AT_ONCE)):
        show(some)
    _tell(passed_over, warn)


def _is_there(question: Question) -> bool:
    try:
        there = rotating_files.exists(question.path)
    except OSError as error:
        raise _unreadable(question.path, error) from error
    if not there and question.named:
        raise UsageError(f"there is no audit log {question.path}", "use --audit-log PATH")
    return there


def _entries(question: Question, passed_over: PassedOver) -> Iterator[AuditEntry]:
    """Yield the entries that are asked for."""
    since, globs = None, question.applications or ("*",)
    if question.since_seconds is not None:
        since = datetime.now(UTC) - timedelta(seconds=question.since_seconds)
    try:
        for entry in read_entries(question.path, passed_over, since):
            name = entry.line.application_name or ""
            if any(is_application(glob, name, protects=True) for glob in globs):
                yield entry
    except OSError as error:
        raise _unreadable(question.path, error) from error


def _unreadable(path: Path, error: OSError) -> AuditError:
    problem = f"cannot read the audit log {path} ({error.strerror or error})"
    mend = error.mend if isinstance(error, UnsafeFileError) else "read it as the user who wrote it"
    return AuditError(problem, f"{mend}, or name another with --audit-log PATH")


def _tell(passed_over: PassedOver, warn: Show) -> None:
    """Warn of the files that were not trusted, and of the lines that could not be read."""
    if passed_over.files:
        named = [f"{path} of {user_name(uid)}" for path, uid in passed_over.first_files]
        where = _with_rest(named, passed_over.files)
        many = plural(passed_over.files, "file")
        warn(f"skipped {many} beside the audit log that other users may have written: {where}")
    if not passed_over.count:
        return
    named = [f"{each.path} line {each.line}" for each in passed_over.first]
    where = _with_rest(named, passed_over.count)
    warn(f"skipped {plural(passed_over.count, 'line')} of the audit log that cannot be read: {where}")


def _with_rest(named: list[str], number: int) -> str:
    """Return the first few of a number of things, and the number of the others."""
    more = number - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _fields(entry: AuditEntry, *, hides_query: bool) -> dict[str, Any]:
    """Return an entry's fields for the JSON: those of the attempt, and the outcome."""
    fields: dict[str, Any] = msgspec.to_builtins(entry.line)
    del fields["event"]
    return {
        **fields,
        **({"query": None} if hides_query else {}),
        "outcome": entry.outcome,
        "detail": entry.detail,
        "outcome_time": entry.outcome_time,
    }


class _Row(msgspec.Struct, frozen=True):
    """The cells that the table shows of an entry, all of them printable."""

    time: str
    who: str
    face: str
    server: str
    act: str
    pid: str
    application: str
    user: str
    database: str
    client: str
    idle_age: str
    reason: str
    outcome: str


def _row(entry: AuditEntry) -> _Row:
    line = entry.line
    outcome = printable(entry.outcome) or NO_OUTCOME
    return _Row(
        time=f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}",
        who=_who(line.operator),
        face=printable(f"{line.face} as {line.role}" if line.rescue else line.face),
        server=printable(f"{line.server.host}:{line.server.port}"),
        act=printable(f"{line.act}/{line.trigger}"),
        pid=str(line.pid),
        application=label(line.application_name, NO_APPLICATION),
        user=label(line.usename, NO_USER),
        database=label(line.datname, NO_DATABASE),
        client=printable(line.client_addr) or LOCAL,
        idle_age=duration(line.idle_seconds),
        reason=clip(printable(line.reason), 60),
        outcome=clip(f"{outcome}: {printable(entry.detail)}" if entry.detail else outcome, 200),
    )


def _who(operator: Operator) -> str:
    """Return the operator, with the user who called sudo if there is one.

    >>> _who(Operator("root", "ann", "db1")), _who(Operator("ann", None, "db1"))
    ('ann as root@db1', 'ann@db1')
    """
    user = f"{operator.sudo_user} as {operator.user}" if operator.sudo_user else operator.user
    return printable(f"{user}@{operator.host}")


def _lines(question: Question, rows: list[_Row], counts: Counter[str | None], width: int) -> list[str]:
    path, zone = printable(str(question.path)), f"{datetime.now().astimezone():%Z}"
    if not rows:
        asked = "" if question.since_seconds is None else f" in the last {duration(question.since_seconds)}"
        names = printable(" or ".join(question.applications))
        of = f" of {names}" if question.applications else ""
        return [f"nothing{of} was terminated or cancelled{asked}: {path}"]
    lines = [f"{path} · times in {printable(zone)}", "", *_table(rows, width), "", summary(counts)]
    return [*lines, *_WHY_NONE] if counts[None] else lines


def _table(rows: list[_Row], width: int) -> list[str]:
    def column(title: str, name: str, **rest: Any) -> TextColumn:
        return TextColumn(title, [getattr(row, name) for row in rows], **rest)

    return table_lines(
        [
            column("time", "time"),
            column("operator", "who", drop=8),
            column("face", "face", drop=2),
            column("server", "server", drop=3),
            column("action", "act", drop=4),
            column("pid", "pid", align="right"),
            column("application", "application", widest=20),
            column("user", "user", widest=16, drop=9),
            column("database", "database", widest=16, drop=5),
            column("client", "client", drop=1),
            column("idle age", "idle_age", align="right", drop=7),
            column("reason", "reason", widest=40, drop=6),
            column("outcome", "outcome", widest=200),
        ],
        width,
    )


def summary(counts: Counter[str | None]) -> str:
    """Return the number of entries by outcome: the most frequent first, those without an outcome last.

    >>> summary(Counter({None: 1, "changed": 1, "terminated": 24}))
    '24 terminated, 1 changed, 1 without an outcome'
    """
    told = [(outcome, number) for outcome, number in counts.most_common() if outcome is not None]
    words = [f"{number} {printable(outcome)}" for outcome, number in told]
    return ", ".join([*words, *([f"{counts[None]} {WITHOUT_OUTCOME}"] if counts[None] else [])])
