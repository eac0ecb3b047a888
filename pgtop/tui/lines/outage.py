"""An outage in words: in the banner over the tables, in an alert, and on the wall."""

from typing import Final

from pgtop.core.outage import Outage, OutageKind
from pgtop.core.text import duration, plural
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import few_lines

RESCUE_FAILS: Final = "the rescue role can't connect"


def outage_sentence(outage: Outage) -> str:
    """Return an outage in words, with the number of tries if no slot is left."""
    if outage.kind == OutageKind.SILENT:
        return f"{outage.message} · reconnecting when it answers"
    if not outage.limit:
        return f"{outage.message} · retrying"
    limit = outage.limit
    said = f"FULL: {limit}" if limit.is_the_servers else str(limit)
    tried = (
        f"{said} · {plural(outage.tries, 'try', 'tries')} refused in {duration(outage.seconds)}, still trying"
    )
    return f"{tried} · {RESCUE_FAILS}: {outage.rescue_problem}" if outage.rescue_problem else tried


def outage_lines(outage: Outage, age_seconds: float | None, width: int, most: int) -> list[list[Cell]]:
    """Return an outage in words: the fault, pgtop's reaction, and the data's age (None if there is no data).

    Takes at most `most` lines; without room, the age, which the head shows too, is left out.
    """
    age = "" if age_seconds is None else f" · data {duration(age_seconds)} old"
    wrong = f"✗ {outage_sentence(outage)}"
    said = few_lines(wrong + age, width - 2, most)
    if age and not said[-1].endswith(" old"):
        said = few_lines(wrong, width - 2, most)
    return [[Cell(f" {line}".ljust(width), "alarm")] for line in said]
