"""The sessions that belong to a pgtop of this host, since a backend's title does not tell its application.

The sessions of a pgtop are never terminated, and anyone can name a process `pgtop`. A process therefore
counts only if it runs as root, as the server's user, or as the user who runs break-glass; and a socket counts
only if such a user created it, since a program that runs as root may have been handed somebody else's.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pgtop.core.text import printable
from pgtop.postgres.host import proc, sockets
from pgtop.postgres.host.proc import Process
from pgtop.postgres.host.servers import HostServer, user_name
from pgtop.postgres.host.sockets import TcpSocket, UnixSocket

_NAME: Final = b"pgtop"
_PYTHONS: Final = (b"python", b"pypy")
_LOOKED_AT: Final = 4
"""A name further back among the arguments is a file's, or a search's."""


class OwnKind(msgspec.Struct, frozen=True):
    """The sockets of the pgtops of this host."""

    inodes: frozenset[int] = frozenset()
    """Of all sockets that they hold; a Unix socket is one of theirs only if a trusted user made it."""
    users: frozenset[int] = frozenset()
    """Those of whose pgtops the sockets may not be seen: all sockets that they made count."""
    trusted: frozenset[int] = frozenset()
    """See `trusted_users`."""
    connections: frozenset[tuple[str, int, str, int]] = frozenset()
    """Their TCP connections to the server: address and port of their own end, and of the server's.

    Their own end alone may be anybody's, of a connection to another of the server's addresses.
    """
    notes: tuple[str, ...] = ()
    """Notes on what could not be seen, printable."""

    def has(self, found: TcpSocket | UnixSocket | None) -> bool:
        """Return whether a server's socket leads to one of them. Raises OSError as `own_kind` does."""
        if isinstance(found, TcpSocket):
            ends = (found.remote_address, found.remote_port, found.local_address, found.local_port)
            return ends in self.connections or self._has_connection(*ends)
        return found is not None and self._has_unix_socket(found.peer)

    def _has_connection(self, address: str, port: int, server_address: str, server_port: int) -> bool:
        """Return whether the client's end of a connection is one of theirs. See `_has_unix_socket`."""
        if not self.inodes and not self.users:
            return False
        found = sockets.tcp_socket(address, port, server_address, server_port)
        return (
            found is not None
            and found.uid in self.trusted
            and (found.inode in self.inodes or found.uid in self.users)
        )

    def _has_unix_socket(self, inode: int) -> bool:
        """Return whether a Unix socket is one of theirs: one of which nothing is known counts as that."""
        is_held = inode in self.inodes
        if not inode or not (is_held or self.users):
            return False
        # By itself: a list of all of them may leave it out, and a pgtop would be terminated.
        found = sockets.unix_socket(inode)
        if found is None or found.uid in self.users:
            return True
        # Before Linux 5.2 the kernel does not tell who made one.
        return is_held and (found.uid is None or found.uid in self.trusted)


def own_kind(processes: Iterable[Process], server: HostServer) -> OwnKind:
    """The sockets of the pgtops among the processes; of one that may not be looked into, all of its user's.

    Raises OSError where the kernel cannot be asked.
    """
    trusted = trusted_users(server, os.environ)
    inodes: set[int] = set()
    users: set[int] = set()
    for process in processes:
        if is_pgtop(process) and (its_users := proc.users(process.pid)) and its_users <= trusted:
            try:
                inodes |= proc.socket_inodes(process.pid)
            except PermissionError:
                users |= its_users
    if not inodes and not users:
        return OwnKind()
    connections = {
        (each.local_address, each.local_port, each.remote_address, each.remote_port)
        for each in sockets.tcp_sockets(remote_port=server.port)
        if each.uid in trusted and (each.inode in inodes or each.uid in users)
    }
    names = ", ".join(sorted(printable(user_name(uid)) for uid in users))
    said = (
        f"a pgtop of {names} runs here, and only root can see which sessions are its own: "
        "no session of that user is terminated"
    )
    return OwnKind(
        inodes=frozenset(inodes),
        users=frozenset(users),
        trusted=trusted,
        connections=frozenset(connections),
        notes=(said,) if users else (),
    )


def trusted_users(server: HostServer, environment: Mapping[str, str]) -> frozenset[int]:
    """Return the users whose processes are believed to be pgtops where they say so.

    sudo's own word for who called it counts for root alone: anybody else may have set it.
    """
    own = os.geteuid()
    caller = environment.get("SUDO_UID", "") if own == 0 else ""
    return frozenset({0, own, server.uid, *([int(caller)] if caller.isdecimal() else [])})


def is_pgtop(process: Process) -> bool:
    """Return whether a process is a pgtop, by the start of its command line; sudo starting one is not."""
    first, *others = (each.rpartition(b"/")[2] for each in process.command_line.split(b"\0")[:_LOOKED_AT])
    return first == _NAME or (first.startswith(_PYTHONS) and _NAME in others)
