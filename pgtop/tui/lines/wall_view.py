"""The wall view around its graph: the server's name, the figures and the state, and the largest groups.

It is read from five metres, so letters and figures grow with the terminal, and a state is told by a word, a
shape and a colour. The number of lines of each part depends on the terminal's size alone: nothing jumps when
a state changes. Pure functions from values to lines of cells.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.diagnosis.findings import Finding
from pgtop.core.outage import Outage
from pgtop.core.session_groups import HEADS, Group, GroupBy, key_name
from pgtop.core.text import cell_width, clip, clock, duration, fit, folded, percent, plural
from pgtop.tui.lines.bars import share_bar
from pgtop.tui.lines.big_digits import SMALL, Scale, big, digits, is_drawable, width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.findings import fitting_sentence
from pgtop.tui.lines.head import Standing, sentence
from pgtop.tui.lines.outage import outage_sentence
from pgtop.tui.lines.plan_summary import few_lines
from pgtop.tui.lines.server_label import ServerLabel
from pgtop.tui.lines.server_state import State, outage_state

LOW: Final = 8
"""Below this height the figures are plain text, and only the state is sure to get a line."""
_NARROW: Final = 12
"""From this height on, figures and state are drawn in narrow blocks."""
TALL: Final = 20
"""From this height on, name, figures and state are drawn in large blocks."""
_ROOMY: Final = 24
"""From this height on, there is a free line above them."""
_GRAPH: Final = 15
"""From this height on, there is a graph below them, as in the .tcss."""
_SIZES: Final = ((56, 4), (38, 3), (TALL, 2))
"""The least height for each size of the blocks."""
_TOP: Final = ((66, 10), (50, 8), (38, 6), (28, 4))
"""The least height for each number of applications named."""
_SIDE: Final = 1
"""The cells left free at each side."""
_TEXT: Final = 24
"""The least width of the sentences beside the state's word."""


class WallState(NamedTuple):
    """The state as the wall tells it."""

    state: State
    colour: str
    """`calm`, `over` or `full`: the same three as a level's, whatever the word."""
    said: str
    """The sentence; printable."""
    is_old: bool = False
    """True if the figures are out of date."""


def state_of(standing: Standing | None, outage: Outage | None) -> WallState | None:
    """Return the most important state: one that makes the figures old comes before what they say.

    It is None while nothing is known at all.
    """
    if outage is not None:
        said = outage_sentence(outage).removeprefix("FULL: ")
        if standing is not None:
            said = f"{_since(standing)}figures {duration(standing.age_seconds)} old · {said}"
        return WallState(outage_state(outage), "full", said, is_old=True)
    if standing is None:
        return None
    old = f"figures {duration(standing.age_seconds)} old"
    if standing.paused:
        return WallState(State.PAUSED, "over", f"{old} · p resumes", is_old=True)
    if standing.late:
        return WallState(State.LATE, "over", f"{old} · no answer yet", is_old=True)
    if standing.findings and standing.findings[0].full_at is not None:
        standing = standing._replace(forecast=None)  # the finding says when it is full
    colour = {State.OK: "calm", State.FULL: "full"}.get(standing.state, "over")
    return WallState(standing.state, colour, sentence(standing, lasting=True))


def _since(standing: Standing) -> str:
    """Return the time of the last figures; "" after a day, when a time of day would mislead."""
    age = standing.age_seconds
    return f"since {clock(standing.snapshot.taken_at)} · " if age < 86_400 else ""


