"""A server's refusals of a login, told to people.

The messages come in the server's language. What decides is therefore the SQLSTATE and, where one code means
two things, the C function that raised it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from pgtop.core.outage import Limit, OutageKind
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.conninfo.passfile import unsafe
from pgtop.postgres.conninfo.target import Endpoint, Target
from pgtop.postgres.errors.kinds import (
    LOCK_TABLE_FULL,
    LOCK_TABLE_MEND,
    FullError,
    LimitReachedError,
    LoginError,
    PasswordNeededError,
    is_lock_table_full,
    text_of,
)

_TOO_MANY: Final = "53300"

_BY_FUNCTION: Final = {
    "InitializeSessionUserId": Limit.ROLE,
    "CheckMyDatabase": Limit.DATABASE,
    "InitProcess": Limit.EVERY,
    "ProcArrayAdd": Limit.EVERY,
    "ProcessStartupPacket": Limit.CLIENTS,  # up to 16
    "BackendInitialize": Limit.CLIENTS,
}
"""Raise 53300, each for a limit of its own (miscinit.c, postinit.c, proc.c, procarray.c, postmaster.c,
backend_startup.c). InitPostgres does so for two, which its words tell apart."""

_BY_NAME: Final = (
    ("pg_use_reserved_connections", Limit.ORDINARY),
    ("SUPERUSER", Limit.RESERVED),
)
"""The words left untranslated in InitPostgres' message from PostgreSQL 16 on, in every language."""

_BY_ENGLISH: Final = (
    (r"connections for (role|user)\b", Limit.ROLE),
    (r"connections for database\b", Limit.DATABASE),
    (r"slots are reserved", Limit.ORDINARY),
    (r"too many clients", Limit.EVERY),
)


def _quoted(name: str) -> str:
    return f'"{printable(name)}"'


def source_function(error: BaseException) -> str:
    """The C function of the server that raised an error; "" where the error does not tell."""
    return getattr(error, "server_source_function", None) or ""


def limit_of(error: asyncpg.PostgresError) -> Limit:
    """Return the limit that an error 53300 comes from.

    The C function that raised it decides first, then names that no translation changes. The English text
    decides only if a pooler or a provider has stripped the function.
    """
    function = source_function(error)
    if function in _BY_FUNCTION:
        return _BY_FUNCTION[function]
    text = text_of(error)
    for name, limit in _BY_NAME:
        if name in text:
            return limit
    if function:
        return Limit.ORDINARY if function == "InitPostgres" else Limit.UNKNOWN
    return next((limit for words, limit in _BY_ENGLISH if re.search(words, text)), Limit.UNKNOWN)


class _Refusal(NamedTuple):
    """A server's refusal of a login, its texts safe to print."""

    text: str
    function: str
    limit: Limit
    """Means something with 53300 alone."""
    where: str
    user: str
    database: str
    passfile: Path | None
    password_given: bool


_Teller = Callable[[_Refusal], PgtopError]


def refusal_error(
    error: asyncpg.PostgresError, target: Target, place: Endpoint, password_given: bool
) -> PgtopError:
    """A server's refusal as the error that people see."""
    state = error.sqlstate or ""
    refusal = _Refusal(
        text=text_of(error),
        function=source_function(error),
        limit=limit_of(error) if state == _TOO_MANY else Limit.UNKNOWN,
        where=place.label,
        user=_quoted(target.user),
        database=_quoted(target.database),
        passfile=target.passfile,
        password_given=password_given,
    )
    if is_lock_table_full(error):
        return LoginError(
            f"{refusal.where} refuses the connection, since {LOCK_TABLE_FULL} ({refusal.text})",
            LOCK_TABLE_MEND,
        )
    teller = _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or _refused
    return teller(refusal)


_NO_HOT_STANDBY: Final = "Hot standby mode is disabled"
"""The DETAIL of a standby that never takes clients. In another language it gets the remedy of a server that
starts."""


def _refused(refusal: _Refusal) -> PgtopError:
    return LoginError(f"{refusal.where} refuses the connection ({refusal.text})")


def _too_many(refusal: _Refusal) -> PgtopError:
    if not refusal.limit.is_the_servers:
        of_role = refusal.limit is Limit.ROLE
        owner = f"role {refusal.user}" if of_role else f"database {refusal.database}"
        altered = "ALTER ROLE" if of_role else "ALTER DATABASE"
        elsewhere = "log in as another role (-U)" if of_role else "connect to another database (-d)"
        instead = f"{elsewhere}, or as a superuser, whom the limit does not concern"
        return LimitReachedError(
            f"{owner} has reached its own CONNECTION LIMIT on {refusal.where} ({refusal.text})",
            f"{instead}, or raise it with {altered} … CONNECTION LIMIT",
            refusal.limit,
        )
    return FullError(
        f"{refusal.where} is full: {refusal.limit} ({refusal.text})", _MENDS[refusal.limit], refusal.limit
    )


