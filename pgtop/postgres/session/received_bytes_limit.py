"""The inlet: reads along what a server sends on one connection, and cuts it off where that is too much.

The driver keeps whatever comes until a message is whole and an answer complete: without a limit, a broken or
hostile server fills the memory of whoever asks it. The inlet sits between transport and driver, reads the
frames of the protocol, and lets nothing of a message pass that would be too long. Parts of its texts that
are not UTF-8, which the driver cannot read, pass as question marks.
Source: PostgreSQL documentation, Frontend/Backend Protocol, Message Formats.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Collection
from typing import Any, Final

from asyncpg import protocol as driver
from asyncpg.connect_utils import TLSUpgradeProto

from pgtop.postgres.conninfo.tls import Encryption
from pgtop.postgres.session.socket_peer import check_peer

MEBIBYTE: Final = 1024 * 1024
LOGIN_BYTES: Final = MEBIBYTE
"""The most bytes that a whole login may send: some kilobytes are usual."""
ANSWER_BYTES: Final = 16 * MEBIBYTE
"""The most bytes of the answer to one statement, unless told otherwise."""
LONGEST_ANSWER_BYTES: Final = 64 * MEBIBYTE
MOST_MESSAGES: Final = 300_000
"""In one answer: a row is a message, and max_connections is at most 262,143."""
MOST_UNASKED: Final = 1_000
"""Notices, notifications and changed parameters between two statements."""
LONGEST_SAID_BYTES: Final = 64 * 1024
"""The longest error, notice, notification, parameter, description of columns or step of an authentication."""
PARAMETER_BYTES: Final = MEBIBYTE
"""All parameters that one connection is told of: the driver keeps the last value of each."""
MOST_ROUNDS: Final = 5_000_000
"""Rounds of password hashing in one login, about two seconds of a processor. The default of scram_iterations
is 4,096; what a server asks for is not bounded otherwise."""

_AUTHENTICATION: Final = ord("R")
_ERROR: Final = ord("E")
_PARAMETER: Final = ord("S")
_NOTICE: Final = ord("N")
_NOTIFICATION: Final = ord("A")
_COMPLETE: Final = ord("C")
_UNASKED: Final = frozenset({_NOTICE, _NOTIFICATION, _PARAMETER})
_TEXTS: Final = _UNASKED | {_ERROR}
"""The messages that hold texts which the driver reads as UTF-8."""
_COLUMNS: Final = ord("T")
_ARGUMENTS: Final = ord("t")
_SHORT: Final = _UNASKED | {_AUTHENTICATION, _ERROR, _COMPLETE, _COLUMNS, _ARGUMENTS}
"""The messages read whole before the driver sees them: it trusts their texts to end where they should."""
_SCALARS: Final = frozenset(
    {
        *(16, 17, 18, 19, 20, 21, 23, 25, 26, 28),  # bool bytea char name int8 int2 int4 text oid xid
        *(700, 701, 705, 1043, 1184, 2278),  # float4 float8 unknown varchar timestamptz void
    }
)
"""Types of columns that the driver reads in no more room than they take. It makes room for as many elements
of an array, a path or a record as 30 bytes claim: gigabytes. Source: PostgreSQL, pg_type.dat."""
_GIVEN: Final = _SCALARS | {1009}
"""Types of a statement's arguments: an array of texts, too. The driver asks the server about all others."""
_TYPE_AFTER_NAME: Final = 6
_BYTES_AFTER_NAME: Final = 18
_ENCODINGS: Final = frozenset(
    b"sql_ascii euc_jp euc_cn euc_kr euc_tw euc_jis_2004 utf8 mule_internal"
    b" latin1 latin2 latin3 latin4 latin5 latin6 latin7 latin8 latin9 latin10"
    b" win1250 win1251 win1252 win1253 win1254 win1255 win1256 win1257 win1258 win866 win874"
    b" koi8r koi8u iso_8859_5 iso_8859_6 iso_8859_7 iso_8859_8"
    b" sjis big5 gbk uhc gb18030 johab shift_jis_2004 unicode utf-8 utf_8".split()
)
"""The server's names of its encodings, in small letters, and what a pooler may repeat of the driver's wish.

Python knows others, some of which take hours over one message (punycode), and it keeps every unknown name
that it was ever asked for. So the names allowed have to be few.
Source: PostgreSQL, src/common/encnames.c, pg_enc2name_tbl; asyncpg, encodings.pyx.
"""
_DONE, _GSS, _GSS_CONTINUE, _SSPI, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 7, 8, 9, 10, 11, 12
_PASSWORD, _MD5 = 3, 5
_NOT_BEGUN: Final = -1
_BEGINNING: Final = frozenset({_NOT_BEGUN})
_BEFORE: Final = {
    _DONE: _BEGINNING | {_PASSWORD, _MD5, _GSS, _GSS_CONTINUE, _SSPI, _SASL_FINAL},
    _GSS_CONTINUE: frozenset({_GSS, _GSS_CONTINUE, _SSPI}),
    _SASL_CONTINUE: frozenset({_SASL}),
    _SASL_FINAL: frozenset({_SASL_CONTINUE}),
}
"""The steps that may precede each step. A step not listed here may only begin an authentication."""
_METHODS: Final = {
    _PASSWORD: "password",
    _MD5: "md5",
    _GSS: "gss",
    _SSPI: "sspi",
    _SASL: "scram-sha-256",
}
"""libpq's name of the login method that begins with a step."""
_HEADER_BYTES: Final = 5
_LENGTH_BYTES: Final = 4
_ROUNDS: Final = re.compile(rb",i=(\d+)")
_MOST_DIGITS: Final = 12


