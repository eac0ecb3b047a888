"""HelpScreen: every key, and the meaning of the words on the screen."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.widgets.painted_lines import Lines

KEYS: Final = (
    (
        "Act",
        (
            ("K", "terminate the tagged sessions, or the selected one"),
            ("", "on a group of the upper table: all its sessions"),
            ("C", "cancel their queries; the sessions stay connected"),
            ("S", "sweep: terminate the stale sessions of the list"),
            ("y  n Esc", "in a dialog: y confirms, n and Esc change nothing"),
            ("A", "toggle automatic sweeps"),
            ("B", "server full: free slots from this host"),
            ("o", "results of the last action"),
        ),
    ),
    (
        "Choose",
        (
            ("↑ ↓ j k", "move; also PgUp PgDn Home End"),
            ("Tab", "other table; Enter on a group lists only its sessions"),
            ("Space U", "tag, untag all; tags survive sort and filter"),
            ("*", "tag all sessions of the list"),
            ("/", "filter: words, app:web db:shop state:idle -not pid:123"),
            ("Esc", "close the notice, the filter, the group"),
            ("b", "jump to the session that blocks others with a lock"),
        ),
    ),
    (
        "Look",
        (
            ("d", "diagnosis: what fills the server, why, what to do"),
            ("Enter", "session details: whole query, locks, blockers"),
            ("s r", "sort by the next column, reverse"),
            ("g", "group by application, user, database, address"),
            ("[ ]", "time shown in the graph: 1 minute to 24 hours"),
            ("+ -", "longer or shorter poll interval"),
            ("p", "pause the display"),
            ("w", "wall view, readable from afar; w again: the tables"),
            ("c", "copy the selected session"),
            ("Ctrl+P", "command palette"),
            ("Ctrl+Z", "suspend to the shell; fg resumes"),
            ("F1 ?  q", "this help, quit"),
        ),
    ),
)

READ_ONLY: Final = ("", "read-only: nothing can be terminated or cancelled")

WORDS: Final = (
    ("slots", "max_connections minus reserved connections: 100%"),
    ("idle age", "time since state_change, by the server's clock"),
    ("session", "session age; a keepalive query resets only idle age"),
    ("! stale", "idle for longer than --idle-after"),
    ("in 15m", "change of a group's session count in that time"),
    ("≤+3", "at most that change: sessions that began in that time"),
    ("?", "state hidden from this role: GRANT pg_monitor"),
    ("skipped", "pgtop's own, superusers', protected applications,"),
    ("", "advisory lock holders, and sessions that LISTEN"),
    ("", "(if a poll saw LISTEN as their last query)"),
)


class HelpScreen(ModalScreen[None]):
    """The keys and the words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,question_mark,enter", "dismiss", "Close"),
    ]

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__()
        self._read_only = read_only
        self._text = Lines(id="help-text")
        self._scroll = VerticalScroll(self._text, id="help-scroll")

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="detail"):
            yield self._scroll

    def on_mount(self) -> None:
        self._text.fit(help_lines(read_only=self._read_only))
        self._scroll.focus()


def help_lines(*, read_only: bool = False) -> list[list[Cell]]:
    """Return the whole help; if `read_only`, a sentence on that replaces the keys that act."""
    lines: list[list[Cell]] = []
    for title, keys in ((KEYS[0][0], (READ_ONLY,)), *KEYS[1:]) if read_only else KEYS:
        lines.append([Cell(f" {title}", "title")])
        lines += [[Cell(f"   {key:<10}", "key"), Cell(said)] for key, said in keys]
        lines.append([])
    lines.append([Cell(" Words", "title")])
    lines += [[Cell(f"   {word:<10}", "strong"), Cell(said, "dim")] for word, said in WORDS]
    return lines
