"""Cache idle sessions, so that unchanged rows are not fetched again.

A session that is idle, in a transaction or not, has the same row for as long as its `state_change` is the
same: whatever could change it (a statement, SET, the end of its transaction) sets that anew. So a poll can
ask for the others alone, and for pid and state_change of these.
"""

import struct
from collections.abc import Iterable
from typing import Final

from pgtop.core.activity import IDLE, IN_TRANSACTION, MICROSECONDS, Backend
from pgtop.postgres.errors.kinds import UnreadableError

WHOLE_EVERY_SECONDS: Final = 60.0
"""Seconds between full fetches in any case: a role or a database may have been renamed, or a reload may
have given an idle session another application_name."""

_RESTING: Final = IN_TRANSACTION | {IDLE}
MARGIN_MICROSECONDS: Final = MICROSECONDS
"""The time before the last poll from which on the next one asks for changes."""
_MOSTLY: Final = 0.5
_WHOLE_POLLS: Final = 10
_HEADER_BYTES: Final = 20
_EPOCH_2000: Final = 946_684_800 * MICROSECONDS
_PID: Final = struct.Struct(">ii")
_STATE_CHANGE: Final = struct.Struct(">iq")


class UnchangedRows:
    """Cache idle sessions between two polls, so that unchanged rows are not fetched again."""

    def __init__(self) -> None:
        self._rows: dict[int, Backend] = {}
        self._since = 0
        self._whole_at = 0.0
        self._whole_polls = 0

    def forget(self) -> None:
        """Let the next poll ask for all rows."""
        self._rows.clear()
        self._since = 0

    def since(self, clock: float) -> int | None:
        """The state_change (microseconds) up to which rows at rest need not be sent; None where all are due.

        All are asked for WHOLE_EVERY_SECONDS after the last time by `clock` (seconds, monotonic), and for ten
        polls after one in which most had changed: asking for the changed ones is then the dearer way.
        """
        if self._since == 0 or self._whole_polls > 0 or clock - self._whole_at >= WHOLE_EVERY_SECONDS:
            self._whole_polls = max(0, self._whole_polls - 1)
            return None
        return self._since

    def know_all(
        self, backends: tuple[Backend, ...], taken_at: int, poll_seconds: float, clock: float
    ) -> None:
        """Take note of a poll that asked for all rows."""
        self._whole_at = clock
        self._know(backends, taken_at, poll_seconds)

    def joined(
        self,
        changed: tuple[Backend, ...],
        pids: object,
        state_changes: object,
        taken_at: int,
        poll_seconds: float,
    ) -> tuple[Backend, ...] | None:
        """All backends, from a poll of the changed ones; those at rest are the very objects known.

        None where one of those at rest is not known as it is (it wrote its state late, or the server's clock
        was set): all rows are then to be asked for. Raises UnreadableError where `pids` and `state_changes`
        are not two arrays of one length, or a process id is there twice.
        """
        rows = self._rows
        known = []
        seen = {backend.pid for backend in changed}
        for pid, state_change in _pairs(pids, state_changes):
            if pid in seen:
                raise UnreadableError("a process id twice")
            seen.add(pid)
            row = rows.get(pid)
            if row is None or row.state_change != state_change:
                return None
            known.append(row)
        if len(changed) > _MOSTLY * (len(known) + len(changed)):
            self._whole_polls = _WHOLE_POLLS
        backends = (*known, *changed)
        self._know(backends, taken_at, poll_seconds)
        return backends

    def _know(self, backends: Iterable[Backend], taken_at: int, poll_seconds: float) -> None:
        self._rows = {backend.pid: backend for backend in backends if backend.state in _RESTING}
        # The poll's own clock is read after the rows are: what changed in between is sent once more.
        self._since = taken_at - MARGIN_MICROSECONDS - int(poll_seconds * MICROSECONDS)


def _pairs(pids: object, state_changes: object) -> list[tuple[int, int]]:
    try:
        return list(
            zip(_values(_PID, pids, 0), _values(_STATE_CHANGE, state_changes, _EPOCH_2000), strict=True)
        )
    except (struct.error, TypeError, ValueError) as error:
        raise UnreadableError("process ids and times that do not belong together") from error


def _values(element: struct.Struct, array: object, offset: int) -> Iterable[int]:
    """The elements of an array without NULLs in its binary form, `offset` added to each.

    Source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c (array_send): a header of five int4 for one
    dimension, then for each element its length and its value.
    """
    if array is None:
        return ()
    if not isinstance(array, bytes):
        raise TypeError
    return [value + offset for _, value in element.iter_unpack(memoryview(array)[_HEADER_BYTES:])]
