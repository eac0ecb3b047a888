"""The server's name on the screen, on the wall and in the terminal's title, with its colour."""

from typing import Final, NamedTuple

from pgtop.core.server_colour import ServerColour
from pgtop.core.text import clip, printable

_LONGEST: Final = 40
"""The most cells that a name takes."""


class ServerLabel(NamedTuple):
    """The name of the server that is on the screen. All texts are printable and bounded."""

    name: str = ""
    """The configured name, or else `host:port`; "" if not even that is known."""
    is_configured: bool = False
    """True if the name is that of a section of the configuration file."""
    database: str = ""
    """The database that pgtop is connected to; "" if it is not known."""
    colour: ServerColour | None = None

    @property
    def style(self) -> str:
        """The style of the name."""
        return f"server-{self.colour.value}" if self.colour is not None else "strong"


def server_label(
    configured: str | None, address: str, database: str, colour: ServerColour | None = None
) -> ServerLabel:
    """Return the label of a server from texts of any kind.

    >>> server_label("prod\\x1b]2;x\\x07", "db1:5432", "shop").name
    'prod·]2;x·'
    """
    name = printable(configured)
    return ServerLabel(
        clip(name or printable(address), _LONGEST), bool(name), clip(printable(database), _LONGEST), colour
    )
