"""Errors in words for people: each error of driver, network and server as a sentence and its remedy."""

import errno
import os
import re
import socket
import ssl
from typing import Final

import asyncpg

from pgtop.core.activity import Snapshot
from pgtop.core.outage import OutageKind
from pgtop.core.session_labels import TRACK_STATES, grant
from pgtop.core.signal_rights import reaping_grants
from pgtop.core.text import printable
from pgtop.errors import ConnectError, NotPermittedError, PgtopError
from pgtop.postgres.conninfo.target import Endpoint, Target
from pgtop.postgres.conninfo.tls import is_plain_refused
from pgtop.postgres.errors.kinds import LoginError, outage, text_of
from pgtop.postgres.errors.login_refusals import refusal_error

DRIVER_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""All that the driver raises for what a server, a network or a certificate can do.

ValueError is UnicodeError of an invalid host name, and the driver's for an answer that is not PostgreSQL's.
"""

NOT_TEXT: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""The server's errors for bytes that are not text in its encoding."""


def connect_error(
    error: BaseException, target: Target, endpoint: Endpoint | None = None, *, password_given: bool = True
) -> PgtopError:
    """An error of connecting as the one that people see; `endpoint` is the host that was being tried."""
    if isinstance(error, PgtopError):
        return error
    place = endpoint or target.endpoints[0]
    if isinstance(error, asyncpg.PostgresError):
        return refusal_error(error, target, place, password_given)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return LoginError(
            f"{place.label} is up, but not what target_session_attrs={target.target_session_attrs} asks for",
            "name the right host, or leave target_session_attrs out",
            OutageKind.UNREACHABLE,
        )
    if isinstance(error, ssl.SSLError):
        return _tls(error, place)
    if isinstance(error, OSError):
        return _network(error, place, target)
    if isinstance(error, UnicodeEncodeError) and error.encoding == "utf-8":
        return LoginError("the password in the password file is not UTF-8", "write it as UTF-8, or use -W")
    if isinstance(error, UnicodeError):
        return _unknown_host(place)
    if isinstance(error, asyncpg.InterfaceError) and "authentication" in str(error):
        return LoginError(
            f"{place.label} asks for a login method that pgtop does not support ({text_of(error)})",
            "allow this role scram-sha-256 in pg_hba.conf",
        )
    return _no_postgres(error, place)


def answer_error(error: BaseException, mend: str = "") -> PgtopError:
    """A poll that failed on a connection that was made, for a command that asks once."""
    told = outage(error)
    kind = PgtopError if told.kind == OutageKind.FAILED else ConnectError
    return kind(told.message, mend)


DIRECTLY: Final = "connect to the server directly"


def pooled_sentence(place: str) -> str:
    """Return the warning for a connection through a pooler; `place` is safe to print.

    >>> pooled_sentence("db1:6432")
    'connected through a pooler at db1:6432: counts are wrong. Connect to the server directly'
    """
    return f"{_pooled(place)}. {DIRECTLY.capitalize()}"


def pooler_error(place: str) -> ConnectError:
    """A connection through a pooler, which nothing may be terminated through; `place` is safe to print."""
    return ConnectError(_pooled(place), f"{DIRECTLY}; nothing was terminated")


def _pooled(place: str) -> str:
    return f"connected through a pooler at {place}: counts are wrong"


def hidden_states_error(snapshot: Snapshot) -> NotPermittedError:
    """States that this role cannot see, where nobody can say who is idle."""
    role = printable(snapshot.privileges.role)
    return NotPermittedError(
        f"the states of {snapshot.counts.hidden} sessions are hidden from role {role}",
        f"nothing was terminated. Run: {reaping_grants(snapshot)}",
    )


_OF_CATALOG: Final = re.compile(r"\bpg_[a-z_]+")


def missing_grant(error: BaseException, query: str, role: str) -> str:
    """Return the statement that grants what a query was refused for, as far as the error names it.

    The server's words may be of any language; the name in them is not.
    """
    found = _OF_CATALOG.findall(str(error))
    if not found:
        return grant("pg_monitor", role)
    name = f"pg_catalog.{found[-1]}"
    return grant(f"EXECUTE ON FUNCTION {name}" if f"{name}(" in query else f"SELECT ON {name}", role)


def untracked_states_error(snapshot: Snapshot) -> NotPermittedError:
    """States that nobody can see, since `track_activities` is off for these sessions."""
    return NotPermittedError(
        f"the states of {snapshot.counts.disabled} sessions are not tracked (track_activities = off), "
        "so nobody can say which are idle",
        f"nothing was terminated. Run: {' '.join(TRACK_STATES)} "
        "and look for ALTER ROLE and ALTER DATABASE that set it off",
    )


def _no_postgres(error: BaseException, place: Endpoint) -> PgtopError:
    return LoginError(
        f"{place.label} does not answer as a PostgreSQL server ({text_of(error)})", "check host and port"
    )


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
            OutageKind.TIMEOUT,
        )
    if place.is_socket and errno.ENOENT in numbers:
        return LoginError(
            f"there is no server socket {printable(place.socket_path)}",
            "is the server running there? name a host with -h, or another port with -p",
            OutageKind.UNREACHABLE,
        )
    if place.is_socket and numbers & {errno.EACCES, errno.EPERM}:
        return LoginError(
            f"the server's socket {printable(place.socket_path)} may not be opened",
            "run as a user who may, or connect over TCP with -h localhost",
        )
    if errno.ECONNREFUSED in numbers:
        setting = "unix_socket_directories" if place.is_socket else "listen_addresses"
        return LoginError(
            f"no server listens at {place.label} (connection refused)",
            f"is it running? Check -p and {setting}",
            OutageKind.UNREACHABLE,
        )
    if numbers & _NO_ROUTE:
        return LoginError(
            f"{place.label} cannot be reached ({_in_words(error)})",
            "check the network",
            OutageKind.UNREACHABLE,
        )
    if is_plain_refused(error) and target.tls.sslmode in ("allow", "prefer"):
        return _no_postgres(error, place)  # a server without TLS says so, and the driver goes on without
    if is_plain_refused(error):
        return LoginError(
            f"{place.label} does not offer TLS, and sslmode={target.tls.sslmode} asks for it",
            "turn ssl on at the server, or use sslmode=prefer where the network is safe",
        )
    return LoginError(
        f"{place.label} closed the connection during the login ({_in_words(error)})",
        "is a PostgreSQL server behind this port, and is it up?",
        OutageKind.UNREACHABLE,
    )


def _in_words(error: OSError) -> str:
    """Return the system's name for an error: the libraries' own words are for those programming with them."""
    return ", ".join(map(os.strerror, sorted(_errnos(error)))) or "the connection was closed"


def _unknown_host(place: Endpoint) -> PgtopError:
    return LoginError(
        f'host name "{printable(place.host)}" is not known',
        "check its spelling and DNS",
        OutageKind.UNREACHABLE,
    )


def _errnos(error: OSError) -> frozenset[int]:
    """The numbers in an error, also where asyncio joined those of several addresses into one text."""
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return frozenset({error.errno})
    return frozenset(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
