"""The notice above the keys: a message that stays until it is dismissed."""

from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.plan import Act, Outcome
from pgtop.core.text import cell_width, clock, fit
from pgtop.reaping.plan_wording import outcome_sentence, usage_change
from pgtop.reaping.reaper import Report
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import few_lines

SETTLE_SECONDS: Final = 10
"""Seconds for which the figure after an action follows the polls."""


class Notice(NamedTuple):
    """A message that stays until it is dismissed."""

    said: str
    style: str = "note"
    report: Report | None = None
    """The report that `O` shows session by session."""
    usage: str = ""
    """The change `86% → 61%`, with the time at which the 61% were measured."""
    first_measured_at: int | None = None
    """The time of the first poll after the action, microseconds by the server's clock."""
    succession: str = ""
    """The sentence on a server that was replaced; an alert keeps it until it is dismissed."""


def of_report(report: Report, *, by_itself: bool = False, seen: str = "") -> Notice:
    """Return the notice after an action, a person's or an automatic one; red if something was left undone.

    `seen` tells what a canary showed, printable.
    """
    undone = {Outcome.DENIED, Outcome.SURVIVED, Outcome.FAILED, Outcome.UNKNOWN}
    bad = any(result.outcome in undone for result in report.results) or report.audit_problem
    said = f"auto: {outcome_sentence(report)}" if by_itself else outcome_sentence(report)
    if seen:
        said = f"{seen} · {said}"
    if report.audit_problem:
        said += " · NOT in the audit log"
    return Notice(said, "alarm" if bad else "note", report)


def with_usage(notice: Notice, snapshot: Snapshot) -> Notice:
    """Return the notice with the usage that a poll after the action measured.

    For SETTLE_SECONDS after the first of these polls, each brings a newer figure: sessions that waited for
    those that ended may end too.
    """
    report = notice.report
    if report is None or report.plan.act is Act.CANCEL:
        return notice
    first = snapshot.taken_at if notice.first_measured_at is None else notice.first_measured_at
    if snapshot.taken_at - first > SETTLE_SECONDS * MICROSECONDS:
        return notice
    usage = f"{usage_change(report.plan, snapshot.usage)} at {clock(snapshot.taken_at)}"
    return notice._replace(usage=usage, first_measured_at=first)


def with_alert(notice: Notice | None, alert: Notice) -> Notice:
    """Return an alert for a paused screen, which does not show it, beside the news of a replaced server."""
    said = f"{alert.said} (paused: p resumes)"
    if notice is None or not notice.succession:
        return alert._replace(said=said)
    style = "alarm" if "alarm" in (notice.style, alert.style) else "note"
    return Notice(f"{notice.succession} · {said}", style, succession=notice.succession)


def lines(notice: Notice, width: int, most: int) -> list[list[Cell]]:
    """Return the notice in at most `most` lines of `width` cells, with its keys in the first."""
    usage = f" · {notice.usage}" if notice.usage else ""
    keys = " O details  Esc dismiss " if notice.report is not None else " Esc dismiss "
    room = max(0, width - cell_width(keys))
    mark = "✗ " if notice.style == "alarm" else ""  # colour alone must not carry meaning
    said = [fit(f" {line}", room) for line in few_lines(mark + notice.said + usage, room - 1, most)]
    first = [Cell(said[0], notice.style), Cell(keys, notice.style, "screen.outcomes")]
    return [first, *([Cell(line.ljust(width), notice.style)] for line in said[1:])]
