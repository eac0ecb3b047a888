"""The line above the list of sessions: its group, order and filter, and how many are stale and tagged."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pgtop.core.activity import IN_TRANSACTION, Backend, BackendId, Snapshot
from pgtop.core.filter_sort import SortColumn, stale
from pgtop.core.text import cell_width, clip, printable, span
from pgtop.tui.lines.column_widths import Cell

LONG_IN_TRANSACTION_SECONDS: Final = 60.0
"""The seconds from which on a session idle in transaction is counted above the list."""


class Listed(NamedTuple):
    """The content of the list of sessions."""

    chosen: str
    """The name of the chosen group, printable; "" for all sessions."""
    filter: str
    column: SortColumn
    tagged: frozenset[BackendId]
    idle_after_seconds: float
    is_over: bool = True
    """True if usage is at the 80% line or above it."""
    blocking: str = ""
    """The sessions that block others, in words; "" if none is known to."""
    problem: str = ""
    """The reason that the filter is none, printable; "" if it is one."""


def sessions_title(snapshot: Snapshot, rows: Sequence[Backend], listed: Listed, width: int) -> list[Cell]:
    """Return the line above the list: the sessions shown, their group and order, and which of them count.

    If not all of it fits, the filter is dropped first, since it has a line of its own; tags never are.
    """
    of = f" of {listed.chosen}" if listed.chosen else ""
    said = f" sessions: {len(rows)}{of}, by {listed.column.value}"
    if not rows and (listed.filter or listed.chosen):
        return _empty_title(listed, said, width)
    tags = _tags(listed, rows)
    room = width - cell_width(tags)
    cells = [Cell(clip(said, room), "title")]
    left = room - cell_width(said)
    for short, long, style in _counts(snapshot, rows, listed):
        form = next((each for each in (long, short) if cell_width(each) <= left), "")
        cells.append(Cell(form, style))
        left -= cell_width(form)
    kept = f"   filter: {clip(printable(listed.filter), 30)}" if listed.filter else ""
    cells.append(Cell(kept if cell_width(kept) <= left else "", "accent"))
    return [*cells, Cell(tags, "strong")]


def _counts(snapshot: Snapshot, rows: Sequence[Backend], listed: Listed) -> Iterator[tuple[str, str, str]]:
    """Yield what is counted of the list, the most telling first: a short form, a long one and a style."""
    now = snapshot.taken_at
    if listed.blocking:
        yield f"   {listed.blocking}", f"   {listed.blocking} · b", "strong-amber"
    if stale_count := sum(stale(row, now, listed.idle_after_seconds) for row in rows):
        few = f"   {stale_count} stale"
        style = "amber" if listed.is_over else "dim"
        yield few, f"{few} (> {span(listed.idle_after_seconds)})", style
    if parked := sum(_is_long_in_transaction(row, now) for row in rows):
        few = f"   {parked} idle in txn"
        yield few, f"{few} > {span(LONG_IN_TRANSACTION_SECONDS)}", "amber"


def _is_long_in_transaction(backend: Backend, now: int) -> bool:
    seconds = backend.state_seconds(now)
    is_idle = backend.state in IN_TRANSACTION
    return is_idle and seconds is not None and seconds >= LONG_IN_TRANSACTION_SECONDS


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
