"""The lines at the top: the server, its usage in words, the sessions by state, and what fills the server.

Pure functions from values to lines of cells; the widgets that show them are `painted_lines.Lines`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.alerts import Level, level
from pgtop.core.connection_limits import LimitUse, limit_uses, reached, reached_words
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.leadership import Key as LeaderKey
from pgtop.core.outage import Limit, Outage, connecting_words
from pgtop.core.sample_history import Since
from pgtop.core.text import cell_width, clip, clock, duration, percent, printable
from pgtop.tui.lines.automatic_sweeps import reaper_words
from pgtop.tui.lines.bars import usage_bar
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.findings import finding_lines

_LEVEL_STYLES: Final[dict[Level, str]] = {"calm": "accent", "over": "amber", "full": "red"}


class Standing(NamedTuple):
    """The state of the server and of the display: all that the head says."""

    snapshot: Snapshot
    warn_at: float
    interval_seconds: float
    over_since: Since | None
    """The time since which usage has been over the line; None below it."""
    outage: Outage | None = None
    age_seconds: float = 0.0
    """The age of the data."""
    paused: bool = False
    late: bool = False
    """True if the answer to a poll is overdue, but the poll has not failed yet."""
    read_only: bool = False
    """True if no key terminates or cancels anything."""
    refusing: Limit | None = None
    """The server's limit that refuses new connections; None if none is known to."""
    reapers: tuple[LeaderKey, ...] = ()
    """The daemons that sweep this server, the active one first."""
    findings: tuple[Finding, ...] = ()
    """The causes that fill the server, the first to be named first."""
    forecast: Forecast | None = None
    """The time at which the server is full if it goes on so; None if no trend holds."""

    @property
    def level(self) -> Level:
        """The alert level."""
        return level(self.snapshot, self.warn_at, refused=self.refusing is not None)

    @property
    def full_words(self) -> str:
        """The time at which the server is full, in words; "" if no trend holds."""
        return self.forecast.words(self.snapshot.taken_at) if self.forecast is not None else ""

    @property
    def reached(self) -> tuple[LimitUse, ...]:
        """The CONNECTION LIMITs of roles and databases that refuse the next login."""
        return reached(limit_uses(self.snapshot))


def sentence(standing: Standing, *, brief: bool = False) -> str:
    """Return the state in words: `over the 80% line since 12:01`."""
    snapshot = standing.snapshot
    line = f"the {percent(standing.warn_at)} line"
    limited = reached_words(standing.reached)
    full = f" · {standing.full_words}" if standing.full_words and not brief else ""
    if standing.level == "calm":
        if limited:
            return limited if brief else f"{limited}: the next login is refused"
        return f"below {line}{full}"
    since = _since(standing.over_since, snapshot.taken_at) if standing.over_since is not None else ""
    if standing.level == "full":
        hidden = _hidden(standing)
        if hidden:
            return hidden if brief else f"FULL: new connections are refused · {hidden}"
        refused = "FULL: new connections are refused"
        return refused if brief or not since else f"{refused} · over {line}{since}"
    if not limited:
        return f"over {line}{since}{full}"
    return f"over {line} · {limited}" if brief else f"over {line}{since} · {limited}"


def _hidden(standing: Standing) -> str:
    """Name the clients that hold slots but are not listed, if new connections are refused because of them."""
    if standing.refusing is Limit.CLIENTS:
        return "too many clients are still connecting"
    number = standing.snapshot.unlisted
    return connecting_words(number) if number else ""


def _since(since: Since, now: int) -> str:
    """Return ` since 12:01` or ` at least since 12:01`.

    After a day, when a time of day would mislead, it is ` for 2d` or ` for at least 2d`.
    """
    seconds = (now - since.at) / MICROSECONDS
    least = "" if since.is_exact else " at least"
    if seconds < 86_400:
        return f"{least} since {clock(since.at, seconds=False)}"
    return f" for{least} {duration(seconds)}"


def head_lines(standing: Standing, width: int, most: int = 3) -> list[list[Cell]]:
    """Return the lines of the head in `width` cells, as many as `most`.

    With three lines, what fills the server takes the place of the sessions by state. Their number depends on
    the terminal's height alone: nothing below them jumps when a finding comes or goes.
    """
    lines = [_apart(_identity(standing), _liveness(standing), width), _usage(standing, width)]
    counts = _apart_where_it_fits(_counts(standing), reaper_words(standing.reapers), width)
    if most <= len(lines) + 1:
        found = finding_lines(standing.findings, width, 1)
        return [*lines, *(found or [counts])][:most]
    found = finding_lines(standing.findings, width, most - len(lines) - 1)
    return [*lines, counts, *found]


def _apart(left: list[Cell], right: list[Cell], width: int) -> list[Cell]:
    """Join the ends of a line; if both do not fit, cells of the left are dropped."""
    taken = sum(cell_width(cell.text) for cell in right)
    room = width - taken - 1
    kept: list[Cell] = []
    for cell in left:
        if cell_width(cell.text) > room:
            break
        kept.append(cell)
        room -= cell_width(cell.text)
    return [*kept, Cell(" " * max(1, room + 1)), *right]


