"""The wall view around its graph: the figures, the state in words, the largest groups.

It is read from five metres, so the figures grow with the terminal, and a state is told by a word, a shape and
a colour. The number of lines of each part depends on the terminal's size alone: nothing jumps when a state
changes. Pure functions from values to lines of cells.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.outage import Outage
from pgtop.core.session_groups import HEADS, Group, GroupBy, key_name
from pgtop.core.text import cell_width, clip, duration, fit, percent, plural
from pgtop.tui.lines.bars import share_bar
from pgtop.tui.lines.big_digits import SMALL, big, digits, width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.head import Standing, sentence
from pgtop.tui.lines.outage import outage_sentence
from pgtop.tui.lines.plan_summary import few_lines

LOW: Final = 8
"""Below this height the figures are plain text, and only the state is sure to get a line."""
TALL: Final = 34
"""From this height on, figures and state are drawn in blocks, each in lines of its own."""
_SCALES: Final = ((66, 4), (50, 3), (TALL, 2))
"""The least height for each scale."""
_TOP: Final = ((66, 10), (50, 8), (TALL, 6), (20, 4), (12, 3))
"""The least height for each number of applications named."""
_SIDE: Final = 1
"""The cells left free at each side."""


class State(NamedTuple):
    """The state as the wall names it."""

    word: str
    shape: str
    colour: str
    """`calm`, `over` or `full`: the same three as a level's, whatever the word."""
    said: str
    """The sentence; printable."""
    is_old: bool = False
    """True if the figures are out of date."""


def state_of(standing: Standing | None, outage: Outage | None) -> State:
    """Return the most important state: one that makes the figures old comes before what they say."""
    if outage is not None:
        said = outage_sentence(outage)
        if standing is not None:
            said = f"figures {duration(standing.age_seconds)} old · {said.removeprefix('FULL: ')}"
        limit = outage.limit
        if limit is None:
            return State("OUTAGE", "✗", "full", said, is_old=True)
        word = "FULL" if limit.is_the_servers else "NO SLOT"
        return State(word, "■", "full", said.removeprefix("FULL: "), is_old=True)
    if standing is None:
        return State("", "", "calm", "", is_old=True)
    old = duration(standing.age_seconds)
    if standing.paused:
        return State("PAUSED", "‖", "over", f"figures {old} old · p resumes", is_old=True)
    if standing.late:
        return State("LATE", "◌", "over", f"figures {old} old · no answer yet", is_old=True)
    said = sentence(standing)
    if standing.level == "full":
        return State("FULL", "■", "full", said.removeprefix("FULL: "))
    if standing.level == "over":
        return State("OVER", "▲", "over", said)
    return State("LIMIT", "▲", "over", said) if standing.reached else State("CALM", "●", "calm", said)


def figure_lines(
    standing: Standing | None, outage: Outage | None, across: int, down: int
) -> list[list[Cell]]:
    """Return the figures and the state, on a terminal `across` cells wide and `down` high."""
    state = state_of(standing, outage)
    if not state.word:
        return []
    scale = next((scale for least, scale in _SCALES if down >= least), 0)
    while scale and max(_used_width(standing, scale), width(state.word, scale)) > across - 2 * _SIDE - 2:
        scale -= 1
    if down < LOW or (standing is not None and across < _small_width(standing)):
        return _plain(standing, state, across, down)
    return _blocks(standing, state, across, scale) if scale > 1 else _small(standing, state, across)


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


def _figure_style(state: State) -> str:
    if state.is_old:
        return "dim"
    return {"calm": "strong-accent", "over": "strong-amber", "full": "strong-red"}[state.colour]


def _used_text(figures: _Figures) -> str:
    return f"{figures.used}/{figures.slots}"


def _used_width(standing: Standing | None, scale: int) -> int:
    """Return the width of the widest figures as blocks, with a gap between them."""
    if standing is None:
        return 0
    figures = _figures(standing)
    # Privileged roles may take more than the slots, but never more than there can be connections.
    used = str(standing.snapshot.server.limits.max_connections)
    bound = "" if standing.snapshot.counts.exact else "≤"
    return width(f"{bound}{used}/{figures.slots} {figures.percent}", scale)


