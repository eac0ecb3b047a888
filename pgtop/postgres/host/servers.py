"""The PostgreSQL servers of this host: found without asking them, and told apart.

A postmaster is the parent of processes of its user's. Its working directory is the data directory, also where
that lies in a mount namespace of its own, and `postmaster.pid` in there tells the rest; one that names
another process is a left-over. Nothing is trusted that a process merely says of itself: what is read lies
below /proc/<pid>, and may have been laid there by anybody, so that no path in it is followed. Another user's
process that plays a server is listed as one of that user's; it never is one of root's, as which PostgreSQL
does not run.
"""

import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.text import clip, printable
from pgtop.errors import ConnectError, NotPermittedError, UsageError
from pgtop.postgres.conninfo.target import SOCKET_DIRECTORIES
from pgtop.postgres.host import proc
from pgtop.postgres.host.lock_files import (
    Answers,
    LockFile,
    ask_for_lock_files,
    read_lock_files,
    read_plain_file,
)
from pgtop.postgres.host.proc import Sketch
from pgtop.safe_files import place_of

_PORT_LINE: Final = 3
_NUMBER: Final = re.compile("[0-9]{1,12}")
_LONGEST_PATH: Final = 4096
"""Bytes; PATH_MAX of Linux."""
_LONGEST_LOCK_FILE: Final = 16_384
_PROGRAMS: Final = ("postgres", "postmaster")
"""Parts of the name of a server's program, whoever packaged it."""
_UNHEARD: Final = "whose directories do not answer"
_SOCKET: Final = re.compile(r"\.s\.PGSQL\.([0-9]{1,5})")
_LAST_PORT: Final = 65_535
_MOST_NAMED: Final = 3
"""Users in a message: one user may have tens of thousands of numbers (/etc/subuid)."""
_MOST_LISTED: Final = 10
"""Servers of one user in a message."""
_LONGEST_SHOWN: Final = 200
"""Cells of a data directory in a message."""


class HostServer(msgspec.Struct, frozen=True):
    """One server that runs on this host."""

    pid: int
    """The postmaster's."""
    started_ticks: int
    """The postmaster's start time, in ticks since the host started."""
    uid: int
    gid: int
    data_dir: str
    """As the server calls it."""
    port: int
    socket_dir: str
    """The first of its socket directories; "" where it has none."""
    postmaster_start: int
    """Microseconds since the Unix epoch, of whole seconds."""
    place: tuple[int, int] = (0, 0)
    """Device and inode of the directory that it runs in."""

    @property
    def label(self) -> str:
        """`port 5432, /var/lib/postgresql/16/main, of postgres`, safe to print."""
        # Anybody may run one and choose this text, which is not to look like the labels of others.
        place = shlex.quote(clip(printable(self.data_dir), _LONGEST_SHOWN))
        return f"port {self.port}, {place}, of {printable(user_name(self.uid))}"


class HostServers(msgspec.Struct, frozen=True):
    """The servers found on this host."""

    servers: tuple[HostServer, ...]
    """By port."""
    closed: tuple[int, ...] = ()
    """The user ids of servers that this user may not look into."""
    unheard: tuple[int, ...] = ()
    """The user ids of those whose directories do not answer, as on a dead disk: they may have servers too."""


class Wanted(msgspec.Struct, frozen=True):
    """The server that a person wants. With no field set, it is the only one on the host."""

    port: int | None = None
    socket_dir: str | None = None
    data_dir: str | None = None

    @property
    def owner(self) -> int | None:
        """The owner of the wanted server's data directory or socket; None if neither is given."""
        if self.data_dir is not None:
            return _owner(self.data_dir)
        if self.socket_dir is not None and self.port is not None:
            return _socket_owner(_socket_in(self.socket_dir, self.port))
        return None

    def admits(self, server: HostServer) -> bool:
        """Return whether this may be the server."""
        return (
            self.port in (None, server.port)
            and (
                self.data_dir is None
                or _runs_in(server, self.data_dir)
                or _is_named(self.data_dir, server.data_dir)
            )
            and (self.socket_dir is None or _has_socket_in(server, self.socket_dir))
        )


