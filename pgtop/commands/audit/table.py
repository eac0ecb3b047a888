"""The table of `pgtop audit`: one row for each session, complete in a pipe, and a summary."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pgtop.audit.log import AuditedServer, AuditLine
from pgtop.audit.reader import AuditEntry
from pgtop.commands.text_table import TextColumn, aligned, fitting, left_out
from pgtop.core.activity import IDLE, IN_TRANSACTION
from pgtop.core.plan import Trigger
from pgtop.core.session_labels import LOCAL, NO_APPLICATION, NO_DATABASE, NO_USER, STATE_WORDS, label
from pgtop.core.text import clip, duration, percent, printable

NO_OUTCOME: Final = "no outcome written"
WITHOUT_OUTCOME: Final = "without an outcome"
UNKNOWN: Final = "?"
"""The cell for a fact that the log does not have, as in lines of older versions."""
NOT_VISIBLE: Final = "not visible"
"""The cell for a fact that the server's own host does not show."""

_WHY_NONE: Final = (
    f"{WITHOUT_OUTCOME}: it may have been signalled; pgtop was killed first, could not write the log, "
    "or is still running"
)
_SERVER: Final = 1
"""The place of the server's column."""
_MOST_USAGE: Final = 1000.0
"""A usage beyond this was not written by pgtop."""


class Row(msgspec.Struct, frozen=True):
    """The cells that the table shows of an entry, all of them printable."""

    time: str
    server: AuditedServer
    operator: str
    face: str
    decided_by: str
    action: str
    pid: str
    application: str
    user: str
    database: str
    client: str
    idle_age: str
    blocked: str
    usage: str
    reason: str
    outcome: str


def row_of(entry: AuditEntry) -> Row:
    """Return the row of an entry."""
    line = entry.line
    outcome = printable(entry.outcome) or NO_OUTCOME
    return Row(
        time=f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}",
        server=line.server,
        operator=printable(line.operator.words),
        face=printable(f"{line.face} as {line.role}" if line.rescue else line.face),
        decided_by=printable(line.decided_by) or UNKNOWN,
        action=printable(f"{line.act}/{line.trigger}"),
        pid=str(line.pid),
        application=NOT_VISIBLE if _is_unseen(line) else label(line.application_name, NO_APPLICATION),
        user=label(line.usename, NO_USER),
        database=label(line.datname, NO_DATABASE),
        client=printable(line.client_addr) or LOCAL,
        idle_age=_idle_age(line),
        blocked=_blocked(line),
        usage=f"{_percent(line.usage_before)} → {_percent(entry.usage_after)}",
        reason=printable(line.reason),
        outcome=f"{outcome}: {printable(entry.detail)}" if entry.detail else outcome,
    )


def _idle_age(line: AuditLine) -> str:
    """Return how long a session was idle, in a transaction too, or else its state: `12m`, `≥ 9s in txn`."""
    if line.state == IDLE:
        seconds, where = line.idle_seconds, ""
    elif line.state in IN_TRANSACTION:
        seconds, where = line.state_seconds, " in txn"
    else:
        return STATE_WORDS.get(line.state or "") or clip(printable(line.state), 11)
    age = duration(seconds)
    return f"{'≥ ' if line.idle_at_least else ''}{age}{where}" if age else where.strip()


def _blocked(line: AuditLine) -> str:
    """Return how many sessions waited for a session's locks, as far as that is known.

    The server's own host shows that sessions wait, and not for which one: `up to 3`.
    """
    if line.blocked_sessions is not None:
        return str(line.blocked_sessions)
    if line.waiting_sessions is not None:
        return f"up to {line.waiting_sessions}"
    return NOT_VISIBLE if line.trigger == Trigger.BREAK_GLASS else UNKNOWN


def _is_unseen(line: AuditLine) -> bool:
    """Return whether the application could not be seen, as from the server's own host."""
    return line.application_name is None and line.trigger == Trigger.BREAK_GLASS


