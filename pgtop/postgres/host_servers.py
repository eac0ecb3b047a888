"""The PostgreSQL servers of this host: found without asking them, and told apart.

A postmaster is the parent of processes with PostgreSQL's titles. Its working directory is the data directory,
also where that lies in a mount namespace of its own, and `postmaster.pid` in there tells the rest; one that
names another process is a left-over. Nothing is trusted that a process merely says of itself: what is read
lies below /proc/<pid>, and may have been laid there by anybody.
"""

import os
import pwd
import re
from pathlib import Path
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.text import printable
from pgtop.core.title import is_server_process
from pgtop.errors import ConnectError, NotPermittedError, UsageError
from pgtop.postgres import proc
from pgtop.postgres.proc import Process
from pgtop.postgres.target import SOCKET_DIRECTORIES

_PORT_LINE: Final = 3
_NUMBER: Final = re.compile("[0-9]{1,12}")
_LONGEST_LOCK_FILE: Final = 65_536
_LAST_PORT: Final = 65_535


class HostServer(msgspec.Struct, frozen=True):
    """One server that runs on this host."""

    pid: int
    """The postmaster's."""
    started_ticks: int
    """When the postmaster started, since the host did."""
    uid: int
    gid: int
    data_dir: str
    """As the server calls it."""
    port: int
    socket_dir: str
    """The first of its socket directories; "" where it has none."""
    postmaster_start: int
    """Microseconds since the Unix epoch, of whole seconds."""

    @property
    def label(self) -> str:
        """`port 5432, /var/lib/postgresql/16/main`, safe to print."""
        return f"port {self.port}, {printable(self.data_dir)}"


class HostServers(msgspec.Struct, frozen=True):
    """What was found on this host."""

    servers: tuple[HostServer, ...]
    """By port."""
    closed: tuple[int, ...] = ()
    """The user ids of servers that this user may not look into."""


class Wanted(msgspec.Struct, frozen=True):
    """Which server is meant; the only one where nothing is said."""

    port: int | None = None
    socket_dir: str | None = None
    data_dir: str | None = None

    def admits(self, server: HostServer) -> bool:
        """Whether this may be the server."""
        return (
            self.port in (None, server.port)
            and (self.data_dir is None or _is_same_place(self.data_dir, server.data_dir))
            and (self.socket_dir is None or _has_socket_in(server, self.socket_dir))
        )


