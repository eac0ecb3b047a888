"""What is said in the line above the keys, in the title of the list, and in the keys."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.filter_sort import Column as SortColumn
from pgtop.core.filter_sort import stale
from pgtop.core.labels import NO_APPLICATION, client, label, state
from pgtop.core.plan import Act, Outcome
from pgtop.core.text import cell_width, clip, duration, fit, percent, printable
from pgtop.reaping.reaper import Report
from pgtop.reaping.wording import outcome_sentence
from pgtop.tui.lines.columns import Cell
from pgtop.tui.lines.panels import Key
from pgtop.tui.lines.plan_summary import few_lines


class Notice(NamedTuple):
    """Something said that stays until it is read."""

    said: str
    style: str = "note"
    report: Report | None = None
    """What `o` shows session by session."""
    usage: str = ""
    """`86% → 61%`, measured by the first poll after an act."""
    succession: str = ""
    """Who answers now, where this says so: no alert takes it away unread."""


SWEEP: Final = Key("S", "sweep", "screen.sweep")
AUTO: Final = Key("A", "auto", "screen.auto")


def of_report(report: Report, *, by_itself: bool = False) -> Notice:
    """The notice after an act, a person's or an automatic one; red where something was left undone."""
    undone = {Outcome.DENIED, Outcome.SURVIVED, Outcome.FAILED, Outcome.UNKNOWN}
    bad = any(result.outcome in undone for result in report.results) or report.audit_problem
    said = f"auto {outcome_sentence(report)}" if by_itself else outcome_sentence(report)
    if report.audit_problem:
        said += " · NOT in the audit log"
    return Notice(said, "alarm" if bad else "note", report)


def with_usage(notice: Notice, snapshot: Snapshot) -> Notice:
    """The notice with the usage as the first poll after the act measured it."""
    report = notice.report
    if report is None or notice.usage or report.plan.act is Act.CANCEL:
        return notice
    return notice._replace(usage=f"{percent(report.plan.usage_before)} → {percent(snapshot.usage)}")


def with_alert(notice: Notice | None, alert: Notice) -> Notice:
    """The alert on a screen that is paused and does not show it, beside who answers now."""
    said = f"{alert.said} (what is shown is paused: p goes on)"
    if notice is None or not notice.succession:
        return alert._replace(said=said)
    style = "alarm" if "alarm" in (notice.style, alert.style) else "note"
    return Notice(f"{notice.succession} · {said}", style, succession=notice.succession)


def lines(notice: Notice, width: int, most: int) -> list[list[Cell]]:
    """The notice in at most `most` lines of `width` cells; the keys that belong to it stand in the first."""
    usage = f" · {notice.usage}" if notice.usage else ""
    keys = " o each session  Esc read " if notice.report is not None else " Esc read "
    room = max(0, width - cell_width(keys))
    mark = "✗ " if notice.style == "alarm" else ""  # not by its colour alone
    said = [fit(f" {line}", room) for line in few_lines(mark + notice.said + usage, room - 1, most)]
    first = [Cell(said[0], notice.style), Cell(keys, notice.style, "screen.outcomes")]
    return [first, *([Cell(line.ljust(width), notice.style)] for line in said[1:])]


BREAK_GLASS: Final = Key("B", "break the glass", "screen.break_glass")
HELP_AND_QUIT: Final = (Key("F1", "help", "screen.help"), Key("q", "quit", "app.quit"))


def waiting_keys(*, break_glass: bool) -> list[Key]:
    """The keys that count while there is nothing to see yet."""
    return [*([BREAK_GLASS] if break_glass else []), *HELP_AND_QUIT]


def wall_keys(notice: Notice | None, *, read_only: bool, break_glass: bool) -> list[Key]:
    """The keys that count on the wall, which needs none."""
    found = [BREAK_GLASS] if break_glass else []
    if notice is not None:
        found.append(Key("Esc", "read", "screen.clear"))
    found += [Key("w", "the tables", "screen.wall"), *([] if read_only else [SWEEP, AUTO])]
    found += [
        Key("g", "group", "screen.group"),
        Key("[ ]", "window", "screen.window(1)"),
        Key("p", "pause", "screen.pause"),
    ]
    return [*found, *HELP_AND_QUIT]


