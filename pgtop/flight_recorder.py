"""FlightRecorder: records what a face sees of its server, without ever holding it up.

The disk may be slow, full or gone: all work on it is done in a thread of its own, one step at a time, and
only the end of the program waits for it, for a moment.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pgtop.audit.log import operator
from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.episodes import DayInShort
from pgtop.core.outage import Limit, Outage
from pgtop.core.plan import DecidedBy, Outcome
from pgtop.core.recorded import (
    Acted,
    AlertRaised,
    Diagnosed,
    Event,
    OutageBegan,
    OutageEnded,
    Seen,
    ServerChanged,
    same_causes,
)
from pgtop.core.sample_history import Past
from pgtop.core.server_change import server_change, succession
from pgtop.core.text import printable
from pgtop.errors import HistoryBusyError, HistoryDamagedError, HistoryError
from pgtop.history.former_file import former_past, take_over
from pgtop.history.graph_past import REACH_SECONDS, past_of
from pgtop.history.pruning import Bounds
from pgtop.history.recorded_episodes import recorded_day
from pgtop.history.recorder import Batch, Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore, ServerKey
from pgtop.postgres.conninfo.target import Target
from pgtop.reaping.reaper import Report
from pgtop.settings.defaults_and_bounds import Config

WRITE_SECONDS: Final = 10.0
"""Seconds between two writes: the most that a killed pgtop loses."""
END_SECONDS: Final = 0.7
"""The longest wait for the last write: closing a terminal must not wait for a disk."""
BUSY_TRIES: Final = 3
"""The number of times in a row that the file may be locked before a notice says so."""
REPEAT_SECONDS: Final = 30.0
"""Seconds after which findings that go on are recorded again, with their present numbers."""

Answer = TypeVar("Answer")

_NEVER: Final = 2**62
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class _NoThreadError(HistoryError):
    """No thread can be started, so that nothing was done."""


class FlightRecorder:
    """The recorder of one face on one server."""

    def __init__(
        self, store: RecordingStore, kept: Kept, face: str, operator: str, former: Path | None = None
    ) -> None:
        """`face` and `operator` are those of the audit log; `former` is the history file up to 0.9."""
        self.store = store
        self._former = former
        self.notice = ""
        """A notice to be told, printable; "" for none."""
        self._recorder = Recorder(store, kept)
        self._face = face
        self._operator = operator
        self._last: Seen | None = None
        self._snapshot: Snapshot | None = None
        self._snapshot_heard = 0.0
        self._diagnosed = Diagnosed(0, ())
        self._busy = 0
        self._writing = asyncio.Lock()
        self._is_told = False
        self._damage = ""

    def polled(
        self,
        result: Snapshot | Outage,
        interval_seconds: float,
        refusing: Limit | None = None,
        facts: Facts = Facts(),  # noqa: B008 - frozen
    ) -> None:
        """Record a poll; `facts` are what is known beside it."""
        # What was computed of a snapshot weighs as much as its sessions: a copy waits for the disk without.
        kept = msgspec.structs.replace(result)
        seen = Seen(self._time_of(result), kept, interval_seconds, facts, refusing)
        self._recorder.polled(seen)
        self._note_changes(seen)
        self._last = seen
        self._recorder.forget_oldest()

    @property
    def kept(self) -> Kept:
        """The part of a poll that is recorded from now on."""
        return self._recorder.kept

    @kept.setter
    def kept(self, kept: Kept) -> None:
        self._recorder.kept = kept

    def facts_known(self, facts: Facts) -> None:
        """Record facts that were learnt of the last poll after it was recorded."""
        if self._last is not None and self._last.facts != facts:
            self._last = msgspec.structs.replace(self._last, facts=facts)
            self._recorder.amend(self._last)

    def diagnosed(self, findings: tuple[Finding, ...]) -> None:
        """Record the findings of the last poll if their causes are new, and now and then while they last."""
        if self._last is None:
            return
        at, before = self._last.at, self._diagnosed
        is_due = abs(at - before.at) >= REPEAT_SECONDS * MICROSECONDS and findings != before.findings
        if not same_causes(findings, before.findings) or is_due:
            kept = tuple(msgspec.structs.replace(each, backends=(), remedy=None) for each in findings)
            self._diagnosed = Diagnosed(at, findings)
            self._recorder.happened(Diagnosed(at, kept))

    def alerted(self, alert: Alert) -> None:
        """Record an alert of this moment."""
        self._happened(AlertRaised(self._now(), alert))

    def reaped(self, report: Report, decided_by: DecidedBy) -> None:
        """Record an act of this moment and its outcomes."""
        outcomes = Counter(each.outcome for each in report.results)
        done = (Outcome.TERMINATED, Outcome.CANCELLED)
        gone = [each.victim.backend for each in report.results if each.outcome in done]
        names = Counter(each.application_name or "" for each in gone)
        self._happened(
            Acted(
                at=self._now(),
                act=report.plan.act,
                trigger=report.plan.trigger,
                decided_by=decided_by,
                operator=self._operator,
                face=self._face,
                outcomes=tuple(outcomes.items()),
                usage_before=report.plan.usage_before,
                usage_after=report.usage_after,
                applications=tuple(names.most_common()),
                backends=tuple(each.id for each in gone),
            )
        )

    async def past(self, cluster: str, until: int) -> Past | None:
        """Return the past of a cluster before a time (microseconds) for the graph; None if there is none.

        `cluster` is its system identifier, "" if that is not known. Raises HistoryError.
        """
        since = until - round(REACH_SECONDS * MICROSECONDS)

        def read() -> Past | None:
            past = None
            if self.store.files():
                # Up to any time: what was recorded before the server's clock was set back seems to be later.
                past = past_of(Recording(self.store.files).counts(since, _NEVER), cluster, until)
            if past is None and self._former is not None:
                past = former_past(self._former, self.store.server.address, cluster)
            return past

        return await self._in_thread(read)

    async def earlier_polls(self, until: int, seconds: float, every_seconds: float) -> list[Seen]:
        """Return recorded polls of the last `seconds` before a time (microseconds), `every_seconds` apart.

        Raises HistoryError.
        """

        def read() -> list[Seen]:
            files = self.store.files()
            if not files:
                return []
            apart = round(every_seconds * MICROSECONDS)
            polls: list[Seen] = []
            for seen in Recording(files).between(until - round(seconds * MICROSECONDS), until - 1):
                if not polls or seen.at - polls[-1].at >= apart:
                    polls.append(seen)
            return polls

        return await self._in_thread(read)

    async def recording(self) -> Recording:
        """Return all that was recorded, up to the last poll. Raises HistoryError."""
        await self._write()

        def read() -> Recording:
            return Recording(self.store.files())

        return await self._in_thread(read)

    async def last_day(self, now: int, warn_at: float) -> DayInShort | None:
        """Return the last 24 hours before a time (microseconds) in short; None if nothing of it was recorded.

        `warn_at` is the line, a fraction of the slots. Raises HistoryError.
        """

        def read() -> DayInShort | None:
            files = self.store.files()
            return recorded_day(Recording(files), now, warn_at) if files else None

        return await self._in_thread(read)

    async def run(self) -> None:
        """Write forever, every few seconds."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def finish(self) -> None:
        """Write what is not written yet; give up on a disk that hangs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._write(is_last=True)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await unawaited_at_exit(work)
        except RuntimeError as error:  # this user may have no more threads
            raise _NoThreadError(f"the recording is not kept: {error}") from error

    async def _write(self, *, is_last: bool = False) -> None:
        async with self._writing:
            await self._write_batch(is_last=is_last)

    async def _write_batch(self, *, is_last: bool) -> None:
        batch = self._recorder.take()
        try:
            await self._in_thread(lambda: self._written(batch, is_last=is_last))
        except HistoryBusyError as error:
            self._busy += 1
            if self._busy >= BUSY_TRIES:
                self.tell(str(error))
        except HistoryError as error:
            if isinstance(error, _NoThreadError):
                self._recorder.put_back(batch)
            self.tell(str(error))
        else:
            self._busy, self._is_told = 0, False
        if self._damage:
            self.tell(self._damage)
            self._damage = ""

    def _written(self, batch: Batch, *, is_last: bool) -> None:
        """Write a batch, in a thread of its own. Raises HistoryError."""
        try:
            try:
                self._write_once(batch, is_last=is_last)
            except HistoryDamagedError as error:
                self._damage = str(error)
                self._write_once(Batch((), batch.kept), is_last=is_last)
        except HistoryError:
            raise
        except Exception as error:  # nothing about a recording is a reason to stop
            raise HistoryError(f"the recording is not kept: {printable(repr(error))}") from error
        self._damage = self._damage or self.store.damage
        self.store.damage = ""

    def _write_once(self, batch: Batch, *, is_last: bool) -> None:
        try:
            if self._former is not None:
                take_over(self._former, self.store)
        finally:
            self._recorder.write(batch, is_last=is_last)

    def tell(self, said: str) -> None:
        """Have a notice shown, once until all is well again."""
        if not self._is_told:
            self._is_told, self.notice = True, said

    def _happened(self, event: Event) -> None:
        self._recorder.happened(event)

    def _note_changes(self, seen: Seen) -> None:
        was_out = self._last is not None and isinstance(self._last.result, Outage)
        if isinstance(seen.result, Outage):
            if not was_out:
                self._happened(OutageBegan(seen.at, seen.result))
            return
        if was_out:
            self._happened(OutageEnded(seen.at))
        if self._snapshot is not None:
            change = server_change(self._snapshot, seen.result)
            if change is not None:
                self._happened(ServerChanged(seen.at, change, succession(self._snapshot, seen.result)))
        self._snapshot, self._snapshot_heard = seen.result, _elapsed()

    def _time_of(self, result: Snapshot | Outage) -> int:
        return result.taken_at if isinstance(result, Snapshot) else self._now()

    def _now(self) -> int:
        """Return the present by the server's clock as it was last heard; by this host's before that."""
        if self._snapshot is None:
            return time.time_ns() // 1000
        return self._snapshot.taken_at + round((_elapsed() - self._snapshot_heard) * MICROSECONDS)


def _elapsed() -> float:
    """Return seconds since some moment, with the time in which this machine slept."""
    return time.clock_gettime(_CLOCK)


def server_key(target: Target) -> ServerKey:
    """Return the key of a target's recordings: its label, and a hash of the address that was asked for."""
    asked = [f"{endpoint.address}:{endpoint.port}" for endpoint in target.endpoints]
    if any(endpoint.is_socket or endpoint.address in _HERE for endpoint in target.endpoints):
        # Machines may share a home directory, and each has its own localhost.
        asked.append(socket.gethostname())
    text = "\0".join([target.target_session_attrs, *asked])
    hashed = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    label = ",".join(endpoint.label for endpoint in target.endpoints)
    return ServerKey(label, int.from_bytes(hashed, "big", signed=True))


def recording_store(target: Target, config: Config) -> RecordingStore:
    """Return the store of a target's recordings."""
    bounds = Bounds(config.record_keep_seconds, config.record_max_size_bytes)
    return RecordingStore(config.record_dir, server_key(target), bounds)


def flight_recorder(target: Target, config: Config, face: str) -> FlightRecorder | None:
    """Return the recorder that the settings ask for; None if nothing is to be kept of the past."""
    if config.history is None:
        return None
    acting = operator(os.environ)
    name = acting.user if acting.sudo_user is None else f"{acting.sudo_user} as {acting.user}"
    return FlightRecorder(recording_store(target, config), kept_part(config), face, name, config.history)


def kept_part(config: Config) -> Kept:
    """Return the part of a poll that the settings let be recorded."""
    if not config.record:
        return Kept.COUNTS
    if config.hide_queries:
        return Kept.SESSIONS
    return Kept.STATEMENTS if config.record_queries else Kept.FINGERPRINTS
