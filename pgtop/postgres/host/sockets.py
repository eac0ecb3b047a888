"""Facts from the kernel about sockets: the process at the other end, and when data was last sent.

They come from its socket diagnostics (man 7 sock_diag), read message by message: anybody may open sockets by
the hundred thousand, and give them any name. Only the sockets asked for are kept.
"""

import os
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Final

import msgspec

_ESTABLISHED: Final = 1 << 1
_HELD: Final = sum(1 << state for state in (1, 4, 5, 8, 9, 11))
"""Established, or closed by one end or both: what a process may still hold."""
_LISTENING: Final = 1 << 10

_SOCK_DIAG: Final = 4
BY_FAMILY: Final = 20
"""The kind of a message that asks for sockets (SOCK_DIAG_BY_FAMILY)."""
_REQUEST_FOR_ALL: Final = 0x301
_REQUEST_FOR_ONE: Final = 0x005
"""With an acknowledgement (NLM_F_ACK), which ends the answer as the last message of a listing does."""
_ERROR, _DONE = 2, 3
_MOST_AT_ONCE: Final = 65_536
"""Bytes. The kernel sends half as much at most."""

_HEADER: Final = Struct("=IHHII")
"""Of a message: its length, its kind, flags, and two numbers that tell questions apart.

Source: include/uapi/linux/netlink.h.
"""
_CODE: Final = Struct("=i")
_ATTRIBUTE: Final = Struct("=HH")
"""Of a part of an answer: its length, and its kind."""
_NUMBER: Final = Struct("=I")

_TCP_REQUEST: Final = Struct("=BBBxI2s2s16s16s4xQ")
"""Family, protocol, what is to be told beside, the states, both ports and addresses, and the cookie.

Ports and addresses are in the network's order, the own first; a listing heeds no address and no cookie.

Source: include/uapi/linux/inet_diag.h.
"""
_TCP_ANSWER: Final = Struct("=B3x2s2s16s16s12x4xI4xII")
"""Family, both ports and addresses, bytes to read, user, inode."""
_TCP_INFO: Final = 2
_TCP_TIMES: Final = Struct("=44xI4xI")
"""Of its struct tcp_info: milliseconds since data was last sent, and since some last came in."""

_UNIX_REQUEST: Final = Struct("=B3xIIIQ")
"""Family, the states, the inode, what is to be told, and the cookie; a listing heeds no inode and no cookie.

Source: include/uapi/linux/unix_diag.h.
"""
_NO_COOKIE: Final = 0xFFFF_FFFF_FFFF_FFFF
_UNIX_ANSWER: Final = Struct("=2xBxI8x")
"""The state, as a number, and the inode."""
_SHOWN: Final = 0x01 | 0x04 | 0x10 | 0x40
_NAME, _PEER, _QUEUES, _USER = 0, 2, 4, 7


class TcpSocket(msgspec.Struct, frozen=True):
    """One TCP socket."""

    inode: int
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    unread_bytes: int
    """Received, and not yet read by the process."""
    sent_milliseconds_ago: int
    """Since data was last sent on it."""
    uid: int
    """The user that made it; no other can take its name."""
    received_milliseconds_ago: int = 0
    """Since data last came in on it."""

    @property
    def is_unanswered(self) -> bool:
        """True where data came in after the last that was sent: a server has yet to answer it.

        A client's statement of which a part has come in is one.
        """
        return self.unread_bytes > 0 or self.received_milliseconds_ago < self.sent_milliseconds_ago


class UnixSocket(msgspec.Struct, frozen=True):
    """One connected Unix socket."""

    inode: int
    peer: int
    """The inode of the other end; 0 where it is not known."""
    name: str
    """The path; a server's end has that of the socket it accepted on. It may hold any byte."""
    uid: int | None
    """The user that made it; None where the kernel does not tell, before Linux 5.2."""
    unread_bytes: int = 0
    """Received, and not yet read by the process."""

    @property
    def is_unanswered(self) -> bool:
        """True where data waits to be read. When it last came in is not known of Unix sockets."""
        return self.unread_bytes > 0


def tcp_sockets(local_port: int = 0, remote_port: int = 0) -> Iterator[TcpSocket]:
    """The established connections, of IPv4 and IPv6, of a local port, of a remote one, or of both.

    Raises OSError where the kernel cannot be asked.
    """
    return _tcp(_ESTABLISHED, local_port, remote_port)


def tcp_socket(
    local_address: str, local_port: int, remote_address: str, remote_port: int
) -> TcpSocket | None:
    """Return the connection between two addresses, seen from the local one; None if this network has none.

    It is found whatever is opened and closed beside it, unless it is bound to an interface. Raises OSError
    where the kernel cannot be asked.
    """
    family = socket.AF_INET6 if ":" in local_address else socket.AF_INET
    request = _TCP_REQUEST.pack(
        family,
        socket.IPPROTO_TCP,
        1 << (_TCP_INFO - 1),
        _ESTABLISHED,
        local_port.to_bytes(2, "big"),
        remote_port.to_bytes(2, "big"),
        socket.inet_pton(family, local_address),
        socket.inet_pton(family, remote_address),
        _NO_COOKIE,
    )
    try:
        (told,) = _answers(request, _REQUEST_FOR_ONE)
    except FileNotFoundError:
        return None
    found = _tcp_socket(told)
    # Without a connection, the kernel tells of the socket that would accept it.
    ends = (found.local_address, found.local_port, found.remote_address, found.remote_port)
    return found if ends == (local_address, local_port, remote_address, remote_port) else None


def listening_sockets(local_port: int) -> list[TcpSocket]:
    """The sockets on which connections to a port are accepted. Raises OSError as `tcp_sockets` does."""
    return list(_tcp(_LISTENING, local_port))


