"""Rules, and what they find: a place in the code, with the place that it must be read together with."""

from enum import StrEnum
from typing import Final

import msgspec


class Rule(StrEnum):
    """A rule, by the id that a person reads, silences and looks up in the manual."""

    NEVER_CLOSED = "never-closed"
    NOT_IN_FINALLY = "not-in-finally"
    WITH_PSYCOPG2 = "with-psycopg2"
    WITH_GETCONN = "with-getconn"
    GENERATOR_LEFT_EARLY = "generator-left-early"
    POOL_RACE = "pool-race"
    POOL_PER_CALL = "pool-per-call"
    HELD_ACROSS_NETWORK = "held-across-network"
    NO_ACQUIRE_TIMEOUT = "no-acquire-timeout"
    NO_MAX_SIZE = "no-max-size"
    NO_COMMAND_TIMEOUT = "no-command-timeout"
    NO_APPLICATION_NAME = "no-application-name"


STANDARD: Final = frozenset(
    {
        Rule.NEVER_CLOSED,
        Rule.NOT_IN_FINALLY,
        Rule.WITH_PSYCOPG2,
        Rule.WITH_GETCONN,
        Rule.GENERATOR_LEFT_EARLY,
        Rule.POOL_RACE,
        Rule.POOL_PER_CALL,
        Rule.HELD_ACROSS_NETWORK,
    }
)
"""The rules that are checked unless others are chosen; the rest are about limits, and are opt-in."""


class Place(msgspec.Struct, frozen=True, order=True):
    """A line of the code."""

    path: str
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""


class Finding(msgspec.Struct, frozen=True):
    """Something that a rule found."""

    rule: Rule
    place: Place
    """The call that takes the connection."""
    message: str
    """A sentence that names what is taken, where, and what is missing."""
    function: str
    """The function's qualified name; `<module>` outside any function."""
    sink: Place | None = None
    """The place at which it is lost, if that is another one."""
    silenced: str | None = None
    """The reason that a comment or the configuration gives for leaving it as it is; None if none does."""
