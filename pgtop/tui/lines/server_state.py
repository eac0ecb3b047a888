"""The state of the server in one word: the badge of the head, the large word of the wall, the title."""

from enum import StrEnum
from typing import Final

from pgtop.core.alerts import Level
from pgtop.core.outage import Outage, OutageKind


class State(StrEnum):
    """The state of the server, or of what is known of it. The value is the word on the screen."""

    OK = "OK"
    HIGH = "HIGH"
    """At the line or over it."""
    LIMIT = "LIMIT"
    """Below the line, but a role or a database is at its CONNECTION LIMIT."""
    FULL = "FULL"
    """New connections are refused."""
    DOWN = "DOWN"
    """The server cannot be reached, or does not take connections."""
    ERROR = "ERROR"
    """The server answers, but gives no figures."""
    PAUSED = "PAUSED"
    LATE = "LATE"
    """The answer to a poll is overdue."""

    @property
    def shape(self) -> str:
        """The character that tells it apart without a colour."""
        return _SHAPES[self]


_SHAPES: Final = {
    State.OK: "●",
    State.HIGH: "▲",
    State.LIMIT: "▲",
    State.FULL: "■",
    State.DOWN: "✗",
    State.ERROR: "✗",
    State.PAUSED: "‖",
    State.LATE: "◌",
}
_ANSWERED: Final = frozenset({OutageKind.REFUSED, OutageKind.FAILED})
"""The outages of a server that is up: a password that has changed, an answer that cannot be read."""
_OF_LEVELS: Final[dict[Level, State]] = {"calm": State.OK, "over": State.HIGH, "full": State.FULL}


def live_state(level: Level, *, is_limit_reached: bool) -> State:
    """Return the state that figures of now tell."""
    return State.LIMIT if level == "calm" and is_limit_reached else _OF_LEVELS[level]


def outage_state(outage: Outage) -> State:
    """Return the state during an outage."""
    if outage.limit is not None:
        return State.FULL if outage.limit.is_the_servers else State.LIMIT
    return State.ERROR if outage.kind in _ANSWERED else State.DOWN
