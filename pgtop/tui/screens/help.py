"""HelpScreen: every key, and what the words on the screen mean."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from pgtop.tui.lines.columns import Cell
from pgtop.tui.widgets.painted import Lines

KEYS: Final = (
    (
        "End",
        (
            ("K", "terminate the tagged sessions, or the selected one"),
            ("C", "cancel what they run; the sessions stay"),
            ("S", "sweep: end the stale; e: emergency's plan, i: in txn too"),
            ("y  n Esc", "in a dialog: yes, no"),
            ("A", "automatic reaping on or off; it says how it stands"),
            ("B", "no slot is left, on the server's own host: end the idle"),
            ("o", "after an act: what became of each session"),
        ),
    ),
    (
        "Choose",
        (
            ("↑ ↓ j k", "move; PgUp PgDn Home End too"),
            ("Tab", "the other table; Enter there lists that group's only"),
            ("Space U", "tag, untag all; tags survive sort and filter"),
            ("/", "filter: words, app:web db:shop state:idle -not pid:123"),
            ("Esc", "clear: the notice, the filter, the choice"),
            ("b", "jump to who blocks the sessions that wait on locks"),
        ),
    ),
    (
        "Look",
        (
            ("Enter", "all of one backend: whole query, locks, who blocks it"),
            ("s r", "sort by the next column, reverse"),
            ("g", "group by application, user, database, address"),
            ("[ ]", "the graph's window, 5 minutes to 24 hours"),
            ("+ -", "the interval"),
            ("p", "pause: what is shown stands still"),
            ("w", "wall view: read from five metres; w again: the tables"),
            ("c", "copy the selected session"),
            ("Ctrl+P", "every command by name"),
            ("Ctrl+Z", "to the shell; fg comes back"),
            ("F1 ?  q", "this help, quit"),
        ),
    ),
)

READ_ONLY: Final = ("", "read-only: nothing can be ended or cancelled")

WORDS: Final = (
    ("slots", "max_connections less the reserved ones: 100%"),
    ("idle age", "since state_change, by the server's clock"),
    ("session", "its age; a keepalive query resets only the idle age"),
    ("! stale", "idle for longer than --idle-after"),
    ("in 15m", "how many more a group has now than so long ago"),
    ("?", "a state hidden from this role: GRANT pg_monitor"),
    ("spared", "pgtop's own, superusers', protected applications,"),
    ("", "holders of advisory locks, and listeners: known only"),
    ("", "where a poll saw LISTEN as the last statement"),
)


class HelpScreen(ModalScreen[None]):
    """The keys and the words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,question_mark,enter", "dismiss", "Close"),
    ]

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__()
        self._read_only = read_only

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="detail"), VerticalScroll(id="help-scroll"):
            yield Lines(id="help-text")

    def on_mount(self) -> None:
        lines = help_lines(read_only=self._read_only)
        text = self.query_one("#help-text", Lines)
        text.styles.height = len(lines)
        text.show(lines)
        self.query_one("#help-scroll").focus()


def help_lines(*, read_only: bool = False) -> list[list[Cell]]:
    """The whole help; where that is `read_only`, that in place of the keys that end something."""
    lines: list[list[Cell]] = []
    for title, keys in ((KEYS[0][0], (READ_ONLY,)), *KEYS[1:]) if read_only else KEYS:
        lines.append([Cell(f" {title}", "title")])
        lines += [[Cell(f"   {key:<10}", "key"), Cell(said)] for key, said in keys]
        lines.append([])
    lines.append([Cell(" Words", "title")])
    lines += [[Cell(f"   {word:<10}", "strong"), Cell(said, "dim")] for word, said in WORDS]
    return lines
