"""Find the server of this host at a target's endpoint, if there is one.

`server_at` is quick, never raises, and returns None wherever it is not sure: a name that leads to a
tunnel or a proxy on this host is not its server.
"""

import socket

from pgtop.postgres.conninfo.target import Endpoint
from pgtop.postgres.host import proc, sockets
from pgtop.postgres.host.servers import HostServer, Wanted, find_servers

_ANY_OF_IPV4 = "0.0.0.0"  # noqa: S104 - compared with, not listened on
_ANY_OF_IPV6 = "::"


def server_at(endpoint: Endpoint, session: int | None = None) -> HostServer | None:
    """The server of this host that answers at an endpoint; None where there is none, or nobody can tell.

    `session` is the process id of a session there, as its server gives it: where that is a child of the
    server, no other process of the host is looked at, which may have thousands.

    Blocks, for a host name as long as it takes to resolve it; not for a thread that runs an event loop.
    """
    try:
        parent = proc.parent(session) if session is not None else None
        known = _server_at(endpoint, (parent, session)) if parent and session else None
        return known or _server_at(endpoint, None)
    except (OSError, ValueError):
        return None


def _server_at(endpoint: Endpoint, among: tuple[int, int] | None) -> HostServer | None:
    if endpoint.is_socket:
        wanted = Wanted(port=endpoint.port, socket_dir=endpoint.address)
        meant = [server for server in find_servers(wanted.owner, among).servers if wanted.admits(server)]
        return meant[0] if len(meant) == 1 else None
    return _listener(endpoint, among)


def _listener(endpoint: Endpoint, among: tuple[int, int] | None) -> HostServer | None:
    """Return the server whose own postmaster listens at each address of a host at which anything listens.

    Any of them may be the one that answered a login: their order changes, and one that does not answer is
    skipped.
    """
    found = socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    addresses = {str(each[4][0]) for each in found}
    if not all(map(_is_own, addresses)):
        return None
    listening = sockets.listening_sockets(endpoint.port)
    heard = [inodes for address in addresses if (inodes := _listeners(listening, address))]
    owners = {each.uid for each in listening if any(each.inode in inodes for inodes in heard)}
    if len(owners) != 1:
        return None
    for server in find_servers(owners.pop(), among).servers:
        own = proc.socket_inodes(server.pid) if server.port == endpoint.port else frozenset()
        if all(inodes & own for inodes in heard):
            return server
    return None


def _listeners(listening: list[sockets.TcpSocket], address: str) -> set[int]:
    """The inodes of the sockets on which connections to an address are accepted.

    What listens at the other protocol's addresses is none: PostgreSQL takes IPv6 alone on `::`.
    """
    exact = {each.inode for each in listening if each.local_address == address}
    anywhere = _ANY_OF_IPV6 if ":" in address else _ANY_OF_IPV4
    return exact or {each.inode for each in listening if each.local_address == anywhere}


def _is_own(address: str) -> bool:
    """Return whether an address is one of this host's: only such an address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