class _Login:
    """The steps of an authentication. The driver crashes at one that comes out of turn."""

    def __init__(self, allowed: Collection[str] | None) -> None:
        self._allowed = allowed
        self._last = _NOT_BEGUN
        self._rounds = MOST_ROUNDS

    def begin(self) -> None:
        """Let an authentication begin, on a new connection; the rounds count on."""
        self._last = _NOT_BEGUN

    @property
    def is_done(self) -> bool:
        """True once the server has accepted who logs in."""
        return self._last == _DONE

    def forbidden(self, said: bytes) -> str:
        """Return the login method that the next step asks for, if it is not allowed; "" for one that is."""
        step = int.from_bytes(said[:4], "big")
        method = "none" if step == _DONE and self._last == _NOT_BEGUN else _METHODS.get(step, "")
        return "" if self._allowed is None or not method or method in self._allowed else method

    def problem(self, said: bytes) -> str:
        """Return what is wrong with the next step; "" for nothing."""
        step, before = int.from_bytes(said[:4], "big"), self._last
        self._last = step
        if before not in _BEFORE.get(step, _BEGINNING):
            return "a step of the login comes out of turn"
        found = _ROUNDS.search(said) if step == _SASL_CONTINUE else None
        if found is not None:
            self._rounds -= int(found[1]) if len(found[1]) <= _MOST_DIGITS else MOST_ROUNDS + 1
        if self._rounds < 0:
            return f"it asks for more than {MOST_ROUNDS} rounds of password hashing"
        return ""


def _is_of_known_types(kind: int, said: bytes) -> bool:
    """Return whether a description names only columns or arguments of types that pgtop asks for."""
    count = int.from_bytes(said[:2], "big")
    if kind == _ARGUMENTS:
        types = (int.from_bytes(said[at : at + 4], "big") for at in range(2, len(said), 4))
        return len(said) == 2 + 4 * count and _GIVEN.issuperset(types)
    position = 2
    for _ in range(count):
        position = said.find(b"\0", position) + 1
        if not position or position + _BYTES_AFTER_NAME > len(said):
            return False
        at = position + _TYPE_AFTER_NAME
        if int.from_bytes(said[at : at + 4], "big") not in _SCALARS:
            return False
        position += _BYTES_AFTER_NAME
    return position == len(said)