def _small_text(standing: Standing) -> str:
    figures = _figures(standing)
    return f"{figures.used} of {figures.slots}  {figures.percent}"


def _small_width(standing: Standing) -> int:
    return cell_width(digits(_small_text(standing))[0]) + 2 * _SIDE


# The three sizes


def _plain(standing: Standing | None, state: State, across: int, down: int) -> list[list[Cell]]:
    """Return figures and word as text, and the sentence in what is left of the lines."""
    lines = []
    if standing is not None:
        figures = _figures(standing)
        facts = f" {figures.used.strip()} of {figures.slots}  {figures.percent.strip()}"
        lines.append([Cell(clip(facts, across), _figure_style(state))])
    lines.append([Cell(fit(f" {state.shape} {state.word}", across), f"bar-{state.colour}")])
    room = min(3, down - len(lines))
    if room > 0:
        said = " · ".join(filter(None, (state.said, _why(standing))))
        lines += [[Cell(f" {line}")] for line in few_lines(said, across - 2, room)]
    return lines


def _small(standing: Standing | None, state: State, across: int) -> list[list[Cell]]:
    """Return Textual's digits with the word beside them, and the sentence below on the state's colour."""
    word = big(state.word, 1)
    figures = digits(_small_text(standing)) if standing is not None else ("",) * SMALL
    room = across - 2 * _SIDE - cell_width(figures[0]) - cell_width(word[0])
    said, gap = f"{state.shape} {state.said}", " " * max(0, room)
    if room < 2:
        said, word = f"{state.shape} {state.word}: {state.said}", ("",) * SMALL
    lines = [
        [Cell(f" {figure}{gap}", _figure_style(state)), Cell(line, f"word-{state.colour}")]
        for figure, line in zip(figures, word, strict=True)
    ]
    below = few_lines(said, across - 2 * _SIDE, 2)
    if len(below) < 2:
        beside = _why(standing) or ("" if state.is_old else _counts(standing))
        below.append(clip(beside, across - 2 * _SIDE))
    return lines + [[Cell(fit(f" {line}", across), f"bar-{state.colour}")] for line in below]


def _blocks(standing: Standing | None, state: State, across: int, scale: int) -> list[list[Cell]]:
    """Return the figures in lines of their own, then the word and its sentence on the state's colour."""
    lines: list[list[Cell]] = [[]]
    if standing is not None:
        figures = _figures(standing)
        used, share = big(_used_text(figures), scale), big(figures.percent.strip(), scale)
        room = across - 2 * _SIDE - len(used[0])
        lines += [
            [Cell(f" {left}{right.rjust(room)}", _figure_style(state))]
            for left, right in zip(used, share, strict=True)
        ]
        lines.append([])
    word = ["", *big(state.word, scale), ""]
    taken = 2 + width(state.word, scale) + 3
    room = across - taken - _SIDE
    beside = len(word) - 1
    said = few_lines(f"{state.shape} {state.said}", room, beside) if room >= 20 else []
    why, left = _why(standing), beside - len(said) - 1
    if said and why and left > 0:
        said += ["", *few_lines(why, room, left)]
    counts = "" if state.is_old else _counts(standing)
    if said and counts and len(said) < beside - 1:
        said += ["", clip(counts, room)]
    above = (len(word) - len(said)) // 2
    texts = [""] * above + said + [""] * (len(word) - len(said) - above)
    return lines + [
        [Cell(fit(f"  {row}".ljust(taken) + text, across), f"bar-{state.colour}")]
        for row, text in zip(word, texts, strict=True)
    ]


def _why(standing: Standing | None) -> str:
    """Return what fills the server; "" if there is nothing to say."""
    if standing is None or not standing.findings:
        return ""
    first = standing.findings[0]
    return f"{first.mark} {first.sentence}"


def _counts(standing: Standing | None) -> str:
    if standing is None:
        return ""
    counts = standing.snapshot.counts
    if counts.hidden:
        return f"{plural(counts.hidden, 'state')} hidden: GRANT pg_monitor"
    waiting = standing.snapshot.waiting_on_locks
    locks = f" · {waiting} on locks" if waiting else ""
    return f"idle {counts.idle} · active {counts.active} · in transaction {counts.in_transaction}{locks}"


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
