"""What /proc tells of one process: whose child it is, since when, its title, and whether it ran.

Every reader gives None where the process is gone. Times of processes are clock ticks since the host started:
with its pid they are a process's identity.
"""

import errno
import os
import stat
from typing import Final

import msgspec

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

_ZOMBIE: Final = "Z"
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

    @property
    def title(self) -> str:
        """The command line as a title; bytes that are no UTF-8 become U+FFFD."""
        return self.command_line.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def is_cut_off(self) -> bool:
        """True where the title may have lost its end: `idle in transaction` could then look like `idle`."""
        return 0 < self.title_room <= len(self.command_line.rstrip(b"\0"))


def pids() -> list[int]:
    """The processes of this host, as far as they may be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - no paths needed


def processes() -> list[Process]:
    """Every process of this host that may be seen."""
    found = []
    for pid in pids():
        try:
            process = read_process(pid)
        except PermissionError:
            continue
        if process is not None:
            found.append(process)
    return found


def read_process(pid: int) -> Process | None:
    """One process; None where it is gone, or about to be. Raises PermissionError where /proc hides it."""
    line = _read(f"/proc/{pid}/stat")
    command_line = _read(f"/proc/{pid}/cmdline")
    if not line or command_line is None:
        return None
    # The name, in parentheses, may hold anything, parentheses and blanks included.
    fields = line[line.rindex(b")") + 2 :].split()
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
    )


def timeslices(pid: int) -> int | None:
    """How often the process was given a processor so far; None where it is gone, or nobody counts."""
    counted = _read(f"/proc/{pid}/schedstat")
    return int(counted.split()[2]) if counted else None


def socket_inodes(pid: int) -> frozenset[int]:
    """The inodes of the sockets that a process holds. Raises PermissionError where they may not be seen."""
    place = f"/proc/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(place):  # noqa: PTH208 - no paths needed
            target = os.readlink(f"{place}/{name}")  # noqa: PTH115 - hundreds of processes, a dozen each
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except _GONE:
        return frozenset(found)
    return frozenset(found)


def owner(pid: int) -> tuple[int, int] | None:
    """The user and group that a process runs as; None where it is gone."""
    ids = status(pid)
    return (int(ids["Uid"].split()[1]), int(ids["Gid"].split()[1])) if ids else None


def status(pid: int) -> dict[str, str]:
    """What /proc/<pid>/status says, by name; empty where the process is gone."""
    text = (_read(f"/proc/{pid}/status") or b"").decode("utf-8", "replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def network_namespace(pid: int | str = "self") -> str | None:
    """Which network a process is in; None where that may not be seen."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115 - no file, but a name
    except OSError:
        return None


def read_plain_file(path: str, most_bytes: int) -> bytes:
    """The beginning of a file that others may have laid there. Raises OSError, for all but plain files too.

    A pipe would wait for ever for somebody to write, and a link may lead to a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return file.read(most_bytes)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them
            return file.read()
    except _GONE:
        return None
