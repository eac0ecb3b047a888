"""Facts from /proc about one process: its parent, its start, its title, and whether it ran.

Every reader returns None if the process is gone. Times of processes are clock ticks since the host started:
with its pid they are a process's identity.

A command line is read from the process's own memory, and its user can keep a reader waiting for
ever, by a page that a program of theirs has to deliver (FUSE). So it is read only from processes whose users
are trusted. All other facts, as in `Sketch`, are the kernel's own.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

_ZOMBIE: Final = "Z"
_AT_WORK: Final = frozenset("RD")
"""Running or ready to, and waiting for a disk."""
_NEVER_RAN: Final = b"0 0 0"
"""The content of /proc/<pid>/schedstat if the kernel does not count."""
_EXEC_START: Final = b"se.exec_start"

_SKETCHED_LINES: Final = 10
"""The lines of /proc/<pid>/status within which every kernel tells what a `Sketch` has, of some sixty."""
_USERS: Final = re.compile(rb"^Uid:((?:\t[0-9]+)+)$", re.MULTILINE)

_LONGEST_COMMAND_LINE: Final = 65_536
"""Bytes. Anybody may start processes with megabytes of arguments; no title is as long."""
_GONE: Final = (FileNotFoundError, ProcessLookupError)


class Process(msgspec.Struct, frozen=True):
    """One process at one moment."""

    pid: int
    parent: int
    started_ticks: int
    """Since the host started."""
    command_line: bytes
    """The arguments, each ended by a zero byte; of a PostgreSQL process its title."""
    title_room: int
    """The longest title that this process can have, in bytes; 0 where that may not be seen."""
    state: str = "S"
    """The kernel's letter for it: `R` runs, or is ready to; `S` sleeps; `D` waits for a disk."""

    @property
    def is_at_work(self) -> bool:
        """True where it has, or waits for, a processor or a disk at this moment."""
        return self.state in _AT_WORK

    @property
    def title(self) -> str:
        """The command line as a title; bytes that are not UTF-8 become U+FFFD."""
        return self.command_line.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def is_cut_off(self) -> bool:
        """True where the title may have lost its end: `idle in transaction` could then look like `idle`."""
        return 0 < self.title_room <= len(self.command_line.rstrip(b"\0"))


def pids() -> list[int]:
    """The processes of this host, as far as they may be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - no paths needed


class Sketch(msgspec.Struct, frozen=True):
    """One process, as far as its own memory is left alone."""

    pid: int
    parent: int
    name: str
    """Its program's, or what the process calls itself; 15 bytes at most."""
    users: frozenset[int]
    """See `users`."""


def sketches(among: Iterable[int] | None = None) -> list[Sketch]:
    """Every process of this host that may be seen, whoever's; with `among`, those of these pids."""
    found = []
    for pid in pids() if among is None else among:
        try:
            told = status(pid, _SKETCHED_LINES)
        except PermissionError:
            continue
        if told:
            users = frozenset(map(int, told["Uid"].split()))
            found.append(Sketch(pid, int(told["PPid"]), told["Name"], users))
    return found


def processes(believed: frozenset[int]) -> list[Process]:
    """Every process of this host that may be seen, and that runs as none but the users who are believed."""
    found = []
    for pid in pids():
        try:
            process = read_process(pid, believed)
        except PermissionError:
            continue
        if process is not None:
            found.append(process)
    return found


def read_process(pid: int, believed: frozenset[int]) -> Process | None:
    """One process; None where it is gone, or about to be, or runs as another than the users who are believed.

    Raises PermissionError where /proc hides it.
    """
    its_users = users(pid)
    if not its_users or not its_users <= believed:
        return None
    line = _read(f"/proc/{pid}/stat")
    command_line = _read(f"/proc/{pid}/cmdline", _LONGEST_COMMAND_LINE)
    if not line or command_line is None:
        return None
    fields = _fields(line)
    if fields[0] == _ZOMBIE.encode():
        return None
    arguments_begin, environment_end = int(fields[45]), int(fields[48])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        started_ticks=int(fields[19]),
        command_line=command_line,
        # PostgreSQL leaves out the last zero byte of what it takes, and ends its title by one of its own.
        title_room=max(0, environment_end - arguments_begin - 2) if arguments_begin else 0,
        state=fields[0].decode(),
    )


def last_run(pid: int) -> bytes | None:
    """Return a word that changes whenever the process runs; None where it is gone, or that is not told.

    It is how long and how often it had a processor so far (/proc/<pid>/schedstat), or the moment when it
    last had one (`se.exec_start` of /proc/<pid>/sched). The count alone stands still while it runs on and on.
    """
    counted = (_read(f"/proc/{pid}/schedstat") or b"").strip()
    if counted and counted != _NEVER_RAN:
        return counted
    return _exec_start(pid)


