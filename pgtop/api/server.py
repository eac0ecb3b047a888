"""Server: one PostgreSQL server, for a program that asks and acts in its own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from types import TracebackType

import msgspec

from pgtop.api.events import Event
from pgtop.api.settings import checked
from pgtop.api.watch import Watch
from pgtop.concurrency import outlast
from pgtop.core.activity import BackendId, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.plan import DecidedBy, Plan, ReapPolicy, Scope
from pgtop.core.stalled_logins import with_unlisted
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.errors import ReadOnlyError, UsageError
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.reaping.reaper import Report
from pgtop.reaping.refusals import refuse_another, refuse_pooler, refuse_unsure, refuse_untracked
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import Wiring


class Diagnosis(msgspec.Struct, frozen=True):
    """The causes that fill a server at one moment."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    """The causes, the heaviest first; none if there is nothing to say."""
    forecast: Forecast | None
    """The time at which the server is full if it goes on so; None if no trend holds."""


class Server:
    """One server over one connection, from the beginning of its `async with` to the end.

    All methods may be called by several tasks of one event loop at once. They raise nothing but PgtopError's
    family and CancelledError: FullError and LimitReachedError (`pgtop.postgres.errors.kinds`) for a login
    that is refused for lack of a slot, after `wait_seconds`; ConnectError for a server that cannot be reached
    or will not have this role; UsageError outside of the `async with`. A connection that was lost is made
    again by the next call.
    """

    def __init__(self, wiring: Wiring, config: Config) -> None:
        """Set up a server; use `connect` of `pgtop.api`. Nothing connects yet."""
        self._wiring = wiring
        self._own_connection, self._poller, self._reaper = wiring
        self._config = config
        self._diagnosis = DiagnosisWatch(self._own_connection, config.warn_at)
        self._diagnosing = asyncio.Lock()
        self._is_open = False
        self._runs: set[asyncio.Future[None]] = set()
        self._watch: Watch | None = None

    @property
    def read_only(self) -> bool:
        """True if plans are made and none is carried out."""
        return self._config.read_only

    @property
    def policy(self) -> ReapPolicy:
        """The rules of a sweep that the settings ask for."""
        return self._config.policy

    @property
    def is_pooled(self) -> bool:
        """True if a pooler is in between: counts are wrong then, and plans are refused."""
        return self._own_connection.pooled

    async def __aenter__(self) -> "Server":
        """Connect, and try again for `wait_seconds` while no slot is left."""
        if self._is_open:
            raise UsageError("this server is open already", "call pgtop.connect again for another connection")
        await enter(self._own_connection, self._config.wait_seconds)
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the outcomes of what was begun, and give the connection back, also when cancelled."""
        self._is_open = False
        closing = asyncio.ensure_future(self._close())
        if await outlast(closing):
            raise asyncio.CancelledError
        closing.result()

    async def _close(self) -> None:
        try:
            while self._runs:
                await asyncio.wait(self._runs)
            if self._watch is not None:
                await self._watch.close()
        finally:
            await self._own_connection.release()

    async def snapshot(self) -> Snapshot:
        """Poll the server once: all its sessions at one moment.

        Raises NotPermittedError if the role may not even ask, and else as the class says. Through a pooler
        the counts are wrong: see `is_pooled`.
        """
        self._need_open()
        with _in_our_words(), self._closed_in_time():
            snapshot = await self._poller.probe.reach(self._config.wait_seconds)
            return with_unlisted(snapshot, await self._own_connection.refused_here())

    async def diagnose(self) -> Diagnosis:
        """Poll the server once and say what fills it, with all that earlier calls have seen.

        A single call knows no past: call it again after some seconds to see what grows. Raises as `snapshot`.
        """
        async with self._diagnosing:  # a later snapshot first would forget the past
            snapshot = await self.snapshot()
            if not self._own_connection.pooled:
                await self._diagnosis.ask(snapshot)
            with _in_our_words():
                refusing = await self._own_connection.refused_here()
            return Diagnosis(snapshot, self._diagnosis.take(snapshot, refusing), self._diagnosis.forecast)

    async def plan_sweep(
        self,
        policy: ReapPolicy | None = None,
        *,
        snapshot: Snapshot | None = None,
        scope: Scope | None = None,
    ) -> Plan:
        """Return a plan to terminate all stale sessions, or those of them in `scope`, whatever the usage.

        `policy` has the rules, by default those of the settings. `snapshot` is one of this server's that was
        looked at before; a new one is taken by default. Raises ConnectError if a pooler is in between,
        NotPermittedError if states are hidden or not tracked, and else as `snapshot`.
        """
        seen = await self._seen(snapshot)
        refuse_unsure(self._own_connection, seen)
        plan = await self._reaper.plan_sweep(seen, self._rules(policy), scope=scope)
        refuse_untracked(plan, seen)
        return plan

    async def plan_terminate(
        self,
        sessions: Iterable[BackendId],
        policy: ReapPolicy | None = None,
        *,
        snapshot: Snapshot | None = None,
    ) -> Plan:
        """Return a plan to terminate these sessions, whatever their state: `Backend.id`, `Finding.backends`.

        Those that the rules protect are skipped, each with its reason; those that have left are left out.
        Raises ConnectError if a pooler is in between, and else as `snapshot`.
        """
        seen = await self._seen(snapshot)
        return await self._reaper.plan_terminate(seen, self._rules(policy), sessions)

    async def plan_cancel(
        self,
        sessions: Iterable[BackendId],
        policy: ReapPolicy | None = None,
        *,
        snapshot: Snapshot | None = None,
    ) -> Plan:
        """Return a plan to cancel what these sessions run. As `plan_terminate` otherwise."""
        seen = await self._seen(snapshot)
        return await self._reaper.plan_cancel(seen, self._rules(policy), sessions)

    async def run(self, plan: Plan, *, decided_by: DecidedBy = DecidedBy.COMMAND) -> Report:
        """Carry a plan out, and return the outcome of each session. The audit log is written first.

        Each session is compared with what the plan shows in the same statement that signals it, and skipped
        if it has changed. `decided_by` is PERSON if a person has seen the plan and confirmed it.

        Cancelled before the attempts are in the audit log, it does nothing. Cancelled later, it signals no
        further session, confirms what it has signalled and writes the outcome of each attempt: that takes
        some seconds at most, and CancelledError is raised after it.

        Raises ReadOnlyError while `read_only`; PgtopError for a plan of another server, or of before the
        connection was lost; ConnectError if a pooler is in between; AuditError if the audit log cannot be
        written. Nothing was terminated then.
        """
        if self.read_only:
            raise ReadOnlyError
        self._need_open()
        with self._under_way(), self._own_connection.steady():
            refuse_another(plan, await self._seen(None))
            return await self._reaper.run(plan, decided_by=decided_by)

    async def watch(self, policy: ReapPolicy | None = None) -> AsyncGenerator[Event, None]:
        """Poll for ever, sweep by the rules of `pgtop reap --watch`, and yield what happens.

        `policy` has the rules, by default those of the settings. While `read_only` it only plans, at the same
        pace. Nothing happens while the caller handles an event: another watch or daemon takes over if that
        takes long. Closed early or cancelled it gives pgtop's key to the next one; a sweep that has begun is
        ended as `run` says.

        Raises UsageError if this server is being watched already; ConnectError if a pooler is in between, and
        NotPermittedError if states are hidden, both at the beginning. Later these are a `Troubled`, and an
        outage, also of a full server, is an `Unanswered`.
        """
        self._need_open()
        if self._watch is not None:
            raise UsageError("this server is being watched already", "call pgtop.connect again for another")
        self._watch = watch = Watch(self._wiring, self._config, self._rules(policy))
        try:
            with _in_our_words(), self._closed_in_time():
                await watch.begin()
            while True:
                for event in await watch.next():
                    yield event
        finally:
            try:
                closing = asyncio.ensure_future(watch.close())
                if await outlast(closing):
                    raise asyncio.CancelledError
            finally:
                self._watch = None

    def _rules(self, policy: ReapPolicy | None) -> ReapPolicy:
        """Return the rules that are given, or those of the settings. Raises UsageError."""
        return self.policy if policy is None else checked(policy)

    async def _seen(self, snapshot: Snapshot | None) -> Snapshot:
        """Return the snapshot to plan from. Raises ConnectError if a pooler is in between."""
        self._need_open()
        seen = snapshot if snapshot is not None else await self.snapshot()
        refuse_pooler(self._own_connection)
        return seen

    def _need_open(self) -> None:
        if not self._is_open:
            raise UsageError("this server is not open", "use it inside of its async with")

    @contextlib.contextmanager
    def _closed_in_time(self) -> Iterator[None]:
        """Drop a connection that is made after the end of the `async with`, by a call of another task."""
        try:
            yield
        finally:
            if not self._is_open:
                self._own_connection.drop()

    @contextlib.contextmanager
    def _under_way(self) -> Iterator[None]:
        """Keep the connection from being given back meanwhile."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runs.add(ended)
        try:
            yield
        finally:
            self._runs.discard(ended)
            ended.set_result(None)


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Raise PgtopError in place of what the driver raises."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise answer_error(error, "nothing was terminated; try again") from error
