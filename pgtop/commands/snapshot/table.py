"""A snapshot as a table in plain text, safe in any terminal."""

from pgtop.commands.text_table import TextColumn, server_line, table_lines, text_of
from pgtop.core.activity import Backend, Counts, Snapshot
from pgtop.core.connection_limits import limit_uses, reached, refusal_sentence, use_of_group
from pgtop.core.filter_sort import SortColumn, sort_backends, stale
from pgtop.core.outage import connecting_words
from pgtop.core.session_groups import Group, applications
from pgtop.core.session_labels import (
    HIDDEN,
    NO_APPLICATION,
    NO_DATABASE,
    NO_USER,
    client,
    label,
    monitor_grant,
    state,
    wait,
)
from pgtop.core.text import duration, percent, plural, printable, span


def render(
    snapshot: Snapshot,
    *,
    warn_at: float,
    idle_after_seconds: float,
    width: int | None,
    hides_queries: bool = False,
) -> str:
    """Return the whole table in lines of at most `width` cells (None: any).

    With `hides_queries`, the heading of the query column says that queries are hidden.
    """
    lines = [
        server_line(snapshot.server, snapshot.taken_at),
        f"{figures(snapshot)} · {level(snapshot, warn_at)}",
        " · ".join(state_counts(snapshot.counts).values()),
    ]
    if snapshot.is_rescue:
        role = printable(snapshot.privileges.role)
        lines.append(f"connected as {role}, the rescue role: no slot is left for the ordinary role")
    if snapshot.unlisted:
        lines.append(connecting_words(snapshot.unlisted))
    lines += map(refusal_sentence, reached(limit_uses(snapshot)))
    if not snapshot.counts.exact:
        lines += _hidden(snapshot)
    lines += ["", "applications", *_applications(snapshot, width)]
    lines += ["", *_backends(snapshot, idle_after_seconds, width, hides_queries=hides_queries)]
    return text_of(lines, width)


def figures(snapshot: Snapshot) -> str:
    """Return how full the server is; `≤` marks a count that is an upper bound."""
    bound = "" if snapshot.counts.exact else "≤ "
    slots = plural(snapshot.slots, "slot")
    return f"{bound}{snapshot.taken} of {slots} · {bound}{percent(snapshot.usage)}"


def level(snapshot: Snapshot, warn_at: float) -> str:
    """Return the state of the server in words."""
    line = f"the {percent(warn_at)} line"
    if snapshot.usage < warn_at:
        return f"below {line}"
    if not snapshot.counts.exact:
        return f"perhaps over {line}"
    if snapshot.is_full:
        return "no ordinary slot is left"
    return f"over {line}" if snapshot.usage > warn_at else f"at {line}"


def state_counts(counts: Counts) -> dict[str, str]:
    """Return the number of sessions in each state in words, by the state.

    Idle and active are always given, but never as 0 if states are hidden.
    """
    named = (
        ("idle", counts.idle),
        ("active", counts.active),
        ("idle in transaction", counts.idle_in_transaction),
        ("idle in transaction (aborted)", counts.idle_in_transaction_aborted),
        ("in a fastpath call", counts.fastpath),
        ("with track_activities off", counts.disabled),
        ("starting", counts.starting),
        ("hidden", counts.hidden),
    )
    return {
        name: f"{_at_least(number, counts.hidden)} {name}"
        for name, number in named
        if number or name in ("idle", "active")
    }


def _at_least(number: int, hidden: int) -> str:
    """Return a count as a lower bound if there are hidden sessions."""
    if not hidden:
        return str(number)
    return f"≥{number}" if number else "?"


def _hidden(snapshot: Snapshot) -> list[str]:
    role = snapshot.privileges.role
    return [
        f"States are hidden from role {printable(role)}, and background processes may be counted. Run:",
        monitor_grant(snapshot),
    ]


def _applications(snapshot: Snapshot, width: int | None) -> list[str]:
    groups = applications(snapshot)
    uses = limit_uses(snapshot)
    limits = [use.figures if (use := use_of_group(group, uses)) is not None else "" for group in groups]

    def numbers(title: str, name: str, drop: int = 0) -> TextColumn:
        cells = [_at_least(getattr(group, name), group.counts.hidden) for group in groups]
        return TextColumn(title, cells, "right", drop=drop)

    return table_lines(
        [
            TextColumn(
                "application", [_name(group.key.application_name, NO_APPLICATION) for group in groups]
            ),
            TextColumn("user", [_name(group.key.usename, NO_USER) for group in groups]),
            TextColumn("database", [_name(group.key.datname, NO_DATABASE) for group in groups], drop=1),
            TextColumn("total", [str(group.total) for group in groups], "right"),
            numbers("idle", "idle"),
            numbers("active", "active"),
            numbers("in txn", "in_transaction", drop=3),
            TextColumn("oldest idle", [duration(group.oldest_idle_seconds) for group in groups], "right"),
            TextColumn("share", [_share(group) for group in groups], "right", drop=2),
            *([TextColumn("limit", limits, "right")] if any(limits) else []),
        ],
        width,
    )


def _share(group: Group) -> str:
    return percent(group.share)


def _name(value: object, empty: str) -> str:
    return label(value if isinstance(value, str) else None, empty)


def _backends(
    snapshot: Snapshot, idle_after_seconds: float, width: int | None, *, hides_queries: bool
) -> list[str]:
    query = f"query: {HIDDEN}" if hides_queries else "query"
    now = snapshot.taken_at
    backends = sort_backends(snapshot.backends, SortColumn.IDLE_AGE)
    marks = ["*" if stale(backend, now, idle_after_seconds) else "" for backend in backends]
    legend = f"{marks.count('*')} stale: idle for more than {span(idle_after_seconds)}, marked *"

    def ages(age: str) -> list[str]:
        return [duration(getattr(backend, age)(now)) for backend in backends]

    def names(attribute: str, empty: str) -> list[str]:
        return [_name(getattr(backend, attribute), empty) for backend in backends]

    columns = [
        TextColumn("", marks),
        TextColumn("pid", [str(backend.pid) for backend in backends], "right"),
        TextColumn("application", names("application_name", NO_APPLICATION), widest=20),
        TextColumn("user", names("usename", NO_USER), widest=16),
        TextColumn("database", names("datname", NO_DATABASE), widest=16, drop=2),
        TextColumn("client", [client(backend) for backend in backends], drop=3),
        TextColumn("state", [state(backend) for backend in backends]),
        TextColumn("idle age", ages("idle_seconds"), "right"),
        TextColumn("in txn", ages("xact_seconds"), "right", drop=4),
        TextColumn("wait", [_wait(backend) for backend in backends], drop=1),
        TextColumn(query, [printable(backend.query) for backend in backends], widest=200),
    ]
    return [f"sessions, by idle age · {legend}", *table_lines(columns, width)]


def _wait(backend: Backend) -> str:
    return printable(wait(backend))
