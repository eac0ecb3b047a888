"""One login: the hosts of a target tried in turn as libpq does, with what every pgtop session sets."""

import asyncio
import contextlib
import ipaddress
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import asyncpg

from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.faults import DRIVER_ERRORS, connect_error
from pgtop.postgres.outages import STARTING, TIMEOUT, UNREACHABLE, LoginError
from pgtop.postgres.passfile import stored_password
from pgtop.postgres.reach import reach
from pgtop.postgres.target import Endpoint, SocketOptions, Target
from pgtop.postgres.tls import ENCRYPTED, PLAIN, Pins, is_plain_refused, tls_arguments
from pgtop.postgres.unawaited import unawaited_at_exit

OLDEST_VERSION: Final = 14
STATEMENT_TIMEOUT_SECONDS: Final = 9
"""The server's own limit for a statement of the seat."""

_SETTINGS: Final = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "2s",
    "jit": "off",
    "search_path": "pg_catalog",
    "default_transaction_read_only": "on",
}
_SET: Final = "SELECT pg_catalog.set_config($1, $2, false)"
_REFUSED_SETTING: Final = (
    asyncpg.ProtocolViolationError,
    asyncpg.InvalidParameterValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.FeatureNotSupportedError,
)
_TCP_THIN_LINEAR_TIMEOUTS: Final = 16
"""Linux repeats what got no answer six times at one pace before it takes longer and longer: a network that
fell silent for a few seconds costs no seat. Source: include/uapi/linux/tcp.h."""
_FULL: Final = asyncpg.TooManyConnectionsError
_NEXT_HOST: Final = frozenset({UNREACHABLE, STARTING, TIMEOUT})

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]  # generic for the checker alone
else:
    Connection = asyncpg.Connection


class Session(NamedTuple):
    """A connection that has logged in."""

    connection: Connection
    endpoint: Endpoint
    own_pid: int
    pooled: bool
    role: str
    """As whom it logged in."""


async def log_in(
    target: Target,
    application_name: str,
    pins: Pins | None = None,
    unset: frozenset[str] = frozenset(),
    *,
    reach_first: bool = False,
    knocks: bool = False,
) -> Session:
    """Connects to the first host that will do; of its own settings, the session has all but those in `unset`.

    Nothing is asked on a session that only `knocks`: whether a pooler is in between is not known of it.
    `reach_first` where the hosts fell silent: they are not logged in to before they take connections again.
    `pins` remembers, from one refused login to the next, which way a host that leaves the choice
    (sslmode=prefer) is asked, so that one try is one attempt at the server.

    Raises FullError, or ConnectError: the next host is tried where one cannot be reached, is starting up, or
    is not what target_session_attrs asks for, and none after a refusal. Takes at most the target's
    `connect_timeout_seconds`, of which each host gets its share.
    """
    deadline = time.monotonic() + target.connect_timeout_seconds
    wanted = target.target_session_attrs
    rounds = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    faults: list[PgtopError] = []
    for attributes in rounds:
        faults.clear()
        for tried, endpoint in enumerate(target.endpoints):
            share = (deadline - time.monotonic()) / (len(target.endpoints) - tried)
            name, pinned = application_name, {} if pins is None else pins
            attempt = _Attempt(target, endpoint, attributes, name, pinned, unset)
            attempt.knocks = knocks
            try:
                return await attempt.run(max(share, 0.0), reach_first)
            except PgtopError as fault:
                if getattr(fault, "kind", None) not in _NEXT_HOST:
                    raise
                faults.append(fault)
    raise _together(faults)


def _together(faults: list[PgtopError]) -> PgtopError:
    last = faults[-1]
    if len(faults) == 1:
        return last
    problems = "; ".join(dict.fromkeys(fault.problem for fault in faults))
    return LoginError(problems, last.mend, getattr(last, "kind", UNREACHABLE))


