"""The exit codes of the commands. Scripts rely on them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of a command, for the script that called it."""

    DONE = 0
    """Done, also when ended by SIGTERM, or the dashboard by the loss of its terminal."""
    UNEXPECTED = 1
    """A fault of pgtop's own."""
    USAGE = 2
    """Usage, configuration, or not a terminal."""
    CANNOT_CONNECT = 3
    """No server, wrong password, unknown role or database, a role's or database's limit, a pooler."""
    FULL = 4
    """Refused for lack of a slot."""
    NOT_PERMITTED = 5
    """Every victim denied, or nothing may be seen."""
    PARTLY = 6
    """Some were denied, survived, failed or are unknown."""
