"""The output of `pgtop break-glass`: the server, the plan and the outcomes."""

import os
from typing import Final

from pgtop.commands.break_glass.run import Prepared
from pgtop.commands.text_table import TextColumn, moment, paragraph, table_lines, text_of
from pgtop.core.activity import MICROSECONDS, Backend, BackendId
from pgtop.core.break_glass_plan import UNSEEN, lock_queue_hint
from pgtop.core.plan import Spared, SparedFor, Victim
from pgtop.core.session_labels import LOCAL, NO_DATABASE, NO_USER, client, idle_age, label, state
from pgtop.core.text import duration, percent, plural, printable
from pgtop.postgres.host.servers import user_name
from pgtop.postgres.host.watcher import Connecting, HostView, logins_hint
from pgtop.reaping.plan_wording import (
    age_hint,
    by_user_and_database,
    headline,
    outcome_sentence,
    spared_sentence,
    usage_change,
)
from pgtop.reaping.report_json import Answer

_NOT_LISTED: Final = frozenset({SparedFor.ENOUGH, SparedFor.BEYOND_COUNT, SparedFor.BEYOND_MOST})
"""Reasons whose sessions are only counted: hundreds of rows would push the plan off the screen."""


def render_plan(prepared: Prepared, width: int | None, *, dry_run: bool) -> str:
    """Return the server, the clients still connecting and the plan, in lines of at most `width` cells.

    A `width` of None sets no limit.
    """
    view, plan = prepared.view, prepared.plan
    what = headline(plan)
    lines = [*_server(prepared), _standing(view), *_connecting(view, width)]
    if plan.stalled_logins_seconds is None:
        included = plan.policy.include_idle_in_transaction_seconds is not None
        is_below = plan.server.limits.are_known and plan.usage_before < plan.warn_at
        has_room = is_below and prepared.ask.count is None
        lines += paragraph(logins_hint(view), width)
        lines += paragraph(lock_queue_hint(view.snapshot, is_included=included, has_room=has_room), width)
    lines.append("")
    lines += [f"dry run: {what}" if dry_run else what]
    lines += paragraph(age_hint(plan), width)
    lines += [f"{number:>5}  {name}" for name, number in by_user_and_database(plan)]
    spared = spared_sentence(plan)
    lines += paragraph(spared, width) if spared else []
    lines += [line for note in (UNSEEN, *view.notes) for line in paragraph(note, width)]
    listed: list[Victim | Spared] = [
        *plan.victims,
        *(each for each in plan.spared if each.spared_for not in _NOT_LISTED),
    ]
    return text_of([*lines, *_sessions(listed, prepared, None, width)], width)


def render_answer(prepared: Prepared, answer: Answer, width: int | None) -> str:
    """Return the outcomes of the victims; "" if there is no report."""
    report = answer.report
    if report is None:
        return ""
    usage = f": {usage_change(answer.plan, answer.usage_after)}" if prepared.view.has_limits else ""
    done = outcome_sentence(report) + usage
    results = {result.victim.backend.id: (result.outcome.value, result.detail) for result in report.results}
    return text_of([done, *_sessions(answer.plan.victims, prepared, results, width)], width)


def _server(prepared: Prepared) -> list[str]:
    snapshot, server = prepared.view.snapshot, prepared.server
    number = snapshot.server.version_num
    version = f" · PostgreSQL {snapshot.server.version}" if number else ""
    directory = os.fsencode(server.data_dir).decode("utf-8", "replace")
    standby = " · standby" if snapshot.server.identity.in_recovery else ""
    return [
        f"port {server.port} · pid {server.pid}{version}{standby} · {moment(snapshot.taken_at)} UTC",
        f"of user {printable(user_name(server.uid))} · data directory {printable(directory)}",
    ]


def _standing(view: HostView) -> str:
    counts = view.snapshot.counts
    states = f"idle {counts.idle} · active {counts.active} · in transaction {counts.in_transaction}"
    if not view.has_limits:
        return f"{plural(counts.total, 'slot')} held, total unknown · {states}"
    held = f"{counts.total} of {plural(view.snapshot.slots, 'slot')} held"
    return f"{held} · {percent(view.snapshot.usage)} · {states}"


def _connecting(view: HostView, width: int | None) -> list[str]:
    """Return the clients that are still connecting, with the number of slots that they hold."""
    clients, now = view.connecting, view.snapshot.taken_at
    if not clients:
        return []
    holding = view.snapshot.counts.starting
    said = f"{plural(holding, 'slot')} held by clients that are still connecting"
    silent = len(clients) - holding
    ages = [duration((now - each.since) / MICROSECONDS) for each in clients]
    table = [
        TextColumn("  pid", [str(each.pid) for each in clients], "right"),
        TextColumn("phase", [printable(each.phase) for each in clients]),
        TextColumn("since", ages, "right"),
        TextColumn("client", [_where(each) for each in clients]),
        TextColumn("user and database", [printable(each.names) for each in clients], widest=60),
    ]
    return [f"{said}, {silent} more sent nothing so far" if silent else said, *table_lines(table, width)]


def _where(each: Connecting) -> str:
    if each.address is None:
        return LOCAL
    return printable(f"{each.address}:{each.port}")


def _sessions(
    sessions: list[Victim | Spared] | tuple[Victim, ...],
    prepared: Prepared,
    results: dict[BackendId, tuple[str, str]] | None,
    width: int | None,
) -> list[str]:
    if not sessions:
        return []
    backends = [each.backend for each in sessions]
    now = prepared.plan.taken_at
    marks, why = [], []
    for each in sessions:
        mark = "skip" if isinstance(each, Spared) else "terminate"
        reason = each.reason
        if results is not None:
            mark, detail = results[each.backend.id]
            reason = detail or reason
        marks.append(mark)
        why.append(printable(reason))
    columns = [
        TextColumn("", marks),
        TextColumn("pid", [str(backend.pid) for backend in backends], "right"),
        TextColumn("user", [label(backend.usename, NO_USER) for backend in backends], widest=24),
        TextColumn("database", [_database(backend) for backend in backends], widest=20),
        TextColumn("client", [client(backend) for backend in backends], drop=2),
        TextColumn("state", [state(backend) for backend in backends], drop=1),
        TextColumn("idle age", [idle_age(backend, now) for backend in backends], "right"),
        TextColumn("why", why, widest=200),
    ]
    return ["", *table_lines(columns, width)]


def _database(backend: Backend) -> str:
    """Return the database; `?` if it cannot be told from the user: the user's column then has both."""
    return "?" if backend.readings else label(backend.datname, NO_DATABASE)