def _is_well_formed(kind: int, said: bytes) -> bool:
    """Return whether the texts in a message end within it."""
    if kind in (_ERROR, _NOTICE):
        return _has_fields(said)
    if kind == _AUTHENTICATION:
        step = int.from_bytes(said[:4], "big")
        return len(said) >= _LENGTH_BYTES and (step != _SASL or said[4:].endswith(b"\0\0"))
    if kind == _COMPLETE:
        return said.endswith(b"\0")
    texts = said[4:] if kind == _NOTIFICATION else said
    return texts.endswith(b"\0") and texts.count(b"\0") == 2


def _has_fields(said: bytes) -> bool:
    """Return whether this consists of fields, each a letter and a text, and a NUL at its end."""
    position = 0
    while position < len(said) and said[position]:
        position = said.find(b"\0", position + 1) + 1
        if not position:
            return False
    return position == len(said) - 1


def _unquoted(value: bytes) -> bytes:
    """A value without the quotes in which the driver sends it, which a pooler may repeat."""
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b"'" else value


_MARKED: Final = bytes(range(128)) + b"?" * 128


def _as_utf8(kind: int, said: bytes) -> bytes:
    r"""Return the texts of a message, as long as they were, with `?` for letters of another encoding.

    Before a login is complete, and in a database of the encoding SQL_ASCII, PostgreSQL speaks in the encoding
    of its own locale. The driver would throw such an error away, its SQLSTATE too, and wait for another one.

    >>> _as_utf8(ord("E"), "C53300\0Mdésolé\0\0".encode("latin-1"))
    b'C53300\x00Md?sol?\x00\x00'
    """
    if said.isascii():
        return said
    if kind in (_ERROR, _NOTICE):  # a letter before each text
        return b"\0".join(field[:1] + _utf8(field[1:]) for field in said.split(b"\0"))
    head = _LENGTH_BYTES if kind == _NOTIFICATION else 0  # the sender's pid
    return said[:head] + _utf8(said[head:])


def _utf8(text: bytes) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.translate(_MARKED)
    return text


