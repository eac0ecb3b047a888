"""What the kernel tells of sockets: who is at the other end, and when data was last sent.

From its socket diagnostics, by pyroute2, which is imported when it is first asked: it is slow to import, and
runs event loops of its own, so that nothing here may be called on a thread that runs one.
"""

import contextlib
import gc
import os
import socket
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, Final

import msgspec

_ESTABLISHED: Final = 1 << 1
_LISTENING: Final = 1 << 10
_TCP_INFO: Final = 1 << (2 - 1)
_SHOW_NAME: Final = 0x01
_SHOW_PEER: Final = 0x04
_SHOW_USER: Final = 0x40


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
    uid: int
    """The user that made it."""


class UnixSocket(msgspec.Struct, frozen=True):
    """One connected Unix socket."""

    inode: int
    peer: int
    """The inode of the other end; 0 where it is not known."""
    name: str
    """The path; a server's end has that of the socket it accepted on."""
    uid: int | None
    """The user that made it; None where the kernel does not tell, before Linux 5.2."""


def get_ready() -> None:
    """Imports what asking the kernel needs."""
    collecting = gc.isenabled()
    gc.disable()  # nothing of an import is garbage, and looking for it takes a third of the time
    try:
        import pyroute2.netlink.diag  # noqa: F401
    finally:
        if collecting:
            gc.enable()


def tcp_sockets(local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
    """The established connections, of IPv4 and IPv6, of a local port, of a remote one, or of both.

    Raises OSError where the kernel cannot be asked.
    """
    return _tcp(_ESTABLISHED, local_port, remote_port)


def listening_sockets(local_port: int) -> list[TcpSocket]:
    """The sockets on which connections to a port are accepted. Raises OSError as `tcp_sockets` does."""
    return _tcp(_LISTENING, local_port)


@contextlib.contextmanager
def _kernel() -> Iterator[Any]:
    """The kernel's socket diagnostics. Raises OSError where it has none, or tells them to nobody."""
    from pyroute2.netlink.diag import DiagSocket
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with DiagSocket() as asked:
            yield asked
    except NetlinkError as error:
        raise OSError(
            error.code, f"the kernel does not tell of sockets: {os.strerror(error.code)}"
        ) from error


def _tcp(states: int, local_port: int, remote_port: int = 0) -> list[TcpSocket]:
    found = []
    with _kernel() as asked:
        for family in (socket.AF_INET, socket.AF_INET6):
            found += asked.get_sock_stats(
                family=family, states=states, extensions=_TCP_INFO, sport=local_port, dport=remote_port
            )
    return [_tcp_socket(each) for each in found]


def _tcp_socket(message: Any) -> TcpSocket:
    info = message.get_attr("INET_DIAG_INFO") or {}
    return TcpSocket(
        inode=message["idiag_inode"],
        local_address=message["idiag_src"],
        local_port=message["idiag_sport"],
        remote_address=message["idiag_dst"],
        remote_port=message["idiag_dport"],
        unread_bytes=message["idiag_rqueue"],
        sent_milliseconds_ago=info.get("tcpi_last_data_sent", 0),
        uid=message["idiag_uid"],
    )


@cache
def _unix_marshal() -> Any:
    """How answers about Unix sockets are read: with the last attribute, which the library does not know."""
    from pyroute2.netlink.diag import MarshalDiag, unix_diag_msg

    class Message(unix_diag_msg):  # type: ignore[misc]
        nla_map = (*unix_diag_msg.nla_map, ("UNIX_DIAG_UID", "uint32"))

    class Marshal(MarshalDiag):  # type: ignore[misc]
        msg_map: ClassVar[dict[int, Any]] = {**MarshalDiag.msg_map, socket.AF_UNIX: Message}

    return Marshal


def unix_sockets() -> list[UnixSocket]:
    """The connected Unix sockets of this host. Raises OSError where the kernel cannot be asked."""
    with _kernel() as asked:
        asked.set_marshal(_unix_marshal()())
        show = _SHOW_NAME | _SHOW_PEER | _SHOW_USER
        found = asked.get_sock_stats(family=socket.AF_UNIX, states=_ESTABLISHED, show=show)
    return [
        UnixSocket(
            inode=each["udiag_ino"],
            peer=each.get_attr("UNIX_DIAG_PEER") or 0,
            name=each.get_attr("UNIX_DIAG_NAME") or "",
            uid=each.get_attr("UNIX_DIAG_UID"),
        )
        for each in found
    ]


class ClientSockets:
    """The sockets of one server's clients at one moment, by their inodes."""

    def __init__(self, port: int) -> None:
        """Raises OSError where the kernel cannot be asked."""
        self._tcp = {each.inode: each for each in tcp_sockets(port)}
        name = f"/.s.PGSQL.{port}"
        self._unix = {each.inode: each for each in unix_sockets() if each.name.endswith(name)}

    def any_of(self, inodes: frozenset[int]) -> bool:
        """Whether one of the inodes is of a client's connection."""
        return any(inode in self._tcp or inode in self._unix for inode in inodes)

    def of(self, inodes: frozenset[int], remote_port: int | None) -> TcpSocket | UnixSocket | None:
        """The one socket of a client at a port, or over a Unix socket (None), that a process with these
        inodes holds; None where it is not surely found."""
        found: list[TcpSocket | UnixSocket]
        if remote_port is None:
            found = [self._unix[inode] for inode in inodes if inode in self._unix]
        else:
            mine = [self._tcp[inode] for inode in inodes if inode in self._tcp]
            found = [each for each in mine if each.remote_port == remote_port]
        return found[0] if len(found) == 1 else None