def user_name(uid: int) -> str:
    """The name of a user of this host; its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def find_servers(owner: int | None = None, among: Iterable[int] | None = None) -> HostServers:
    """The servers of this host, or one user's, as far as this user may look into them. Never raises.

    `among` has the pids of the only processes to look at, a child of each server included; None for all.
    """
    candidates = {each.pid: each for each in _parents(owner, among)}
    answers = _answers(candidates.values(), owner)
    found = (_look_into(candidates[pid], lock) for pid, lock in answers.files.items())
    servers = sorted(filter(None, found), key=lambda each: (each.port, each.pid))
    closed = {uid for pid in answers.denied if _is_program(candidates[pid]) for uid in candidates[pid].users}
    return HostServers(tuple(servers), tuple(sorted(closed)), tuple(sorted(answers.unheard)))


def _parents(owner: int | None, among: Iterable[int] | None) -> list[Sketch]:
    """The processes that have a child of the same user's, and are not root's."""
    seen = {each.pid: each for each in proc.sketches(among)}
    pairs = ((seen.get(each.parent), each) for each in seen.values())
    # A program of another rank than its caller's, as sudo, does what its caller wants: it has several users.
    found = {
        parent.pid: parent
        for parent, each in pairs
        if parent is not None
        and parent.users == each.users
        and len(parent.users) == 1
        and 0 not in parent.users
        and (owner is None or owner in parent.users)
    }
    return list(found.values())


def _is_program(process: Sketch) -> bool:
    """Return whether a process has the name of a server's program; anybody may give a process that name."""
    return any(name in process.name for name in _PROGRAMS)


def _answers(candidates: Iterable[Sketch], owner: int | None) -> Answers:
    """The lock files beside these processes; others' are asked for where there is a right to look."""
    own = os.geteuid()
    pids: dict[int, list[int]] = {}
    denied = set()
    for each in candidates:
        (uid,) = each.users
        if own in (0, uid):
            pids.setdefault(uid, []).append(each.pid)
        else:
            denied.add(each.pid)
    if not pids:
        return Answers({}, frozenset(denied), frozenset())
    try:
        answers = read_lock_files(pids) if own != 0 else ask_for_lock_files(pids)
    except OSError:  # no program can be started on this host any more: wait for a named owner
        answers = read_lock_files(pids) if owner is not None else Answers({}, frozenset(), frozenset(pids))
    return answers._replace(denied=answers.denied | denied)


def _look_into(postmaster: Sketch, lock: LockFile) -> HostServer | None:
    """The server whose postmaster this is; None where it is none."""
    pid = postmaster.pid
    (uid,) = postmaster.users
    lines = _lines_of(lock.content)
    told, started_ticks = proc.status(pid), proc.started_ticks(pid)
    if not told or started_ticks is None:
        return None
    # In a container its own number for itself is another one than ours.
    own_numbers = told.get("NSpid", str(pid)).split()
    if len(lines) <= _PORT_LINE or lines[0].strip() not in own_numbers:
        return None
    numbers = (lines[2].strip(), lines[_PORT_LINE].strip())
    if any("\0" in line or len(line) > _LONGEST_PATH for line in lines):
        return None
    if not all(_NUMBER.fullmatch(number) for number in numbers):
        return None
    if int(numbers[1]) > _LAST_PORT:
        return None
    return HostServer(
        pid=pid,
        started_ticks=started_ticks,
        uid=uid,
        gid=int(told["Gid"].split()[1]),
        data_dir=lines[1],
        port=int(numbers[1]),
        socket_dir=lines[4] if len(lines) > _PORT_LINE + 1 else "",
        postmaster_start=int(numbers[0]) * MICROSECONDS,
        place=lock.place,
    )


