"""Which sessions belong to a pgtop of this host: the title of a backend does not tell its application."""

from collections.abc import Iterable
from typing import Final

import msgspec

from pgtop.core.text import printable
from pgtop.postgres import proc, sockets
from pgtop.postgres.host_servers import user_name
from pgtop.postgres.proc import Process
from pgtop.postgres.sockets import TcpSocket, UnixSocket

_NAME: Final = b"pgtop"
_PYTHONS: Final = (b"python", b"pypy")
_LOOKED_AT: Final = 4
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
    """The sockets of the pgtops among the processes; of one that may not be looked into, all of its user's.

    Raises OSError where the kernel cannot be asked.
    """
    inodes: set[int] = set()
    users: set[int] = set()
    for process in processes:
        if is_pgtop(process):
            try:
                inodes |= proc.socket_inodes(process.pid)
            except PermissionError:
                users.add((proc.owner(process.pid) or (0, 0))[0])
    if not inodes and not users:
        return OwnKind()
    ends = sockets.tcp_sockets(remote_port=port)
    endpoints = {
        (each.local_address, each.local_port) for each in ends if each.inode in inodes or each.uid in users
    }
    if users:
        inodes |= {each.inode for each in sockets.unix_sockets() if each.uid in users}
    names = ", ".join(sorted(printable(user_name(uid)) for uid in users))
    said = f"a pgtop of {names} runs here, and only root sees which sessions are its: none of theirs is ended"
    return OwnKind(frozenset(inodes), frozenset(endpoints), (said,) if users else ())


def is_pgtop(process: Process) -> bool:
    """Whether a process is a pgtop, by how its command line begins; what starts one, as sudo, is none."""
    first, *others = (each.rpartition(b"/")[2] for each in process.command_line.split(b"\0")[:_LOOKED_AT])
    return first == _NAME or (first.startswith(_PYTHONS) and _NAME in others)
