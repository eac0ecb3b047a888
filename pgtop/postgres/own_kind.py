"""Which sessions belong to a pgtop of this host: the title of a backend does not tell its application."""

from collections.abc import Iterable

import msgspec

from pgtop.core.text import plural
from pgtop.postgres import proc, sockets
from pgtop.postgres.proc import Process
from pgtop.postgres.sockets import TcpSocket, UnixSocket

_NAME = b"pgtop"
_LOOKED_AT = 4
"""A name further back among the arguments is a file's, or a search's."""


class OwnKind(msgspec.Struct, frozen=True):
    """The sockets of the pgtops of this host."""

    inodes: frozenset[int] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()
    """Address and port of their ends of TCP connections to the server."""
    notes: tuple[str, ...] = ()
    """What could not be seen, printable."""

    def has(self, found: TcpSocket | UnixSocket | None) -> bool:
        """Whether a server's socket leads to one of them."""
        if isinstance(found, TcpSocket):
            return (found.remote_address, found.remote_port) in self.endpoints
        return found is not None and found.peer in self.inodes


def own_kind(processes: Iterable[Process], port: int) -> OwnKind:
    """The sockets of the pgtops among the processes. Raises OSError where the kernel cannot be asked."""
    inodes: set[int] = set()
    unseen = 0
    for process in processes:
        if is_pgtop(process):
            try:
                inodes |= proc.socket_inodes(process.pid)
            except PermissionError:
                unseen += 1
    ends = sockets.tcp_sockets(remote_port=port) if inodes else []
    endpoints = {(each.local_address, each.local_port) for each in ends if each.inode in inodes}
    said = f"{plural(unseen, 'pgtop')} of another user: only root tells which sessions are theirs"
    return OwnKind(frozenset(inodes), frozenset(endpoints), (said,) if unseen else ())


def is_pgtop(process: Process) -> bool:
    """Whether a process is a pgtop, by the beginning of its command line."""
    arguments = process.command_line.split(b"\0")[:_LOOKED_AT]
    return any(each.rpartition(b"/")[2] == _NAME for each in arguments)