def last_run_milliseconds(pid: int | str = "thread-self") -> float | None:
    """Return when a process last had a processor, on that processor's clock; this thread by default.

    None where it is gone, or the kernel does not tell (`se.exec_start` of /proc/<pid>/sched).
    """
    try:
        return float((_exec_start(pid) or b"").partition(b":")[2])
    except ValueError:
        return None


def _exec_start(pid: int | str) -> bytes | None:
    """Return the line of /proc/<pid>/sched that tells when a process last ran; None without it."""
    lines = (_read(f"/proc/{pid}/sched") or b"").splitlines()
    return next((line for line in lines if line.startswith(_EXEC_START)), None)


def processor(pid: int) -> int | None:
    """Return the number of the processor that a process last ran on; None if it is gone."""
    line = _read(f"/proc/{pid}/stat")
    return int(_fields(line)[36]) if line else None


def socket_inodes(pid: int) -> frozenset[int]:
    """The inodes of the sockets that a process holds. Raises PermissionError where they may not be seen."""
    place = f"/proc/{pid}/fd"
    try:
        names = os.listdir(place)  # noqa: PTH208 - no paths needed
    except _GONE:
        return frozenset()
    found = set()
    for name in names:
        # A file that is closed meanwhile says nothing of those after it: pgtop's own connection may be one.
        with suppress(*_GONE):
            target = os.readlink(f"{place}/{name}")  # noqa: PTH115 - hundreds of processes, a dozen each
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return frozenset(found)


def signals(pid: int) -> tuple[int, int]:
    """Return which signals a process catches, and which it ignores, as masks; zeros where it is gone."""
    told = status(pid)
    return int(told.get("SigCgt", "0"), 16), int(told.get("SigIgn", "0"), 16)


def users(pid: int) -> frozenset[int]:
    """Return the users that a process runs as: real, effective, saved, file system; none where it is gone.

    The effective user alone is root's also of a `sudo` that somebody else has started.
    """
    found = _USERS.search(_read(f"/proc/{pid}/status") or b"")
    return frozenset(map(int, found[1].split())) if found else frozenset()


def started_ticks(pid: int) -> int | None:
    """Return the start time of a process, in ticks since the host started; None if it is gone."""
    line = _read(f"/proc/{pid}/stat")
    return int(_fields(line)[19]) if line else None


def parent(pid: int) -> int | None:
    """Return the parent of a process; None if the process is gone."""
    line = _read(f"/proc/{pid}/stat")
    return int(_fields(line)[1]) if line else None


def children(pid: int) -> list[int]:
    """Return the children of a process of one thread. It may leave out some if others end meanwhile.

    The kernel's own list costs one read; without it (CONFIG_PROC_CHILDREN), every process is asked.
    """
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except FileNotFoundError:
        return [each for each in pids() if parent(each) == pid]


def own_number(pid: int) -> int:
    """Return the pid that a process has for itself, which in a container is another one; 0 if it is gone."""
    return int(status(pid).get("NSpid", "0").split()[-1])


def owner(pid: int) -> tuple[int, int] | None:
    """The user and group that a process runs as; None where it is gone."""
    ids = status(pid)
    return (int(ids["Uid"].split()[1]), int(ids["Gid"].split()[1])) if ids else None


def status(pid: int, most_lines: int | None = None) -> dict[str, str]:
    """Return the fields of /proc/<pid>/status by name; empty if the process is gone.

    `most_lines` is how many of its lines are taken, from the first; None for all.
    """
    text = (_read(f"/proc/{pid}/status") or b"").decode("utf-8", "replace")
    # Not splitlines(): a process may put what it takes for the end of a line into its name.
    lines = (line.partition(":") for line in text.split("\n", most_lines or -1)[:most_lines] if line)
    return {name: value.strip() for name, _, value in lines}


def network_namespace(pid: int | str = "self") -> str | None:
    """Return the network namespace of a process; None if it may not be read."""
    return _namespace("net", pid)


def is_contained(pid: int) -> bool:
    """Return whether a process is in another PID or user namespace than pgtop, as in a container.

    It is True also if a namespace cannot be read.
    """
    seen = [(_namespace(kind, pid), _namespace(kind, "self")) for kind in ("pid", "user")]
    return any(its is None or its != own for its, own in seen)


def _namespace(kind: str, pid: int | str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - no file, but a name
    except OSError:
        return None


def _fields(line: bytes) -> list[bytes]:
    """Those of /proc/<pid>/stat from the third on."""
    # The second, the name in parentheses, may hold anything, parentheses and blanks included.
    return line[line.rindex(b")") + 2 :].split()


def _read(path: str, most_bytes: int = -1) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them
            return file.read(most_bytes)
    except _GONE:
        return None
