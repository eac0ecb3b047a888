"""The user who runs the server behind a Unix socket, as `requirepeer` asks for it."""

import pwd
import socket
import struct
import sys
from typing import Final

from pgtop.core.text import printable
from pgtop.errors import ConnectError

_CREDENTIALS: Final = struct.Struct("3i")
"""pid, uid and gid. Source: unix(7), SO_PEERCRED."""


def check_peer(connected: socket.socket, wanted: str) -> None:
    """Raise ConnectError where another user's process listens behind a Unix socket."""
    if sys.platform != "linux":
        raise ConnectError("pgtop supports requirepeer on Linux alone", "leave requirepeer out")
    given = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid = _CREDENTIALS.unpack(given)[1]
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if name != wanted:
        raise ConnectError(
            f"user {printable(name)} listens at the server's socket, and requirepeer asks for "
            f"{printable(wanted)}",
            "name the user who runs the server in requirepeer, or the right socket with -h",
        )
