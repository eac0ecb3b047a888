"""One login: the hosts of a target tried in turn as libpq does, with what every pgtop session sets."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import asyncpg

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.outage import OutageKind
from pgtop.core.text import clip, printable
from pgtop.errors import Peer, PgtopError
from pgtop.postgres.conninfo.passfile import stored_password
from pgtop.postgres.conninfo.target import Endpoint, SocketOptions, Target
from pgtop.postgres.conninfo.tls import Encryption, is_plain_refused, placeholder_context
from pgtop.postgres.errors.kinds import (
    FullError,
    LimitReachedError,
    LoginError,
    text_of,
    unreadable_login,
)
from pgtop.postgres.errors.network_and_driver import DIRECTLY, DRIVER_ERRORS, connect_error
from pgtop.postgres.session.pooler import in_transaction, is_pooled
from pgtop.postgres.session.reachability import reach
from pgtop.postgres.session.received_bytes_limit import ANSWER_BYTES, TrafficLimit, WatchedLoop
from pgtop.postgres.session.session_settings import (
    AT_LOGIN,
    NO_ROLE_OF_THE_DATABASE,
    SETTINGS,
    TRANSACTION_TIMEOUT,
    TRANSACTION_TIMEOUT_VERSION,
    begin_pooled,
    set_statement,
)

OLDEST_VERSION: Final = 14
_LONGEST_VERSION: Final = 20
_REFUSED_SETTING: Final = (
    asyncpg.ProtocolViolationError,
    asyncpg.InvalidParameterValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.FeatureNotSupportedError,
)
_TCP_THIN_LINEAR_TIMEOUTS: Final = 16
"""Linux repeats what got no answer six times at one pace before it takes longer and longer: a network that
fell silent for a few seconds costs no connection. Source: include/uapi/linux/tcp.h."""
_REFUSED_WAY: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.ConnectionDoesNotExistError)
"""The errors of a login that may come about in the other way, with TLS or without it."""
_NEXT_HOST: Final = frozenset({OutageKind.UNREACHABLE, OutageKind.STARTING, OutageKind.TIMEOUT})

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]  # generic for the checker alone
else:
    Connection = asyncpg.Connection


class _Quiet(Connection):
    """A connection of the driver's that says nothing on stderr where it was never whole.

    The driver's own does, where the server's version is nonsense.
    """

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            super().__del__()


class Session(NamedTuple):
    """A connection that has logged in."""

    connection: Connection
    endpoint: Endpoint
    own_pid: int
    pooled: bool
    role: str
    """As whom it logged in."""
    traffic: TrafficLimit
    """The amount that the server may still send on it."""
    peer: Peer
    """The server's location: one host, and one address of it."""


async def log_in(
    target: Target,
    application_name: str,
    unset: frozenset[str] = frozenset(),
    *,
    reach_first: bool = False,
    knocks: bool = False,
) -> Session:
    """Connect to the first host that will do; of its own settings, the session has all but those in `unset`.

    Nothing is asked on a session that only `knocks`: whether a pooler is in between is not known of it.
    `reach_first` where the hosts fell silent: they are not logged in to before they take connections again.

    Raises FullError, or ConnectError: the next address, and then the next host, is tried where one cannot be
    reached, is starting up, or is not what target_session_attrs asks for, and none after a refusal. Takes at
    most the target's `connect_timeout_seconds`, of which each host and each of its addresses gets its share,
    or `address_timeout_seconds` for each address.
    """
    deadline = time.monotonic() + target.connect_timeout_seconds
    wanted = target.target_session_attrs
    rounds = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    faults: list[PgtopError] = []
    for attributes in rounds:
        faults.clear()
        for tried, endpoint in enumerate(target.endpoints):
            share = _Share(target, deadline, len(target.endpoints) - tried)
            try:
                addresses = await _addresses(target, endpoint, share, reach_first)
            except PgtopError as fault:
                faults.append(_passed_over(fault))
                continue
            for number, address in enumerate(addresses):
                attempt = _Attempt(target, endpoint, address, attributes, application_name, unset)
                attempt.knocks = knocks
                try:
                    return await attempt.run(share.seconds(len(addresses) - number))
                except PgtopError as fault:
                    faults.append(_passed_over(fault))
    raise _together(faults)