def _lines_of(said: bytes) -> list[str]:
    """Those of a lock file."""
    # Not splitlines(): a path may hold what it takes for the end of a line.
    return said.decode("utf-8", "surrogateescape").split("\n")


def _is_named(path: str, said: str) -> bool:
    """Return whether a path is the one a lock file names. That one is not looked up: it may lead anywhere."""
    return os.path.abspath(path) == said  # noqa: PTH100 - may hold any byte


def _runs_in(server: HostServer, directory: str) -> bool:
    try:
        told = os.stat(directory)  # noqa: PTH116 - may hold any byte
    except (OSError, ValueError):
        return False
    return (told.st_dev, told.st_ino) == server.place


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid  # noqa: PTH116 - may hold any byte
    except (OSError, ValueError):
        return None


def _socket_owner(path: str) -> int | None:
    """The owner of a socket, or of a link in its place: in /tmp anybody may lay one to another server's."""
    try:
        return os.lstat(path).st_uid
    except (OSError, ValueError):
        return None


def _socket_in(directory: str, port: int) -> str:
    return f"{directory}/.s.PGSQL.{port}"


def _has_socket_in(server: HostServer, directory: str) -> bool:
    """Return whether the server listens there: its file names only the first of its directories.

    A socket there belongs to the user that listens on it, whatever another process says of itself.
    """
    path = _socket_in(directory, server.port)
    if _socket_owner(path) not in (None, server.uid):
        return False
    if _is_named(directory, server.socket_dir):
        return True
    try:
        lines = _lines_of(read_plain_file(f"{path}.lock", _LONGEST_LOCK_FILE, server.uid))
    except (OSError, ValueError):
        return False
    return len(lines) > 1 and lines[0].strip() == str(server.pid) and lines[1] == server.data_dir


def find_server(wanted: Wanted) -> HostServer:
    """The one server of this host that is meant. Raises as `choose` does."""
    owner = wanted.owner
    found = find_servers(owner)
    if owner is not None and not found.closed and not any(map(wanted.admits, found.servers)):
        found = find_servers()  # a container may show a directory as another user's, and others are told of
    return choose(found, wanted)


def choose(found: HostServers, wanted: Wanted) -> HostServer:
    """The one server that is meant.

    Raises UsageError where several are, ConnectError where none is, and ClosedError where it may be one
    that this user may not look into.
    """
    meant = [server for server in found.servers if wanted.admits(server)]
    if len(meant) > 1 and wanted.data_dir is not None:
        # A process may say of itself what it likes, but it cannot run in a directory that is closed to it.
        meant = [server for server in meant if _runs_in(server, wanted.data_dir)] or meant
    is_sure = wanted != Wanted() or not (found.closed or found.unheard)
    if len(meant) == 1 and is_sure:
        return meant[0]
    if meant:
        listed = _listed(meant)
        others = [f"another of {each}" for each in _names(found.closed)]
        others += [f"perhaps one of {each}, {_UNHEARD}" for each in _names(found.unheard)]
        several = f"several servers run on this host ({'; '.join([*listed, *others])})"
        # Anybody may say to have the same port; nobody else runs in that directory.
        by = "--data-dir" if wanted.port is not None else "--port or --data-dir"
        raise UsageError(several, f"name one with {by}")
    if found.closed:
        raise _closed_to_us(found.closed, wanted)
    if found.unheard:
        whose = ", ".join(_names(found.unheard))
        problem = f"no such server was found on this host, but perhaps there is one of {whose}, {_UNHEARD}"
        raise ConnectError(problem, "name it with --data-dir")
    if found.servers:
        there = "; ".join(_listed(found.servers))
        raise ConnectError("no server on this host matches", f"there is {there}")
    _refuse_hidden(wanted)
    raise ConnectError(
        "no PostgreSQL server runs on this host", "run pgtop break-glass on the host that the server runs on"
    )


