"""Whether a target's endpoint is a server of this host.

`server_at(endpoint)` is quick, never raises, and gives None wherever it is not sure: a name that leads to a
tunnel or a proxy on this host is not its server.
"""

import socket

from pgtop.postgres import proc, sockets
from pgtop.postgres.host_servers import HostServer, Wanted, find_servers
from pgtop.postgres.target import Endpoint

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


def server_at(endpoint: Endpoint) -> HostServer | None:
    """The server of this host that answers at an endpoint; None where there is none, or nobody can tell.

    Blocks, for a host name as long as it takes to resolve it; not for a thread that runs an event loop.
    """
    try:
        if endpoint.is_socket:
            wanted = Wanted(port=endpoint.port, socket_dir=endpoint.address)
            meant = [server for server in find_servers().servers if wanted.admits(server)]
            return meant[0] if len(meant) == 1 else None
        return _listener(endpoint)
    except (OSError, ValueError):
        return None


def _listener(endpoint: Endpoint) -> HostServer | None:
    """The server whose postmaster itself listens at the first address of a host."""
    found = socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    listening = sockets.listening_sockets(endpoint.port)
    exact = [each for each in listening if each.local_address == address]
    inodes = {each.inode for each in exact or (each for each in listening if each.local_address in _ANY)}
    if not exact and not _is_own(address):
        return None
    for server in find_servers().servers:
        if server.port == endpoint.port and inodes & proc.socket_inodes(server.pid):
            return server
    return None


def _is_own(address: str) -> bool:
    """Whether an address is one of this host's: only such a one can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
