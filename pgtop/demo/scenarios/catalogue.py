"""The table of the scenarios: what each shows, when, and what to press."""

from types import MappingProxyType
from typing import Final

import msgspec

from pgtop.core.diagnosis.findings import Kind


class Scenario(msgspec.Struct, frozen=True):
    """One scenario."""

    name: str
    kind: Kind
    """The finding that it leads to."""
    summary: str
    press: str
    """The keys that help, or a word that none does."""
    seconds: int
    """The seconds after the demo's start by which the finding is said."""
    compression: float = 1.0
    """The factor by which the diagnosis divides its times: nobody waits half an hour for a demo."""
    needs_hosts: bool = False
    """True if it cannot be told without several addresses."""

    @property
    def pace(self) -> str:
        """The sentence on the compressed time; "" if there is nothing to say."""
        if self.compression == 1:
            return ""
        return f"time runs {self.compression:g} times faster"


_ALL: Final = (
    Scenario(
        "leak",
        Kind.LEAK,
        "a worker takes sessions and forgets them",
        "d for the cause; then K and y, to terminate the leaked sessions and no others",
        seconds=60,
        compression=20,
    ),
    Scenario(
        "pools",
        Kind.POOL_ARITHMETIC,
        "pools on many hosts, each in order, too large together",
        "d for the size that fits; a sweep (S) does not hold, the pools refill",
        seconds=15,
        compression=20,
        needs_hosts=True,
    ),
    Scenario(
        "deploy",
        Kind.SILENT_CLIENTS,
        "a new release took over, and the old one keeps its sessions",
        "d for the silent addresses; then K and y, to terminate what they left",
        seconds=40,
        compression=20,
        needs_hosts=True,
    ),
    Scenario(
        "locks",
        Kind.LOCK_QUEUE,
        "a dump, a schema change that waits for it, and readers behind it",
        "d, then K and y, to cancel the ALTER TABLE: the readers go on, the dump lives",
        seconds=15,
        compression=20,
    ),
    Scenario(
        "transactions",
        Kind.IDLE_IN_TRANSACTION,
        "an API calls another service in the middle of a transaction",
        "d, then K and y, to terminate those idle in transaction",
        seconds=30,
        compression=20,
    ),
    Scenario(
        "slow",
        Kind.SLOW_STATEMENTS,
        "one slow statement, until all sessions run it",
        "d, then K and y, to cancel the statement; the sessions stay",
        seconds=40,
        compression=20,
    ),
    Scenario(
        "silent",
        Kind.SILENT_CLIENTS,
        "hosts are cut off, and their sessions stay",
        "d for their addresses; then K and y, to terminate their sessions",
        seconds=40,
        compression=20,
        needs_hosts=True,
    ),
    Scenario(
        "limit",
        Kind.LIMIT,
        "a role has reached its CONNECTION LIMIT on a server with room",
        "d to see who holds them; g until users are listed: the row says 12/12 limit",
        seconds=15,
    ),
    Scenario(
        "storm",
        Kind.SURGE,
        "an application without a pool opens a session for each request",
        "d; a sweep (S) does not help, they come back",
        seconds=35,
        compression=20,
    ),
    Scenario(
        "tools",
        Kind.TOOLS,
        "people's tools, left open since the morning",
        "d, then K and y: whoever comes back reconnects",
        seconds=40,
        compression=120,
    ),
)

SCENARIOS: Final = MappingProxyType({each.name: each for each in _ALL})
"""All scenarios by name, in the order of the help."""

DEFAULT: Final = "leak"
