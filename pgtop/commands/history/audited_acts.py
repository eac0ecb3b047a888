"""The acts on one server that the audit log has: those of commands, too, which record nothing."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pgtop.audit import rotating_files
from pgtop.audit.log import AuditedServer
from pgtop.audit.reader import AuditEntry, PassedOver, read_entries
from pgtop.core.plan import Outcome
from pgtop.core.recorded_acts import ToldAct
from pgtop.core.text import plural, printable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DONE: Final = (Outcome.TERMINATED, Outcome.CANCELLED)


def audited_acts(
    path: Path | None, since: int, may_be: Callable[[AuditedServer], bool], notes: list[str]
) -> list[tuple[AuditedServer, ToldAct]]:
    """Return the acts since a time (microseconds) on the servers that `may_be` accepts, in order.

    What cannot be read is told in `notes`.
    """
    if path is None:
        notes.append("the audit log is standard error: acts that were not recorded are missing")
        return []
    passed_over = PassedOver()
    plans: dict[str, list[AuditEntry]] = {}
    try:
        if not rotating_files.exists(path):
            return []
        for entry in read_entries(path, passed_over, _EPOCH + timedelta(microseconds=since)):
            if may_be(entry.line.server):
                plans.setdefault(entry.line.plan, []).append(entry)
    except OSError as error:
        why = printable(error.strerror or str(error))
        notes.append(f"the audit log {printable(str(path))} cannot be read ({why}): acts may be missing")
    if passed_over.count:
        notes.append(f"{plural(passed_over.count, 'line')} of the audit log cannot be read")
    return [(entries[0].line.server, _act(entries)) for entries in plans.values()]


def _act(entries: list[AuditEntry]) -> ToldAct:
    """Return the act of one plan's entries."""
    line = entries[0].line
    after = [each.usage_after for each in entries if each.usage_after is not None]
    gone = [each for each in entries if each.outcome in _DONE]
    return ToldAct(
        at=_microseconds(entries[0].at),
        act=line.act,
        trigger=line.trigger,
        decided_by=line.decided_by,
        operator=line.operator.words,
        face=line.face,
        outcomes=tuple(Counter(each.outcome for each in entries).most_common()),
        usage_before=line.usage_before,
        usage_after=after[-1] if after else None,
        applications=tuple(Counter(each.line.application_name or "" for each in gone).most_common()),
        sessions=frozenset(_sessions(entries)),
    )


def _sessions(entries: Iterable[AuditEntry]) -> list[tuple[int, int]]:
    found = []
    for entry in entries:
        try:
            start = _microseconds(datetime.fromisoformat(entry.line.backend_start or ""))
        except (ValueError, TypeError, OverflowError):  # as from a host, which may not know it
            start = 0
        found.append((entry.line.pid, start))
    return found


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