class TrafficLimit:
    """The limit on what one connection may still send; of a login's several attempts, the latest."""

    def __init__(self, allowed_methods: Collection[str] | None = None) -> None:
        self._login = _Login(allowed_methods)
        self.forbidden_method = ""
        """The login method that the server asked for although it is not allowed; "" for none."""
        self.begin()

    def begin(self) -> None:
        """Let a connection begin: the driver opens another where the first broke off, or TLS is refused."""
        self.problem = ""
        """The reason the connection was cut off, printable; "" while it was not."""
        self.passed = b""
        """The part of the last piece that goes on to the driver."""
        self._bytes = LOGIN_BYTES
        self._messages = MOST_UNASKED
        self._unasked = MOST_UNASKED
        self._parameters: dict[bytes, int] = {}
        self._parameter_bytes = 0
        self._login.begin()
        self._head = b""
        self._left = 0
        self._kind = 0
        self._kept: bytearray | None = None
        self._said = b""

    @property
    def is_authenticated(self) -> bool:
        """True once the latest connection has got past the authentication."""
        return self._login.is_done

    def expect(self, limit_bytes: int) -> None:
        """Admit the answer to the next statement, in at most `limit_bytes`."""
        self._bytes, self._messages, self._unasked = limit_bytes, MOST_MESSAGES, MOST_UNASKED

    def check(self, data: bytes) -> bool:
        """Read along a piece of what the server sends; False where the connection is to be cut off.

        What the driver gets of it is then in `passed`.
        """
        self._bytes -= len(data)
        if self._bytes < 0:
            return self._refuse("it is longer than any honest one")
        position, parts, done = 0, list[bytes](), 0
        while position < len(data):
            if self._left:
                begin, step = position, min(self._left, len(data) - position)
                if self._kept is not None:
                    self._kept += data[position : position + step]
                self._left -= step
                position += step
                if self._left == 0 and not self._end_of_message():
                    return False
                if self._kind in _TEXTS:  # withheld until it is whole
                    parts += data[done:begin], b"" if self._left else _as_utf8(self._kind, self._said)
                    done = position
                continue
            missing = _HEADER_BYTES - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == _HEADER_BYTES and not self._begin_message(len(data) - position):
                return False
        self.passed = b"".join((*parts, data[done:])) if parts else data
        return True

    def _begin_message(self, here: int) -> bool:
        """Judge a message by its head; `here` bytes behind it are counted already."""
        kind, length = self._head[0], int.from_bytes(self._head[1:], "big") - _LENGTH_BYTES
        self._head = b""
        self._messages -= 1
        if not 0 <= length <= self._bytes + here:
            return self._refuse("a message in it is longer than any honest one")
        if kind in _SHORT and length > LONGEST_SAID_BYTES:
            return self._refuse("an error or a notice in it is longer than any honest one")
        if kind in _UNASKED:
            self._unasked -= 1
        if min(self._messages, self._unasked) < 0:
            return self._refuse("it is more messages than any honest one")
        self._kind, self._left = kind, length
        self._kept = bytearray() if kind in _SHORT else None
        return self._left > 0 or self._end_of_message()

    def _end_of_message(self) -> bool:
        if self._kept is None:
            return True
        said, self._kept = bytes(self._kept), None
        self._said = said
        if self._kind in (_COLUMNS, _ARGUMENTS):
            return _is_of_known_types(self._kind, said) or self._refuse(
                "it has columns or arguments of types that were not asked for"
            )
        if not _is_well_formed(self._kind, said):
            return self._refuse("a message in it does not end where it should")
        if self._kind == _AUTHENTICATION:
            self.forbidden_method = self._login.forbidden(said)
            problem = self._login.problem(said)
            if self.forbidden_method:
                return self._refuse(f"the login method {self.forbidden_method} is not allowed")
            return not problem or self._refuse(problem)
        return self._kind != _PARAMETER or self._parameter(said)

    def _parameter(self, said: bytes) -> bool:
        name, _, value = said.rstrip(b"\0").partition(b"\0")
        self._parameter_bytes += len(said) - self._parameters.get(name, 0)
        self._parameters[name] = len(said)
        if self._parameter_bytes > PARAMETER_BYTES:
            return self._refuse("it is more parameters than any honest one")
        if name == b"client_encoding" and _unquoted(value).lower() not in _ENCODINGS:
            return self._refuse("it changes to an encoding that PostgreSQL does not have")
        return True

    def _refuse(self, problem: str) -> bool:
        self.problem = problem
        return False

    def broken(self, error: BaseException) -> None:
        """Take note of what the driver could not read."""
        self.problem = self.problem or f"{type(error).__name__} in the driver"


class _Gate(asyncio.Protocol):
    """The protocol that a transport sees: the inlet first, then the driver's own."""

    def __init__(self, inner: Any, traffic: TrafficLimit) -> None:
        self._inner = inner
        self._traffic = traffic
        self.transport: Any = None
        traffic.begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._traffic.problem:
            return
        if not self._traffic.check(data):
            self.transport.abort()
            return
        try:
            if self._traffic.passed:
                self._inner.data_received(self._traffic.passed)
        except Exception as error:  # noqa: BLE001 - whatever the driver makes of bytes that no PostgreSQL sends
            self._traffic.broken(error)
            self.transport.abort()

    def eof_received(self) -> bool | None:
        ended: bool | None = self._inner.eof_received()
        return ended

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


class _Transport:
    """A transport whose protocol is put behind the inlet when the driver sets it, after asking for TLS."""

    def __init__(self, transport: Any, traffic: TrafficLimit) -> None:
        self.real = transport
        self._traffic = traffic

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def set_protocol(self, inner: Any) -> None:
        gate = _Gate(inner, self._traffic)
        gate.transport = self.real
        self.real.set_protocol(gate)


