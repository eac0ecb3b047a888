"""The time since a process last ran, as the kernel's scheduler tells it: the idle age over a Unix socket.

`se.exec_start` in /proc/<pid>/sched is the moment when a process last had a processor, on the clock of that
processor. These clocks run apart by seconds in a virtual machine, since each leaves out the time that the
host took from its processor. So "now" is read on the same one, by this thread's own `se.exec_start` there.

It is a lower bound: from 15 on an idle backend wakes once, after 10 s.
Source: Linux, kernel/sched/fair.c (set_next_entity) and kernel/sched/core.c (update_rq_clock_task);
PostgreSQL, src/backend/tcop/postgres.c (IDLE_STATS_UPDATE_TIMEOUT).
"""

import contextlib
import os
import time

from pgtop.postgres.host import proc


class RunClock:
    """The clocks of this host's processors, each read once: for one look, in one thread."""

    def __init__(self) -> None:
        self._offsets: dict[int, float | None] = {}

    def seconds_since_run(self, pid: int) -> float | None:
        """Return the seconds since a process last ran, at least 0; None if it is gone or that is not told."""
        ran = proc.last_run_milliseconds(pid)
        processor = proc.processor(pid)
        if not ran or processor is None:  # the kernel writes 0 where it does not know any more
            return None
        if processor not in self._offsets:
            self._offsets[processor] = _offset(processor)
        offset = self._offsets[processor]
        if offset is None:
            return None
        since = (time.monotonic() * 1000 + offset - ran) / 1000
        # One that ran on another processor meanwhile is told by a clock that is not its own.
        return max(0.0, since) if proc.last_run_milliseconds(pid) == ran else 0.0


def _offset(processor: int) -> float | None:
    """Return a processor's clock less the monotonic one, in milliseconds; None if it cannot be read."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {processor})
        os.sched_yield()  # the kernel notes the time when this thread goes on
        now = proc.last_run_milliseconds()
        monotonic = time.monotonic() * 1000
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)
    return now - monotonic if now else None
