"""The notice above the keys: a message that stays until it is dismissed."""

from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.plan import Act, Outcome
from pgtop.core.text import ago, cell_width, fit
from pgtop.reaping.plan_wording import outcome_sentence, usage_change
from pgtop.reaping.reaper import Report
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import few_lines

SETTLE_SECONDS: Final = 10
"""Seconds for which the figure after an action follows the polls; the present usage stands beside it then."""


class Notice(NamedTuple):
    """A message that stays until it is dismissed."""

    said: str
    style: str = "note"
    report: Report | None = None
    """The report that `O` shows session by session."""
    usage_after: float | None = None
    """The usage that polls measured within SETTLE_SECONDS after the action; None before the first."""
    usage_now: float | None = None
    """The usage of the last poll; None before the first, and during an outage."""
    first_measured_at: int | None = None
    """The time of the first poll after the action, microseconds by the server's clock."""
    age_seconds: float = 0.0
    """The time since it was posted."""
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


def with_usage(notice: Notice, snapshot: Snapshot | None) -> Notice:
    """Return the notice with the usage that a poll after the action measured; None for a poll that failed.

    For SETTLE_SECONDS after the first of these polls, each brings a newer figure: sessions that waited for
    those that ended may end too. Later ones tell the present usage.
    """
    report = notice.report
    if report is None or report.plan.act is Act.CANCEL:
        return notice
    if snapshot is None:
        return notice._replace(usage_now=None)
    first = snapshot.taken_at if notice.first_measured_at is None else notice.first_measured_at
    is_settled = snapshot.taken_at - first > SETTLE_SECONDS * MICROSECONDS
    after = notice.usage_after if is_settled else snapshot.usage
    return notice._replace(usage_after=after, usage_now=snapshot.usage, first_measured_at=first)


def _usage(notice: Notice) -> str:
    if notice.report is None or notice.usage_after is None:
        return ""
    return f" · {usage_change(notice.report.plan, notice.usage_after, notice.usage_now)}"


def _age(seconds: float) -> str:
    """Return a notice's age in whole minutes, so that it does not change each second; "" in the first.

    >>> _age(59), _age(150), _age(7500)
    ('', ' · 2m ago', ' · 2h 05m ago')
    """
    minutes = int(seconds // 60)
    if not minutes:
        return ""
    return f" · {minutes}m ago" if minutes < 60 else f" · {ago(seconds)}"


def with_alert(notice: Notice | None, alert: Notice) -> Notice:
    """Return an alert for a paused screen, which does not show it, beside the news of a replaced server."""
    said = f"{alert.said} (paused: p resumes)"
    if notice is None or not notice.succession:
        return alert._replace(said=said)
    style = "alarm" if "alarm" in (notice.style, alert.style) else "note"
    return Notice(f"{notice.succession} · {said}", style, succession=notice.succession)


def lines(notice: Notice, width: int, most: int) -> list[list[Cell]]:
    """Return the notice in at most `most` lines of `width` cells, with its keys in the first."""
    keys = " O details  Esc dismiss " if notice.report is not None else " Esc dismiss "
    room = max(0, width - cell_width(keys))
    mark = "✗ " if notice.style == "alarm" else ""  # colour alone must not carry meaning
    said = f"{mark}{notice.said}{_usage(notice)}{_age(notice.age_seconds)}"
    folded = [fit(f" {line}", room) for line in few_lines(said, room - 1, most)]
    first = [Cell(folded[0], notice.style), Cell(keys, notice.style, "screen.outcomes")]
    return [first, *([Cell(line.ljust(width), notice.style)] for line in folded[1:])]