class WatchedLoop:
    """The event loop, as the driver sees it: connections that it opens pass the inlet, without a name server.

    The driver takes a loop, and neither a socket nor a protocol of its caller's.
    """

    def __init__(
        self,
        traffic: TrafficLimit,
        address: str,
        encryption: Encryption | None = None,
        required_peer: str | None = None,
    ) -> None:
        """Set up the loop for one IP address, or the path of one Unix socket.

        `encryption` is None for plain text alone; `required_peer` is the user who runs the server behind a
        Unix socket, if it has to be that one.
        """
        self.failed_encryption = False
        """True if the server agreed to TLS, which then did not come about."""
        self._loop = asyncio.get_running_loop()
        self._traffic = traffic
        self._address = address
        self._encryption = encryption
        self._required_peer = required_peer
        self._opened: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._loop

    def __hash__(self) -> int:
        return hash(self._loop)

    def abort(self) -> None:
        """End what was opened, at once: a login that failed half way leaves its connection to nobody."""
        for transport in self._opened:
            transport.abort()

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int, **options: Any
    ) -> tuple[Any, Any]:
        """Connect as the loop does, but without looking the host up again: its name is for certificates.

        The loop would look it up in a thread that the whole program waits for at its end.
        """
        encryption = self._encryption
        if "ssl" in options and encryption is not None:
            options |= {"ssl": encryption.context(), "server_hostname": _server_name(host)}
        connected = await self._connected(port)
        try:
            opened = await self._open(self._loop.create_connection, factory, sock=connected, **options)
            if "ssl" in options and encryption is not None:
                encryption.check_name(opened[0].get_extra_info("ssl_object"))
        except BaseException:
            connected.close()
            raise
        return opened

    async def _connected(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            await self._loop.sock_connect(connecting, (self._address, port))
        except BaseException:
            connecting.close()
            raise
        return connecting

    async def create_unix_connection(
        self, factory: Callable[[], Any], *place: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Connect as the loop does, to the socket of the endpoint."""
        with socket.socket(socket.AF_UNIX) as connecting:
            connecting.setblocking(False)
            # The kernel's name of an abstract socket begins with a NUL byte, which the driver cannot take.
            path = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
            await self._loop.sock_connect(connecting, path)
            if self._required_peer is not None:
                check_peer(connecting, self._required_peer)
            connected = connecting.dup()
        try:
            return await self._open(self._loop.create_unix_connection, factory, sock=connected, **options)
        except BaseException:
            connected.close()
            raise

    async def _open(
        self, connect: Any, factory: Callable[[], Any], *place: Any, **options: Any
    ) -> tuple[Any, Any]:
        inner = factory()
        if isinstance(inner, TLSUpgradeProto) and self._encryption is not None:
            inner.ssl_is_advisory = self._encryption.is_optional
        gated = _Gate(inner, self._traffic) if isinstance(inner, driver.Protocol) else inner
        self._traffic.begin()
        transport, _ = await connect(lambda: gated, *place, **options)
        self._opened.append(transport)
        return _Transport(transport, self._traffic), inner

    async def start_tls(self, transport: Any, protocol: Any, context: Any, **options: Any) -> Any:
        """Start TLS as the loop does, with the files and the checks of the target instead of the driver's."""
        real = transport.real if isinstance(transport, _Transport) else transport
        encryption = self._encryption
        options["server_hostname"] = _server_name(options.get("server_hostname") or "") or None
        try:
            wanted = context if encryption is None else encryption.context()
            encrypted = await self._loop.start_tls(real, protocol, wanted, **options)
            if encrypted is None:
                return None
            self._opened.append(encrypted)
            if encryption is not None:
                encryption.check_name(encrypted.get_extra_info("ssl_object"))
        except Exception:
            self.failed_encryption = True
            raise
        return _Transport(encrypted, self._traffic)


def _server_name(host: str) -> str:
    """Return the name to tell the server in the TLS handshake; "" for what cannot be one."""
    try:
        host.encode("idna")
    except UnicodeError:
        return ""
    return host
