"""What went wrong, told to people: every error of driver, network and server becomes a sentence and its mend.

Messages of a server come in the server's language. What decides is therefore its SQLSTATE and, where one
code means two things, the C function that raised it.
"""

import errno
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from pgtop.core.activity import Outage
from pgtop.core.text import printable
from pgtop.errors import ConnectError, ExitCode, FullError, PgtopError
from pgtop.postgres.target import Endpoint, Target

FULL: Final = "full"
STARTING: Final = "starting"
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"
LOST: Final = "lost"
TIMEOUT: Final = "timeout"
FAILED: Final = "failed"

RETRY_AFTER_SECONDS: Final = {
    FULL: 0.25,  # a refused login costs the server 2 ms: often enough to win a slot, and no load of its own
    STARTING: 1.0,
    UNREACHABLE: 2.0,
    REFUSED: 5.0,
    LOST: 0.5,
    TIMEOUT: 1.0,
    FAILED: 2.0,
}
"""How long to wait after an outage of each kind."""

DRIVER_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""All that the driver raises for what a server, a network or a certificate can do.

ValueError is UnicodeError of a host name that is none, and the driver's for an answer that is no PostgreSQL.
"""

_LIMIT_FUNCTIONS: Final = frozenset({"InitializeSessionUserId", "CheckMyDatabase"})
"""Raise 53300 for a role's or a database's CONNECTION LIMIT; the server itself is not full then."""


class LoginError(ConnectError):
    """No session came about; `kind` is the word for it in an Outage."""

    def __init__(self, problem: str, mend: str = "", kind: str = REFUSED) -> None:
        super().__init__(problem, mend)
        self.kind = kind


class SeatLostError(PgtopError):
    """The session ended, or was given up, while or before a statement ran; `kind` is `lost` or `timeout`."""

    exit_code = ExitCode.CANNOT_CONNECT

    def __init__(self, problem: str, mend: str = "", kind: str = LOST) -> None:
        super().__init__(problem, mend)
        self.kind = kind


def outage(error: BaseException) -> Outage:
    """An error of taking the seat or of a statement on it, as a value."""
    kind = _kind(error)
    if isinstance(error, PgtopError):
        message = str(error)
    elif isinstance(error, asyncpg.QueryCanceledError):
        message = "the server took longer than the statement's time limit"
    else:
        message = f"the server could not be asked: {_text(error)}"
    return Outage(kind, message, RETRY_AFTER_SECONDS[kind])


def _kind(error: BaseException) -> str:
    if isinstance(error, FullError):
        return FULL
    if isinstance(error, LoginError | SeatLostError):
        return error.kind
    if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
        return TIMEOUT
    if isinstance(error, OSError | asyncpg.PostgresConnectionError):
        return LOST
    return FAILED


def connect_error(
    error: BaseException, target: Target, endpoint: Endpoint | None = None, *, password_given: bool = True
) -> PgtopError:
    """An error of connecting as the one that people see; `endpoint` is the host that was being tried."""
    if isinstance(error, PgtopError):
        return error
    place = endpoint or target.endpoints[0]
    if isinstance(error, asyncpg.PostgresError):
        return _refusal(error, target, place, password_given)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return LoginError(
            f"{place.label} is up, but not what target_session_attrs={target.target_session_attrs} asks for",
            "name the right host, or leave target_session_attrs out",
            UNREACHABLE,
        )
    if isinstance(error, ssl.SSLError):
        return _tls(error, place)
    if isinstance(error, OSError):
        return _network(error, place, target)
    if isinstance(error, UnicodeError):
        return _unknown_host(place)
    if isinstance(error, asyncpg.InterfaceError) and "authentication" in str(error):
        return LoginError(
            f"{place.label} asks for a way to log in that pgtop does not know ({_text(error)})",
            "allow this role scram-sha-256 in pg_hba.conf",
        )
    return LoginError(
        f"{place.label} does not answer as a PostgreSQL server ({_text(error)})", "check host and port"
    )


def _text(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return printable(message)


def source_function(error: BaseException) -> str:
    """The C function of the server that raised an error; "" where the error does not tell."""
    return getattr(error, "server_source_function", None) or ""


def is_connection_limit(error: asyncpg.PostgresError) -> bool:
    """Whether a 53300 is a role's or a database's CONNECTION LIMIT and not the server's.

    The English words decide only where a pooler or a provider has stripped the function.
    """
    function = source_function(error)
    if function:
        return function in _LIMIT_FUNCTIONS
    return bool(re.search(r"connections for (role|database|user)\b", _text(error)))


class _Refusal(NamedTuple):
    """A server's refusal of a login, its texts safe to print."""

    text: str
    function: str
    is_limit: bool
    where: str
    user: str
    database: str
    passfile: Path | None
    password_given: bool


_Teller = Callable[[_Refusal], PgtopError]


