"""The line of keys at the bottom: the keys that count now, each in its place, and none without effect.

Pure functions from the state of the screen to cells. Which keys have room follows their need, and their place
does not: a key is found where it was. F1 and q stand at the right.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.key_situation import Focus, Incident, Situation
from pgtop.tui.lines.replay_banner import Replayed

NARROW: Final = 72
"""The width in cells below which the keys have their brief labels."""

_GAP: Final = 2
"""The cells between two keys."""

READ_ONLY_SAID: Final = "read-only: nothing can be terminated or cancelled"
"""The answer to a key that acts if `read_only`."""


RECORDING_SAID: Final = "this is a recording: nothing can be terminated or cancelled"
"""The answer to a key that acts while a recording is shown."""


class Key(NamedTuple):
    """One key of the footer."""

    key: str
    label: str
    action: str = ""
    brief: str = ""
    """The label where room is scarce; "" for the same."""

    @property
    def least(self) -> str:
        """The shortest label."""
        return self.brief or self.label


BREAK_GLASS: Final = Key("B", "free slots", "screen.break_glass")
HELP: Final = Key("F1", "help", "screen.help")
QUIT: Final = Key("q", "quit", "app.quit")

_LATE: Final = ("g", "o", "b", "A", "U", "Tab", "[ ]", "p", "w", "←")
_ORDERS: Final = {
    Incident.NONE: ("/", "Enter", "d", "Esc", "S", "K", "C", "Space", "n", *_LATE),
    Incident.SWEEPABLE: ("d", "S", "K", "/", "Enter", "Esc", "C", "Space", "A", "n", *_LATE),
    Incident.OTHER: ("d", "b", "K", "/", "Enter", "Esc", "C", "Space", "n", "S", *_LATE),
}
"""The keys by need, for each kind of trouble."""
_ON_GROUPS: Final = {
    Incident.NONE: ("Enter", "K", "g", "Esc", "/", "S", "C", "Tab", "d", *_LATE),
    Incident.SWEEPABLE: ("d", "S", "K", "Enter", "g", "Esc", "/", "C", "A", "Tab", *_LATE),
    Incident.OTHER: ("d", "b", "K", "C", "Enter", "g", "Esc", "/", "Tab", "S", *_LATE),
}
_PLACES: Final = (
    *("B", "d", "K", "/", "Enter"),
    *("S", "b", "C", "Esc", "Space", "U", "n", "g", "o", "Tab", "A", "[ ]", "p", "w"),
)
"""The places of the keys from left to right: first those that nearly always have an effect."""
_WIDENED: Final = ("B", "S", "b", "d", "K", "Enter")
"""The keys whose brief labels are the first to give way to the full ones: a sweep's has its number."""
_ON_THE_WALL: Final = {
    Incident.NONE: ("w", "S", "d", "g", "[ ]", "A", "p", "←"),
    Incident.SWEEPABLE: ("d", "S", "w", "A", "g", "[ ]", "p", "←"),
    Incident.OTHER: ("d", "b", "w", "S", "g", "[ ]", "A", "p", "←"),
}


_PLAYING: Final = (
    *("screen.play", "screen.poll(1)", "screen.stop(1)", "screen.last"),
    *("screen.jump(60)", "screen.time", "screen.faster(1)", "screen.zoom"),
)
"""The actions of the player's own keys: their places are left of all others."""
_REPLAY: Final = (
    *("p", "← →", ".", "End", "[ ]", "t", "+ -"),
    *("/", "Enter", "Esc", "d", "b", "w", "z", "g", "o"),
)


def replay_keys(situation: Situation, replay: Replayed) -> list[Key]:
    """Return the keys of the player, those of playing first; on the wall only those that work there."""
    if situation.focus is Focus.FILTER:
        return _filter_keys(situation)
    everywhere = _everywhere(situation)
    found = {name: key for name, key in everywhere.items() if name in ("d", "b", "g", "w")}
    if situation.on_the_wall:
        found["w"] = Key("w", "tables", "screen.wall")
    else:
        found |= _of_the_list(situation)
        if situation.focus is Focus.GROUPS:
            found |= _of_the_groups(situation)
    playing = [
        Key("p", "pause" if replay.is_playing else "play", "screen.play"),
        Key("← →", "one poll", "screen.poll(1)", brief="poll"),
        Key("[ ]", "a minute", "screen.jump(60)", brief="minute"),
        Key(".", "next event", "screen.stop(1)", brief="event"),
        Key("t", "time", "screen.time"),
        Key("+ -", "speed", "screen.faster(1)"),
        Key("z", "graph", "screen.zoom"),
    ]
    if replay.is_over_live:
        playing.append(Key("End", "back to now", "screen.last", brief="now"))
    return _in_order(found | {key.key: key for key in playing}, _REPLAY)


