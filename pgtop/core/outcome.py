"""What became of the victims of a plan, one by one."""

from enum import StrEnum

import msgspec

from pgtop.core.plan import Victim


class Outcome(StrEnum):
    """What became of one victim."""

    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    """Its statement ended; the session lives."""
    CHANGED = "changed"
    """It turned active, left, or is another session now: nothing was done to it."""
    DENIED = "denied"
    """The server does not let this role end it, or the host this user."""
    SURVIVED = "survived"
    """It was signalled and still there at the limit."""
    FAILED = "failed"
    """It was not signalled."""
    UNKNOWN = "unknown"
    """The connection was lost after the signal."""


class Result(msgspec.Struct, frozen=True):
    """The outcome of one victim, with what the server said where it said something."""

    victim: Victim
    outcome: Outcome
    detail: str = ""
