"""The line above the list of sessions: its group, order and filter, and how many are stale and tagged."""

from collections.abc import Sequence
from typing import NamedTuple

from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.filter_sort import SortColumn, stale
from pgtop.core.text import cell_width, clip, duration, printable
from pgtop.tui.lines.column_widths import Cell


class Listed(NamedTuple):
    """The content of the list of sessions."""

    chosen: str
    """The name of the chosen group, printable; "" for all sessions."""
    filter: str
    column: SortColumn
    tagged: frozenset[BackendId]
    idle_after_seconds: float
    problem: str = ""
    """The reason that the filter is none, printable; "" if it is one."""


def sessions_title(snapshot: Snapshot, rows: Sequence[Backend], listed: Listed, width: int) -> list[Cell]:
    """Return the line above the list: the sessions shown, their group and order, the stale and the tagged.

    If not all of it fits, the filter is dropped first, since it has a line of its own; tags never are.
    """
    of = f" of {listed.chosen}" if listed.chosen else ""
    said = f" sessions: {len(rows)}{of}, by {listed.column.value}"
    kept = f"  filter: {clip(printable(listed.filter), 30)}" if listed.filter else ""
    if not rows and (listed.filter or listed.chosen):
        return _empty_title(listed, said, width)
    stale_count = sum(stale(row, snapshot.taken_at, listed.idle_after_seconds) for row in rows)
    few = f"   {stale_count} stale" if stale_count else ""
    many = f"{few} (idle > {duration(listed.idle_after_seconds)})" if stale_count else ""
    tags = _tags(listed, rows)
    room = width - cell_width(tags)
    forms = [(kept, many), ("", many), ("", few), ("", "")]
    kept, many = next((form for form in forms if cell_width(said + form[0] + form[1]) <= room), forms[-1])
    return [Cell(clip(said, room), "title"), Cell(kept, "accent"), Cell(many, "amber"), Cell(tags, "strong")]


def _tags(listed: Listed, rows: Sequence[Backend]) -> str:
    if not listed.tagged:
        return ""
    hidden = len(listed.tagged) - sum(row.id in listed.tagged for row in rows)
    return f"   {len(listed.tagged)} tagged" + (f", {hidden} not listed" if hidden else "")


def _empty_title(listed: Listed, said: str, width: int) -> list[Cell]:
    """Return the line above an empty list, which says why it is empty."""
    tags = _tags(listed, ())
    room = width - cell_width(tags)
    why = f"  {listed.problem or 'no match'}"
    short = " sessions: 0"
    forms = [(said, f"{why} · Esc clears"), (short, f"{why} · Esc clears"), (short, why), ("", why[1:])]
    said, why = next((form for form in forms if cell_width("".join(form)) <= room), forms[-1])
    style = "strong-red" if listed.problem else "amber"
    return [Cell(said, "title"), Cell(clip(why, room), style), Cell(tags, "strong")]