def _percent(usage: float | None) -> str:
    return percent(usage) if usage is not None and 0 <= usage <= _MOST_USAGE else UNKNOWN


def server_names(servers: Sequence[AuditedServer]) -> dict[AuditedServer, str]:
    """Return the name of each server, printable: its address, and the cluster where several had that address.

    >>> one, two = AuditedServer("h", 5432, 160000, "71"), AuditedServer("h", 5432, 160000, "72")
    >>> list(server_names([one]).values()), list(server_names([one, two]).values())
    (['h:5432'], ['h:5432 (71)', 'h:5432 (72)'])
    """
    clusters: dict[str, set[str | None]] = {}
    for server in servers:
        clusters.setdefault(address(server), set()).add(server.system_identifier)
    return {
        server: with_cluster(server) if len(clusters[address(server)]) > 1 else address(server)
        for server in servers
    }


def address(server: AuditedServer) -> str:
    """Return the address of a server as it was asked for, printable."""
    return printable(f"{server.host}:{server.port}")


def with_cluster(server: AuditedServer) -> str:
    """Return the address of a server and its cluster's identifier, printable."""
    return f"{address(server)} ({printable(server.system_identifier) or UNKNOWN})"


def table(rows: list[Row], width: int | None) -> list[str]:
    """Return the lines of the table.

    A terminal that has no room for the server's column gets a heading wherever the server changes.
    """
    names = server_names([row.server for row in rows])
    servers = [names[row.server] for row in rows]
    columns = _columns(rows, servers)
    kept = fitting(columns, width)
    has_headings = columns[_SERVER] not in kept
    if has_headings:
        del columns[_SERVER]
        kept = fitting(columns, width)
    lines = aligned(kept, width)
    if has_headings:
        lines[1:] = _under_headings(lines[1:], servers)
    return [*lines, *left_out(columns, kept, width)]


def _columns(rows: list[Row], servers: list[str]) -> list[TextColumn]:
    def column(title: str, name: str, **rest: Any) -> TextColumn:
        return TextColumn(title, [getattr(row, name) for row in rows], **rest)

    return [
        column("time", "time"),
        TextColumn("server", servers, widest=60, drop=1 if len(set(servers)) == 1 else 12),
        column("operator", "operator", drop=8),
        column("face", "face", drop=5),
        column("decided by", "decided_by"),
        column("action", "action", drop=9),
        column("pid", "pid", align="right"),
        column("application", "application", widest=16),
        column("user", "user", widest=16, drop=11),
        column("database", "database", widest=16, drop=2),
        column("client", "client", widest=40, drop=10),
        column("idle age", "idle_age", align="right", drop=4),
        column("blocked", "blocked", align="right", drop=6),
        column("usage", "usage", drop=7),
        column("reason", "reason", widest=40, drop=3),
        column("outcome", "outcome", widest=200),
    ]


def _under_headings(lines: list[str], servers: list[str]) -> list[str]:
    found: list[str] = []
    before = None
    for line, server in zip(lines, servers, strict=True):
        found += [line] if server == before else [f"server {server}", line]
        before = server
    return found


def summary(outcomes: Counter[str | None], deciders: Counter[str | None]) -> list[str]:
    """Return the number of entries by outcome and by authority, the most frequent first, unknown ones last.

    >>> summary(Counter({None: 1, "terminated": 24}), Counter(policy=24, person=1))[:2]
    ['24 terminated, 1 without an outcome', 'decided by: 24 policy, 1 person']
    """
    lines = [_counted(outcomes, WITHOUT_OUTCOME), f"decided by: {_counted(deciders, 'not recorded')}"]
    return [*lines, _WHY_NONE] if outcomes[None] else lines


def _counted(counts: Counter[str | None], unknown: str) -> str:
    told = [f"{number} {printable(word)}" for word, number in counts.most_common() if word is not None]
    return ", ".join([*told, *([f"{counts[None]} {unknown}"] if counts[None] else [])])
