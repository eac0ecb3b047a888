"""A finding: the fact, its status, and the SQL that remedies it; and helpers for all judges."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from pgtop.core.doctor.checkup import Checkup
from pgtop.core.doctor.remedies import altered_system, comment, lines

Status = Literal["ok", "warn", "bad"]

KEPT: Final = "3"
"""The number of connections that a remedy reserves: PostgreSQL's default for superusers."""


def look_who(options: str = "") -> str:
    """Return the words for the command that shows which sessions may be terminated."""
    command = " ".join(filter(None, ["pgtop reap --dry-run", options]))
    return f"{command} shows which sessions may be terminated"


LOOK_WHO: Final = look_who()

_COMMAND_LINE: Final = "command line"


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    topic: str
    """The check's name, which scripts can rely on."""
    status: Status
    said: str
    """One sentence with the result, safe to print."""
    mend: str = ""
    """The remedy: SQL and SQL comments, a line each, safe to print and to paste; "" if none is needed."""
    bars_login: bool = False
    """True if the check is about something that can refuse a login: this role cannot log in if it is bad."""


def on_primary(checkup: Checkup) -> str:
    """Return a comment for a statement that writes, if this server is a standby; else ""."""
    return comment("on the primary") if checkup.server.identity.in_recovery else ""


def set_on_server(checkup: Checkup, values: Mapping[str, str], *, restart: bool = False) -> str:
    """Return the remedy that sets server settings, in the place where they can be set.

    ALTER SYSTEM has no effect on an option of the server's command line, and managed services refuse it.
    """
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