def _refusal(
    error: asyncpg.PostgresError, target: Target, place: Endpoint, password_given: bool
) -> PgtopError:
    refusal = _Refusal(
        text=_text(error),
        function=source_function(error),
        is_limit=is_connection_limit(error),
        where=place.label,
        user=_quoted(target.user),
        database=_quoted(target.database),
        passfile=target.passfile,
        password_given=password_given,
    )
    state = error.sqlstate or ""
    teller = _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or _refused
    return teller(refusal)


def _refused(refusal: _Refusal) -> PgtopError:
    return LoginError(f"{refusal.where} refuses the login ({refusal.text})")


def _too_many(refusal: _Refusal) -> PgtopError:
    if refusal.is_limit:
        of_role = refusal.function == "InitializeSessionUserId" or "database" not in refusal.text
        owner = f"role {refusal.user}" if of_role else f"database {refusal.database}"
        altered = "ALTER ROLE" if of_role else "ALTER DATABASE"
        return LoginError(
            f"{owner} has reached its own CONNECTION LIMIT on {refusal.where} ({refusal.text})",
            f"log in as another role, or raise it with {altered} … CONNECTION LIMIT",
        )
    return FullError(
        f"{refusal.where} is full ({refusal.text})",
        "log in as a superuser, or from PostgreSQL 16 on with pg_use_reserved_connections; "
        "on the server's own host, pgtop break-glass needs no slot",
    )


def _password(refusal: _Refusal) -> PgtopError:
    if not refusal.password_given:
        mend = "use -W to be asked for it, or put it in ~/.pgpass or PGPASSWORD"
        if refusal.passfile is not None and refusal.passfile.exists():
            mend += (
                f" ({printable(str(refusal.passfile))} has no line for it, or others may read it: chmod 600)"
            )
        return LoginError(f"{refusal.where} asks for the password of {refusal.user}, and none is given", mend)
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
    return LoginError(
        f"{refusal.where} takes no logins at the moment ({refusal.text})", "try again", STARTING
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
        f"{refusal.where} broke off the login ({refusal.text})",
        "is a PostgreSQL server, or a pooler that works, behind it?",
        UNREACHABLE,
    )


_BY_SQLSTATE: Final[dict[str, _Teller]] = {
    "53300": _too_many,
    "28P01": _password,
    "28000": _authorization,
    "3D000": _no_database,
    "57P01": _not_now,
    "57P02": _not_now,
    "57P03": _not_now,
    "42501": _no_permission,
    "22023": _setting,
    "42704": _setting,
    "08": _broken_off,
}


def _quoted(name: str) -> str:
    return f'"{printable(name)}"'


def _tls(error: ssl.SSLError, place: Endpoint) -> PgtopError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return LoginError(
            f"the certificate of {place.label} is not trusted ({printable(error.verify_message)})",
            "check sslrootcert and the host name; sslmode=require encrypts without checking the name",
        )
    reason = printable(error.reason or str(error))
    return LoginError(f"TLS with {place.label} failed ({reason})", "check sslmode, sslcert and sslkey")


_NO_ROUTE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def _network(error: OSError, place: Endpoint, target: Target) -> PgtopError:
    numbers = _errnos(error)
    if isinstance(error, socket.gaierror):
        return _unknown_host(place)
    if isinstance(error, TimeoutError) or errno.ETIMEDOUT in numbers:
        return LoginError(
            f"{place.label} does not answer in time",
            "check host, port and firewall; connect_timeout=… waits longer",
            TIMEOUT,
        )
    if place.is_socket and errno.ENOENT in numbers:
        return LoginError(
            f"there is no server socket {printable(place.socket_path)}",
            "is the server running there? name a host with -h, or another port with -p",
            UNREACHABLE,
        )
    if place.is_socket and numbers & {errno.EACCES, errno.EPERM}:
        return LoginError(
            f"the server's socket {printable(place.socket_path)} may not be opened",
            "run as a user who may, or connect over TCP with -h localhost",
        )
    if errno.ECONNREFUSED in numbers:
        return LoginError(
            f"no server listens at {place.label} (connection refused)",
            "check that it runs, its port (-p) and listen_addresses",
            UNREACHABLE,
        )
    if numbers & _NO_ROUTE:
        return LoginError(
            f"{place.label} cannot be reached ({_text(error)})", "check the network", UNREACHABLE
        )
    if "rejected SSL upgrade" in str(error):
        return LoginError(
            f"{place.label} does not offer TLS, and sslmode={target.tls.sslmode} asks for it",
            "turn ssl on at the server, or use sslmode=prefer where the network is safe",
        )
    return LoginError(
        f"{place.label} broke off the login ({_text(error)})",
        "is a PostgreSQL server behind this port, and is it up?",
        UNREACHABLE,
    )


def _unknown_host(place: Endpoint) -> PgtopError:
    return LoginError(
        f'host name "{printable(place.host)}" is not known', "check its spelling and DNS", UNREACHABLE
    )


def _errnos(error: OSError) -> frozenset[int]:
    """The numbers in an error, also where asyncio joined those of several addresses into one text."""
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return frozenset({error.errno})
    return frozenset(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
