"""HelpScreen: every key by what one wants to do, and the meaning of the words on the screen."""

from collections.abc import Iterable
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll

from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.keys import READ_ONLY_SAID
from pgtop.tui.lines.plan_summary import few_lines
from pgtop.tui.screens.dialog import Dialog
from pgtop.tui.widgets.painted_lines import Lines

Section = tuple[str, tuple[tuple[str, str], ...]]

DIAGNOSE: Final[Section] = (
    "Diagnose: what fills the server?",
    (
        ("d", "the causes, what to do, and K there does it"),
        ("b F5", "lock tree: which session blocks which"),
        ("Enter", "one session: whole query, locks; ← → others"),
    ),
)

ACT: Final[Section] = (
    "Act: a dialog asks first; y does it, n and Esc do not",
    (
        ("S", "sweep: terminate the listed stale sessions"),
        ("K F9", "terminate the tagged or selected; or a group"),
        ("C", "cancel their queries; sessions stay connected"),
        ("A", "automatic sweeps on or off"),
        ("B", "server full: free slots from this host"),
        ("O", "results of the last action"),
    ),
)

_LOOK_ONLY: Final[Section] = (DIAGNOSE[0], (("d", "the causes, and what to do"), *DIAGNOSE[1][1:]))

PLAY: Final[Section] = (
    "Play: this is a recording, nothing can be terminated",
    (
        ("p", "play or pause"),
        ("+ -", "faster or slower: 0.25x to 60x"),
        ("← →", "one poll back or on"),
        ("[ ]", "one minute back or on"),
        (". ,", "next or previous alert, verdict, act or outage"),
        ("t", "go to a time: 03:12, 2026-11-30 03:12, -15min"),
        ("Home End", "first and last poll; over a dashboard End: now"),
        ("z", "graph: the whole recording, 1 hour, 15 min"),
    ),
)
"""The keys of the player, in the place of those that act."""

READ_ONLY: Final[Section] = (
    READ_ONLY_SAID,
    (("O", "results of the last action"),),
)

FIND: Final[Section] = (
    "Find",
    (
        ("/ F3", "filter: app:web state:idle -word; ↑ ↓ saved"),
        ("", "ages: idle>5m txn>=30s age<1h (s, m, h, d)"),
        ("n N", "next, previous match of the last filter"),
        ("Space", "tag; * tags all listed, U untags all"),
        ("Tab", "other table; Enter on a group: its sessions"),
        ("↑ ↓ j k", "move; also PgUp PgDn Home End"),
        ("Esc", "close the notice, the filter, the group"),
    ),
)

SEE: Final[Section] = (
    "See",
    (
        ("o F6", "sort menu, columns to hide; s next column"),
        ("r", "reverse the order"),
        ("g", "group by user, address, statement and others"),
        ("[ ]", "time in the graph: 1 minute to 24 hours"),
        ("←", "back into the recording; End there: now"),
        ("+ -", "longer or shorter poll interval"),
        ("p", "pause the display"),
        ("w", "wall view, readable from afar; or the tables"),
        ("c", "copy the selected session"),
        ("Ctrl+P", "every command by its name"),
        ("Ctrl+Z", "suspend to the shell; fg resumes"),
        ("q F10", "quit"),
        ("F1 ?", "this help"),
    ),
)

ELSEWHERE: Final[tuple[Section, ...]] = (
    (
        "In a dialog",
        (
            ("y", "confirm what is shown"),
            ("n Esc", "keep everything as it is"),
            ("e", "sweep: only as many as needed, or all"),
            ("i", "sweep: with sessions idle in transaction, or without"),
            ("a", "sweep: all sessions, or only those of the list"),
            ("+ -", "sweep: another idle age"),
            ("c", "try one of each application first, then look"),
        ),
    ),
    (
        "In the diagnosis",
        (
            ("K", "do what the cause calls for"),
            ("Tab", "next cause; c copies its SQL"),
        ),
    ),
    (
        "In the details and the lock tree",
        (
            ("K C", "terminate the session (F9), cancel its query"),
            ("← →", "details: previous and next session listed"),
            ("v", "details: the query in $PAGER"),
            ("c", "copy; r asks the server again"),
        ),
    ),
)
"""The keys of what opens over the dashboard."""

_LIVE_ALONE: Final = frozenset({"[ ]", "←", "+ -", "p"})
"""The keys of SEE that mean something else in the player."""

_SKIPPED: Final = (
    "pgtop's own, superusers', protected applications, advisory lock holders, and sessions that LISTEN "
    "(if a poll saw LISTEN as their last query)"
)