def waiting_keys(*, break_glass: bool) -> list[Key]:
    """Return the keys that work while there is nothing to see yet."""
    return [*([BREAK_GLASS] if break_glass else []), HELP, QUIT]


def wall_keys(situation: Situation) -> list[Key]:
    """Return the keys that work on the wall, which can be used without any."""
    found = _everywhere(situation) | {"w": Key("w", "tables", "screen.wall")}
    return _in_order(found, _first(situation), _ON_THE_WALL[situation.incident])


def table_keys(situation: Situation) -> list[Key]:
    """Return the keys that have an effect now by need, the greatest first; the last two are always shown."""
    if situation.focus is Focus.FILTER:
        return _filter_keys(situation)
    found = _everywhere(situation) | _of_the_list(situation)
    if situation.focus is Focus.GROUPS:
        found |= _of_the_groups(situation)
        order = _ON_GROUPS[situation.incident]
    else:
        order = _ORDERS[situation.incident]
    return _in_order(found, _first(situation), order)


def _first(situation: Situation) -> tuple[str, ...]:
    """Return the keys that are needed before all others: those of the state that the person brought about."""
    first = ["B"]
    if situation.paused:
        first.append("p")
    if situation.tagged:
        first += ["K", "C", "U"]
    elif not situation.listed:
        first.append("Esc")
    return tuple(first)


def _in_order(found: dict[str, Key], *orders: Sequence[str]) -> list[Key]:
    names = dict.fromkeys(name for order in orders for name in order)
    return [*(found[name] for name in names if name in found), HELP, QUIT]


def _filter_keys(situation: Situation) -> list[Key]:
    name = situation.saved_filter
    found = [
        Key("Enter", f"apply {name}" if name else "apply", brief="ok"),
        Key("Esc", "clear", "screen.clear"),
    ]
    if situation.has_filters:
        found.append(Key("↑ ↓", "saved and earlier filters", brief="saved"))
    return [*found, HELP, Key("F10", "quit", "app.quit")]


def _everywhere(situation: Situation) -> dict[str, Key]:
    """Return the keys that do not need the list."""
    found = [
        Key("d", "diagnosis", "screen.diagnosis", brief="why"),
        Key("g", "group by", "screen.group"),
        Key("[ ]", "graph time", "screen.window(1)"),
        Key("p", "resume" if situation.paused else "pause", "screen.pause"),
        Key("w", "wall", "screen.wall"),
    ]
    if situation.waits_on_locks and not situation.outage:
        found.append(Key("b", "lock tree", "screen.lock_tree", brief="locks"))
    if situation.break_glass:
        found.append(BREAK_GLASS)
    if situation.is_recorded:
        found.append(Key("←", "back in time", "screen.back", brief="back"))
    if not situation.read_only:
        if situation.automatic:
            found.append(Key("A", "stop auto sweeps", "screen.auto", brief="stop auto"))
        elif not situation.outage:
            found.append(Key("A", "auto sweeps", "screen.auto", brief="auto"))
        if situation.sweepable and not situation.outage:
            count = str(situation.sweepable).ljust(situation.sweep_digits)
            label = f"sweep {count}" if situation.sweep_digits else "sweep"
            found.append(Key("S", label, "screen.sweep", brief="sweep"))
    return {key.key: key for key in found}


