"""The line of keys at the bottom: the keys that count now, the most needed first.

Pure functions from the state of the screen to cells.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.notice import Notice


class Key(NamedTuple):
    """One key of the footer."""

    key: str
    label: str
    action: str = ""


SWEEP: Final = Key("S", "sweep", "screen.sweep")

AUTO: Final = Key("A", "auto", "screen.auto")

BREAK_GLASS: Final = Key("B", "free slots", "screen.break_glass")

HELP_AND_QUIT: Final = (Key("F1", "help", "screen.help"), Key("q", "quit", "app.quit"))


def waiting_keys(*, break_glass: bool) -> list[Key]:
    """Return the keys that work while there is nothing to see yet."""
    return [*([BREAK_GLASS] if break_glass else []), *HELP_AND_QUIT]


def wall_keys(notice: Notice | None, *, read_only: bool, break_glass: bool) -> list[Key]:
    """Return the keys that work on the wall, which can be used without any."""
    found = [BREAK_GLASS] if break_glass else []
    if notice is not None:
        found.append(Key("Esc", "dismiss", "screen.clear"))
    found += [Key("w", "tables", "screen.wall"), *([] if read_only else [SWEEP, AUTO])]
    found.append(Key("d", "diagnosis", "screen.diagnosis"))
    found += [
        Key("g", "group", "screen.group"),
        Key("[ ]", "window", "screen.window(1)"),
        Key("p", "pause", "screen.pause"),
    ]
    return [*found, *HELP_AND_QUIT]


def table_keys(
    focus: str | None,
    tagged: int,
    notice: Notice | None,
    *,
    read_only: bool = False,
    break_glass: bool = False,
) -> list[Key]:
    """Return the keys that work now, the most needed first; the last two are always shown.

    `focus` is the id of the focused widget: in the filter, letters are text. `read_only` leaves out the keys
    that terminate or cancel; `break_glass` adds `B`, for a full server on this host.
    """
    if focus == "filter":
        return [
            Key("Enter", "apply"),
            Key("Esc", "clear", "screen.clear"),
            Key("F1", "help", "screen.help"),
        ]
    found = [BREAK_GLASS] if break_glass else []
    if notice is not None:
        found.append(Key("Esc", "dismiss", "screen.clear"))
    if focus == "applications":
        found += [
            Key("Enter", "show its sessions"),
            Key("g", "group", "screen.group"),
            Key("Tab", "sessions"),
        ]
        if not read_only:
            meant = f"{tagged} tagged" if tagged else "the group"
            found += [Key("K", f"terminate {meant}", "screen.terminate"), SWEEP, AUTO]
        found.append(Key("[ ]", "window", "screen.window(1)"))
    else:
        meant = f" {tagged} tagged" if tagged else ""
        if not read_only:
            found += [
                Key("K", f"terminate{meant}", "screen.terminate"),
                Key("C", f"cancel{meant}", "screen.cancel"),
                SWEEP,
                AUTO,
            ]
        found += [
            Key("Space", "tag", "screen.tag"),
            Key("Enter", "details"),
            Key("d", "diagnosis", "screen.diagnosis"),
            Key("/", "filter", "screen.filter"),
            Key("s", "sort", "screen.sort"),
            Key("g", "group", "screen.group"),
            Key("[ ]", "window", "screen.window(1)"),
            Key("p", "pause", "screen.pause"),
            Key("w", "wall", "screen.wall"),
        ]
    return [*found, *HELP_AND_QUIT]


def key_line(keys: Sequence[Key], width: int) -> list[Cell]:
    """Return the line of keys; those that do not fit are dropped from the end, but never the last two."""
    shown = list(keys)

    def taken() -> int:
        return 1 + sum(cell_width(f"{key.key} {key.label}") + 2 for key in shown)

    while len(shown) > 2 and taken() > width:
        shown.pop(-3)
    cells = [Cell(" ")]
    for key in shown:
        cells += [Cell(key.key, "key", key.action), Cell(f" {key.label}  ", "dim", key.action)]
    return cells
