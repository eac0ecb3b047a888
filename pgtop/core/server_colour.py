"""The colours that tell servers apart on the screen."""

from enum import StrEnum


class ServerColour(StrEnum):
    """The colour of a server's name. The value is the word in the configuration file."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    MAGENTA = "magenta"
    PURPLE = "purple"
    GREY = "grey"