def _listed(servers: Sequence[HostServer]) -> list[str]:
    """The labels of the first few servers of each user, and how many more there are of theirs."""
    listed = []
    for uid in dict.fromkeys(server.uid for server in servers):
        theirs = [server.label for server in servers if server.uid == uid]
        listed += theirs[:_MOST_LISTED]
        if len(theirs) > _MOST_LISTED:
            listed.append(f"{len(theirs) - _MOST_LISTED} more of {printable(user_name(uid))}")
    return listed


def _names(uids: Iterable[int]) -> list[str]:
    return [f"user {printable(user_name(uid))}" for uid in uids]


class ClosedError(NotPermittedError):
    """A server that only another user may look into, and whose sessions only they may terminate."""

    def __init__(self, uid: int) -> None:
        owner = printable(user_name(uid))
        who = f"{owner} and root" if uid else owner
        problem = f"only {who} may look into the server's processes and terminate its sessions"
        super().__init__(problem, f"sudo -u {owner} pgtop break-glass")
        self.uid = uid
        """That user."""


class UnsureOwnerError(ClosedError):
    """A server that another user may look into, whose name is not certain enough to run anything as them.

    Anybody may start a process that looks like a server's, or lay a file of its name in /tmp. What is run as
    such a user is theirs to change, with the terminal that it runs on. Root needs nobody's name.
    """

    def __init__(self, uids: Sequence[int]) -> None:
        super().__init__(0)
        named = " or ".join(_names(uids[:_MOST_NAMED]) + ["others"] * (len(uids) > _MOST_NAMED))
        whose = f"what looks like a server is of {named}" if uids else "another user's server is not seen"
        self.problem = f"{whose}, and only its owner and root may look into it and terminate its sessions"
        self.mend = "sudo pgtop break-glass"


def _closed_to_us(closed: Sequence[int], wanted: Wanted) -> ClosedError:
    """The error for servers that are closed to this user, or that may be."""
    sure = _vouched_for(wanted)
    return ClosedError(*sure) if len(sure) == 1 and sure <= {*closed} else UnsureOwnerError(closed)


def _vouched_for(wanted: Wanted) -> frozenset[int]:
    """The owners of the data directory, or else of the sockets, that nobody else can have laid there."""
    if wanted.data_dir is not None:
        paths = [wanted.data_dir]
    else:
        places = [wanted.socket_dir] if wanted.socket_dir else SOCKET_DIRECTORIES
        paths = [path for place in places for path in _sockets_in(place, wanted.port)]
    return frozenset(filter(None, map(_safe_owner, paths)))


def _sockets_in(directory: str, port: int | None) -> list[str]:
    """The sockets of servers in a directory; none where it cannot be read."""
    if port is not None:
        return [_socket_in(directory, port)]
    try:
        names = os.listdir(directory)  # noqa: PTH208 - may hold any byte
    except (OSError, ValueError):
        return []
    return [_socket_in(directory, int(found[1])) for each in names if (found := _SOCKET.fullmatch(each))]


def _safe_owner(path: str) -> int | None:
    """The owner of a directory or a socket that nobody else can have laid there; None for others."""
    try:
        owner = os.lstat(path).st_uid
        with place_of(Path(path), to_read=True, owner=owner) as place:
            status = place.status
    except (OSError, ValueError):
        return None
    is_meant = status is not None and (stat.S_ISDIR(status.st_mode) or stat.S_ISSOCK(status.st_mode))
    return owner if status and is_meant and status.st_uid == owner and not place.may_be_planted else None


def _refuse_hidden(wanted: Wanted) -> None:
    """Raise ClosedError where /proc is mounted so that this user does not see others' processes."""
    try:
        Path("/proc/1/status").read_bytes()
    except OSError:
        raise _closed_to_us(sorted(_vouched_for(wanted)), wanted) from None


def system_identifier(server: HostServer) -> str | None:
    """The cluster's identifier, from its control file; None where that cannot be read."""
    import sys

    try:
        begin = read_plain_file(f"/proc/{server.pid}/cwd/global/pg_control", 8)
    except OSError:
        return None
    return str(int.from_bytes(begin, sys.byteorder))
