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
from pgtop.tui.lines.server_label import ServerLabel, server_label
from pgtop.tui.lines.server_state import State, live_state, outage_state

BADGE_WIDTH: Final = 7
"""The cells of the state's badge, with the blank after it: the figures stand still whatever the state."""

_LEVEL_STYLES: Final[dict[Level, str]] = {"calm": "accent", "over": "amber", "full": "red"}
_BADGE_STYLES: Final = {
    State.OK: "accent",
    State.HIGH: "strong-amber",
    State.LIMIT: "strong-amber",
    State.FULL: "badge-full",
    State.DOWN: "badge-down",
    State.ERROR: "badge-down",
}
_WITH_BAR: Final = 100
"""The least width at which the usage's bar has a place of its own."""
_BESIDE_BAR: Final = 90
"""The cells for the words beside it."""


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
    label: ServerLabel = ServerLabel()
    """The name of the server; an empty one stands for its address."""
    recorded: bool = False
    """True if all of it is read from a recording: nothing of it is live."""
    last_day: str = ""
    """The last 24 hours in one line; "" if nothing of them is known."""

    @property
    def state(self) -> State:
        """The state of the server in one word."""
        if self.outage is not None:
            return outage_state(self.outage)
        return live_state(self.level, is_limit_reached=bool(self.reached))

    @property
    def level(self) -> Level:
        """The alert level."""
        return level(self.snapshot, self.warn_at, refused=self.refusing is not None)

    @property
    def may_act(self) -> bool:
        """True if a session can be terminated now: a server answers, and pgtop is allowed to."""
        return self.outage is None and not self.read_only and not self.recorded

    @property
    def full_words(self) -> str:
        """The time at which the server is full, in words; "" if no trend holds."""
        return self.forecast.words(self.snapshot.taken_at) if self.forecast is not None else ""

    @property
    def reached(self) -> tuple[LimitUse, ...]:
        """The CONNECTION LIMITs of roles and databases that refuse the next login."""
        return reached(limit_uses(self.snapshot))


def sentence(standing: Standing, *, lasting: bool = False) -> str:
    """Return the state in words: `over the 80% line since 12:01`; with `lasting` also `, for 14m`."""
    return _sentences(standing, lasting=lasting)[0]


def _sentences(standing: Standing, *, lasting: bool = False) -> tuple[str, ...]:
    """Return the state in words, from the longest form to the shortest."""
    share, limited = percent(standing.warn_at), reached_words(standing.reached)
    now, begun = standing.snapshot.taken_at, standing.over_since
    since = _since(begun, now, lasting=lasting) if begun is not None else ""
    full = f" · {standing.full_words}" if standing.full_words else ""
    if standing.level == "calm":
        if limited:
            return f"{limited}: the next login is refused", limited
        return f"below the {share} line{full}", f"below the {share} line", f"below {share}"
    if standing.level == "full":
        refused, hidden = "new connections are refused", _hidden(standing)
        if hidden:
            return f"{refused} · {hidden}", hidden, refused
        if not since:
            return (refused,)
        return f"{refused} · over the {share} line{since}", f"{refused} · over {share}{since}", refused
    if limited:
        return tuple(f"{over} · {limited}" for over in (f"over the {share} line{since}", f"over {share}"))
    return (
        f"over the {share} line{since}{full}",
        f"over {share}{since}{full}",
        f"over the {share} line{since}",
        f"over {share}",
    )


def _hidden(standing: Standing) -> str:
    """Name the clients that hold slots but are not listed, if new connections are refused because of them."""
    if standing.refusing is Limit.CLIENTS:
        return "too many clients are still connecting"
    number = standing.snapshot.unlisted
    return connecting_words(number) if number else ""


def _since(since: Since, now: int, *, lasting: bool) -> str:
    """Return ` since 12:01` or ` at least since 12:01`, with `lasting` followed by `, for 14m`.

    After a day, when a time of day would mislead, it is ` for 2d` or ` for at least 2d`.
    """
    seconds = (now - since.at) / MICROSECONDS
    least = "" if since.is_exact else " at least"
    if seconds >= 86_400:
        return f" for{least} {duration(seconds)}"
    lasted = f", for {duration(seconds)}" if lasting else ""
    return f"{least} since {clock(since.at, seconds=False)}{lasted}"


def head_lines(standing: Standing, width: int, most: int = 3, *, is_named: bool = True) -> list[list[Cell]]:
    """Return the lines of the head in `width` cells, as many as `most`.

    With three lines, what fills the server takes the place of the sessions by state. Their number depends on
    the terminal's height alone: nothing below them jumps when a finding comes or goes. `is_named` is False
    where the server's name stands elsewhere already.
    """
    lines = [_first_line(standing, width, is_named=is_named), _usage(standing, width)]
    counts = _apart_where_it_fits(_counts(standing), reaper_words(standing.reapers), width)
    if most <= len(lines) + 1:
        found = finding_lines(standing.findings, width, 1, may_act=standing.may_act)
        return [*lines, *(found or [counts])][:most]
    found = finding_lines(standing.findings, width, most - len(lines) - 1, may_act=standing.may_act)
    return [*lines, counts, *found]


def _first_line(standing: Standing, width: int, *, is_named: bool) -> list[Cell]:
    """Return the server and the age of the data; what does not fit is left out, the least needed first."""
    parts = _identity(standing) if is_named else _identity(standing)[1:]
    needed = sum(cell_width(part.cell.text) for part in parts if part.rank <= _ROLE)
    right = _liveness(standing)
    while len(right) > 1 and needed + _width(right) + 1 > width:
        right.pop(0)
    room = width - _width(right) - 1
    for part in sorted(parts, key=lambda part: -part.rank):
        if sum(cell_width(part.cell.text) for part in parts) <= room or len(parts) == 1:
            break
        parts.remove(part)
    left = [part.cell for part in parts]
    if _width(left) > room:
        left = [Cell(clip(left[0].text, room), left[0].style)] if room >= _LEAST_NAME else []
    if _width(right) > width:
        return [Cell(clip(right[-1].text, width), right[-1].style)]
    return [*left, Cell(" " * (width - _width(left) - _width(right))), *right]