def _apart_where_it_fits(left: list[Cell], forms: Sequence[str], width: int) -> list[Cell]:
    """Join the left end and the longest form of the right end that fits; without any, the left end alone."""
    room = width - sum(cell_width(cell.text) for cell in left) - 2
    form = next((each for each in forms if cell_width(each) <= room), "")
    return [*left, Cell(" " * (room + 1 - cell_width(form))), Cell(form, "accent")] if form else left


def _identity(standing: Standing) -> list[Cell]:
    snapshot = standing.snapshot
    server = snapshot.server
    standby = server.identity.in_recovery
    uptime = (snapshot.taken_at - server.identity.postmaster_start) / MICROSECONDS
    return [
        Cell(" " + clip(printable(server.address), 40), "strong"),
        Cell(f"  PostgreSQL {server.version}"),
        Cell("  standby" if standby else "  primary", "amber" if standby else ""),
        *(
            [Cell(f"  rescue: {clip(printable(snapshot.privileges.role), 20)}", "amber")]
            if snapshot.is_rescue
            else []
        ),
        Cell(f"  every {interval(standing.interval_seconds)}", "dim"),
        Cell(f"  server up {duration(uptime)}", "dim"),
    ]


def interval(seconds: float) -> str:
    """Return an interval as it is typed: `2s`, `0.5s`.

    >>> interval(2.0), interval(0.5), interval(60.0)
    ('2s', '0.5s', '60s')
    """
    return f"{seconds:g}s"


def _liveness(standing: Standing) -> list[Cell]:
    cells = [Cell(f"{clock(standing.snapshot.taken_at)}  ", "")]
    if standing.read_only:
        cells.append(Cell("read-only  ", "strong"))
    if standing.paused:
        cells.append(Cell("‖ paused ", "strong-amber"))
    old = f"{duration(standing.age_seconds)} old "
    if standing.outage is not None:
        cells.append(Cell(f"✗ {old}", "strong-red"))
    elif standing.late:
        cells.append(Cell(f"◌ no answer, {old}", "strong-amber"))
    elif not standing.paused:
        cells.append(Cell("● live ", "good"))
    return cells


def _usage(standing: Standing, width: int) -> list[Cell]:
    snapshot = standing.snapshot
    counts = snapshot.counts
    style = _LEVEL_STYLES[standing.level]
    if standing.level == "calm" and standing.reached:
        style = "amber"
    bound = "" if counts.exact else "≤ "
    facts = f" {bound}{snapshot.taken} of {snapshot.slots} slots · {bound}{percent(snapshot.usage)}"
    widest = max(
        cell_width(facts), cell_width(f" {bound}{snapshot.slots} of {snapshot.slots} slots · {bound}100%")
    )
    said = f" · {sentence(standing)}"
    if widest + cell_width(said) > width:
        said = f" · {sentence(standing, brief=True)}"
    strong = {"accent": "strong", "amber": "strong-amber", "red": "strong-red"}[style]
    room = width - widest - cell_width(said) - 4
    if room < 10:
        return _usage_alone(standing, facts, said, width, (strong, style))
    bar = usage_bar(snapshot.usage, min(room, 60), standing.warn_at)
    # The bar begins where the widest figures would end, so that it does not move while they grow.
    gap = " " * (2 + widest - cell_width(facts))
    return [Cell(facts, strong), Cell(said, style), Cell(gap), Cell(bar, style)]


def _usage_alone(
    standing: Standing, facts: str, said: str, width: int, styles: tuple[str, str]
) -> list[Cell]:
    """Return the usage without a bar, in the fullest form that fits; figures and word always stay."""
    snapshot = standing.snapshot
    line = percent(standing.warn_at)
    below = "a limit is reached" if standing.reached else f"below {line}"
    word = {"calm": below, "over": f"over {line}", "full": "FULL"}[standing.level]
    figures = f" {snapshot.taken}/{snapshot.slots}"
    if not snapshot.counts.exact:
        figures = f" ≤{figures}"
    forms = (
        (facts, said),
        (facts, f" · {word}"),
        (f"{figures} {percent(snapshot.usage)}", f" {word}"),
        (figures, f" {word}"),
    )
    left, right = next(((a, b) for a, b in forms if cell_width(a + b) <= width), forms[-1])
    return [Cell(left, styles[0]), Cell(clip(right, max(0, width - cell_width(left))), styles[1])]


def _counts(standing: Standing) -> list[Cell]:
    snapshot = standing.snapshot
    counts = snapshot.counts
    bound = "≥ " if counts.hidden else ""  # a hidden state may be any of these
    cells: list[Cell] = []
    for word, number in (
        ("idle", counts.idle),
        ("active", counts.active),
        ("in transaction", counts.in_transaction),
    ):
        cells += [Cell(f"{word} " if cells else f" {word} ", "dim"), Cell(f"{bound}{number:<5}", "")]
    others = {
        "fastpath": counts.fastpath,
        "disabled": counts.disabled,
        "starting": counts.starting,
        "hidden": counts.hidden,
    }
    for word, number in others.items():
        if number:
            cells += [Cell(f"{word} ", "dim"), Cell(f"{number:<5}", "amber" if word == "hidden" else "")]
    if snapshot.waiting_on_locks:
        waiting = snapshot.waiting_on_locks
        said = f"{waiting} waiting on locks · b lock tree"
        cells.append(Cell(said, "red", "screen.lock_tree"))
    elif counts.hidden:
        cells.append(Cell("GRANT pg_monitor", "amber"))
    return cells