def figure_lines(
    standing: Standing | None,
    outage: Outage | None,
    label: ServerLabel,
    across: int,
    down: int,
    *,
    ascii_only: bool = False,
) -> list[list[Cell]]:
    """Return name, figures and state, on a terminal `across` cells wide and `down` high."""
    state = state_of(standing, outage)
    if state is None:
        return []
    if down < LOW or (standing is not None and across < _small_width(standing)):
        return _plain(standing, state, label, across, down)
    if down < _NARROW:
        return _small(standing, state, across, min(4, down - SMALL - 2))
    if down < TALL:
        return _narrow(standing, state, across, 4 if down < _GRAPH else 2)
    size = next(size for least, size in _SIZES if down >= least)
    # In ASCII half a cell cannot be drawn: there, letters are of whole cells.
    scale = Scale(size, size + size % 2 if ascii_only else size)
    figures, is_used_drawn = _name_and_figures(standing, state, label, across, scale)
    counts = [] if standing is None or state.is_old else _counts(standing, is_used_drawn=is_used_drawn)
    # A coloured name reaches into the free lines around it.
    free = [Cell(" " * cell_width(figures[0][0].text), label.style)]
    above = [free] if down >= _ROOMY else []
    last_day = [] if standing is None or not standing.last_day else [_last_day(standing, across)]
    return [*above, *figures, free, *_band(standing, state, across, scale, counts), *last_day]


def _last_day(standing: Standing, across: int) -> list[Cell]:
    """Return the line below the band."""
    return [Cell(fit(f" {standing.last_day}", across), "dim")]


# The figures


class _Figures(NamedTuple):
    used: str
    """The slots in use, as wide as `slots`, so that nothing moves while the number grows."""
    slots: str
    percent: str


def _figures(standing: Standing) -> _Figures:
    snapshot = standing.snapshot
    slots = str(snapshot.slots)
    bound = "" if snapshot.counts.exact else "≤"
    used = f"{bound}{snapshot.taken}".rjust(len(slots) + len(bound))
    return _Figures(used, slots, f"{bound}{percent(snapshot.usage)}".rjust(4 + len(bound)))


def _figure_style(state: WallState) -> str:
    if state.is_old:
        return "dim"
    return {"calm": "strong-accent", "over": "strong-amber", "full": "strong-red"}[state.colour]


def _small_text(standing: Standing) -> str:
    figures = _figures(standing)
    return f"{figures.used} of {figures.slots}  {figures.percent}"


def _small_width(standing: Standing) -> int:
    return cell_width(digits(_small_text(standing))[0]) + 2 * _SIDE


# Below 20 lines


def _plain(
    standing: Standing | None, state: WallState, label: ServerLabel, across: int, down: int
) -> list[list[Cell]]:
    """Return figures and word as text, and the sentence in what is left of the lines."""
    lines = []
    if standing is not None:
        figures = _figures(standing)
        facts = f" {figures.used.strip()} of {figures.slots}  {figures.percent.strip()}"
        lines.append([Cell(clip(facts, across), _figure_style(state))])
    word = f" {state.state.shape} {state.state}"
    room = across - cell_width(word) - 2 * _SIDE
    if cell_width(label.name) <= room:
        word += label.name.rjust(room + 1)
    lines.append([Cell(fit(word, across), f"bar-{state.colour}")])
    room = min(3, down - len(lines))
    if room > 0:
        cause = _cause(standing, state)
        why = [f"{cause.mark} {each}" for each in cause.sentences] if cause is not None else [""]
        forms = [" · ".join(filter(None, (state.said, each))) for each in why]
        said = next((each for each in forms if len(folded(each, across - 2)) <= room), forms[-1])
        lines += [[Cell(f" {line}")] for line in few_lines(said, across - 2, room)]
    return lines


def _small(standing: Standing | None, state: WallState, across: int, most: int) -> list[list[Cell]]:
    """Return Textual's digits, and the word with its sentence below on the state's colour."""
    figures = digits(_small_text(standing)) if standing is not None else ("",) * SMALL
    lines = [[Cell(f" {figure}", _figure_style(state))] for figure in figures]
    return lines + _below(standing, state, across, most, is_worded=True)


