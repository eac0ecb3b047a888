"""A finding: what is so, whether that is well, and the SQL that mends it; and what judges share."""

from typing import Literal

import msgspec

from pgtop.core.checkup import Checkup
from pgtop.core.mends import comment

Status = Literal["ok", "warn", "bad"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    topic: str
    """A word that scripts can rely on."""
    status: Status
    said: str
    """One sentence, safe to print."""
    mend: str = ""
    """SQL and SQL comments, a line each, safe to print and to paste; "" where nothing is to be mended."""
    bars_login: bool = False
    """True for what can refuse a login: where it is bad, this role does not get in."""


def on_primary(checkup: Checkup) -> str:
    """A comment for a statement that writes, where it cannot run here."""
    return comment("on the primary") if checkup.server.identity.in_recovery else ""
