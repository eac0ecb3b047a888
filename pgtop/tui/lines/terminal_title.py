"""The title of the terminal's window: the server and its usage, for a row of tabs."""

from pgtop.core.outage import Outage
from pgtop.core.text import percent
from pgtop.tui.lines.head import Standing
from pgtop.tui.lines.server_label import ServerLabel
from pgtop.tui.lines.server_state import State, outage_state


def terminal_title(label: ServerLabel, standing: Standing | None, outage: Outage | None) -> str:
    """Return the title: `pgtop prod 86%`, and the word for a server that is full or down."""
    words = ["pgtop", label.name]
    if outage is not None:
        words.append(outage_state(outage))
    elif standing is not None:
        bound = "" if standing.snapshot.counts.exact else "≤"
        words.append(f"{bound}{percent(standing.snapshot.usage)}")
        if standing.state is State.FULL:
            words.append(State.FULL)
    return " ".join(filter(None, words))