def user_name(uid: int) -> str:
    """The name of a user of this host; its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def find_servers() -> HostServers:
    """The servers of this host, as far as this user may look into them. Never raises."""
    seen = {each.pid: each for each in proc.processes()}
    parents = {each.parent for each in seen.values() if is_server_process(each.title)}
    servers, closed = [], set()
    for pid in parents:
        postmaster = seen.get(pid)
        if postmaster is None or is_server_process(postmaster.title):
            continue
        ids = proc.owner(pid)
        try:
            server = _look_into(postmaster, ids) if ids else None
        except PermissionError:
            closed.add(ids[0] if ids else 0)
            continue
        if server is not None:
            servers.append(server)
    return HostServers(tuple(sorted(servers, key=lambda each: (each.port, each.pid))), tuple(sorted(closed)))


def _look_into(postmaster: Process, ids: tuple[int, int]) -> HostServer | None:
    """The server whose postmaster this is; None where it is none. Raises PermissionError."""
    pid = postmaster.pid
    try:
        lines = _lines_of(f"/proc/{pid}/cwd/postmaster.pid")
    except PermissionError:
        raise
    except OSError:
        return None
    # In a container its own number for itself is another one than ours.
    own_numbers = proc.status(pid).get("NSpid", str(pid)).split()
    if len(lines) <= _PORT_LINE or lines[0].strip() not in own_numbers:
        return None
    numbers = (lines[2].strip(), lines[_PORT_LINE].strip())
    if any("\0" in line for line in lines) or not all(_NUMBER.fullmatch(number) for number in numbers):
        return None
    if int(numbers[1]) > _LAST_PORT:
        return None
    return HostServer(
        pid=pid,
        started_ticks=postmaster.started_ticks,
        uid=ids[0],
        gid=ids[1],
        data_dir=lines[1],
        port=int(numbers[1]),
        socket_dir=lines[4] if len(lines) > _PORT_LINE + 1 else "",
        postmaster_start=int(numbers[0]) * MICROSECONDS,
    )


def _lines_of(path: str) -> list[str]:
    """Those of a lock file. Raises OSError."""
    return proc.read_plain_file(path, _LONGEST_LOCK_FILE).decode("utf-8", "surrogateescape").splitlines()


def _is_same_place(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _runs_in(server: HostServer, directory: str) -> bool:
    try:
        return Path(directory).samefile(f"/proc/{server.pid}/cwd")
    except OSError:
        return False


def _has_socket_in(server: HostServer, directory: str) -> bool:
    """Whether the server listens there: its file names only the first of its directories."""
    if server.socket_dir and _is_same_place(directory, server.socket_dir):
        return True
    try:
        lines = _lines_of(f"{directory}/.s.PGSQL.{server.port}.lock")
    except OSError:
        return False
    return len(lines) > 1 and lines[0].strip() == str(server.pid) and lines[1] == server.data_dir


def choose(found: HostServers, wanted: Wanted) -> HostServer:
    """The one server that is meant.

    Raises UsageError where several are, ConnectError where none is, and ClosedError where it may be one
    that this user may not look into.
    """
    meant = [server for server in found.servers if wanted.admits(server)]
    if len(meant) > 1 and wanted.data_dir is not None:
        # A process may say of itself what it likes, but it cannot run in a directory that is closed to it.
        meant = [server for server in meant if _runs_in(server, wanted.data_dir)] or meant
    is_named = wanted != Wanted()
    if len(meant) == 1 and (is_named or not found.closed):
        return meant[0]
    if len(meant) > 1 or (meant and not is_named):
        others = [f"another of user {printable(user_name(uid))}" for uid in found.closed]
        listed = "; ".join([server.label for server in meant] + others)
        raise UsageError(f"several servers run on this host ({listed})", "name one with --port or --data-dir")
    if found.closed:
        raise ClosedError(found.closed[0])
    if found.servers:
        listed = "; ".join(server.label for server in found.servers)
        raise ConnectError("no server of this host is the one that is named", f"there is {listed}")
    _refuse_hidden(wanted)
    raise ConnectError(
        "no PostgreSQL server runs on this host", "run pgtop break-glass on the host that the server runs on"
    )


class ClosedError(NotPermittedError):
    """A server that only another user may look into, or end sessions of."""

    def __init__(self, uid: int) -> None:
        owner = printable(user_name(uid))
        who = f"{owner} and root" if uid else owner
        problem = f"only {who} may look into the server's processes, and end its sessions"
        super().__init__(problem, f"sudo -u {owner} pgtop break-glass")
        self.uid = uid
        """That user."""


def _refuse_hidden(wanted: Wanted) -> None:
    """Raises ClosedError where /proc is mounted so that this user does not see others' processes."""
    try:
        Path("/proc/1/cmdline").read_bytes()
    except OSError:
        places = [wanted.socket_dir] if wanted.socket_dir else SOCKET_DIRECTORIES
        locks = [lock for place in places for lock in sorted(Path(place).glob(".s.PGSQL.*.lock"))]
        raise ClosedError(locks[0].stat().st_uid if locks else 0) from None


def system_identifier(server: HostServer) -> str | None:
    """The cluster's identifier, from its control file; None where that cannot be read."""
    import sys

    try:
        begin = proc.read_plain_file(f"/proc/{server.pid}/cwd/global/pg_control", 8)
    except OSError:
        return None
    return str(int.from_bytes(begin, sys.byteorder))
