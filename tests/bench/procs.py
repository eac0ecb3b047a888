"""The CPU time that processes used, from /proc: exact to the nanosecond, threads and ended children included.

Linux only. CPU times are in nanoseconds, memory in bytes.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def own_cpu_ns(pid: int) -> int:
    """What the threads of a process have run so far; 0 where it is gone."""
    total = 0
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def reaped_cpu_ns(pid: int) -> int:
    """What the ended children of a process had run, in steps of a clock tick."""
    with contextlib.suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) * _TICK_NS
    return 0


def tree_cpu_ns(pid: int) -> int:
    """What a process and all below it have run, the ended ones included."""
    return sum(own_cpu_ns(each) + reaped_cpu_ns(each) for each in tree(pid))


def tree_rss_bytes(pid: int) -> int:
    """The resident memory of a process and all below it."""
    pages = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            pages += int((_PROC / str(each) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def backends(postmaster: int) -> frozenset[int]:
    """The client backends of a server whose superuser is `postgres`, by their titles."""
    found = set()
    for pid in children(postmaster):
        with contextlib.suppress(OSError):
            if (_PROC / str(pid) / "cmdline").read_bytes().startswith(b"postgres: postgres "):
                found.add(pid)
    return frozenset(found)


def server_cpu_ns(postmaster: int, pids: frozenset[int]) -> int:
    """What these backends have run, the postmaster, and the children that it has seen end."""
    return sum(map(own_cpu_ns, pids)) + own_cpu_ns(postmaster) + reaped_cpu_ns(postmaster)
