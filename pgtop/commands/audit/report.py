"""The face of `pgtop audit`: the audit log as a table for people or as JSON lines for scripts."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pgtop.audit import rotating_files
from pgtop.audit.log import AuditedServer
from pgtop.audit.reader import AuditEntry, PassedOver, read_entries
from pgtop.commands.audit.table import address, row_of, server_names, summary, table, with_cluster
from pgtop.commands.text_table import paragraph, text_of
from pgtop.core.json_text import json_line
from pgtop.core.masking import masked
from pgtop.core.name_patterns import is_application
from pgtop.core.text import plural, printable, span
from pgtop.errors import AuditError, UsageError
from pgtop.safe_files import UnsafeFileError, user_name

_LINES_AT_ONCE: Final = 256
_SERVERS_NAMED: Final = 10
"""The most servers that an error names."""

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
    servers: tuple[str, ...] = ()
    """Globs for the server's name in the table, or its host alone, without regard to case; () for all."""
    hides_queries: bool = False
    """True to leave out the statements that the log has."""


def show_table(question: Question, width: Callable[[], int | None], show: Show, warn: Show) -> None:
    """Print the table in lines of at most `width` cells. It raises AuditError and UsageError."""
    if not _is_there(question):
        path = printable(masked(str(question.path)))
        show(f"nothing was terminated or cancelled: no audit log yet at {path}\n")
        return
    passed_over = PassedOver()
    rows, outcomes, deciders = [], Counter[str | None](), Counter[str | None]()
    for entry in _entries(question, passed_over):
        rows.append(row_of(entry))
        outcomes[entry.outcome] += 1
        deciders[entry.line.decided_by] += 1
    path, most = printable(str(question.path)), width()
    if rows:
        zone = printable(f"{datetime.now().astimezone():%Z}")
        counted = [line for each in summary(outcomes, deciders) for line in paragraph(each, most)]
        show(text_of([f"{path} · times in {zone}", "", *table(rows, most), "", *counted], most))
    else:
        show(f"{_nothing(question)}: {path}\n")
    _tell(passed_over, warn)


def _nothing(question: Question) -> str:
    """Return a sentence that says of what there is no entry."""
    said = ["nothing"]
    if question.applications:
        said.append(f"of {printable(' or '.join(question.applications))}")
    if question.servers:
        said.append(f"on {printable(' or '.join(question.servers))}")
    said.append("was terminated or cancelled")
    if question.since_seconds is not None:
        said.append(f"in the last {span(question.since_seconds)}")
    return " ".join(said)


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
    """Yield the entries that are asked for. It raises UsageError for a server that the log does not have."""
    since, globs = None, question.applications or ("*",)
    if question.since_seconds is not None:
        since = datetime.now(UTC) - timedelta(seconds=question.since_seconds)
    _check_servers(question)
    try:
        for entry in read_entries(question.path, passed_over, since):
            name = entry.line.application_name or ""
            if question.servers and not any(_is_server(each, entry.line.server) for each in question.servers):
                continue
            if any(is_application(glob, name, protects=True) for glob in globs):
                yield entry
    except OSError as error:
        raise _unreadable(question.path, error) from error


def _check_servers(question: Question) -> None:
    """Raise UsageError if the whole log has no entry of a server that is asked for, but of others."""
    if not question.servers:
        return
    try:
        known = {entry.line.server for entry in read_entries(question.path, PassedOver())}
    except OSError as error:
        raise _unreadable(question.path, error) from error
    for glob in question.servers:
        if known and not any(_is_server(glob, each) for each in known):
            names = sorted(set(server_names(list(known)).values()))
            listed = _with_rest(names[:_SERVERS_NAMED], len(names))
            raise UsageError(f'no server "{glob}" is in the audit log {question.path}', f"it has {listed}")


def _is_server(glob: str, server: AuditedServer) -> bool:
    """Return whether a glob means a server: by its host, its address, or its name among several."""
    names = (printable(server.host), address(server), with_cluster(server))
    return any(glob == name or fnmatchcase(name.casefold(), glob.casefold()) for name in names)


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
        "usage_after": entry.usage_after,
        "outcome": entry.outcome,
        "detail": entry.detail,
        "outcome_time": entry.outcome_time,
    }