class _Share(NamedTuple):
    """The time that one host has."""

    target: Target
    deadline: float
    hosts: int
    """Those that have not been tried yet, this one among them."""

    def seconds(self, addresses: int) -> float:
        """Return the time for the next one of this number of the host's addresses."""
        if self.target.address_timeout_seconds is not None:
            return self.target.address_timeout_seconds
        return max(self.deadline - time.monotonic(), 0.0) / (self.hosts - 1 + addresses)


def _passed_over(fault: PgtopError) -> PgtopError:
    """Return the error of an address after which the next one is tried; raise any other."""
    if getattr(fault, "kind", None) not in _NEXT_HOST:
        raise fault
    return fault


async def _addresses(target: Target, endpoint: Endpoint, share: _Share, reach_first: bool) -> Sequence[str]:
    """Return the addresses of a host in the order they are tried. Raises LoginError."""
    try:
        async with asyncio.timeout(share.seconds(1)):
            addresses = await _look_up(endpoint)
        if not reach_first or endpoint.is_socket:
            return addresses
        each = target.address_timeout_seconds
        async with asyncio.timeout(share.seconds(1) if each is None else each * len(addresses)):
            first = await reach(addresses, endpoint.port)
        return [first, *(each for each in addresses if each != first)]
    except RuntimeError as error:  # a look-up needs a thread
        raise LoginError(
            f"{endpoint.label} cannot be looked up ({printable(str(error))})",
            "this machine may let its user begin no more threads; name the host by its address",
            OutageKind.UNREACHABLE,
        ) from error
    except DRIVER_ERRORS as error:
        raise connect_error(error, target, endpoint) from error


def _together(faults: list[PgtopError]) -> PgtopError:
    last = faults[-1]
    if len(faults) == 1:
        return last
    problems = "; ".join(dict.fromkeys(fault.problem for fault in faults))
    return LoginError(problems, last.mend, getattr(last, "kind", OutageKind.UNREACHABLE))


