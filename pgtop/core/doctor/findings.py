"""A finding: what is so, whether that is well, and the SQL that mends it; and what judges share."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from pgtop.core.doctor.checkup import Checkup
from pgtop.core.doctor.remedies import altered_system, comment, lines

Status = Literal["ok", "warn", "bad"]

KEPT: Final = "3"
"""How many slots a mend keeps: as many as PostgreSQL keeps for superusers unless told otherwise."""

LOOK_WHO: Final = "pgtop reap --dry-run shows which sessions may be terminated"

_COMMAND_LINE: Final = "command line"


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


def set_on_server(checkup: Checkup, values: Mapping[str, str], *, restart: bool = False) -> str:
    """The mend that sets server settings, where they can be set: ALTER SYSTEM does nothing about an option on
    the server's command line, and managed services refuse it."""
    there: list[str] = []
    here: list[str] = []
    service = checkup.account.is_managed
    for name, value in values.items():
        setting = checkup.setting.get(name)
        elsewhere = service or (setting is not None and setting.source == _COMMAND_LINE)
        (there if elsewhere else here).append(f"{name} = {value}")
    where = "in the service's parameters" if service else "on the server's command line, where it is set"
    after = ", and restart" if restart or not service else ""
    return lines(
        *(comment(f"{each} {where}{after}") for each in there),
        altered_system(here, restart=restart) if here else "",
    )