def unix_sockets(name: str = "") -> Iterator[UnixSocket]:
    """The connected Unix sockets of this network, or those in whose path a name occurs.

    It may leave some out while others are opened and closed: the kernel sends the list in parts, and finds
    the place where to go on by counting. `unix_socket` tells of one for sure. Raises OSError where the kernel
    cannot be asked.
    """
    wanted = os.fsencode(name)
    for told in _answers(_UNIX_REQUEST.pack(socket.AF_UNIX, _ESTABLISHED, 0, _SHOWN, _NO_COOKIE)):
        if wanted in told:
            yield _unix_socket(told)


def unix_socket(inode: int) -> UnixSocket | None:
    """Return the connected Unix socket with an inode, whatever is opened and closed beside it.

    None if this network has none. The kernel goes through all Unix sockets of the network for it. Raises
    OSError where the kernel cannot be asked.
    """
    request = _UNIX_REQUEST.pack(socket.AF_UNIX, _ESTABLISHED, inode, _SHOWN, _NO_COOKIE)
    try:
        (told,) = _answers(request, _REQUEST_FOR_ONE)
    except FileNotFoundError:
        return None
    # Asked for one, the kernel heeds no states.
    state, _ = _UNIX_ANSWER.unpack_from(told)
    return _unix_socket(told) if 1 << state & _ESTABLISHED else None


class ClientSockets:
    """The sockets of one server's clients at one moment, by their inodes."""

    def __init__(self, port: int) -> None:
        """Read the sockets from the kernel. It raises OSError if the kernel cannot be asked."""
        self._name = f"/.s.PGSQL.{port}"
        self._found: dict[int, TcpSocket | UnixSocket] = {each.inode: each for each in _tcp(_HELD, port)}
        self._found |= {each.inode: each for each in unix_sockets(self._name) if self._is_clients(each)}

    def of(self, inodes: frozenset[int]) -> list[TcpSocket | UnixSocket]:
        """Return the clients' connections that a process with these inodes holds; a client's has one.

        The kernel is asked for each by itself where the list has none. Raises OSError as `unix_socket` does.
        """
        listed = [self._found[inode] for inode in inodes if inode in self._found]
        return listed or [each for each in map(unix_socket, inodes) if each and self._is_clients(each)]

    def _is_clients(self, found: UnixSocket) -> bool:
        """Return whether a socket is the server's end of a client's connection."""
        return found.name.endswith(self._name)


def _tcp(states: int, local_port: int, remote_port: int = 0) -> Iterator[TcpSocket]:
    ports = (local_port.to_bytes(2, "big"), remote_port.to_bytes(2, "big"))
    for family in (socket.AF_INET, socket.AF_INET6):
        # What is to be told is said by the bit before that of its own number.
        request = _TCP_REQUEST.pack(
            family, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), states, *ports, b"", b"", 0
        )
        for told in _answers(request):
            yield _tcp_socket(told)


def _tcp_socket(told: bytes) -> TcpSocket:
    family, local_port, remote_port, local, remote, unread, uid, inode = _TCP_ANSWER.unpack_from(told)
    length = 4 if family == socket.AF_INET else 16
    times = _parts(told, _TCP_ANSWER.size).get(_TCP_INFO)
    sent, received = _TCP_TIMES.unpack_from(times) if times else (0, 0)
    return TcpSocket(
        inode=inode,
        local_address=socket.inet_ntop(family, local[:length]),
        local_port=int.from_bytes(local_port, "big"),
        remote_address=socket.inet_ntop(family, remote[:length]),
        remote_port=int.from_bytes(remote_port, "big"),
        unread_bytes=unread,
        sent_milliseconds_ago=sent,
        uid=uid,
        received_milliseconds_ago=received,
    )


def _unix_socket(told: bytes) -> UnixSocket:
    _, inode = _UNIX_ANSWER.unpack_from(told)
    parts = _parts(told, _UNIX_ANSWER.size)
    return UnixSocket(
        inode=inode,
        peer=_number(parts.get(_PEER)) or 0,
        name=os.fsdecode(parts.get(_NAME, b"").rstrip(b"\0")),
        uid=_number(parts.get(_USER)),
        unread_bytes=_number(parts.get(_QUEUES)) or 0,
    )


def _answers(request: bytes, flags: int = _REQUEST_FOR_ALL) -> Iterator[bytes]:
    """Yield the kernel's answers, socket by socket. Raises OSError if it has none, or for nobody."""
    header = _HEADER.pack(_HEADER.size + len(request), BY_FAMILY, flags, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
        kernel.send(header + request)
        while True:
            told = kernel.recv(_MOST_AT_ONCE)
            begin = 0
            while begin < len(told):
                length, kind, *_ = _HEADER.unpack_from(told, begin)
                answer = told[begin + _HEADER.size : begin + length]
                if kind in (_ERROR, _DONE):
                    _check(answer)
                    return
                yield answer
                begin += _aligned(length)


def _check(last: bytes) -> None:
    """Raise OSError where the last answer is an error."""
    (code,) = _CODE.unpack_from(last)
    if code:
        raise OSError(-code, f"the kernel does not list sockets: {os.strerror(-code)}")


def _parts(told: bytes, begin: int) -> dict[int, bytes]:
    """The parts of an answer that follow its fixed one, by their kinds."""
    found = {}
    while begin < len(told):
        length, kind = _ATTRIBUTE.unpack_from(told, begin)
        found[kind] = told[begin + _ATTRIBUTE.size : begin + length]
        begin += _aligned(length)
    return found


def _number(part: bytes | None) -> int | None:
    """The number that a part is, or begins with."""
    if not part:
        return None
    number: int = _NUMBER.unpack_from(part)[0]
    return number


def _aligned(length: int) -> int:
    return (length + 3) & ~3