WORDS: Final = (
    ("slots", "max_connections minus reserved connections: 100%"),
    ("idle age", "time since state_change, by the server's clock"),
    ("session", "session age; a keepalive query resets only idle age"),
    ("! stale", "idle for longer than --idle-after"),
    ("in 15m", "change of a group's session count in that time"),
    ("new 5m", "until a change was watched: sessions begun in that time"),
    ("▼", "graph: a termination, an alert, a restart, a new finding"),
    ("?", "state hidden from this role: GRANT pg_monitor"),
    ("skipped", _SKIPPED),
)

WIDEST: Final = 69
"""The cells of the widest line."""

WIDEST_DIALOG: Final = 150
"""The cells of the widest dialog, with its frame, as in the .tcss."""

TWO_COLUMNS: Final = 110
"""The least cells for two columns of lines."""

_MOST_LINES: Final = 9
"""The most lines of one sentence."""

_KEYS: Final = 10
"""The cells for a key and its margin."""


class HelpScreen(Dialog[None]):
    """The keys and the words. Its frame has the title, the key that closes it, and the way to the rest."""

    DEFAULT_CSS = """
    HelpScreen {
        #dialog.help { width: 100%; max-width: 150; }
        #help-scroll { height: auto; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f10,f1,question_mark,enter", "dismiss", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, *, read_only: bool = False, replay: bool = False) -> None:
        """`read_only` leaves out the keys that act; `replay` shows those of the player in their place."""
        super().__init__()
        self._replay = replay
        self._read_only = read_only
        self._text = Lines(id="help-text")
        self._scroll = VerticalScroll(self._text, id="help-scroll", can_focus=True)
        self._dialog = Vertical(self._scroll, id="dialog", classes="help")

    def compose(self) -> ComposeResult:
        yield self._dialog

    def on_mount(self) -> None:
        self._dialog.border_title = "Keys and words"
        self.watch(self._scroll, "scroll_y", self._show_rest, init=False)
        self.watch(self._scroll, "max_scroll_y", self._show_rest, init=False)
        self._scroll.focus()

    def on_resize(self) -> None:
        # The frame, its padding and the bar of the scroll are not for text.
        room = min(self.app.size.width, WIDEST_DIALOG) - 6
        self._scroll.styles.max_height = max(1, self.app.size.height - 2)
        self._text.fit(help_lines(room, read_only=self._read_only, replay=self._replay))
        self.call_after_refresh(self._show_rest)

    def _show_rest(self) -> None:
        """Say in the frame how to close it, and in which direction there is more."""
        scroll = self._scroll
        rest = [
            *(["↑ more"] if scroll.scroll_y > 0 else []),
            *([f"↓ {int(left)} more lines"] if (left := scroll.max_scroll_y - scroll.scroll_y) > 0 else []),
        ]
        self._dialog.border_subtitle = " · ".join([*rest, "Esc close"])

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self._scroll.scroll_relative(y=by, animate=False)


def help_lines(width: int = WIDEST, *, read_only: bool = False, replay: bool = False) -> list[list[Cell]]:
    """Return the whole help in lines of at most `width` cells, in two columns where there is room.

    If `read_only`, a sentence on that replaces the keys that act; in a `replay`, the player's keys do.
    """
    first = (_LOOK_ONLY, READ_ONLY) if read_only else (DIAGNOSE, ACT)
    see = SEE
    if replay:
        first = (PLAY, _LOOK_ONLY)
        see = (SEE[0], tuple(each for each in SEE[1] if each[0] not in _LIVE_ALONE))
    sections = (*first, FIND, see)
    others = (*(() if read_only or replay else ELSEWHERE), ("Words", WORDS))
    if width < TWO_COLUMNS:
        return _lines((*sections, *others), width)
    half = (width - 2) // 2
    left, right = _lines(sections, half), _lines(others, half)
    lines = []
    for nth in range(max(len(left), len(right))):
        line = left[nth] if nth < len(left) else []
        gap = half + 2 - sum(cell_width(cell.text) for cell in line)
        lines.append([*line, Cell(" " * gap), *(right[nth] if nth < len(right) else [])])
    return lines


def _lines(sections: Iterable[Section], width: int) -> list[list[Cell]]:
    lines: list[list[Cell]] = []
    for title, keys in sections:
        if lines:
            lines.append([])
        lines += [[Cell(line, "strong")] for line in few_lines(title, width, 3)]
        for key, said in keys:
            folded = few_lines(said, max(10, width - _KEYS), _MOST_LINES)
            for nth, line in enumerate(folded):
                lines.append([Cell(f" {key if nth == 0 else '':<{_KEYS - 1}}", "key"), Cell(line)])
    return lines