_ON_THE_HOST: Final = "on the server's own host, pgtop break-glass needs no slot"
_AS_SUPERUSER: Final = f"connect as a superuser (-U or --rescue); {_ON_THE_HOST}"
_MENDS: Final = {
    Limit.ORDINARY: (
        "connect as a superuser, or from PostgreSQL 16 on with pg_use_reserved_connections (-U or "
        f"--rescue); {_ON_THE_HOST}"
    ),
    Limit.RESERVED: _AS_SUPERUSER,
    Limit.EVERY: f"--wait 30s keeps trying; {_ON_THE_HOST}",
    Limit.CLIENTS: f"authentication_timeout drops those that send nothing; {_ON_THE_HOST}",
    Limit.UNKNOWN: _AS_SUPERUSER,
}


def _password(refusal: _Refusal) -> PgtopError:
    if not refusal.password_given:
        mend = "use -W to be asked for it, or put it in ~/.pgpass or PGPASSWORD"
        passfile = refusal.passfile
        if passfile is not None and passfile.exists():
            why = (
                "is ignored while others may read it: chmod 600" if unsafe(passfile) else "has no line for it"
            )
            mend += f" ({printable(str(passfile))} {why})"
        problem = f"{refusal.where} asks for the password of {refusal.user}, and none is given"
        return PasswordNeededError(problem, mend)
    return LoginError(
        f"{refusal.where} does not accept the password of {refusal.user}",
        "check the role, the password, ~/.pgpass and PGPASSWORD; -W asks for it",
    )


def _authorization(refusal: _Refusal) -> PgtopError:
    function = refusal.function
    if function == "InitializeSessionUserId":
        return LoginError(
            f"role {refusal.user} does not exist on {refusal.where}, or may not log in ({refusal.text})",
            "name another with -U; the default is the operating system's user",
        )
    if function == "ClientAuthentication":
        return LoginError(
            f"{refusal.where} has no pg_hba.conf entry that lets {refusal.user} in from here"
            f" ({refusal.text})",
            "add one and reload, or try sslmode=require, another host or another role",
        )
    return LoginError(
        f"{refusal.where} refuses {refusal.user} ({refusal.text})", "check the role and pg_hba.conf"
    )


def _no_database(refusal: _Refusal) -> PgtopError:
    return LoginError(
        f"database {refusal.database} does not exist on {refusal.where}",
        "name another with -d (postgres is nearly always there); the default is the role's name",
    )


def _not_now(refusal: _Refusal) -> PgtopError:
    is_closed = _NO_HOT_STANDBY in refusal.text
    return LoginError(
        f"{refusal.where} accepts no connections at the moment ({refusal.text})",
        "connect to the primary, or set hot_standby = on there and restart" if is_closed else "try again",
        OutageKind.STARTING,
    )


def _no_connections_allowed(refusal: _Refusal) -> PgtopError:
    return LoginError(
        f"database {refusal.database} accepts no connections ({refusal.text})",
        "name another database with -d",
    )


def _no_permission(refusal: _Refusal) -> PgtopError:
    return LoginError(
        f"{refusal.user} may not connect to database {refusal.database} ({refusal.text})",
        "GRANT CONNECT, or name another database with -d",
    )


def _setting(refusal: _Refusal) -> PgtopError:
    return LoginError(
        f"{refusal.where} refuses a setting ({refusal.text})", "check options, PGOPTIONS and ALTER ROLE … SET"
    )


def _broken_off(refusal: _Refusal) -> PgtopError:
    return LoginError(
        f"{refusal.where} closed the connection during the login ({refusal.text})",
        "is a PostgreSQL server, or a pooler that works, behind it?",
        OutageKind.UNREACHABLE,
    )


_BY_SQLSTATE: Final[dict[str, _Teller]] = {
    _TOO_MANY: _too_many,
    "28P01": _password,
    "28000": _authorization,
    "3D000": _no_database,
    "57P01": _not_now,
    "57P02": _not_now,
    "57P03": _not_now,
    "42501": _no_permission,
    "55000": _no_connections_allowed,
    "22023": _setting,
    "42704": _setting,
    "08": _broken_off,
}
