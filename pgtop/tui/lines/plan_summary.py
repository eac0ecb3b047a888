"""Sentences in lines of cells: the summary above a plan dialog's list, and any text folded to fit."""

from typing import Final

from pgtop.core.activity import BackendId
from pgtop.core.break_glass_plan import UNSEEN
from pgtop.core.canary import CANARY_SECONDS
from pgtop.core.plan import Act, Plan, Trigger
from pgtop.core.text import clip, filled, folded, plural
from pgtop.reaping.plan_wording import (
    by_application,
    by_user_and_database,
    headline,
    left_waiting,
    queue_sentence,
    refill_sentence,
    spared_sentence,
)
from pgtop.tui.lines.column_widths import Cell

APPLICATIONS_NAMED: Final = 4
"""The number of applications that a dialog names; it counts the rest."""

_LABEL: Final = 11
"""The cells of a label beside a sentence."""
_LEAST_BESIDE_LABEL: Final = 60
"""The least width for labels beside sentences."""

_CANARY: Final = (
    f"Canary: one session of each application first; {CANARY_SECONDS:.0f} s later the others, "
    "except where it came back"
)


def plan_lines(
    plan: Plan,
    width: int,
    caution: str = "",
    problem: str = "",
    *,
    is_widened: bool = False,
    is_canary: bool = False,
    refilling: frozenset[BackendId] = frozenset(),
) -> list[list[Cell]]:
    """Return the summary above a plan dialog's list, in lines of at most `width` cells.

    `is_widened` tells that the plan covers all sessions, while the list behind the dialog shows fewer;
    `is_canary` that one session of each application goes first. `refilling` are the sessions known to come
    back at once.
    """
    style = "strong-red" if plan.victims and plan.act is Act.TERMINATE else "strong"
    lines = told(headline(plan), width, style)
    if problem:
        lines += told(problem, width, "red")
    if plan.refusal:
        lines = told("Cannot sweep", width, "strong-amber") + told(plan.refusal, width)
    for said, said_style in (
        ("All sessions, also those that are not listed" if is_widened else "", "amber"),
        (_CANARY if is_canary else "", "accent"),
        (queue_sentence(plan), "accent"),
        (_no_help(plan), "amber"),
        (caution, "amber"),
        (refill_sentence(plan, refilling), "amber"),
    ):
        lines += told(said, width, said_style) if said else []
    from_host = plan.trigger is Trigger.BREAK_GLASS
    lines += _counted(plan, width, from_host=from_host)
    spared = spared_sentence(plan)
    if spared:
        lines += told(spared, width, "dim")
    if plan.permission:
        lines += told(plan.permission, width, "amber")
    if from_host and plan.victims:
        lines += told(UNSEEN, width, "dim")
    elif plan.trigger is not Trigger.SELECTED and plan.victims:
        lines += told("Sessions that LISTEN are skipped only if pgtop saw the statement", width, "dim")
    lines.append([])
    return lines


def _counted(plan: Plan, width: int, *, from_host: bool) -> list[list[Cell]]:
    """Return the sessions to act on by application, or by user and database as the host shows them."""
    named = by_user_and_database(plan) if from_host else by_application(plan)
    lines = [
        [Cell(f"   {number:>4}  ", "strong"), Cell(clip(name, width - 9))]
        for name, number in named[:APPLICATIONS_NAMED]
    ]
    if len(named) > APPLICATIONS_NAMED:
        rest = sum(number for _, number in named[APPLICATIONS_NAMED:])
        others = plural(len(named) - APPLICATIONS_NAMED, "more user" if from_host else "more application")
        lines.append([Cell(f"   {rest:>4}  ", "strong"), Cell(f"in {others}", "dim")])
    return lines


def _no_help(plan: Plan) -> str:
    """Return a warning if sessions wait on locks that a sweep does not free; "" if none does."""
    waiting = left_waiting(plan)
    if not waiting or plan.trigger in (Trigger.SELECTED, Trigger.BREAK_GLASS) or plan.refusal:
        return ""
    if plan.victims and plan.may_block and plan.blocked_sessions is None:
        return f"{plural(waiting, 'session')} wait on locks, perhaps behind these: press n, then b"
    if plan.blocked_sessions:
        return f"{waiting} more wait on locks elsewhere: press n, then b for the lock tree"
    verb, them = ("is", "it") if waiting == 1 else ("are", "them")
    said = f"{plural(waiting, 'session')} {verb} waiting on locks."
    return f"{said} A sweep won't help {them}: press n, then b for the lock tree"


def told(said: str, width: int, style: str = "") -> list[list[Cell]]:
    """Fold a sentence into lines of at most `width` cells: nothing that a person agrees to is cut off."""
    return [[Cell(f" {line}", style)] for line in folded(said, max(1, width - 1))]


def told_with_label(said: str, width: int, style: str = "") -> list[list[Cell]]:
    """Fold `Label: a sentence` into lines that stand beside the label, if the width allows it."""
    label, colon, rest = said.partition(": ")
    if width < _LEAST_BESIDE_LABEL:
        return told(said, width, style)
    if not colon or len(label) > _LABEL:
        label, rest = "", said
    lines = folded(rest, width - _LABEL - 3)
    labels = [label, *[""] * (len(lines) - 1)]
    return [
        [Cell(f" {beside.ljust(_LABEL)}  ", "dim"), Cell(line, style)]
        for beside, line in zip(labels, lines, strict=True)
    ]


def few_lines(said: str, width: int, most: int) -> list[str]:
    """Fold a printable text into at most `most` lines, and clip the last of them."""
    lines = folded(said, max(1, width))
    if len(lines) <= most:
        return lines
    lines = filled(said, max(1, width))  # what is clipped leaves no line half empty
    return [*lines[: most - 1], clip(" ".join(lines[most - 1 :]), width)]