def _narrow(standing: Standing | None, state: WallState, across: int, most: int) -> list[list[Cell]]:
    """Return the percentage and the word in narrow blocks, and the sentence below on the state's colour."""
    scale = Scale(1, 2)
    share, taken = ("",) * scale.height, 0
    if standing is not None:
        share = big(_figures(standing).percent.strip(), scale)
        taken = width("100%" if standing.snapshot.counts.exact else "≤100%", scale)
    word = big(state.state, scale)
    room = across - 2 * _SIDE
    is_drawn = taken + 2 + len(word[0]) <= room
    lines = [
        [
            Cell(f" {left}{' ' * max(0, room - len(left) - len(right))}", _figure_style(state)),
            Cell(right, f"word-{state.colour}"),
        ]
        for left, right in zip(share, word if is_drawn else [""] * scale.height, strict=True)
    ]
    return [*lines, [], *_below(standing, state, across, most, is_worded=not is_drawn)]


def _below(
    standing: Standing | None, state: WallState, across: int, most: int, *, is_worded: bool
) -> list[list[Cell]]:
    """Return `most` lines of sentences; `is_worded` puts the state's word before them."""
    word = f" {state.state}:" if is_worded else ""
    room = across - 2 * _SIDE
    cause = _cause(standing, state)
    said = few_lines(f"{state.state.shape}{word} {state.said}", room, max(2, most - 2) if cause else most)
    if cause is not None and len(said) < most:
        said += _cause_lines(cause, room, most - len(said))
    if standing is not None and not state.is_old and len(said) < most:
        said += few_lines(_counts(standing)[0], room, most - len(said))
    said += [""] * (most - len(said))
    return [[Cell(fit(f" {line}", across), f"bar-{state.colour}")] for line in said]


# From 20 lines on


def _name_and_figures(
    standing: Standing | None, state: WallState, label: ServerLabel, across: int, scale: Scale
) -> tuple[list[list[Cell]], bool]:
    """Return the name, the slots in use and the percentage side by side, and whether the slots fit."""
    used = share = ("",) * scale.height
    share_width = used_width = 0
    if standing is not None:
        figures = _figures(standing)
        bound = "" if standing.snapshot.counts.exact else "≤"
        of_share = next(each for each in _narrowed(scale) if _fits_beside(f"{bound}100%", each, across))
        share_width = width(f"{bound}100%", of_share)
        # Privileged roles may take more than the slots, but never more than there can be connections.
        most = standing.snapshot.server.limits.max_connections
        used_width = width(f"{bound}{most}/{figures.slots}", scale)
        share = big(figures.percent.strip(), of_share)
        used = big(f"{figures.used.strip()}/{figures.slots}", scale)
    room = across - share_width - 2 * _NAME_SIDE - 2 * _SIDE
    name = _name_rows(label.name, room, scale)
    left = room - len(name[0]) - used_width
    if left < 2 * _GAP:
        used, used_width = ("",) * scale.height, 0
    style = _figure_style(state)
    lines, side = [], " " * _NAME_SIDE
    for named, middle, right in zip(name, used, share, strict=True):
        between = across - cell_width(named) - 2 * _NAME_SIDE - _SIDE - len(right)
        begin = (room - cell_width(named) - used_width) // 2 + used_width - len(middle)
        figure = f"{' ' * begin}{middle}".ljust(between) if middle else " " * between
        lines.append([Cell(f"{side}{named}{side}", label.style), Cell(f"{figure}{right}", style)])
    return lines, used_width > 0


def _narrowed(scale: Scale) -> list[Scale]:
    """Return the scales of the same height, the widest first."""
    return [Scale(across, scale.down) for across in range(scale.across, 0, -1)]


def _fits_beside(text: str, scale: Scale, across: int) -> bool:
    """Return whether a text leaves a third of the width to the name; the narrowest letters always fit."""
    return scale.across == 1 or width(text, scale) * 3 <= across * 2


_NAME_SIDE: Final = 2
"""The cells at each side of the name, in its colour."""
_GAP: Final = 3
"""The least cells between two large texts."""


def _name_rows(name: str, room: int, scale: Scale) -> list[str]:
    """Return a name in the widest blocks that fit, or else as plain text, in lines of the same width."""
    upper = name.upper()
    if is_drawable(upper):
        for each in _narrowed(scale):
            if 0 < width(upper, each) <= room:
                return list(big(upper, each))
    text = clip(name, max(0, room))
    above = (scale.height - 1) // 2
    return [text if row == above else " " * cell_width(text) for row in range(scale.height)]