class _Attempt:
    """One host."""

    def __init__(
        self,
        target: Target,
        endpoint: Endpoint,
        attributes: str,
        name: str,
        pins: Pins,
        unset: frozenset[str],
    ) -> None:
        self.knocks = False
        """True where nothing is to be asked on the session."""
        self._target = target
        self._endpoint = endpoint
        self._attributes = attributes
        self._name = {"application_name": name}
        self._pins = pins
        self._settings = {each: value for each, value in _SETTINGS.items() if each not in unset}
        password = target.password
        self._password = password if password is not None else stored_password(target, endpoint)

    async def run(self, limit_seconds: float, reach_first: bool) -> Session:
        """A session on this host; raises PgtopError, also where it takes longer than the limit."""
        try:
            async with asyncio.timeout(limit_seconds):
                addresses = await _look_up(self._endpoint)
                if reach_first and not self._endpoint.is_socket:
                    await reach(addresses, self._endpoint.port)
                return await self._log_in()
        except RuntimeError as error:  # a look-up needs a thread
            raise LoginError(
                f"{self._endpoint.label} cannot be looked up ({printable(str(error))})",
                "this machine may let its user begin no more threads; name the host by its address",
                UNREACHABLE,
            ) from error
        except DRIVER_ERRORS as error:
            given = self._password is not None
            raise connect_error(error, self._target, self._endpoint, password_given=given) from error

    async def _log_in(self) -> Session:
        # read-write and read-only ask for the server's own default, which is not to be pgtop's then.
        late = {"default_transaction_read_only"} if self._attributes.startswith("read-") else set()
        early = {name: value for name, value in self._settings.items() if name not in late}
        behind_pooler = False
        try:
            connection = await self._connect({**self._target.server_settings, **early, **self._name})
        except _REFUSED_SETTING as error:
            behind_pooler = isinstance(error, asyncpg.ProtocolViolationError)
            late = set(self._settings)
            connection = await self._connect({**self._target.server_settings, **self._name})
        try:
            _set_socket_options(connection, self._target.socket_options)
            self._check_version(connection)
            if self.knocks:
                pid = connection.get_server_pid()
                return Session(connection, self._endpoint, pid, behind_pooler, self._target.user)
            own_pid = await connection.fetchval("SELECT pg_catalog.pg_backend_pid()")
            pooled = behind_pooler or own_pid != connection.get_server_pid()
            # Through a pooler a setting would stay behind for whoever gets that backend next.
            if late and not pooled:
                await _set(connection, {name: _SETTINGS[name] for name in late})
            return Session(connection, self._endpoint, own_pid, pooled, self._target.user)
        except BaseException:
            connection.terminate()
            raise

    async def _connect(self, server_settings: Mapping[str, str]) -> Connection:
        endpoint, mode = self._endpoint, self._target.tls.sslmode
        pinned = self._pins.get(endpoint)
        try:
            return await self._connect_as(server_settings, pinned)
        except DRIVER_ERRORS as error:
            full = next((e for e in (error, error.__cause__) if isinstance(e, _FULL)), None)
            if full is not None:
                # The driver tries the other way, too, and tells of that alone.
                if pinned is None and mode in ("prefer", "allow") and not endpoint.is_socket:
                    self._pins[endpoint] = ENCRYPTED if mode == "prefer" else PLAIN
                raise full from None
            # What was pinned is no longer known to do: what is asked next is asked either way again.
            self._pins.pop(endpoint, None)
            if pinned is not None and isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
                # There is a slot now, and pg_hba.conf lets this role in the other way alone.
                return await self._connect(server_settings)
            if pinned is not ENCRYPTED or not is_plain_refused(error):
                raise
        self._pins[endpoint] = PLAIN
        return await self._connect_as(server_settings, PLAIN)

    async def _connect_as(self, server_settings: Mapping[str, str], pinned: str | None) -> Connection:
        endpoint, target = self._endpoint, self._target
        # The address, not the name: the driver takes no name beside it, which is why hostaddr and verify-full
        # are refused together. An empty password keeps the driver from looking for one by its own rules.
        arguments: dict[str, Any] = (
            {"ssl": False} if endpoint.is_socket else tls_arguments(target.tls, pinned)
        )
        arguments |= {
            "host": endpoint.address,
            "port": endpoint.port,
            "user": target.user,
            "database": target.database,
            "password": self._password or "",
            "server_settings": dict(server_settings),
            "target_session_attrs": self._attributes,
            "krbsrvname": target.krbsrvname,
            "gsslib": target.gsslib,
            "statement_cache_size": 0,
            "timeout": None,
        }
        connection: Connection = await asyncpg.connect(**arguments)
        return connection

    def _check_version(self, connection: Connection) -> None:
        version = connection.get_server_version()
        if version.major < OLDEST_VERSION:
            raise LoginError(
                f"{self._endpoint.label} runs PostgreSQL {version.major}.{version.minor}",
                f"pgtop needs {OLDEST_VERSION} or newer",
            )


async def say_goodbye(connection: Connection, seconds: float) -> None:
    """Ends a session in order, or at once where the server does not answer within so many seconds."""
    try:
        with contextlib.suppress(*DRIVER_ERRORS):
            await connection.close(timeout=seconds)
    finally:
        connection.terminate()


async def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        # One that this server does not know, or does not let anybody set, is done without.
        with contextlib.suppress(asyncpg.PostgresSyntaxError, *_REFUSED_SETTING):
            await connection.fetchval(_SET, name, value)


def _set_socket_options(connection: Connection, options: SocketOptions) -> None:
    """Lets the kernel notice a peer that is gone; options that this system does not have are left out."""
    transport = getattr(connection, "_transport")  # noqa: B009 - private: the driver offers no public way to its socket
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wanted: list[tuple[int, str, int]] = [(socket.SOL_SOCKET, "SO_KEEPALIVE", int(options.keepalives))]
    if options.keepalives:
        idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        wanted += [
            (socket.IPPROTO_TCP, idle, options.keepalives_idle_seconds),
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL", options.keepalives_interval_seconds),
            (socket.IPPROTO_TCP, "TCP_KEEPCNT", options.keepalives_count),
        ]
    wanted.append((socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", options.tcp_user_timeout_ms))
    for level, name, value in wanted:
        number = getattr(socket, name, None)
        if number is None or (value == 0 and name != "SO_KEEPALIVE"):
            continue
        with contextlib.suppress(OSError):
            peer.setsockopt(level, number, value)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, _TCP_THIN_LINEAR_TIMEOUTS, 1)


async def _look_up(endpoint: Endpoint) -> Sequence[str]:
    """The addresses of a host, its name resolved in a thread that nobody waits for at exit.

    The driver's own look-up runs in asyncio's executor, which a dead name server would keep the whole
    program from leaving; after this one it is answered at once.
    """
    if endpoint.is_socket or _is_address(endpoint.address):
        return (endpoint.address,)
    found = await unawaited_at_exit(
        lambda: socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    )
    return [str(place[0]) for *_, place in found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
