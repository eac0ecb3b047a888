"""The connection graph's first row: its title, and its legend with the present counts."""

from collections.abc import Iterator
from typing import Final

from pgtop.core.text import span
from pgtop.tui.lines.graph_area import LAYERS, Ink, Run, glyph
from pgtop.tui.lines.graph_frame import Frame

_NAMES: Final = {
    Ink.ACTIVE: ("active", "active"),
    Ink.IN_TRANSACTION: ("in transaction", "in txn"),
    Ink.IDLE: ("idle", "idle"),
    Ink.OTHER: ("other", "other"),
    Ink.SESSIONS: ("sessions", "sessions"),
}
"""The names of the layers, in full and short."""
_ALWAYS: Final = (Ink.ACTIVE, Ink.IN_TRANSACTION, Ink.IDLE)


def header(frame: Frame) -> list[Run]:
    """Return the title and the legend with the present counts, in the fullest form that fits."""
    for title, legend in _forms(frame):
        room = frame.width - len(title) - sum(len(text) for text, _, _ in legend) - 1
        if room >= (2 if title else 0):
            rule = ("-" if frame.ascii_only else "─") * room
            return [
                (rule[:1], Ink.RULE, None),
                (title, Ink.TITLE, None),
                (rule[1:], Ink.RULE, None),
                *legend,
            ]
    return _tiny(frame)


def _forms(frame: Frame) -> Iterator[tuple[str, list[Run]]]:
    """Yield title and legend, the fullest form first."""
    full, brief = _titles(frame)
    forecast = _forecast(frame)
    if forecast:
        yield full, _legend(frame, 0, "  ") + forecast
        yield brief, _legend(frame, 0, "  ") + forecast
        yield brief, _legend(frame, 1, "  ") + forecast
        yield brief, _legend(frame, 1, " ") + forecast
    yield full, _legend(frame, 0, "  ")
    yield brief, _legend(frame, 0, "  ")
    yield brief, _legend(frame, 1, "  ")
    yield brief, _legend(frame, 1, " ")
    yield "", _legend(frame, 1, " ")
    yield brief, _legend(frame, 1, " ", rare=False)
    yield "", _legend(frame, 1, " ", rare=False)


def _titles(frame: Frame) -> tuple[str, str]:
    """Return the title, in full and short."""
    window = span(frame.window_seconds)
    if frame.recorded:
        of = "the whole recording" if frame.is_whole else "of the recording"
        return (
            f" sessions, {of}, {window} " if frame.is_whole else f" sessions, {window} {of} ",
            f" {window} ",
        )
    return f" sessions, last {window} ", f" last {window} "


def _tiny(frame: Frame) -> list[Run]:
    """Return as many of the counts as there is room for, the lowest layer first."""
    found: list[Run] = []
    width = 0
    for ink, value in _shown(frame):
        swatch, text = glyph(ink, frame.shading), f"{value} "
        width += len(swatch) + len(text)
        if width > frame.width + 1:
            break
        found += [(swatch, ink, None), (text, Ink.LEGEND, None)]
    return found


def _legend(frame: Frame, form: int, gap: str, *, rare: bool = True) -> list[Run]:
    """Return the layers from the uppermost down, as they lie; counts keep their width."""
    digits = len(str(frame.slots))
    found: list[Run] = []
    for ink, value in reversed(_shown(frame)):
        if ink is Ink.OTHER and not rare:
            continue
        found.append((f"{gap}{glyph(ink, frame.shading)}", ink, None))
        found.append((f" {_NAMES[ink][form]} {value.rjust(digits)}", Ink.LEGEND, None))
    return found


def _shown(frame: Frame) -> list[tuple[Ink, str]]:
    """Return the layers of the legend, the lowest first: the three, and others that are in the picture.

    A layer stays while the picture shows it, so that its colour is explained and the legend does not jump
    with each session that starts. It is named without a figure while it has no session.
    """
    if frame.values is None:
        return [(ink, "-") for ink in _ALWAYS]
    values = dict(frame.values)
    drawn = {ink for layers in frame.stacks if layers is not None for ink, _ in layers}
    always = {*_ALWAYS, Ink.SESSIONS}
    return [
        (ink, str(values[ink]) if values[ink] or ink in always else "")
        for ink in LAYERS
        if ink in values and (ink in always or ink in drawn)
    ]


def _forecast(frame: Frame) -> list[Run]:
    if not frame.forecast:
        return []
    return [
        ("  **" if frame.ascii_only else "  ··", Ink.FORECAST, None),
        (f" {frame.forecast}", Ink.LEGEND, None),
    ]