def keys(
    focus: str | None,
    tagged: int,
    notice: Notice | None,
    *,
    read_only: bool = False,
    break_glass: bool = False,
) -> list[Key]:
    """The keys that count now, the most needed first; the last two are shown always.

    `focus` is the id of what has it: where a filter is typed, letters are text. `read_only` leaves those out
    that end or cancel; `break_glass` is offered where no seat can be had on the server's own host.
    """
    if focus == "filter":
        return [
            Key("Enter", "keep the filter"),
            Key("Esc", "clear it", "screen.clear"),
            Key("F1", "help", "screen.help"),
        ]
    found = [BREAK_GLASS] if break_glass else []
    if notice is not None:
        found.append(Key("Esc", "read", "screen.clear"))
    if focus == "applications":
        found += [
            Key("Enter", "only its sessions"),
            Key("g", "group", "screen.group"),
            Key("Tab", "backends"),
        ]
        found += [SWEEP, AUTO] if not read_only else []
        found.append(Key("[ ]", "window", "screen.window(1)"))
    else:
        meant = f" {tagged} tagged" if tagged else ""
        if not read_only:
            found += [
                Key("K", f"terminate{meant}", "screen.terminate"),
                Key("C", f"cancel{meant}", "screen.cancel"),
                SWEEP,
                AUTO,
            ]
        found += [
            Key("Space", "tag", "screen.tag"),
            Key("Enter", "detail"),
            Key("/", "filter", "screen.filter"),
            Key("s", "sort", "screen.sort"),
            Key("g", "group", "screen.group"),
            Key("[ ]", "window", "screen.window(1)"),
            Key("p", "pause", "screen.pause"),
            Key("w", "wall", "screen.wall"),
        ]
    return [*found, *HELP_AND_QUIT]


class Listed(NamedTuple):
    """What the list of backends shows."""

    chosen: str
    """The chosen group's name, printable; "" for all."""
    filter: str
    column: SortColumn
    tagged: frozenset[BackendId]
    idle_after_seconds: float


def backends_title(snapshot: Snapshot, rows: Sequence[Backend], listed: Listed, width: int) -> list[Cell]:
    """The line above the list: how many of whom, in which order, how many stale and tagged.

    Where not all of it fits, the filter goes first, since it has a line of its own; tags never do.
    """
    of = f" of {listed.chosen}" if listed.chosen else ""
    said = f" backends: {len(rows)}{of}, by {listed.column.value}"
    kept = f"  filter: {clip(printable(listed.filter), 30)}" if listed.filter else ""
    stale_count = sum(stale(row, snapshot.taken_at, listed.idle_after_seconds) for row in rows)
    few = f"   {stale_count} stale" if stale_count else ""
    many = f"{few} (idle > {duration(listed.idle_after_seconds)})" if stale_count else ""
    tags = ""
    if listed.tagged:
        hidden = len(listed.tagged) - sum(row.id in listed.tagged for row in rows)
        tags = f"   {len(listed.tagged)} tagged" + (f", {hidden} of them not listed" if hidden else "")
    room = width - cell_width(tags)
    forms = [(kept, many), ("", many), ("", few), ("", "")]
    kept, many = next((form for form in forms if cell_width(said + form[0] + form[1]) <= room), forms[-1])
    return [Cell(clip(said, room), "title"), Cell(kept, "accent"), Cell(many, "amber"), Cell(tags, "strong")]


def copied(row: Backend, snapshot: Snapshot) -> str:
    """A backend as text for the clipboard: printable, one line."""
    age = duration(row.idle_seconds(snapshot.taken_at))
    parts = [
        f"pid {row.pid}",
        label(row.application_name, NO_APPLICATION),
        f"user {printable(row.usename)}",
        f"database {printable(row.datname)}",
        client(row),
        f"{state(row)} {age}".strip(),
        printable(row.query),
    ]
    return "  ".join(part for part in parts if part)