def _band(
    standing: Standing | None, state: WallState, across: int, scale: Scale, counts: Sequence[str]
) -> list[list[Cell]]:
    """Return the word and beside it the sentences, on the state's colour."""
    beside = across - 2 - _GAP - _SIDE
    fitting = (each for each in _narrowed(scale) if beside - width(state.state, each) >= _TEXT)
    size = next(fitting, Scale(1, scale.down))
    taken = 2 + width(state.state, size) + _GAP
    room = across - taken - _SIDE
    word = ["", *big(state.state, size), ""]
    said = _beside(state, _cause(standing, state), counts, room, len(word)) if room >= _TEXT // 2 else []
    above = (len(word) - len(said)) // 2
    texts = [""] * above + said + [""] * (len(word) - len(said) - above)
    return [
        [Cell(fit(f"  {row}".ljust(taken) + text, across), f"bar-{state.colour}")]
        for row, text in zip(word, texts, strict=True)
    ]


def _beside(
    state: WallState, cause: Finding | None, counts: Sequence[str], room: int, most: int
) -> list[str]:
    """Return the state's sentence, what fills the server, and the counts, in at most `most` lines.

    `counts` are their forms, the longest first: one that does not fit is not cut, but left out.
    """
    gap = [""]
    lines = few_lines(f"{state.state.shape} {state.said}", room, most - 2 if cause else most)
    left = most - len(lines) - len(gap)
    if cause is not None and left > 0:
        lines += [*gap, *_cause_lines(cause, room, left)]
    left = most - len(lines) - len(gap)
    fitting = (folded(form, max(1, room)) for form in counts)
    return [*lines, *next(([*gap, *form] for form in fitting if len(form) <= left), [])]


def _cause(standing: Standing | None, state: WallState) -> Finding | None:
    """Return what fills the server; None if nothing does, or if nothing of it is known any more."""
    if standing is None or not standing.findings or state.state in (State.DOWN, State.ERROR):
        return None
    return standing.findings[0]


def _cause_lines(cause: Finding, room: int, most: int) -> list[str]:
    return few_lines(fitting_sentence(cause, room, most), room, most)


def _counts(standing: Standing, *, is_used_drawn: bool = True) -> list[str]:
    """Return the sessions by state, in forms of which each is shorter than the one before."""
    snapshot = standing.snapshot
    counts = snapshot.counts
    bound = "" if counts.exact else "≤ "
    used = "" if is_used_drawn else f"{bound}{snapshot.taken} of {snapshot.slots} slots · "
    if counts.hidden:
        return [f"{used}{plural(counts.hidden, 'state')} hidden: GRANT pg_monitor"]
    locks = f" · {snapshot.waiting_on_locks} on locks" if snapshot.waiting_on_locks else ""
    states = f"idle {counts.idle} · active {counts.active} · in transaction {counts.in_transaction}"
    return [f"{used}{states}{locks}", used.removesuffix(" · ") or states]


# The largest groups


def top_count(down: int) -> int:
    """Return the number of applications named on a terminal `down` cells high."""
    return next((count for least, count in _TOP if down >= least), 0)


def top_lines(groups: Sequence[Group], by: GroupBy, across: int, most: int) -> list[list[Cell]]:
    """Return the `most` largest groups with their shares of the slots, and the sessions of all others."""
    if not most:
        return []
    shown, others = groups[:most], sum(each.total for each in groups[most:])
    more = f", {others} in {len(groups) - most} more" if others else ""
    lines = [[Cell(clip(f" {HEADS[by]}{more}", across), "title")]]
    names = max(8, min(40, across // 2 - 10))
    bar = max(0, across - names - 10)
    for each in shown:
        name = fit(key_name(each.key, by), names)
        lines.append(
            [
                Cell(f" {each.total:>5}  ", "strong"),
                Cell(name),
                Cell(f" {share_bar(each.share, bar)}", "accent"),
            ]
        )
    return lines + [[]] * (most - len(shown))