class _Attempt:
    """One address of one host."""

    def __init__(
        self,
        target: Target,
        endpoint: Endpoint,
        address: str,
        attributes: str,
        name: str,
        unset: frozenset[str],
    ) -> None:
        self.knocks = False
        """True where nothing is to be asked on the session."""
        self._target = target
        self._endpoint = endpoint
        self._address = address
        self._attributes = attributes
        self._name = {"application_name": name}
        self._unset = unset
        self._traffic = TrafficLimit(target.require_auth)
        self._failed_encryption = False
        password = target.password
        self._password = password if password is not None else stored_password(target, endpoint)

    async def run(self, limit_seconds: float) -> Session:
        """A session at this address; raises PgtopError, also where it takes longer than the limit."""
        try:
            async with asyncio.timeout(limit_seconds):
                return await self._log_in()
        except PgtopError:
            raise
        except Exception as error:
            if self._traffic.forbidden_method:
                raise self._forbidden() from error
            if self._traffic.problem or not isinstance(error, DRIVER_ERRORS):
                raise unreadable_login(
                    self._traffic.problem or text_of(error), self._endpoint.label
                ) from error
            given = self._password is not None
            told = connect_error(error, self._target, self._endpoint, password_given=given)
            if isinstance(told, FullError | LimitReachedError):
                told.peer = self._peer()
            raise told from error

    def _forbidden(self) -> LoginError:
        method, allowed = self._traffic.forbidden_method, ", ".join(sorted(self._target.require_auth or ()))
        asked = "lets in without a login" if method == "none" else f"asks for a login by {method}"
        return LoginError(
            f"{self._endpoint.label} {asked}, and require_auth allows {allowed or 'nothing'}",
            "check that it is the right server, then pg_hba.conf and require_auth",
        )

    async def _log_in(self, more: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Log in with `more` settings, which not every server knows, beside those of each login."""
        early = {name: value for name, value in AT_LOGIN.items() if name not in self._unset}
        behind_pooler = False
        try:
            connection = await self._connect({**self._target.server_settings, **early, **more, **self._name})
        except _REFUSED_SETTING as error:
            behind_pooler = isinstance(error, asyncpg.ProtocolViolationError)
            connection = await self._connect({**self._target.server_settings, **self._name})
        except DRIVER_ERRORS as error:
            if more or not _is_transaction_timeout(error):
                raise
            return await self._log_in({TRANSACTION_TIMEOUT: "0"})
        try:
            _set_socket_options(connection, self._target.socket_options)
            self._check_version(connection)
            self._traffic.expect(ANSWER_BYTES)
            if self.knocks:
                pid = connection.get_server_pid()
                return self._session(connection, pid, pooled=behind_pooler)
            return await self._begun(connection, behind_pooler=behind_pooler)
        except DRIVER_ERRORS:
            connection.terminate()
            if more or not _has_transaction_timeout(connection):
                raise
            # The database may have a limit that no statement meets: it has to be lifted from the beginning.
            return await self._log_in({TRANSACTION_TIMEOUT: "0"})
        except BaseException:
            connection.terminate()
            raise

    async def _begun(self, connection: Connection, *, behind_pooler: bool) -> Session:
        if behind_pooler or await is_pooled(connection):
            return self._session(connection, await self._pooled_pid(connection), pooled=True)
        # Not through a pooler: a setting would stay behind for whoever gets that backend next.
        wanted = {TRANSACTION_TIMEOUT: "0"} if _has_transaction_timeout(connection) else {}
        wanted |= {name: value for name, value in SETTINGS.items() if name not in self._unset}
        if wanted:
            await _set(connection, wanted)
        if "role" not in self._target.server_settings:
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # the catalog is hidden from it
                await connection.execute(NO_ROLE_OF_THE_DATABASE)
        return self._session(connection, connection.get_server_pid(), pooled=False)

    def _session(self, connection: Connection, own_pid: int, *, pooled: bool) -> Session:
        role, traffic, peer = self._target.user, self._traffic, self._peer()
        return Session(connection, self._endpoint, own_pid, pooled, role, traffic, peer)

    def _peer(self) -> Peer:
        """Return the peer of this connection."""
        endpoint = self._endpoint
        if endpoint.is_socket:
            is_file = endpoint.address.startswith("/")
            return os.path.realpath(endpoint.address) if is_file else endpoint.address, endpoint.port
        return self._address, endpoint.port

    async def _pooled_pid(self, connection: Connection) -> int:
        """The backend that a pooler gave to one transaction. Raises LoginError where it gives none to any."""
        try:
            pid: int = await in_transaction(
                connection,
                begin_pooled(connection.get_server_version().major),
                lambda each: each.fetchval("SELECT pg_catalog.pg_backend_pid()"),
            )
        except (asyncpg.ProtocolViolationError, asyncpg.ConnectionDoesNotExistError) as error:
            raise LoginError(
                f"the pooler at {self._endpoint.label} does not allow transactions (pool_mode = statement?)",
                DIRECTLY,
            ) from error
        return pid

    async def _connect(self, server_settings: Mapping[str, str]) -> Connection:
        """Connect in the way that sslmode puts first, or in the other that it allows if that is refused."""
        mode = self._target.tls.sslmode
        if self._endpoint.is_socket or mode not in ("prefer", "allow"):
            encrypted = mode != "disable" and not self._endpoint.is_socket
            return await self._connect_as(server_settings, encrypted=encrypted)
        try:
            return await self._connect_as(server_settings, encrypted=mode == "prefer")
        except (PgtopError, *DRIVER_ERRORS) as error:
            if not self._may_go_the_other_way(error):
                raise
            first = error
        try:
            return await self._connect_as(server_settings, encrypted=mode == "allow")
        except DRIVER_ERRORS as second:
            if _tells_more(first, second):
                raise first from None
            raise second from first

    def _may_go_the_other_way(self, error: Exception) -> bool:
        """Return whether TLS, or its absence, may be the reason: a second login costs a full server."""
        if self._traffic.problem:
            return False
        if self._failed_encryption:
            return not isinstance(error, TimeoutError)
        return isinstance(error, _REFUSED_WAY) and not self._traffic.is_authenticated

    async def _connect_as(self, server_settings: Mapping[str, str], *, encrypted: bool) -> Connection:
        endpoint, target = self._endpoint, self._target
        encryption = Encryption(target.tls, endpoint.name) if encrypted else None
        if encryption is not None and target.tls.sslmode not in ("prefer", "allow"):
            encryption.context()  # what is wrong with its files is told before anything is sent
        place = endpoint.socket_path if endpoint.is_socket else self._address
        loop = WatchedLoop(self._traffic, place, encryption, target.requirepeer)
        # An empty password keeps the driver from looking for one by its own rules.
        arguments: dict[str, Any] = {
            "ssl": placeholder_context() if encrypted else False,
            "direct_tls": encrypted and target.tls.sslnegotiation == "direct",
        }
        arguments |= {
            # The loop knows the socket; the driver takes no more than that it is one.
            "host": "/" if endpoint.is_socket else endpoint.name,
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
            "loop": loop,
            "connection_class": _Quiet,
        }
        try:
            connection: Connection = await asyncpg.connect(**arguments)
        except BaseException:
            loop.abort()
            raise
        finally:
            self._failed_encryption = loop.failed_encryption
        return connection

    def _check_version(self, connection: Connection) -> None:
        # Source: PgBouncer, src/admin.c; its console answers logins and is not a server.
        if str(getattr(connection.get_settings(), "server_version", "")).endswith("/bouncer"):
            raise LoginError(
                f"{self._endpoint.label} is PgBouncer's own console, not a PostgreSQL server",
                "connect to the server itself, with its own host and port",
            )
        version = connection.get_server_version()
        if version.major < OLDEST_VERSION:
            number = clip(f"{version.major}.{version.minor}", _LONGEST_VERSION)
            raise LoginError(
                f"{self._endpoint.label} runs PostgreSQL {number}",
                f"pgtop needs {OLDEST_VERSION} or newer",
            )


async def say_goodbye(connection: Connection, seconds: float) -> None:
    """End a session in order, or at once where the server does not answer within `seconds`."""
    try:
        with contextlib.suppress(*DRIVER_ERRORS):
            await connection.close(timeout=seconds)
    finally:
        connection.terminate()


def _is_transaction_timeout(error: BaseException) -> bool:
    """Return whether transaction_timeout ended the login, perhaps the first of the driver's two tries."""
    # An error that is raised again while another one of its own making is handled leads back to itself.
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        following = following.__cause__ or following.__context__
    return any(isinstance(each, asyncpg.TransactionTimeoutError) for each in seen)


def _has_transaction_timeout(connection: Connection) -> bool:
    return bool(connection.get_server_version().major >= TRANSACTION_TIMEOUT_VERSION)


def _tells_more(first: Exception, second: Exception) -> bool:
    """Return whether the error of the first way tells more than that of the way that was tried after it."""
    if is_plain_refused(second):
        return True
    if not isinstance(second, _REFUSED_WAY) or isinstance(second, asyncpg.InvalidPasswordError):
        return False
    return isinstance(first, PgtopError | ssl.SSLError | asyncpg.InvalidPasswordError)


async def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set what the server knows of these settings, in one message if it knows them all.

    In statements that read no catalog: a standby refuses a serializable transaction that does.
    """
    each = [set_statement(name, value) for name, value in settings.items()]
    try:
        await connection.execute("; ".join(each))
    except (asyncpg.PostgresSyntaxError, *_REFUSED_SETTING):
        for statement in each:
            with contextlib.suppress(asyncpg.PostgresSyntaxError, *_REFUSED_SETTING):
                await connection.execute(statement)


def _set_socket_options(connection: Connection, options: SocketOptions) -> None:
    """Let the kernel notice a peer that is gone; options that this system does not have are left out."""
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

    A look-up of the loop's own runs in asyncio's executor, which a dead name server would keep the whole
    program from leaving.
    """
    if endpoint.is_socket or _is_address(endpoint.address):
        return (endpoint.address,)
    found = await unawaited_at_exit(
        lambda: socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    )
    return [_written(place) for *_, place in found]


def _written(place: tuple[Any, ...]) -> str:
    """An address of the resolver's; one of a link goes with the number of its interface."""
    address, *rest = place
    scope = rest[2] if len(rest) > 2 else 0
    return f"{address}%{scope}" if scope else str(address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
