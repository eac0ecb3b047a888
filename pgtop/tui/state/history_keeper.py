"""The link to the saved history: it continues what an earlier pgtop saved, and saves it for the next one.

The disk may be slow, full or gone: all work on it is done in a thread of its own, one step at a time, and
only the end of the program waits for it, for a moment.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import MICROSECONDS
from pgtop.core.sample_history import History
from pgtop.errors import HistoryBusyError, HistoryDamagedError, HistoryError
from pgtop.history.store import HistoryStore, Mode, Series
from pgtop.postgres.conninfo.target import Target
from pgtop.tui.state.dashboard_state import DashboardState

SAVE_SECONDS: Final = 30.0
"""The time between two writes: the most that a killed pgtop loses."""
END_SECONDS: Final = 0.7
"""The longest wait for the last write: closing a terminal must not wait for a disk."""
BUSY_TRIES: Final = 3
"""The number of times in a row that the file may be locked before a notice says so."""
FUTURE_SECONDS: Final = 120
"""The most by which a saved history may be newer than the first poll: another dashboard may be writing it."""

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Answer = TypeVar("Answer")


class _Kept(NamedTuple):
    """The part of a history that is in the file."""

    history: History
    series: Series
    until: int
    """The last moment that is in the file, by a clock that was set back by `clock_shift` in total."""
    clock_shift: int
    mode: Mode


class HistoryKeeper:
    """The keeper of the history that a dashboard sees of one target."""

    def __init__(self, store: HistoryStore, seen: DashboardState, target: Target) -> None:
        self.notice = ""
        """A notice to be shown, printable; "" for none."""
        self._store = store
        self._seen = seen
        self._target = target
        self._kept: _Kept | None = None
        self._tried: History | None = None
        self._is_new = asyncio.Event()
        self._busy = 0
        self._is_told = False

    @property
    def is_keeping(self) -> bool:
        """True once the past in the file was read: new samples are saved from then on."""
        return self._kept is not None

    def polled(self) -> None:
        """Take note of a poll; the first one of a history has its past loaded at once."""
        history = self._seen.history
        if history is not self._tried and history.latest is not None:
            self._is_new.set()

    async def run(self, taken_up: Callable[[], None]) -> None:
        """Save forever; call `taken_up` when there is an earlier past to show."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await self._is_new.wait()
            self._is_new.clear()
            await self._keep(taken_up)

    async def finish(self) -> None:
        """Write what is not written yet, after the screen is closed; give up on a disk that hangs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                if self._kept is None:  # closed again at once
                    await self._keep(lambda: None)
                await self._keep(lambda: None)

    async def _keep(self, taken_up: Callable[[], None]) -> None:
        try:
            try:
                await self._save_and_take_up(taken_up)
            except HistoryDamagedError as error:
                self.notice = str(error)
                await self._save_and_take_up(taken_up)
        except HistoryBusyError as error:
            self._busy += 1
            if self._busy >= BUSY_TRIES:
                self._tell(error)
        except HistoryError as error:
            self._tell(error)
        else:
            self._busy = 0

    def _tell(self, error: HistoryError) -> None:
        if not self._is_told:
            self._is_told, self.notice = True, str(error)

    async def _save_and_take_up(self, taken_up: Callable[[], None]) -> None:
        if self._kept is not None:
            await self._save(self._kept)
        if self._kept is None or self._kept.history is not self._seen.history:
            await self._take_up(taken_up)

    async def _take_up(self, taken_up: Callable[[], None]) -> None:
        history, snapshot = self._seen.history, self._seen.snapshot
        if snapshot is None or history.latest is None:
            return
        self._tried = history
        series = series_of(self._target, self._seen.cluster)
        past = await _unawaited(lambda: self._store.load(series))
        mode: Mode = "begin"
        if past is not None:
            is_future = past.latest_at > history.began_at + FUTURE_SECONDS * MICROSECONDS
            mode = "replace" if is_future else "add"
            history.put_before(past, self._seen.interval_seconds)
            if history is self._seen.history:
                taken_up()
        self._kept = _Kept(history, series, history.began_at - 1, history.clock_shift, mode)

    async def _save(self, kept: _Kept) -> None:
        history, shift = kept.history, kept.history.clock_shift
        mode = "replace" if shift != kept.clock_shift else kept.mode
        past = history.past(None if mode == "replace" else kept.until)
        if past is None:
            return
        if not await _unawaited(lambda: self._store.save(kept.series, past, mode)):
            # The file is another one now, or the series was dropped: save all that is known.
            whole = history.past() or past
            await _unawaited(lambda: self._store.save(kept.series, whole, "begin"))
        self._kept = kept._replace(until=past.latest_at, clock_shift=shift, mode="add")


def series_of(target: Target, cluster: str | None) -> Series:
    """Return the series of a target: the address asked for and, if known, the cluster that answers there."""
    asked = [f"{endpoint.address}:{endpoint.port}" for endpoint in target.endpoints]
    if any(endpoint.is_socket or endpoint.address in _HERE for endpoint in target.endpoints):
        # Machines may share a home directory, and each has its own localhost.
        asked.append(socket.gethostname())
    text = "\0".join([target.target_session_attrs, *asked])
    hashed = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return Series(int.from_bytes(hashed, "big", signed=True), cluster or "")


async def _unawaited(work: Callable[[], Answer]) -> Answer:
    """Return the result of work on the disk, from a thread that does not keep the process from ending.

    Raises HistoryError if no thread can be started.
    """
    try:
        return await unawaited_at_exit(work)
    except RuntimeError as error:  # this user may have no more threads
        raise HistoryError(f"the history is not kept: {error}") from error