def _width(cells: Sequence[Cell]) -> int:
    return sum(cell_width(cell.text) for cell in cells)


def _apart_where_it_fits(left: list[Cell], forms: Sequence[str], width: int) -> list[Cell]:
    """Join the left end and the longest form of the right end that fits; without any, the left end alone."""
    room = width - sum(cell_width(cell.text) for cell in left) - 2
    form = next((each for each in forms if cell_width(each) <= room), "")
    return [*left, Cell(" " * (room + 1 - cell_width(form))), Cell(form, "accent")] if form else left


class _Part(NamedTuple):
    rank: int
    """Parts of a higher rank are dropped before those of a lower one."""
    cell: Cell


_LEAST_NAME: Final = 5
"""Of a name cut to fewer cells, too little is left to tell a server by; the age of the data counts more."""
_NAME, _ROLE, _RECOVERY, _INTERVAL, _VERSION, _UPTIME, _ADDRESS = range(7)
"""The parts of the first line, the most needed first."""


def _identity(standing: Standing) -> list[_Part]:
    snapshot = standing.snapshot
    server = snapshot.server
    standby = server.identity.in_recovery
    uptime = (snapshot.taken_at - server.identity.postmaster_start) / MICROSECONDS
    label = standing.label if standing.label.name else server_label(None, server.address, "")
    # A named server may stand for several hosts: its address tells which of them answers.
    address = [_Part(_ADDRESS, Cell(f" {clip(printable(server.address), 40)} ", "dim"))]
    return [
        _Part(_NAME, Cell(f" {label.name} ", label.style)),
        _Part(_ROLE, _login(snapshot, label)),
        *(address if label.is_configured else []),
        _Part(_VERSION, Cell(f" PostgreSQL {server.version} ")),
        _Part(_RECOVERY, Cell(" standby " if standby else " primary ", "amber" if standby else "")),
        _Part(_INTERVAL, Cell(f" every {interval(standing.interval_seconds)} ", "dim")),
        _Part(_UPTIME, Cell(f" server up {duration(uptime)} ", "dim")),
    ]


def _login(snapshot: Snapshot, label: ServerLabel) -> Cell:
    """Return `role@database`; the rescue role is named as one."""
    login = clip(printable(snapshot.privileges.role), 30)
    if label.database:
        login += f"@{clip(label.database, 30)}"
    return Cell(f" rescue: {login} ", "amber") if snapshot.is_rescue else Cell(f" {login} ")


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
    elif standing.recorded:
        cells.append(Cell("◀ recorded ", "strong"))
    elif not standing.paused:
        cells.append(Cell("● live ", "good"))
    return cells


def badge(state: State) -> list[Cell]:
    """Return the state's word as a badge of BADGE_WIDTH cells, and the style of its text."""
    return [Cell(f" {state} ", _BADGE_STYLES[state]), Cell(" " * (BADGE_WIDTH - len(state) - 2))]


def _usage(standing: Standing, width: int) -> list[Cell]:
    snapshot = standing.snapshot
    style = _LEVEL_STYLES[standing.level]
    if standing.level == "calm" and standing.reached:
        style = "amber"
    strong = {"accent": "strong", "amber": "strong-amber", "red": "strong-red"}[style]
    bound = "" if snapshot.counts.exact else "≤ "
    facts = f"{bound}{snapshot.taken} of {snapshot.slots} slots · {bound}{percent(snapshot.usage)}"
    widest = max(
        cell_width(facts), cell_width(f"{bound}{snapshot.slots} of {snapshot.slots} slots · {bound}100%")
    )
    bar = min(60, width - _BESIDE_BAR) if width >= _WITH_BAR else 0
    for beside in (bar + 3, 0) if bar else (0,):
        room = width - BADGE_WIDTH - widest - beside
        said = next((f" · {each}" for each in _sentences(standing) if cell_width(each) + 3 <= room), None)
        if said is None:
            continue
        # The bar stands still while the figures grow.
        left = room - cell_width(said) + widest - cell_width(facts)
        drawn = bar if beside else room - cell_width(said) - 3
        gap = left + 2 if beside else 2 + widest - cell_width(facts)
        cells = [*badge(standing.state), Cell(facts, strong), Cell(said, style)]
        if drawn < 10:
            return cells
        return [*cells, Cell(" " * gap), Cell(usage_bar(snapshot.usage, drawn, standing.warn_at), style)]
    return _usage_alone(standing, facts, width, strong)


def _usage_alone(standing: Standing, facts: str, width: int, style: str) -> list[Cell]:
    """Return the badge and the figures, in the fullest form that fits."""
    snapshot = standing.snapshot
    figures = f"{'' if snapshot.counts.exact else '≤ '}{snapshot.taken}/{snapshot.slots}"
    room = max(0, width - BADGE_WIDTH)
    forms = (facts, f"{figures} {percent(snapshot.usage)}", figures)
    form = next((each for each in forms if cell_width(each) <= room), clip(figures, room))
    first, blank = badge(standing.state)
    return [
        Cell(clip(first.text, width), first.style),
        Cell(blank.text[: max(0, width - len(first.text))]),
        Cell(form, style),
    ]


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
        cells.append(Cell(said, "strong-amber", "screen.lock_tree"))
    elif counts.hidden:
        cells.append(Cell("GRANT pg_monitor", "amber"))
    return cells