def _of_the_list(situation: Situation) -> dict[str, Key]:
    found = [Key("/", "filter", "screen.filter")]
    if situation.groups:
        found.append(Key("Tab", "groups", "app.focus_next"))
    if situation.filtered and not situation.has_notice:
        found.append(Key("Esc", "clear filter", "screen.clear", brief="clear"))
    elif situation.grouped and not situation.has_notice:
        found.append(Key("Esc", "all sessions", "screen.clear", brief="all"))
    if situation.listed:
        found += [
            Key("o", "sort, columns", "screen.columns", brief="sort"),
            Key("Space", "tag", "screen.tag"),
        ]
        if not situation.outage:
            found.append(Key("Enter", "details", brief="open"))
        if situation.searches and not situation.filtered:
            found.append(Key("n", "next match", "screen.match(1)", brief="next"))
    if situation.tagged:
        found.append(Key("U", "untag", "screen.untag"))
    if not situation.read_only and not situation.outage:
        meant = f" {situation.tagged} tagged" if situation.tagged else ""
        brief = f" {situation.tagged}" if situation.tagged else ""
        if situation.can_terminate:
            found.append(Key("K", f"terminate{meant}", "screen.terminate", brief=f"term{brief}"))
        if situation.can_cancel:
            found.append(Key("C", f"cancel{meant}", "screen.cancel", brief=f"cancel{brief}"))
    return {key.key: key for key in found}


def _of_the_groups(situation: Situation) -> dict[str, Key]:
    """Return the keys that mean a group while the table of groups has the focus."""
    found = [Key("Tab", "sessions", "app.focus_next")]
    if situation.groups:
        found.append(Key("Enter", "its sessions"))
    if not (situation.tagged or situation.read_only or situation.outage):
        if situation.can_terminate:
            found.append(Key("K", "terminate group", "screen.terminate", brief="term group"))
        if situation.can_cancel:
            found.append(Key("C", "cancel group", "screen.cancel"))
    return {key.key: key for key in found}


def key_line(keys: Sequence[Key], width: int) -> list[Cell]:
    """Return the line of keys. The last two stand at its right end; of the others, the first that fit.

    They stand in their places, not in the order given, which is that of need.

    On a narrow terminal, brief labels make room for more keys; what is left goes to the full labels.

    >>> "".join(cell.text for cell in key_line([Key("/", "filter"), HELP, QUIT], 30))
    ' / filter      F1 help  q quit'
    """
    right = [cell for key in keys[-2:] for cell in _entry(key, key.label)]
    margin = "" if width < NARROW else " "
    right.append(Cell(right.pop().text.rstrip() + margin, "dim", keys[-1].action))
    room = width - 1 - sum(cell_width(cell.text) for cell in right)
    labels: dict[Key, str] = {}
    for key in keys[:-2]:
        forms = [key.least] if width < NARROW else [key.label, key.least]
        label = next((each for each in forms if _entry_width(key, each) <= room), None)
        if label is None:
            break
        labels[key] = label
        room -= _entry_width(key, label)
    shown, room = _widened(sorted(labels, key=_place), room + _taken(labels))
    left = [cell for key, label in shown.items() for cell in _entry(key, label)]
    return [Cell(" "), *left, Cell(" " * max(0, room)), *right]


def _taken(labels: Mapping[Key, str]) -> int:
    return sum(_entry_width(key, label) for key, label in labels.items())


def _place(key: Key) -> int:
    if key.action in _PLAYING:
        return _PLAYING.index(key.action) - len(_PLAYING)
    return _PLACES.index(key.key) if key.key in _PLACES else len(_PLACES)


def _widened(keys: Sequence[Key], room: int) -> tuple[dict[Key, str], int]:
    """Return the labels of keys that fit into `room` cells with brief ones, and the cells that are left.

    The same keys have the same labels, whatever they were chosen for.
    """
    labels = {key: key.least for key in keys}
    room -= _taken(labels)
    first = [key for name in _WIDENED for key in keys if key.key == name]
    for key in dict.fromkeys([*first, *keys]):
        more = cell_width(key.label) - cell_width(key.least)
        if more <= room:
            labels[key] = key.label
            room -= more
    return labels, room


def _entry(key: Key, label: str) -> list[Cell]:
    return [Cell(key.key, "key", key.action), Cell(f" {label}{' ' * _GAP}", "dim", key.action)]


def _entry_width(key: Key, label: str) -> int:
    return cell_width(f"{key.key} {label}") + _GAP
